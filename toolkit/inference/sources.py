"""Where a model comes from: a folder of this machine, or the Hugging Face hub by its name."""

from __future__ import annotations

import re
from pathlib import Path

from toolkit.errors import ExperimentError

# `speechbrain/asr-crdnn-rnnlm-librispeech`: an owner and a name, of the characters that the hub allows.
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
# What a hub repository has beside the model: read-me pictures and sound examples, which nothing here reads.
NOT_NEEDED = ["*.md", "*.png", "*.jpg", "*.wav", "*.flac", "*.mp3", "*.py", ".gitattributes"]


def find_folder(source: str | Path, savedir: str | Path | None = None, revision: str | None = None) -> Path:
    """The folder that a model's files lie in; those of the hub are downloaded, unless they are in its cache.

    Parameters
    ----------
    source : str or Path
        A folder, or ``owner/name`` on the hub. A folder of that name goes first.
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
    if not HUB_NAME.fullmatch(str(source)):
        raise ExperimentError(f"{source}: no such folder; name the folder of a model, or owner/name on the hub")
    return _from_hub(str(source), savedir, revision)


def _from_hub(name: str, savedir: str | Path | None, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # takes half a second to load
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(name, revision=revision, local_dir=savedir, ignore_patterns=NOT_NEEDED)
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
