"""Checkpoints that are whole or absent, however a run ends."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from speechbrain.utils.checkpoints import METAFNAME, Checkpoint, Checkpointer
from speechbrain.utils.distributed import run_on_main
from speechbrain.utils.epoch_loop import EpochCounter

from toolkit.checkpoints import RANK
from toolkit.dataio.epochs import EpochLoader

COUNTER_STATE = {"current", "best_limit", "best_score", "should_stop"}


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


def save_counter(counter: EpochCounter, path: Path) -> None:
    """Save an epoch counter, also one that stops early: SpeechBrain saves of that one the epoch alone."""
    path.write_text(yaml.safe_dump(vars(counter)), encoding="utf-8")


def load_counter(counter: EpochCounter, path: Path, end_of_epoch: bool) -> None:
    """Load what is not an option of the YAML; inside an epoch, that epoch is the next."""
    saved = yaml.safe_load(path.read_text(encoding="utf-8"))
    saved = {"current": saved} if isinstance(saved, int) else saved  # as SpeechBrain saves it
    for name in COUNTER_STATE & vars(counter).keys() & saved.keys():
        setattr(counter, name, saved[name])
    if not end_of_epoch:
        counter.current -= 1


def save_loader(loader: EpochLoader, path: Path) -> None:
    """Save where training stands in a loader, whatever its workers have read ahead.

    For a Brain of one's own: ``checkpointer.add_recoverable("loader", loader, load_loader, save_loader)``. Ours need no
    such entry: they put any loader where they stand themselves.
    """
    path.write_text(yaml.safe_dump(loader.state_dict()), encoding="utf-8")


def load_loader(loader: EpochLoader, path: Path, _: bool) -> None:
    """The loader goes on with the next batch, with as many workers as it has now."""
    loader.load_state_dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
