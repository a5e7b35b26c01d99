"""``asr serve --settings``: all settings with their defaults and meanings, as a YAML that changes nothing."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from toolkit.serving.jobs import Limits
from toolkit.serving.settings import Settings

HEAD = """\
# Settings of `asr serve --config FILE`. Each can be said in other ways: port as --set port=80 or ASR_PORT=80,
# queue_s of limits as --set limits.queue_s=600 or ASR_LIMITS__QUEUE_S=600; lists then have commas between them.
"""


def settings_as_yaml() -> str:
    """The text."""
    fields = {
        name: {} if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in Settings.model_fields.items()
        if name != "limits"
    }
    limits = "\n".join(_lines(Limits, dataclasses.asdict(Limits())))
    return f"{HEAD}{chr(10).join(_lines(Settings, fields))}\nlimits:\n{textwrap.indent(limits, '  ')}\n"


def _lines(cls: type, fields: dict[str, Any]) -> Iterator[str]:
    """Of each field its meaning, unless it shares that with the one before, and its default."""
    meanings, before = _meanings(cls), ""
    for name, default in fields.items():
        if meanings[name] != before:
            yield textwrap.fill(meanings[name], 110, initial_indent="# ", subsequent_indent="# ")
        before = meanings[name]
        yield f"{name}: {json.dumps(default, default=str)}"


def _meanings(cls: type) -> dict[str, str]:
    """What the docstring says of each attribute."""
    attributes = inspect.getdoc(cls).partition("----------\n")[2] + "\n"
    found = re.findall(r"^(\w+(?:, \w+)*)\n((?: +.*\n)+)", attributes, re.MULTILINE)
    return {name: " ".join(meaning.replace("``", "").split()) for names, meaning in found for name in names.split(", ")}
