"""Silero's detector: the same chances as its own package finds, however the audio comes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from test_transcriber import RATE, ToneModel, play

from toolkit.cli.transcribe import main
from toolkit.decoders.ctc import CTCGreedySearcher
from toolkit.errors import ConfigError, MissingDependencyError
from toolkit.inference.long_audio import DETECTORS, LongAudio
from toolkit.inference.silero import CHANCE, Silero
from toolkit.inference.transcriber import Transcriber
from toolkit.tokenizer import Tokenizer

AN4 = Path(__file__).parents[3] / "shared/data/an4/wav/an4test_clstk/fcaw"


def buzz(seconds: float, seed: int = 0) -> torch.Tensor:
    """Something like a vowel: a hoarse buzz through three resonances, with noise."""
    time = np.arange(round(seconds * 16000)) / 16000
    tones = sum(
        np.exp(-(((120 * k - formant) / 150) ** 2)) * np.sin(2 * np.pi * 120 * k * time)
        for k in range(1, 30)
        for formant in (700, 1200, 2600)
    )
    noise = np.random.default_rng(seed).normal(0, 0.002, len(time))
    return torch.from_numpy((0.1 * tones * (1 + 0.3 * np.sin(8 * time)) + noise).astype(np.float32))


@pytest.mark.parametrize("frame", [320, 640, 1280, 512, 777])
def test_the_chances_are_those_of_the_package_at_any_frame_and_piece(frame: int) -> None:
    package = pytest.importorskip("silero_vad")
    wav = torch.cat([torch.zeros(9000), buzz(1.3), torch.zeros(7000), buzz(0.9, 1)[:-5]])
    peer = package.load_silero_vad(onnx=True)
    windows = torch.nn.functional.pad(wav, (0, -len(wav) % 512)).split(512)
    chances = [peer(window, 16000).item() for window in windows]
    starts = range(0, len(wav), frame)
    expected = [max(chances[start // 512 : -(-min(start + frame, len(chances) * 512) // 512)]) for start in starts]
    for piece in (100, 7777, len(wav)):
        detector = Silero(16000, frame)
        found = np.concatenate([detector.feed(block) for block in (*wav.split(piece), torch.zeros(0))])
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.skipif(not AN4.is_dir(), reason="needs ../shared/data")
def test_it_hears_speech_and_no_noise() -> None:
    pytest.importorskip("silero_vad")
    wav, rate = soundfile.read(sorted(AN4.glob("*.flac"))[0], dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * rate).astype(np.float32)
    shares = []
    for sound in (wav, noise):
        detector = Silero(rate, 640)
        chances = detector.feed(torch.from_numpy(sound))
        shares.append(float((chances > detector.threshold(chances)).mean()))
    assert shares[0] > 0.5
    assert shares[1] < 0.05


def test_importing_it_leaves_the_number_of_threads() -> None:
    pytest.importorskip("silero_vad")
    for name in [name for name in sys.modules if name.split(".")[0] == "silero_vad"]:
        del sys.modules[name]
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        Silero(16000, 640)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_other_rates_are_refused() -> None:
    with pytest.raises(ConfigError, match="22050"):
        Silero(22050, 640)


def test_the_transcriber_asks_the_detector_it_was_given(tokenizer: Tokenizer) -> None:
    class Deaf:
        def __init__(self, sample_rate: int, frame: int) -> None:
            self.sample_rate, self.frame = sample_rate, frame

        def feed(self, block: torch.Tensor) -> np.ndarray:
            return np.zeros(len(block) // self.frame)

        def threshold(self, around: np.ndarray) -> float:  # noqa: ARG002
            return CHANCE

    made = Transcriber(ToneModel(tokenizer), tokenizer, CTCGreedySearcher(), sample_rate=RATE, device="cpu")
    made.long_audio = LongAudio(whole_s=1.0)
    wav = play("CABAC")
    assert made.transcribe(wav).text
    made.long_audio = replace(made.long_audio, speech=Deaf)
    assert not made.transcribe(wav).text


def test_a_missing_package_is_said_before_anything_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(MissingDependencyError, match=r"asr-recipes\[vad\]"):
        main(["no_such_model", str(tmp_path / "a.wav"), "--vad", "silero"])


def test_the_command_has_all_detectors() -> None:
    from toolkit.cli.transcribe import VADS

    assert set(VADS) == set(DETECTORS)


def test_who_computes_it_tells_nobody_of_it(tmp_path: Path) -> None:
    """onnxruntime's telemetry begins with a file in the temporary folder."""
    pytest.importorskip("silero_vad")
    script = "from toolkit.inference.silero import Silero; Silero(16000, 512)"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", script], env=environment | {"TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
