"""Batches without the utterances that cannot be read, where ``fault_tolerant`` asks for that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lhotse import CutSet
from lhotse.cut import Cut
from torch.utils.data import Dataset

from toolkit.dataio.cut_audio import load_cut
from toolkit.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class Tolerance:
    """Leaves out what cannot be read, and counts it: in each worker process for itself."""

    def __init__(self) -> None:
        self.left_out = 0

    def kept(self, values: Sequence[T], read: Callable[[T], R]) -> list[R]:
        """What ``read`` makes of each value, without those of which it raises a DataError.

        Raises
        ------
        DataError
            It raises one of each: that of the first.
        """
        results, errors = [], []
        for value in values:
            try:
                results.append(read(value))
            except DataError as error:
                errors.append(error)
        if errors and not results:
            raise errors[0]
        for error in errors:
            self.left_out += 1
            logger.warning("left out (%d so far): %s", self.left_out, error)
        return results


class FaultTolerant(Dataset):
    """What a dataset makes of a batch; where it fails, of those examples whose audio can be read.

    An error is raised where none can, or all can, so that something else is wrong.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.tolerance = dataset, Tolerance()

    def __getitem__(self, examples: CutSet) -> Any:
        try:
            return self.dataset[examples]
        except Exception:  # datasets and their readers raise what they like
            whole = list(examples)
            kept = self.tolerance.kept(whole, _heard)
            if len(kept) == len(whole):
                raise
        return self.dataset[CutSet(kept)]


def _heard(example: Any) -> Any:
    """The example itself, all of whose audio was read."""
    for cut in [example] if isinstance(example, Cut) else getattr(example, "list_cuts", list)():
        load_cut(cut)
    return example
