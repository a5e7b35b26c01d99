"""Where a model comes from: a folder of this machine, or the Hugging Face hub by its name."""

from __future__ import annotations

import contextlib
import fnmatch
import re
from pathlib import Path

from toolkit.errors import ConfigError, ExperimentError
from toolkit.shipped import shipped

# `speechbrain/asr-crdnn-rnnlm-librispeech`: an owner and a name, of the characters that the hub allows.
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# What a hub repository has beside the model, which nothing here reads: read-me pictures and sound examples; the same
# weights for other libraries; what a training leaves.
NOT_NEEDED = ["*.md", "*.png", "*.jpg", "*.wav", "*.flac", "*.mp3", ".gitattributes"]
NOT_NEEDED += ["*.h5", "*.msgpack", "*.ot", "optimizer.pt", "scheduler.pt", "training_args.bin", "runs/*"]
PICKLED, SAFE = "pytorch_model*.bin", "*.safetensors"  # the same weights twice, where both are there
CONFIG_FILE = "config.json"  # of transformers

WEIGHTS = ("*.ckpt", "*.safetensors", "*.onnx", "*.model", "save/*/*.ckpt", "lm/*")


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
    return _from_hub(str(source), savedir, revision)


def is_huggingface(folder: Path, hparams_file: str) -> bool:
    """Whether a folder holds a model of transformers: a configuration, and no YAML."""
    return (folder / CONFIG_FILE).is_file() and not (folder / hparams_file).is_file()


def _from_hub(name: str, savedir: str | Path | None, revision: str | None) -> Path:
    from huggingface_hub import list_repo_files, snapshot_download  # takes half a second to load
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    not_needed = list(NOT_NEEDED)
    try:
        with contextlib.suppress(OfflineModeIsEnabled, ConnectionError):  # what is in the cache is enough
            if fnmatch.filter(list_repo_files(name, revision=revision), SAFE):
                not_needed.append(PICKLED)
        found = snapshot_download(name, revision=revision, local_dir=savedir, ignore_patterns=not_needed)
    except LocalEntryNotFoundError:
        raise ExperimentError(
            f"{name}: no such folder here, the hub's cache has no {revision or 'copy'} of it, and the hub cannot be "
            "reached; check the name and the connection"
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ExperimentError(
            f"{name}: no such folder here, and the hub says: {' '.join(str(error).split())}"
        ) from None
    return Path(found)


def find_file(path: str, folder: Path, *, trusted: bool = False) -> Path:
    """The file of a model that its YAML names: in its folder, or as ``owner/name/file`` on the hub.

    Raises
    ------
    ConfigError
        The path leads out of the folder, and the folder is not trusted.
    ExperimentError
        There is no such file.
    """
    parts = Path(path).parts
    file = folder / path
    if not file.exists() and HUB_NAME.fullmatch("/".join(parts[:2])) and len(parts) > 2:
        copy = folder.joinpath(*parts[2:])  # where the folder is a copy of what is on the hub
        folder = folder if copy.exists() else find_folder("/".join(parts[:2]))
        file = folder.joinpath(*parts[2:])
    if not trusted:
        check_inside(file, folder)
    if not file.is_file():
        raise ExperimentError(f"{file}: no such file")
    return file


def check_links(folder: Path, hparams_file: str) -> None:
    """Raise a ConfigError where the YAML of a model, its weights or its tokenizer is a link out of its folder."""
    for file in (folder / hparams_file, *(file for pattern in WEIGHTS for file in folder.glob(pattern))):
        check_inside(file, folder)


def check_inside(file: Path, folder: Path) -> None:
    """Raise a ConfigError unless a file lies in a folder, links followed; the hub's cache has links to its blobs."""
    place, home = file.resolve(), folder.resolve()
    cache = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not place.is_relative_to(home) and not place.is_relative_to(cache):
        raise ConfigError(
            f"{file}: leads out of {folder}, to {place}; copy the file into the folder, or say trust_source_code=True"
        )
