"""Transcribing: any audio, alone or in company, from a run's folder that may be anybody's."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from toolkit.decoders.attention import AttentionSearcher
from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.hypothesis import Hypothesis
from toolkit.decoders.transducer import TransducerBeamSearcher
from toolkit.errors import AudioError, ConfigError, ExperimentError, ModelError, TokenizerError
from toolkit.inference.transcriber import Transcriber, length_batches
from toolkit.inference.transcript import Alternative, Transcript
from toolkit.models.convolution import ConvFrontEnd
from toolkit.models.features import LogMel
from toolkit.models.recogniser import AttentionModel, CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.models.transducer import StatelessPredictor, TransducerModel
from toolkit.models.transformer import TransformerDecoder
from toolkit.pretrained import trained_weights
from toolkit.tokenizer import Tokenizer

RATE = 16000
TONES = {"A": 400.0, "B": 800.0, "C": 1200.0}


class ToneModel(nn.Module):
    """Hears which of TONES sounds in each tenth of a second, and blank in silence; deaf at a wrong sample rate."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.vocab_size = len(tokenizer)
        self.columns = [tokenizer.pieces().index(name) for name in TONES]

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        step = RATE // 10
        frames = samples // step
        return wavs[:, : wavs.size(1) // step * step].unflatten(1, (-1, step)), frames

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(encoded).abs()  # bins of 10 Hz
        log_probs = torch.full((*encoded.shape[:2], self.vocab_size), -9.0)
        log_probs[..., 0] = -1.0
        peak = spectrum.argmax(dim=-1) * 10
        loud = encoded.abs().amax(dim=-1) > 0.05
        for column, tone in zip(self.columns, TONES.values(), strict=True):
            log_probs[..., column] = torch.where(loud & ((peak - tone).abs() <= 20), 0.0, -9.0)
        return log_probs.log_softmax(dim=-1)


@pytest.fixture
def tones(tokenizer: Tokenizer) -> Transcriber:
    return Transcriber(ToneModel(tokenizer), tokenizer, CTCGreedySearcher(), sample_rate=RATE, device="cpu")


def play(text: str, rate: int = RATE) -> np.ndarray:
    """Samples (S,) of the tones of a text: 0.3 s each, 0.3 s of silence around them."""
    time = np.arange(round(0.3 * rate)) / rate
    silence = np.zeros_like(time)
    parts = [silence]
    for character in text:
        parts += [0.5 * np.sin(2 * np.pi * TONES[character] * time), silence]
    return np.concatenate(parts).astype(np.float32)


def save(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def copied_run(run_folder: Path, tmp_path: Path) -> Path:
    """A run's folder to spoil."""
    return Path(shutil.copytree(run_folder, tmp_path / "copied_run"))


def noises(count: int = 7) -> list[Tensor]:
    """Waveforms of many lengths, each with a changing spectrum of its own."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.randint(1500, 40000, (count,), generator=generator).tolist()
    steps = [torch.randn(length // 400 + 1, generator=generator).repeat_interleave(400) for length in lengths]
    return [0.3 * torch.randn(n, generator=generator) * s[:n].abs() for n, s in zip(lengths, steps, strict=True)]


def random_recogniser(tokenizer: Tokenizer, kind: str) -> tuple[nn.Module, Tokenizer, Callable]:
    """A model of random weights that says something, its tokenizer and a search that returns two hypotheses."""
    torch.manual_seed(3)
    features, vocab_size = LogMel(RATE, 16), len(tokenizer)
    encoder = CRDNN(16, cnn_channels=[4, 4], rnn_neurons=16, rnn_layers=1, dnn_blocks=0)
    if kind == "ctc":
        model, search = CTCModel(features, encoder, vocab_size), CTCPrefixSearcher(topk=2)
    elif kind == "attention":
        decoder = TransformerDecoder(vocab_size, 16, layers=1, heads=2, hidden=16, memory_size=encoder.output_size)
        model = AttentionModel(features, encoder, vocab_size, decoder=decoder)
        search = AttentionSearcher(topk=2, beam_size=2, min_decode_ratio=0.1, max_decode_ratio=0.2)
    else:
        predictor = StatelessPredictor(vocab_size, size=8)
        model = TransducerModel(features, encoder, vocab_size, predictor=predictor, joint_size=8)
        search = TransducerBeamSearcher(topk=2, beam_size=2)
    for weights in model.parameters():
        nn.init.normal_(weights)
    return model, tokenizer, search


# Any audio


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_containers_rates_and_channels_sound_alike(
    tones: Transcriber, tmp_path: Path, suffix: str, rate: int, channels: int
) -> None:
    samples = np.stack([play("CAB", rate)] * channels, axis=1)
    path = save(tmp_path / f"speech.{suffix}", samples, rate)
    (transcript,) = tones.transcribe_files([path])
    assert (transcript.file, transcript.text) == (str(path), "CAB")
    assert transcript.duration == pytest.approx(2.1, abs=0.15)  # mp3 adds up to a tenth of a second


def test_voice_on_one_channel_is_heard(tones: Transcriber, tmp_path: Path) -> None:
    samples = play("BA")
    path = save(tmp_path / "call.wav", np.stack([samples, np.zeros_like(samples)], axis=1))
    assert [one.text for one in tones.transcribe_files([path])] == ["BA"]


# Alone or in company


def test_transcript_is_the_same_alone_and_in_any_batch(run_folder: Path) -> None:
    transcriber = Transcriber.from_hparams(run_folder, device="cpu")
    wavs = noises()
    alone = [transcriber.transcribe([wav])[0].text for wav in wavs]
    assert len(set(alone)) == len(alone)  # else what follows would show nothing
    assert all(alone)
    for seconds in (0.1, 3.0, 1000.0):
        assert [one.text for one in transcriber.transcribe(wavs, batch_seconds=seconds)] == alone
        assert [one.text for one in transcriber.transcribe(wavs[::-1], batch_seconds=seconds)] == alone[::-1]


def test_run_has_the_trained_weights_and_the_declared_search(run_folder: Path) -> None:
    transcriber = Transcriber.from_hparams(str(run_folder), device="cpu")
    assert isinstance(transcriber.model.encoder.front_end, ConvFrontEnd)
    assert not transcriber.model.training
    wav = noises(1)[0]
    weights = torch.load(run_folder / "model.ckpt")
    with torch.no_grad():
        encoded, _ = transcriber.model.encode(wav[None], torch.tensor([len(wav)]))
        best = (encoded[0] @ weights["ctc_output.weight"].T + weights["ctc_output.bias"]).argmax(dim=1).tolist()
    tokens = [token for token, before in zip(best, [0, *best[:-1]], strict=True) if token not in (0, before)]
    assert transcriber.transcribe([wav])[0].text == transcriber.tokenizer.decode(tokens)


def test_files_come_back_in_their_order_and_a_window_at_a_time(
    tones: Transcriber, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["A", "CAB", "BB", "ABCABC", "C", "BA"]
    paths = [save(tmp_path / f"{number}.wav", play(text)) for number, text in enumerate(texts)]
    assert [one.text for one in tones.transcribe_files(paths)] == texts
    monkeypatch.setattr("toolkit.inference.transcriber.READ_AHEAD_BATCHES", 1)
    found = tones.transcribe_files(paths, batch_seconds=1.0)
    first = next(found)
    assert (first.text, first.duration, first.file) == ("A", pytest.approx(0.9), str(paths[0]))
    for path in paths[3:]:
        path.unlink()  # not read yet, so archives need not fit in memory
    with pytest.raises(AudioError, match=r"(?s)3\.wav.*4\.wav.*5\.wav"):
        list(found)


def test_batches_sort_by_length_and_keep_to_their_size() -> None:
    lengths = [3, 100, 4, 0, 4, 7, 2]
    batches = list(length_batches(lengths, 12))
    assert sorted(place for batch in batches for place in batch) == [0, 1, 2, 4, 5, 6]
    assert [[lengths[place] for place in batch] for batch in batches] == [[100], [7], [4, 4, 3], [2]]
    assert list(length_batches([0, 0], 12)) == list(length_batches([], 12)) == []


def test_no_audio_no_words(tones: Transcriber, run_folder: Path) -> None:
    empty = torch.zeros(0)
    assert tones.transcribe([empty]) == [Transcript("")]
    found = Transcriber.from_hparams(run_folder, device="cpu").transcribe([empty, noises(1)[0], torch.zeros(1)])
    assert [bool(one.text) for one in found[:2]] == [False, True]
    assert (tones.transcribe([]), list(tones.transcribe_files([]))) == ([], [])


# What else it may be


@pytest.mark.parametrize("kind", ["ctc", "attention", "transducer"])
def test_as_many_texts_as_asked_for_are_those_of_a_search_for_so_many(tokenizer: Tokenizer, kind: str) -> None:
    model, tokenizer, search = random_recogniser(tokenizer, kind)
    search = dataclasses.replace(search, beam_size=5)
    expected, wavs = dataclasses.replace(search, topk=5), noises(3)
    expected = Transcriber(model, tokenizer, expected, sample_rate=RATE, device="cpu").transcribe(wavs)
    transcriber = Transcriber(model, tokenizer, search, sample_rate=RATE, device="cpu")
    found = transcriber.transcribe(wavs, nbest=5)
    assert found == expected
    assert max(len(one.nbest) for one in found) == 5
    assert all(len(one.nbest) <= 2 for one in transcriber.transcribe(wavs))  # as the search says
    assert [one.nbest[1:] for one in transcriber.transcribe(wavs, nbest=1)] == [()] * 3


def test_a_text_that_tokens_spell_in_two_ways_is_told_once(tokenizer: Tokenizer) -> None:
    def search(model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:  # noqa: ARG001
        spelled = [["A"], ["B"], ["▁", "A"], ["▁", "B"], ["C"]]
        tokens = [[tokenizer.pieces().index(piece) for piece in pieces] for pieces in spelled]
        return [[Hypothesis(one, -float(place)) for place, one in enumerate(tokens)]]

    transcriber = Transcriber(ToneModel(tokenizer), tokenizer, search, sample_rate=RATE, device="cpu")
    found = transcriber.transcribe(torch.from_numpy(play("A")))
    assert found.nbest == (Alternative("A", 0.0), Alternative("B", -1.0), Alternative("C", -4.0))


def test_more_texts_than_a_search_keeps_are_refused(tokenizer: Tokenizer, tones: Transcriber, tmp_path: Path) -> None:
    wav, path = torch.from_numpy(play("A")), save(tmp_path / "a.wav", play("A"))
    with pytest.raises(ConfigError, match="nbest=2: expected 1 to 1, as the model's CTCGreedySearcher keeps no more"):
        tones.transcribe(wav, nbest=2)
    assert len(tones.transcribe(wav, nbest=1).nbest) == 1
    transcriber = Transcriber(*random_recogniser(tokenizer, "transducer"), sample_rate=RATE, device="cpu")
    for wrong in (0, 3):
        with pytest.raises(ConfigError, match=f"nbest={wrong}: expected 1 to 2,"):
            list(transcriber.transcribe_files([path], nbest=wrong))


# When, and how sure


def test_words_have_times_and_confidence(tones: Transcriber) -> None:
    (transcript,) = tones.transcribe([torch.from_numpy(play("CAB"))])
    (word,) = transcript.words
    assert (word.text, word.start, word.end) == ("CAB", pytest.approx(0.3), pytest.approx(1.8))
    assert 0.0 < word.confidence <= 1.0
    assert transcript.tokens == ("C", "A", "B")
    assert transcript.nbest == (Alternative("CAB", transcript.score),)


@pytest.mark.parametrize("kind", ["ctc", "attention", "transducer"])
def test_words_are_the_text_whatever_the_model(tokenizer: Tokenizer, kind: str) -> None:
    """Random models, whose words mean nothing, but are spoken one after the other."""
    transcriber = Transcriber(*random_recogniser(tokenizer, kind), sample_rate=RATE, device="cpu")
    transcripts = transcriber.transcribe(noises(3))
    assert any(one.words for one in transcripts)
    for one in transcripts:
        if one.words:
            assert " ".join(word.text for word in one.words) == one.text
        times = [time for word in one.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert all(0.0 <= time <= one.duration + 0.08 for time in times)
        assert one.nbest[0] == Alternative(one.text, one.score)
        assert [alternative.score for alternative in one.nbest] == sorted((a.score for a in one.nbest), reverse=True)


# Bad input


def broken_files(folder: Path) -> dict[str, Path]:
    """Files that are no audio, by what is wrong with them."""
    whole = save(folder / "whole.wav", play("ABC")).read_bytes()
    contents = {
        "empty": b"",
        "text": b"these are words, not sounds\n" * 99,
        "cut off": save(folder / "whole.flac", play("ABC")).read_bytes()[:9000],
        "no samples": whole[:44].replace(whole[40:44], bytes(4)),
        "header only": b"RIFF\x00\x00\x00\x00WAVE",
    }
    for name, content in contents.items():
        (folder / f"{name}.wav").write_bytes(content)
    soundfile.write(folder / "not numbers.wav", np.full(1600, np.nan), RATE, subtype="FLOAT")
    (folder / "folder.wav").mkdir()
    return {name: folder / f"{name}.wav" for name in [*contents, "not numbers", "folder", "missing"]}


def test_broken_files_are_reported_and_the_others_transcribed(tones: Transcriber, tmp_path: Path) -> None:
    broken = broken_files(tmp_path)
    good = [save(tmp_path / f"{text}.wav", play(text)) for text in ("AC", "B")]
    errors: list[AudioError] = []
    found = tones.transcribe_files([good[0], *broken.values(), good[1]], on_error=errors.append)
    assert [(one.file, one.text) for one in found] == [(str(good[0]), "AC"), (str(good[1]), "B")]
    assert len(errors) == len(broken) == 8
    for error, path in zip(errors, broken.values(), strict=True):
        assert str(error).startswith(f"{path}: ")


def test_unreadable_files_raise_once_the_others_are_done(tones: Transcriber, tmp_path: Path) -> None:
    paths = [tmp_path / "missing.wav", save(tmp_path / "A.wav", play("A"))]
    found = tones.transcribe_files(paths)
    assert next(found).text == "A"
    with pytest.raises(AudioError, match=r"missing\.wav: no such audio file"):
        next(found)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda"])
def test_unknown_device_is_refused(tokenizer: Tokenizer, device: str) -> None:
    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(ConfigError, match=f"device '{device}'"):
        Transcriber(ToneModel(tokenizer), tokenizer, None, sample_rate=RATE, device=device)


def test_tokenizer_of_another_model_is_refused(tokenizer: Tokenizer) -> None:
    model = SimpleNamespace(vocab_size=len(tokenizer) + 1)
    with pytest.raises(ModelError, match=r"tokenizer\.model: \d tokens, but the model was trained with \d"):
        Transcriber(model, tokenizer, None, sample_rate=RATE)


# Run folders


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"no hyperparams\.yaml here"):
        Transcriber.from_hparams(tmp_path)
    with pytest.raises(ExperimentError, match=r"missing: no such folder"):
        Transcriber.from_hparams(tmp_path / "missing")


def test_run_without_weights_is_refused(copied_run: Path) -> None:
    (copied_run / "model.ckpt").unlink()
    with pytest.raises(ExperimentError, match="no finished epoch"):
        Transcriber.from_hparams(copied_run)


def test_run_without_tokenizer_is_refused(copied_run: Path) -> None:
    (copied_run / "tokenizer.model").unlink()
    with pytest.raises(TokenizerError, match=r"tokenizer\.model: cannot be read"):
        Transcriber.from_hparams(copied_run)


@pytest.mark.parametrize("key", ["model", "test_search", "sample_rate"])
def test_run_of_something_else_is_refused(copied_run: Path, key: str) -> None:
    hparams = (copied_run / "hyperparams.yaml").read_text().replace("!ref <sample_rate>", "16000")
    (copied_run / "hyperparams.yaml").write_text(hparams.replace(f"\n{key}: ", "\nother: "))
    with pytest.raises(ConfigError, match=rf"hyperparams\.yaml.*{key}"):
        Transcriber.from_hparams(copied_run)


def test_weights_of_another_model_are_refused(copied_run: Path) -> None:
    hparams = (copied_run / "hyperparams.yaml").read_text()
    (copied_run / "hyperparams.yaml").write_text(hparams.replace("rnn_neurons: 16", "rnn_neurons: 8"))
    with pytest.raises(ModelError, match="do not fit"):
        Transcriber.from_hparams(copied_run)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 nor a zip file"])
def test_damaged_weights_are_refused(copied_run: Path, content: bytes) -> None:
    (copied_run / "model.ckpt").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.ckpt"):
        Transcriber.from_hparams(copied_run)


def test_weights_that_are_no_state_dict_are_refused(copied_run: Path) -> None:
    torch.save([torch.zeros(3)], copied_run / "model.ckpt")
    with pytest.raises(ModelError, match=r"model\.ckpt"):
        Transcriber.from_hparams(copied_run)


# Hostile folders: MARKER is a file that a successful attack makes

HOSTILE = {
    "apply": "!apply:os.system [touch MARKER]",
    "new": "!new:subprocess.Popen [[touch, MARKER]]",
    "name": "!name:os.system [touch MARKER]",
    "name of a function behind a module": "!name:torch.nn.modules.module.torch.hub.load",
    "function behind a module": "!apply:toolkit.hparams.pydoc.os.system [touch MARKER]",
    "class behind a module": "!new:toolkit.experiment.subprocess.Popen [[touch, MARKER]]",
    "method of a class": "!apply:toolkit.tokenizer.Path.touch [!new:toolkit.tokenizer.Path [MARKER]]",
    "include": "!include:/etc/hostname",
    "module": "!module:os",
    "applyref": "!applyref:os.system [touch MARKER]",
    "python object": "!!python/object/apply:os.system [touch MARKER]",
    "python object, verbatim": "!<tag:yaml.org,2002:python/object/apply:os.system> [touch MARKER]",
    "python name": "!!python/name:os.system",
    "tuple": "(!!python/object/apply:os.system [touch MARKER])",
    "tagged tuple": "!tuple x!!python/object/apply:os.system [touch MARKER]x",
    "percent-encoded": "!apply%3Aos.system [touch MARKER]",
    "in an argument": "{a: [1, {b: !apply:os.system [touch MARKER]}]}",
    "in a key": "{!apply:os.system [touch MARKER] : 1}",
    "in a set": "!!set {? !apply:os.system [touch MARKER] }",
    "in a merged mapping": "{<<: {a: !apply:os.system [touch MARKER]}}",
    "in an argument of a reference": "!ref [!apply:os.system [touch MARKER]]",
    "class that runs commands": "!new:lhotse.dataset.webdataset.LazyWebdatasetIterator {source: 'pipe:touch MARKER'}",
    "attribute of nothing": "!apply:getattr []",
    "attribute that is no name": "!apply:getattr [1, [a]]",
    "class that cannot be imported": "!new:speechbrain.nnet.there_is_no_such_module.Layer",
    "tuple from references": "!ref (<bang>python/object/apply:os.system [touch MARKER])",
    "tuple from arithmetic": """!ref '"(\\x21\\x21python/object/apply:os.system [touch MARKER])" + "<nothing>"'""",
    "private attribute": "!ref <tokenizer.__class__>",
    "reference in a circle": "!ref <sample_rate>",
    "reference to nothing": "!ref <there_is_no_such_key>",
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_yaml_is_refused_before_anything_is_built(
    copied_run: Path, attack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = copied_run / "marker"
    value = HOSTILE[attack].replace("touch MARKER", f"touch {marker}").replace("MARKER", str(marker))
    hparams = (copied_run / "hyperparams.yaml").read_text()
    spoilt = hparams.replace("sample_rate: 16000", f"bang: '!!'\nnothing: ''\nsample_rate: {value}", 1)
    (copied_run / "hyperparams.yaml").write_text(spoilt)
    built: list[str] = []
    monkeypatch.setattr(Tokenizer, "__init__", lambda *_, **__: built.append("tokenizer"))
    monkeypatch.setattr(os, "system", lambda command: built.append(command))
    with pytest.raises(ConfigError, match=r"hyperparams\.yaml"):
        Transcriber.from_hparams(copied_run)
    assert not marker.exists()
    assert not built


def test_number_of_checkpoints_to_average_is_checked_like_the_rest(copied_run: Path) -> None:
    with (copied_run / "hyperparams.yaml").open("a") as hparams:
        hparams.write("average_checkpoints: !apply:os.getpid\n")
    with pytest.raises(ConfigError, match=r"!apply:os\.getpid"):
        Transcriber.from_hparams(copied_run)
    with pytest.raises(ConfigError, match=r"!apply:os\.getpid"):
        trained_weights(copied_run)


@pytest.mark.parametrize("tag", ["!apply:os.system [touch MARKER]", "(!!python/object/apply:os.system [touch MARKER])"])
def test_what_inference_does_not_need_is_not_built(copied_run: Path, tag: str) -> None:
    marker = copied_run / "marker"
    with (copied_run / "hyperparams.yaml").open("a") as hparams:
        hparams.write(f"opt_class: {tag.replace('MARKER', str(marker))}\n")
    assert Transcriber.from_hparams(copied_run, device="cpu").sample_rate == RATE
    assert not marker.exists()


class Pickled:
    """Pickles as a call of ``os.mkdir``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_code_in_weights_is_not_run(copied_run: Path) -> None:
    marker = copied_run / "marker"
    torch.save({"ctc_output.bias": Pickled(marker)}, copied_run / "model.ckpt")
    with pytest.raises(ModelError, match=r"model\.ckpt"):
        Transcriber.from_hparams(copied_run)
    assert not marker.exists()
