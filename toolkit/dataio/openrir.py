"""OpenRIR (openslr.org/28), noises and room impulse responses, as the lists that ``noise_path`` and ``rir_path`` take.

It is read by ``lhotse.recipes.rir_noise``::

    pointsource_noises/noise-free-sound-0000.wav
    real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav
    real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla.wav
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from lhotse import Recording
from lhotse.recipes.rir_noise import prepare_rir_noise

from toolkit.dataio.download import Archive
from toolkit.dataio.prepare import require_files
from toolkit.errors import DataError
from toolkit.files import write_atomically

# 1.3 GB; whoever publishes it gives no checksum.
OPENRIR = Archive("https://www.openslr.org/resources/28/rirs_noises.zip", member="RIRS_NOISES")

# The lists, and what is in them, by Lhotse's names. Its 60,000 simulated responses are left out, as by SpeechBrain.
LISTS = {"noise": ("point_noise", "iso_noise"), "rir": ("real_rir",)}


def require_openrir(folder: Path) -> None:
    """Nothing, when a folder is OpenRIR's RIRS_NOISES.

    Raises
    ------
    DataError
        It is another.
    """
    require_files(folder, ["pointsource_noises", "real_rirs_isotropic_noises"], "OpenRIR's RIRS_NOISES")


def write_noise_lists(folder: Path, manifests: Path) -> str:
    """``noises.jsonl`` and ``rirs.jsonl`` of OpenRIR's folder RIRS_NOISES; a summary.

    Raises
    ------
    DataError
        It is another folder, or a file in it is damaged.
    """
    require_openrir(folder)
    counts = []
    for kind, parts in LISTS.items():
        try:
            found = prepare_rir_noise(folder.absolute(), parts=parts)
        except Exception as error:  # Lhotse raises whatever its readers of audio raise
            raise DataError(f"{folder}: holds a file that is no audio ({error})") from error
        files = sorted(_file_of(recording) for part in parts for recording in found[part]["recordings"])
        if not files:
            raise DataError(f"{folder}: holds no {' or '.join(parts)}")
        _write_list(manifests / f"{kind}s.jsonl", kind, files)
        counts.append(f"{len(files)} {kind}s")
    return f"OpenRIR: {', '.join(counts)}"


def _file_of(recording: Recording) -> str:
    return recording.sources[0].source


def _write_list(path: Path, kind: str, files: Iterable[str]) -> None:
    write_atomically(path, "".join(f"{json.dumps({'audio': file, 'kind': kind})}\n" for file in files))
