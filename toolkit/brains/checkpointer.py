"""Checkpoints that are whole or absent, however a run ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, which after a kill never takes half a checkpoint for one.

    A folder is a checkpoint once it has ``CKPT.yaml``. SpeechBrain writes that file first; here it gets its name last.
    """

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> Checkpoint | None:
        """Save every recoverable, then make the folder a checkpoint; ``None`` on all ranks but the main one."""
        checkpoint = super().save_checkpoint(*args, **kwargs)
        if checkpoint is not None:
            _partial(checkpoint.path / METAFNAME).replace(checkpoint.path / METAFNAME)
        return checkpoint

    def _save_checkpoint_metafile(self, fpath: Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return super()._save_checkpoint_metafile(_partial(fpath), *args, **kwargs)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
