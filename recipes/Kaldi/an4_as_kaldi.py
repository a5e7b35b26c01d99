"""AN4 as data folders of Kaldi's, to try the recipe with: what a speaker says as one recording, and its segments.

    python ../AN4/an4_prepare.py /data/an4 manifests/an4
    python an4_as_kaldi.py manifests/an4 data

writes data/train, data/dev and data/test, and their recordings to data/audio: utterances with 0.2 to 0.75 s of silence
between them, as FLAC and NIST SPHERE by commands as Kaldi's recipes have them, and as WAV by their paths.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import soundfile

from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.script import run
from toolkit.files import write_atomically

# By split: Kaldi's name of it, container, and what stands in wav.scp.
SPLITS = {
    "train": ("train", "FLAC", "flac -c -d -s {} |"),
    "valid": ("dev", "WAV", "{}"),
    "test": ("test", "NIST", "sph2pipe -f wav -p -c 1 {} |"),
}
SUFFIXES = {"FLAC": "flac", "WAV": "wav", "NIST": "sph"}
SAMPLE_RATE = 16000
SILENCE = (3200, 12000)  # samples, at least and at most


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folders that the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifests", type=Path, metavar="MANIFESTS", help="what ../AN4/an4_prepare.py wrote")
    parser.add_argument("data", type=Path, metavar="DATA", help="where to write the folders")
    args = parser.parse_args(arguments)
    for split in SPLITS:
        write_folder(args.manifests / f"{split}.json", args.data.resolve(), *SPLITS[split])


def write_folder(manifest: Path, data: Path, name: str, container: str, command: str) -> None:
    """A data folder, and its recordings."""
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"wav.scp": [], "segments": [], "text": [], "utt2spk": []}
    cuts = sorted(read_manifest(manifest), key=lambda cut: cut.supervisions[0].speaker)
    for speaker, said in groupby(cuts, key=lambda cut: cut.supervisions[0].speaker):
        pieces, end = [], 0
        for cut in said:
            silence = np.zeros(rng.integers(*SILENCE), np.int16)
            samples, _ = soundfile.read(cut.recording.sources[0].source, dtype="int16")
            start, end = end + len(silence), end + len(silence) + len(samples)
            pieces += [silence, samples]
            utterance = f"{speaker}-{cut.id}"
            lines["segments"].append(f"{utterance} {speaker} {start / SAMPLE_RATE:.4f} {end / SAMPLE_RATE:.4f}")
            lines["text"].append(f"{utterance} {cut.supervisions[0].text}")
            lines["utt2spk"].append(f"{utterance} {speaker}")
        path = data / "audio" / name / f"{speaker}.{SUFFIXES[container]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.concatenate(pieces), SAMPLE_RATE, format=container, subtype="PCM_16")
        lines["wav.scp"].append(f"{speaker} {command.format(path)}")
    for file, content in lines.items():
        write_atomically(data / name / file, "".join(f"{line}\n" for line in sorted(content)))


if __name__ == "__main__":
    run(main)
