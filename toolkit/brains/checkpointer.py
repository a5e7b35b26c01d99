"""Checkpoints that are whole or absent, however a run ends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer
from speechbrain.utils.distributed import run_on_main

from toolkit.checkpoints import RANK


class WholeCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer, which after a kill never takes half a checkpoint for one.

    A folder is a checkpoint once it has ``CKPT.yaml``. SpeechBrain writes that file first; here it gets its name last.
    In a distributed run the main process alone saves and deletes, and the others wait.
    """

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> Checkpoint | None:
        """Save every recoverable, then make the folder a checkpoint; ``None`` on all ranks but the main one."""
        checkpoint = super().save_checkpoint(*args, **kwargs)
        if checkpoint is not None:
            _partial(checkpoint.path / METAFNAME).replace(checkpoint.path / METAFNAME)
        return checkpoint

    def save_and_keep_only(self, *args: Any, **kwargs: Any) -> None:
        """Save, then delete what ``kwargs`` say, as in SpeechBrain."""
        run_on_main(super().save_and_keep_only, args, kwargs)

    def save_epoch(self, meta: dict[str, Any], *, best: int) -> None:
        """Save at the end of an epoch, then delete all but this checkpoint and the ``best`` ones of lowest rank."""
        run_on_main(self._save_epoch, [meta, best])

    def _save_epoch(self, meta: dict[str, Any], best: int) -> None:
        last = self.save_checkpoint(meta=meta)
        ranked = self.find_checkpoints(min_key=RANK, max_num_checkpoints=best)
        kept = {last.path, *(one.path for one in ranked)}
        for folder in self.checkpoints_dir.glob("CKPT+*"):
            if folder not in kept:  # worse ones, those inside of epochs, and what a killed run left unfinished
                (folder / METAFNAME).unlink(missing_ok=True)
                shutil.rmtree(folder)

    def _save_checkpoint_metafile(self, fpath: Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return super()._save_checkpoint_metafile(_partial(fpath), *args, **kwargs)


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
