"""Models of the Hugging Face hub, by their names."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from toolkit.errors import ExperimentError

# `speechbrain/asr-crdnn-rnnlm-librispeech`: an owner and a name, of the characters that the hub allows.
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# What a hub repository has beside the model, which nothing here reads: read-me pictures and sound examples; the same
# weights for other libraries; what a training leaves.
NOT_NEEDED = ["*.md", "*.png", "*.jpg", "*.wav", "*.flac", "*.mp3", ".gitattributes"]
NOT_NEEDED += ["*.h5", "*.msgpack", "*.ot", "optimizer.pt", "scheduler.pt", "training_args.bin", "runs/*"]
PICKLED, SAFE = "pytorch_model*.bin", "*.safetensors"  # the same weights, where both are there


def from_hub(name: str, savedir: str | Path | None = None, revision: str | None = None) -> Path:
    """The folder of a repository's model: of the hub's cache, to which it is downloaded, or ``savedir``.

    Raises
    ------
    ExperimentError
        There is no such repository, or the hub cannot be reached and its cache has not got it.
    """
    from huggingface_hub import snapshot_download  # takes half a second to load
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    download = partial(snapshot_download, name, revision=revision, local_dir=savedir)
    try:
        found = Path(download(ignore_patterns=[*NOT_NEEDED, PICKLED]))
        if not any(found.glob(SAFE)):
            found = Path(download(ignore_patterns=NOT_NEEDED))
    except LocalEntryNotFoundError:
        raise ExperimentError(
            f"{name}: no such folder here, the hub's cache has no {revision or 'copy'} of it, and the hub cannot be "
            "reached; check the name and the connection"
        ) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise ExperimentError(
            f"{name}: no such folder here, and the hub says: {' '.join(str(error).split())}"
        ) from None
    return found
