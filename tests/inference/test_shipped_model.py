"""The model that comes with the project: whole, small, found from anywhere, and as good as its card says."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch

from toolkit.inference.comparison import sounds
from toolkit.inference.transcriber import Transcriber
from toolkit.metrics.error_rate import ErrorRateTracker

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "pretrained/an4-small"
REAL = Path(os.environ.get("ASR_DATA", ROOT.parent / "shared/data")) / "an4"

FACTS = json.loads((MODEL / "provenance.json").read_text())


def test_it_is_whole_and_small() -> None:
    files = {str(file.relative_to(MODEL)): file for file in MODEL.rglob("*") if file.is_file()}
    stored = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    said_to_be = FACTS["exported"]["sha256"]
    assert {name: digest for name, digest in stored.items() if name in said_to_be} == said_to_be
    assert stored.keys() - said_to_be.keys() == {"README.md", "provenance.json", "confidence.json"}
    assert sum(file.stat().st_size for file in files.values()) < 6e6
    assert f"| this folder | {FACTS['comparison']['test']} (130 utterances) | 7.24 |" in files["README.md"].read_text()


def test_it_is_found_from_anywhere_and_hears_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    transcriber = Transcriber.from_hparams("pretrained/an4-small", device="cpu")
    wavs = sounds(16000)
    together = [one.text for one in transcriber.transcribe(wavs)]
    assert together == [transcriber.transcribe([wav])[0].text for wav in wavs]
    with torch.inference_mode():
        encoded, _ = transcriber.model.encode(wavs[0].unsqueeze(0), torch.tensor([len(wavs[0])]))
        shares = transcriber.model.ctc_log_probs(encoded).exp().sum(2)
    torch.testing.assert_close(shares, torch.ones_like(shares))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the recordings of AN4")
def test_its_word_error_rate_is_that_of_its_card() -> None:
    transcripts = dict(map(_named, (REAL / "etc/an4_test.transcription").read_text().splitlines()))
    files = sorted((REAL / "wav/an4test_clstk").rglob("*.flac"))
    transcriber, scored = Transcriber.from_hparams(MODEL, device="cpu"), ErrorRateTracker()
    for found in transcriber.transcribe_files(files):
        scored.add(found.file, transcripts[Path(found.file).stem], found.text)
    assert len(scored.utterances) == FACTS["comparison"]["utterances"]
    # other processors round otherwise: two words of 773
    assert scored.wer == pytest.approx(FACTS["comparison"]["after"]["wer"], abs=0.3)


def _named(line: str) -> tuple[str, str]:
    """``RUBOUT G M E F (an406-fcaw-b)`` -> name and words."""
    words, _, name = line.strip().rstrip(")").rpartition(" (")
    return name, words
