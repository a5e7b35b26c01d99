"""Compressed text files as plain ones, of which any line can be read at once."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zlib
from pathlib import Path

from toolkit.dataio.index_cache import cache_folder
from toolkit.errors import ManifestError
from toolkit.files import replacing


def unpacked(path: str | Path) -> Path:
    """The file itself; of a ``.gz`` file a copy in the user's cache, made anew when the file changes.

    Raises
    ------
    ManifestError
        There is no such file, or it is damaged.
    """
    path = Path(path)
    if path.suffix != ".gz":
        return path
    try:
        status = path.stat()
        digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
        copy = cache_folder() / f"{digest}.{status.st_size}.{status.st_mtime_ns}.{path.stem}"
        if not copy.exists():
            for older in copy.parent.glob(f"{digest}.*.{path.stem}"):
                older.unlink(missing_ok=True)
            with gzip.open(path) as packed, replacing(copy) as partial, partial.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(f"{path}: cannot be unpacked to {cache_folder()} ({error})") from error
    return copy
