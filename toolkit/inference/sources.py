"""Where a model comes from: a folder of this machine, or the Hugging Face hub by its name."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ExperimentError
from toolkit.files import check_inside
from toolkit.hub import HUB_NAME, from_hub
from toolkit.inference.service_folder import is_service_folder
from toolkit.shipped import shipped

CONFIG_FILE = "config.json"  # of transformers

logger = logging.getLogger(__name__)


def find_folder(source: str | Path, savedir: str | Path | None = None, revision: str | None = None) -> Path:
    """The folder that a model's files lie in; those of the hub are downloaded, unless they are in its cache.

    Parameters
    ----------
    source : str or Path
        A folder; ``pretrained/name``, also where it was installed; or ``owner/name`` on the hub. A folder of that name
        goes first.
    savedir : str or Path, optional
        Where to put a download, instead of the hub's own cache.
    revision : str, optional
        A commit, tag or branch of the hub's; without it the newest.

    Raises
    ------
    ExperimentError
        There is neither such a folder nor such a name, or the hub cannot be reached and its cache has not got it.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ExperimentError(f"{source}: a file; name the folder that holds the model, and its YAML as hparams_file")
    if folder.parts[:1] == ("pretrained",) and shipped(folder).is_dir():
        return shipped(folder)
    if not HUB_NAME.fullmatch(str(source)):
        raise ExperimentError(f"{source}: no such folder; name the folder of a model, or owner/name on the hub")
    return from_hub(str(source), savedir, revision)


def is_huggingface(folder: Path, hparams_file: str) -> bool:
    """Whether a folder holds a model of transformers, or a service of one, and no YAML."""
    found = (folder / CONFIG_FILE).is_file() or is_service_folder(folder)
    return found and not (folder / hparams_file).is_file()


@dataclass(frozen=True)
class Origin:
    """Where a model's YAML comes from, which says what it may read.

    Parameters
    ----------
    folder
        Of the YAML.
    name, revision
        Of the repository on the hub that was asked for; what it names of its own is of that revision.
    trusted
        Whether it may also name files of this machine outside its folder.
    """

    folder: Path
    name: str = ""
    revision: str | None = None
    trusted: bool = False

    def file(self, path: str) -> Path:
        """The file that the YAML names: in its folder, or as ``owner/name/file`` on the hub.

        Raises
        ------
        ConfigError
            The path leads out of the folder, and the folder is not trusted.
        ExperimentError
            There is no such file.
        """
        parts = Path(path).parts
        folder, file = self.folder, self.folder / path
        if not file.exists() and len(parts) > 2 and HUB_NAME.fullmatch("/".join(parts[:2])):
            copy = folder.joinpath(*parts[2:])  # where the folder is a copy of what is on the hub
            folder = folder if copy.exists() else self._repository("/".join(parts[:2]))
            file = folder.joinpath(*parts[2:])
        if not self.trusted:
            check_inside(file, folder)
        if not file.is_file():
            raise ExperimentError(f"{file}: no such file")
        return file

    def model(self, source: str) -> Path:
        """The folder of another model that the YAML names: in its folder, or on the hub.

        Raises
        ------
        ConfigError
            It is neither, and the folder is not trusted.
        ExperimentError
            There is no such folder.
        """
        if not (self.folder / source).is_dir() and HUB_NAME.fullmatch(source):
            return self._repository(source)
        if not self.trusted:
            check_inside(self.folder / source, self.folder)
        return find_folder(self.folder / source)

    def _repository(self, name: str) -> Path:
        if name == self.name:
            return from_hub(name, None, self.revision)
        logger.warning("%s: its YAML names %s of the hub, of which the newest revision is used", self.folder, name)
        return from_hub(name, None, None)


def check_links(folder: Path, hparams_file: str) -> None:
    """Raise a ConfigError where the YAML of a model, or any link in its folder, leads out of it."""
    check_inside(folder / hparams_file, folder)
    for file in folder.rglob("*"):
        if file.is_symlink():
            check_inside(file, folder)
