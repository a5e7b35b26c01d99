"""``asr transcribe --stream``: what comes out of a pipe, while it comes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from toolkit.cli import stream
from toolkit.cli.main import main
from toolkit.inference.streaming import PartialTranscript, StreamingASR
from toolkit.inference.transcript import Transcript


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Four seconds of changing noise."""
    rng = np.random.default_rng(3)
    loudness = np.repeat(rng.uniform(0, 0.3, size=40), 1600)
    path = tmp_path / "speech.wav"
    soundfile.write(path, loudness * rng.standard_normal(len(loudness)), 16000)
    return path


@pytest.fixture
def asr(streaming_folder: Path) -> StreamingASR:
    return StreamingASR.from_hparams(streaming_folder, device="cpu")


def test_raw_samples_in_a_pipe_are_the_words_of_the_file(
    streaming_folder: Path, speech: Path, asr: StreamingASR, capsys: pytest.CaptureFixture[str]
) -> None:
    (whole,) = asr.transcribe_files([speech])
    assert len(whole.text) > 5
    samples, _ = soundfile.read(speech, dtype="int16")
    command = [sys.executable, "-m", "toolkit", "transcribe", str(streaming_folder), "--stream", "-", "--pause", "inf"]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, timeout=60, check=True)
    assert (done.stdout.decode(), done.stderr.decode()) == (f"{whole.text}\n", "")
    assert main(["transcribe", str(streaming_folder), "--stream", str(speech), "--pause", "inf"]) == 0
    assert capsys.readouterr().out == f"{whole.text}\n"


def test_half_a_sample_is_reported_below_what_was_understood(
    streaming_folder: Path,
    speech: Path,
    asr: StreamingASR,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (whole,) = asr.transcribe_files([speech])
    samples, _ = soundfile.read(speech, dtype="int16")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(samples.tobytes() + b"\x01")))
    assert main(["transcribe", str(streaming_folder), "--stream", "-", "--pause", "inf"]) == 2
    shown = capsys.readouterr()
    assert shown.out == f"{whole.text}\n"
    assert shown.err.startswith("error: the input ends in the middle of a sample")


def test_words_have_times_from_the_beginning_of_the_stream(
    streaming_folder: Path, speech: Path, asr: StreamingASR, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["transcribe", str(streaming_folder), "--stream", str(speech), "--format", "jsonl", "--pause"]
    assert main([*command, "inf"]) == 0
    (whole,) = asr.transcribe_files([speech])
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["text"] == whole.text
    assert [word["start"] for word in line["words"]] == pytest.approx([word.start for word in whole.words], abs=1e-3)
    assert main([*command, "0.2"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    times = [word["start"] for line in lines for word in line["words"]]
    assert len(lines) > 1
    assert times == sorted(times)


class SwitchedOff(io.BytesIO):
    """A microphone that is switched off by Ctrl-C."""

    def read1(self, size: int = -1) -> bytes:
        if data := super().read1(size):
            return data
        raise KeyboardInterrupt


def test_ctrl_c_ends_the_last_line(
    streaming_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], speech: Path
) -> None:
    samples, _ = soundfile.read(speech, dtype="int16")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SwitchedOff(samples.tobytes())))
    assert main(["transcribe", str(streaming_folder), "--stream=-"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stream", "-", "--chunk", "0"], "'0': expected seconds"),
        (["--stream", "-", "--sample-rate", "16k"], "'16k': expected samples a second"),
        (["--stream"], "expected one argument"),
    ],
)
def test_a_wrong_option_is_named(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["transcribe", "run", *arguments])
    assert message in capsys.readouterr().err


def test_a_model_that_needs_whole_utterances_is_refused(
    run_folder: Path, speech: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", str(run_folder), "--stream", str(speech)]) == 2
    assert capsys.readouterr().err.startswith("error: this model cannot stream: it needs whole utterances")


def test_a_chunk_of_other_length(streaming_folder: Path, speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(stream, "write", lambda asr, _, *options: seen.append((asr.context.chunk_frames, *options)))
    command = ["transcribe", str(streaming_folder), "--stream", str(speech), "--chunk", "0.64", "--pause", "2"]
    assert main(command) == 0
    assert seen == [(16, 2.0, "txt")]


class Parrot:
    """In the place of StreamingASR: hears the pieces, of a second each, as words, and silence in empty ones."""

    def stream(self) -> Parrot:
        fresh = Parrot()
        fresh.words, fresh.pause = [], 0.0
        return fresh

    def feed(self, piece: str) -> PartialTranscript:
        self.words += [piece] if piece else []
        self.pause = 0.0 if piece or not self.words else self.pause + 1
        text = " ".join(self.words)
        return PartialTranscript(text, max(0, len(text) - 2), 0.0, self.pause)

    def end_line(self) -> Transcript:
        line, self.words = Transcript(" ".join(self.words)), []
        return line

    finish = end_line


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def write(pieces: list[str], pause: float) -> str:
        stream.write(Parrot(), iter(pieces), pause, "txt")
        return capsys.readouterr().out

    return write


def test_a_line_ends_with_a_pause(written: Callable[..., str]) -> None:
    pieces = ["", "", "ONE", "", "TWO", "", "", "", "", "THREE"]
    assert written(pieces, 2) == "ONE TWO\nTHREE\n"
    assert written(pieces, 9) == "ONE TWO THREE\n"
    assert written(["", ""], 1) == ""


def test_on_a_terminal_the_partial_line_is_written_over(
    written: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "12")
    clear = "\r\x1b[K"
    shown = written(["SEVEN", "ELEVEN", "", ""], 2)
    assert shown.split(clear)[1:3] == ["SEV\x1b[2mEN\x1b[0m", "EVEN ELEV\x1b[2mEN\x1b[0m"]  # the last 11 characters
    assert f"{clear}SEVEN ELEVEN\n" in shown


def test_words_are_printed_when_the_input_breaks_off(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Iterator[str]:
        yield "ONE"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        stream.write(Parrot(), broken(), 2, "txt")
    assert capsys.readouterr().out == "ONE\n"
