"""Epochs of loaders of any kind: ours, torch's, SpeechBrain's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from toolkit.errors import ConfigError


def enter_epoch(loader: DataLoader, epoch: int, batches: int = 0) -> None:
    """The next pass of a loader of any kind is ``epoch``, from its batch number ``batches`` on.

    A sampler that wants to know the epoch is told it. One that draws from torch's own random numbers has the same order
    again where these are the same.

    Raises
    ------
    ConfigError
        It can only begin at the beginning.
    """
    if hasattr(loader, "seek"):
        loader.seek(epoch, batches=batches)
        return
    for sampler in (loader.sampler, loader.batch_sampler):
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
    kind, is_stream = type(loader).__name__, isinstance(loader.dataset, IterableDataset)
    # a SaveableDataLoader skips so many, without reading them; of an IterableDataset it skips none
    if hasattr(loader, "_speechbrain_recovery_skip_to") and not is_stream:
        loader._speechbrain_recovery_skip_to = batches or None
    elif batches:
        raise ConfigError(
            f"the run stopped after batch {batches} of epoch {epoch}, and a {kind}{' of a stream' * is_stream} begins "
            "at the first; train with SpeechBrain's SaveableDataLoader of a DynamicItemDataset instead"
        )


def has_length(loader: DataLoader) -> bool:
    """Whether a loader tells how many batches there are."""
    try:
        len(loader)
    except TypeError:
        return False
    return True


class Foreseen:
    """The batches of a loader; without a length, each is held back until the next one, or none, has come.

    Attributes
    ----------
    at_end
        Of a loader without a length, whether the batch in hand is the last.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.loader, self.at_end = loader, False

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """One pass over the loader."""
        if has_length(self.loader):
            yield from self.loader
            return
        self.at_end, nothing = False, object()
        batches = iter(self.loader)
        following = next(batches, nothing)
        while following is not nothing:
            batch, following = following, next(batches, nothing)
            self.at_end = following is nothing
            yield batch
