"""What the audio keys and the limits of a configuration do to examples, with an index and without."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from lhotse.dataset import DynamicCutSampler
from torchaudio.functional import resample

from toolkit.dataio.augment import Augmentation
from toolkit.dataio.blend import Blend, sources_of
from toolkit.dataio.buckets import Caps
from toolkit.dataio.concatenation import Concatenation
from toolkit.dataio.config import DataConfig
from toolkit.dataio.cut_audio import load_cut
from toolkit.dataio.cutset import read_cutset_from_config
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.preparation import prepare_cuts
from toolkit.dataio.text_adapters import NeMoMultimodalConversation, TextExample
from toolkit.dataio.tokenize import TokenizerWrapper, tokenize
from toolkit.errors import ConfigError, DataError

SECONDS = [0.5, 1.0, 1.5, 2.0, 2.5]


class Letters:
    """A token for each letter."""

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Five utterances of 0.5 to 2.5 s at 8 kHz, in which sample s of utterance u is u + s / 8000 in thousandths."""
    monkeypatch.chdir(tmp_path)
    lines = []
    for number, seconds in enumerate(SECONDS):
        samples = (number + np.arange(round(seconds * 8000)) / 8000) / 1000
        soundfile.write(f"{number}.wav", samples, 8000, subtype="FLOAT")
        lines.append({"audio_filepath": f"{number}.wav", "duration": seconds, "text": "ABCDE"[: number + 1]})
    Path("m.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return "m.jsonl"


def stream(cuts: CutSet) -> CutSet:
    """The same examples without an index."""

    class Stream:
        def __iter__(self) -> Iterable[Cut]:
            return iter(cuts)

    return CutSet(Stream())


def prepared(manifest: str, change: Callable[[CutSet], CutSet] = lambda cuts: cuts, **values: Any) -> CutSet:
    config = DataConfig.from_hparams("d", {"manifest_filepath": manifest, "sample_rate": 8000} | values, batched=False)
    letters = partial(tokenize, tokenizer=TokenizerWrapper(Letters()))
    return prepare_cuts(change(read_cutset_from_config(config)[0]), config, "d", tokenize=letters)


def lengths(cuts: CutSet) -> list[float]:
    """Durations of the cuts; an index knows them before."""
    durations = [cut.duration for cut in cuts]
    data = sources_of(cuts)
    if isinstance(data, Indexed):
        np.testing.assert_allclose(data.lengths, durations, atol=1e-3)
    return durations


both = pytest.mark.parametrize("change", [lambda cuts: cuts, stream], ids=["indexed", "stream"])


@both
@pytest.mark.parametrize(
    ("limits", "kept", "said"),
    [
        ({"min_duration": 0.9, "max_duration": 2.0}, [1, 2, 3], "2 by min_duration, max_duration"),
        ({"max_tps": 2.0}, [0, 1, 2, 3, 4], ""),
        ({"min_tps": 2.0}, [0, 1, 2, 3, 4], ""),
        ({"min_tps": 2.1}, None, "5 by min_tps, max_tps"),
        ({"min_duration": 1.1, "max_tps": 1.0}, None, "2 by min_duration, max_duration, 3 by min_tps, max_tps"),
        ({"min_tokens": 3}, [0, 1, 2, 3, 4], ""),
    ],
)
def test_limits(
    manifest: str,
    change: Callable[[CutSet], CutSet],
    limits: dict[str, float],
    kept: list[int] | None,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    if kept is None:
        with pytest.raises(DataError, match=f"^d: none of 5 examples is left; left out: {said}$"):
            list(prepared(manifest, change, **limits))
        return
    cuts = prepared(manifest, change, **limits)
    assert [cut.id for cut in cuts] == [f"{number}.wav" for number in kept]
    assert ("left out" in caplog.text) is bool(said)
    assert said in caplog.text


def test_limits_on_tokens_of_texts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A\nABCDEF\nABC\n")
    values = {"input_cfg": [{"type": "txt", "paths": str(tmp_path / "a.txt")}], "force_finite": True}
    config = DataConfig.from_hparams("d", values | {"min_tokens": 2, "max_tokens": 4}, batched=False)

    def length(example: TextExample) -> TextExample:
        example.context_ids = example.input_ids = torch.arange(len(example.text))
        return example

    assert [one.text for one in prepare_cuts(read_cutset_from_config(config)[0], config, "d", tokenize=length)] == [
        "ABC"
    ]
    config = DataConfig.from_hparams("d", values | {"min_tokens": 20, "force_finite": False}, batched=False)
    with pytest.raises(DataError, match="d: none of 3 examples is left; left out: 3 by min_tokens, max_tokens"):
        list(prepare_cuts(read_cutset_from_config(config)[0], config, "d", tokenize=length))


def test_limits_on_tokens_leave_out_no_utterance(manifest: str, caplog: pytest.LogCaptureFixture) -> None:
    config = DataConfig.from_hparams("d", {"manifest_filepath": manifest, "max_tokens": 1}, batched=False)

    def unbuilt(cut: Cut) -> Cut:
        assert cut.id == "0.wav"
        return cut

    cuts = prepare_cuts(read_cutset_from_config(config)[0], config, "d", tokenize=unbuilt)
    assert len(sources_of(cuts)) == len(SECONDS)
    assert "d: min_tokens, max_tokens: are of texts and conversations, and leave out no utterance" in caplog.text


def test_the_source_that_limits_leave_empty_is_named(tmp_path: Path) -> None:
    lines = {"short": 0.5, "long": 5.0}
    for name, seconds in lines.items():
        entry = {"audio_filepath": "a.wav", "duration": seconds, "sampling_rate": 8000, "text": "A"}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(entry))
    short, long = ({"type": "nemo", "manifest_filepath": str(tmp_path / f"{name}.jsonl")} for name in lines)
    nested = {"input_cfg": [long, {"type": "group", "input_cfg": [long, short]}]}
    listed = {"manifest_filepath": [long["manifest_filepath"], short["manifest_filepath"]]}
    for values, said in ((nested, r"input_cfg\[1\]\.input_cfg\[1\]"), (listed, r"manifest_filepath\[1\]")):
        config = DataConfig.from_hparams("d", values | {"min_duration": 1.0}, batched=False)
        with pytest.raises(DataError, match=rf"d\.{said}: none of 1 examples is left"):
            prepare_cuts(read_cutset_from_config(config)[0], config, "d")


def test_an_endless_stream_of_which_nothing_is_kept_does_not_hang(
    manifest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.dataio.preparation._PATIENCE", 50)

    def endless(cuts: CutSet) -> CutSet:
        class Stream:
            def __iter__(self) -> Iterable[Cut]:
                while True:
                    yield from cuts

        return CutSet(Stream())

    assert len(list(islice(prepared(manifest, endless, min_duration=1.0), 100))) == 100
    with pytest.raises(DataError, match="d: none of 50 examples is left; left out: 50 by min_duration"):
        list(prepared(manifest, endless, min_duration=10.0))


@both
def test_resampling(manifest: str, change: Callable[[CutSet], CutSet]) -> None:
    for number, cut in enumerate(prepared(manifest, change, sample_rate=16000)):
        expected = resample(torch.from_numpy(soundfile.read(f"{number}.wav", dtype="float32")[0]), 8000, 16000)
        torch.testing.assert_close(load_cut(cut), expected, atol=1e-6, rtol=0)
    for cut in prepared(manifest, change):
        assert cut.recording.transforms is None


@both
def test_speed_copies(manifest: str, change: Callable[[CutSet], CutSet]) -> None:
    cuts = prepared(manifest, change, perturb_speed=True)
    speeds = {"wav": 1.0, "wav_sp0.9": 0.9, "wav_sp1.1": 1.1}
    assert sorted(cut.id for cut in cuts) == sorted(f"{number}.{name}" for number in range(5) for name in speeds)
    lengths(cuts)
    for cut in cuts:
        number, name = cut.id.split(".", maxsplit=1)
        assert cut.duration == pytest.approx(SECONDS[int(number)] / speeds[name], abs=1e-3)
        assert abs(len(load_cut(cut)) - cut.duration * 8000) <= 1


@both
@pytest.mark.parametrize("part", ["random", "start", "end"])
def test_truncation(manifest: str, change: Callable[[CutSet], CutSet], part: str) -> None:
    values = {
        "truncate_duration": 0.8,
        "truncate_offset_type": part,
        "sample_rate": 8000,
        "manifest_filepath": manifest,
    }
    cuts = prepared(manifest, change, **values)
    data = sources_of(cuts)
    if isinstance(data, Indexed):
        np.testing.assert_allclose(data.lengths, [0.5, 0.8, 0.8, 0.8, 0.8])
    augment = Augmentation.from_config(DataConfig.from_hparams("d", values, batched=False))
    starts = set()
    for epoch in range(5):
        heard = [augment(cut, epoch) for cut in cuts]
        assert [cut.id for cut in heard] == [f"{number}.wav" for number in range(5)]
        assert [cut.duration for cut in heard] == pytest.approx([0.5, 0.8, 0.8, 0.8, 0.8])
        last = load_cut(heard[4]).numpy() * 1000 - 4
        np.testing.assert_allclose(np.diff(last), 1 / 8000, atol=1e-5)
        starts.add(round(float(last[0]), 3))
        assert round(float(load_cut(augment(list(cuts)[4], epoch))[0]) * 1000 - 4, 3) == round(float(last[0]), 3)
    expected = {"start": {0.0}, "end": {1.7}}.get(part)
    assert starts == expected if expected else len(starts) == (5 if change is not stream else 1)


@both
@pytest.mark.parametrize("side", ["left", "right", "both", "random"])
def test_padding_to_a_shortest_duration(manifest: str, change: Callable[[CutSet], CutSet], side: str) -> None:
    values = {"pad_min_duration": 2.0, "pad_direction": side, "sample_rate": 8000, "manifest_filepath": manifest}
    augment = Augmentation.from_config(DataConfig.from_hparams("d", values, batched=False))
    before = set()
    cuts = prepared(manifest, change, **values)
    for cut in (augment(cut, epoch) for epoch in range(8) for cut in cuts):
        number = int(cut.id[0])
        samples = load_cut(cut).numpy()
        assert len(samples) == max(SECONDS[number], 2.0) * 8000
        if number == 1:
            heard = np.flatnonzero(samples)
            assert len(heard) == 8000
            before.add(round(heard[0] / 8000, 1))
    if side == "random" and change is stream:  # each pass of an endless stream draws anew, as ids say which it is
        assert len(before) == 1
    else:
        assert before == {"left": {1.0}, "right": {0.0}, "both": {0.5}, "random": {0.0, 0.5, 1.0}}[side]


@both
@pytest.mark.parametrize(("seconds", "hop"), [(1.0, None), (1.0, 0.4), (0.7, 1.1), (9.0, None)])
def test_windows(manifest: str, change: Callable[[CutSet], CutSet], seconds: float, hop: float | None) -> None:
    cuts = prepared(manifest, change, cut_into_windows_duration=seconds, cut_into_windows_hop=hop)
    expected = read_cutset_from_config({"manifest_filepath": manifest})[0].cut_into_windows(seconds, hop)
    assert [(cut.id, cut.duration) for cut in cuts] == [(cut.id, pytest.approx(cut.duration)) for cut in expected]
    lengths(cuts)
    for cut, other in zip(cuts, expected, strict=True):
        np.testing.assert_array_equal(load_cut(cut), load_cut(other))


def test_channels(manifest: str) -> None:
    soundfile.write("two.wav", np.stack([np.full(8000, 0.25), np.full(8000, 0.5)], axis=1), 8000)
    line = {"audio_filepath": "two.wav", "duration": 1.0, "text": "A", "side": 1}
    Path(manifest).write_text(f"{json.dumps(line)}\n")
    for selector, level in ((0, 0.25), (1, 0.5), ("side", 0.5), ("average", 0.375), (None, 0.375)):
        (cut,) = prepared(manifest, channel_selector=selector)
        assert (cut.id, cut.supervisions[0].text) == ("two.wav", "A")
        np.testing.assert_allclose(load_cut(cut), level, atol=1e-4)
    with pytest.raises(DataError, match=r"channel_selector: cut 'two.wav' has no channel 2; it has \[0, 1\]"):
        list(prepared(manifest, channel_selector=2))
    with pytest.raises(DataError, match=r"channel_selector: cut 'two.wav' has no field 'near'"):
        list(prepared(manifest, channel_selector="near"))


def test_two_rates_and_no_sample_rate(manifest: str) -> None:
    soundfile.write("wide.wav", np.zeros(16000), 16000)
    Path("w.jsonl").write_text('{"audio_filepath": "wide.wav", "duration": 1.0, "text": "A"}\n')
    with pytest.raises(DataError, match=r"d: one of 16000 Hz \('wide.wav'\) among cuts of 8000 Hz; set sample_rate"):
        prepared(manifest, manifest_filepath=[manifest, "w.jsonl"], sample_rate=None)
    assert {cut.sampling_rate for cut in prepared(manifest, sample_rate=None)} == {8000}
    with Path(manifest).open("a") as file:
        file.write(Path("w.jsonl").read_text())
    with pytest.raises(DataError, match=r"wide.wav.* set sample_rate"):
        list(prepared(manifest, sample_rate=None))
    rates = {
        cut.sampling_rate for cut in prepared(manifest, manifest_filepath=[manifest, "w.jsonl"], force_finite=True)
    }
    assert rates == {8000}


def test_a_blend_keeps_its_index(manifest: str) -> None:
    cuts = prepared(manifest, manifest_filepath=[[manifest, 1], [manifest, 3]], max_duration=2.0, perturb_speed=True)
    data = sources_of(cuts)
    assert isinstance(data, Blend)
    assert [len(source) for source in data.sources] == [11, 11]  # 2.2 s and 2.5 / 1.1 s are too long, 2.0 / 1.1 is not
    assert data.weights == [1, 3]
    assert len(list(islice(cuts, 100))) == 100


@both
def test_conversations_are_resampled_and_filtered_but_not_copied(
    manifest: str, change: Callable[[CutSet], CutSet], caplog: pytest.LogCaptureFixture
) -> None:
    item = {"type": "lhotse_as_conversation", "manifest_filepath": manifest, "audio_locator_tag": "[audio]"}
    values = {"manifest_filepath": None, "input_cfg": [item], "sample_rate": 16000, "perturb_speed": True}
    config = DataConfig.from_hparams("d", values | {"max_duration": 1.2}, batched=False)
    examples = list(prepare_cuts(change(read_cutset_from_config(config)[0]), config, "d"))
    assert len(examples) == 2
    assert caplog.text.count("perturb_speed: copies utterances alone; conversations, as '0.wav', are as they were") == 1
    assert all(isinstance(one, NeMoMultimodalConversation) for one in examples)
    assert {cut.sampling_rate for one in examples for cut in one.list_cuts()} == {16000}


@pytest.mark.usefixtures("manifest")
def test_seconds_of_conversations_are_those_of_their_audio() -> None:
    turns = [{"type": "audio", "from": "user", "value": f"{number}.wav"} for number in range(len(SECONDS))]
    lines = [{"id": str(number), "conversations": [turn]} for number, turn in enumerate(turns)]
    Path("talk.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    item = {"type": "multimodal_conversation", "manifest_filepath": "talk.jsonl", "audio_locator_tag": "[audio]"}
    values = {"input_cfg": [item], "max_duration": 1.6, "pad_min_duration": 1.2, "force_finite": True}
    config = DataConfig.from_hparams("d", values, batched=False)
    cuts = [cut for one in prepare_cuts(read_cutset_from_config(config)[0], config, "d") for cut in one.list_cuts()]
    assert [cut.duration for cut in cuts] == [1.2, 1.2, 1.5]


def test_concatenation(manifest: str) -> None:
    values = {"manifest_filepath": manifest, "sample_rate": 8000, "concatenate_samples": True}
    values |= {"concatenate_gap_seconds": 0.2, "db_norm": -20.0}
    config = DataConfig.from_hparams("d", values, batched=False)
    augment, join = Augmentation.from_config(config), Concatenation.from_config(config)
    cuts = [augment(cut, 0) for cut in prepared(manifest)]
    joined = join(cuts)
    assert [(cut.id, cut.duration) for cut in joined] == [
        ("4.wav", 2.5), ("3.wav", 2.0), ("2.wav+0.wav", pytest.approx(2.2)), ("1.wav", 1.0)
    ]  # fmt: skip
    assert [supervision.text for cut in joined for supervision in cut.supervisions] == ["ABCDE", "ABCD", "ABC A", "AB"]
    samples = load_cut(joined[2]).numpy()
    parts = samples[:12000], samples[12000:13600], samples[13600:]
    assert [10 * np.log10(np.mean(part**2)) for part in (parts[0], parts[2])] == pytest.approx([-20, -20], abs=0.01)
    assert not parts[1].any()
    kept = Concatenation(0.2, merge=False)(cuts)[2]
    assert [supervision.text for supervision in kept.supervisions] == ["ABC", "A"]
    assert Concatenation.from_config(DataConfig.from_hparams("d", {"cuts_path": "a"}, batched=False)) is None


@pytest.mark.parametrize("quadratic", [None, 2.0])
def test_joined_batches_keep_the_cap(manifest: str, quadratic: float | None) -> None:
    values = {"manifest_filepath": manifest, "concatenate_samples": True, "concatenate_duration_factor": 2.5}
    cut = prepared(manifest)[2]  # 1.5 s
    cap = 2 * float(Caps(quadratic=quadratic).effective(np.array(1.5)))  # a full batch of two

    def joined(cap: float) -> list[float]:
        caps = {"batch_duration": cap, "quadratic_duration": quadratic}
        join = Concatenation.from_config(DataConfig.from_hparams("d", values | caps))
        return [one.duration for one in join([cut, cut.with_id("again")])]

    assert joined(cap) == [1.5, 1.5]  # 3.1 s would be too much
    assert joined(2 * cap) == pytest.approx([3.1])


def test_simulated_rooms(manifest: str) -> None:
    values = {"manifest_filepath": manifest, "sample_rate": 8000, "rir_enabled": True, "rir_prob": 1.0, "seed": 3}
    runs = []
    for _ in range(2):
        augment = Augmentation.from_config(DataConfig.from_hparams("d", values, batched=False))
        torch.manual_seed(len(runs))
        runs.append([load_cut(augment(cut, epoch)) for epoch in range(2) for cut in prepared(manifest)])
    for dry, wet, again in zip([*prepared(manifest)] * 2, *runs, strict=True):
        torch.testing.assert_close(wet, again, rtol=0, atol=0)
        assert len(wet) == dry.num_samples
        assert not torch.allclose(wet, load_cut(dry), atol=1e-5)
    assert not torch.equal(runs[0][4], runs[0][9])


def test_what_cannot_be_together() -> None:
    with pytest.raises(ConfigError, match="cut_into_windows_duration: excludes truncate_duration"):
        DataConfig.from_hparams(
            "d", {"cuts_path": "a", "truncate_duration": 3, "cut_into_windows_duration": 2}, batched=False
        )


def test_lhotses_samplers_take_what_is_prepared(manifest: str) -> None:
    cuts = prepared(manifest, perturb_speed=True, min_duration=0.6)
    batches = list(DynamicCutSampler(cuts, max_duration=5.0, shuffle=True, seed=1))
    assert sorted(cut.id for batch in batches for cut in batch) == sorted(cut.id for cut in cuts)
