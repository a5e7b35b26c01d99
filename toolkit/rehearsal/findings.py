"""What a look at an experiment found."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from toolkit.errors import ToolkitError


@dataclass
class Findings:
    """Of one experiment.

    Attributes
    ----------
    facts
        What was looked at, and is as it should be.
    notes
        What training would go on with, but somebody should know.
    problems
        What would stop it, or make it worthless.
    """

    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """A time in which any error is a problem; what is logged as a warning is a note, and other logs are quiet."""
        handler, root = _Noting(self.notes), logging.getLogger()
        handlers, root.handlers = root.handlers, [handler]
        try:
            yield
        except ToolkitError as error:
            self.problems.append(str(error))
        except Exception as error:
            self.problems.append(f"{what} fails: {type(error).__name__}: {' '.join(str(error).split())}")
        finally:
            root.handlers = handlers


class _Noting(logging.Handler):
    """Keeps warnings of the toolkit, each once."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.notes = notes

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a warning."""
        if record.name.startswith("toolkit") and record.getMessage() not in self.notes:
            self.notes.append(record.getMessage())
