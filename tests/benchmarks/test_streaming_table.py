"""The table of chunks: what is heard as a whole and in chunks, each in its row, and how long a chunk takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_experiment import load_script
from tone_corpus import make_tone_corpus

from toolkit.dataio.manifests import read_manifest
from toolkit.inference.streaming import StreamingASR
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.models.chunks import Context

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_a_row_for_each_chunk(streaming_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_tone_corpus(tmp_path, utterances=3)
    manifest = tmp_path / "manifests/test.json"
    load_script(FOLDER / "streaming.py").main([str(streaming_folder), str(manifest)])
    figures = re.findall(
        r"^\| ([^|]+) \| ([\d.]+) \| \d+, \d+, \d+ \| ([\d.]+) \|([ \d.]*)\|([ \d.]*)\| [\d.]+ \|$",
        capsys.readouterr().out,
        re.M,
    )
    assert [row[0] for row in figures] == ["the whole utterance", "1280 ms", "640 ms", "320 ms"]
    asr, cuts = StreamingASR.from_hparams(streaming_folder, device="cpu"), list(read_manifest(manifest))
    asr.context = Context(8, 8)
    scored = ErrorRateTracker()
    for cut, transcript in zip(
        cuts, asr.transcribe_files(cut.recording.sources[0].source for cut in cuts), strict=True
    ):
        scored.add(cut.id, cut.supervisions[0].text, transcript.text)
    assert float(figures[3][2]) == pytest.approx(scored.cer, abs=0.051)
    assert 0 < float(figures[3][3]) <= float(figures[3][4]) < 320
