from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from toolkit.dataio import synthesis
from toolkit.dataio.manifests import read_manifest
from toolkit.dataio.synthesis import (
    SAMPLE_RATE,
    SpokenUtterance,
    draw_noise,
    draw_sentence,
    draw_utterance,
    record,
    resample,
    reverberate,
    synthesise,
)
from toolkit.errors import DataError, MissingDependencyError

SCRIPT = Path(__file__).parents[2] / "templates" / "asr" / "synthetic_prepare.py"
needs_espeak = pytest.mark.skipif(
    importlib.util.find_spec("espeakng_loader") is None, reason="needs the extra [demo] (espeakng-loader)"
)


@pytest.fixture(scope="module")
def prepare():
    """The script of the template, with a test set of 6 and a validation set of 4, and a program for 10 utterances."""
    spec = importlib.util.spec_from_file_location("synthetic_prepare", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["synthetic_prepare"] = module
    spec.loader.exec_module(module)
    module.TEST_UTTERANCES, module.VALID_UTTERANCES, module.VALID_SENTENCES = 6, 4, 10
    module.LM_SENTENCES = 100
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "SHARE", 10)
        yield module


@pytest.fixture(scope="module")
def corpus(prepare, tmp_path_factory):
    """A prepared corpus of 10 + 4 + 6 utterances: its root, with corpus/ and manifests/."""
    root = tmp_path_factory.mktemp("synthetic")
    prepare.prepare_synthetic(root / "corpus", root / "manifests", utterances=10, seed=3)
    return root


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def say(words: str = "ONE TWO", **changes) -> SpokenUtterance:
    plain = SpokenUtterance(
        name="a", words=words, voice="en-us+f3", rate=170, pitch=50, pitch_range=50, reverberation_s=0.0, seed=7
    )
    return replace(plain, **changes)


class TestGrammar:
    def test_every_alternative_is_drawn_and_none_else(self):
        grammar = {"sentence": "GO {way} | STOP", "way": "UP | DOWN {many} TIMES", "many": "TWO | TEN"}
        drawn = {draw_sentence(grammar, Random(seed)) for seed in range(60)}
        assert drawn == {"GO UP", "STOP", "GO DOWN TWO TIMES", "GO DOWN TEN TIMES"}

    def test_the_template_uses_every_rule_and_defines_every_one_used(self, prepare):
        used = {name for rule in prepare.GRAMMAR.values() for name in re.findall(r"{(\w+)}", rule)}
        assert used | {"sentence"} == set(prepare.GRAMMAR)

    def test_sentences_are_upper_case_words(self, prepare):
        for words in prepare.draw_sentences(200, seed=5)["train"]:
            assert words == " ".join(words.split())
            assert words.replace(" ", "").isascii()
            assert words.replace(" ", "").isalpha()
            assert words.isupper()


class TestPlan:
    def test_held_out_sentences_are_nowhere_else(self, prepare):
        sentences = prepare.draw_sentences(3000, seed=1)
        test, valid = set(sentences["test"]), set(sentences["lm_valid"])
        assert len(test) == 6
        assert len(valid) == 10
        assert valid.issuperset(sentences["valid"])
        assert not test & valid
        assert not (test | valid) & {*sentences["train"], *sentences["lm_train"]}

    def test_without_holding_out_they_would_be_elsewhere(self, prepare):
        """The check above can fail: a sentence drawn freely is often among 20,000 others."""
        rng = Random(0)
        drawn = [draw_sentence(prepare.GRAMMAR, rng) for _ in range(20_000)]
        assert len(set(drawn[:300]) & set(drawn[300:])) > 50

    def test_held_out_voices_are_nowhere_else(self, prepare):
        voices = {
            split: {one.voice.split("+")[1] for one in prepare.assign_voices(split, ["ONE"] * 500, seed=1)}
            for split in ("train", "valid", "test")
        }
        assert {split: len(names) for split, names in voices.items()} == {"train": 38, "valid": 5, "test": 8}
        assert not voices["train"] & voices["valid"]
        assert not voices["test"] & (voices["train"] | voices["valid"])

    def test_held_out_voices_have_the_accents_of_training(self, prepare):
        train, test = (
            {one.voice.split("+")[0] for one in prepare.assign_voices(split, ["ONE"] * 500, seed=1)}
            for split in ("train", "test")
        )
        assert train == test == set(prepare.ACCENTS.split())

    def test_the_seed_decides_and_the_size_of_train_does_not_change_the_test_set(self, prepare):
        small, large, other = (prepare.draw_sentences(*sizes) for sizes in ((20, 1), (500, 1), (20, 2)))
        assert small == prepare.draw_sentences(20, 1)
        assert small["test"] == large["test"]
        assert small["train"] == large["train"][:20]
        assert small["test"] != other["test"]
        assert prepare.assign_voices("test", small["test"], 1) == prepare.assign_voices("test", small["test"], 1)
        assert prepare.assign_voices("test", small["test"], 1) != prepare.assign_voices("test", small["test"], 2)


class TestRecord:
    @pytest.mark.parametrize(("source", "target"), [(22050, 16000), (16000, 22050), (16000, 16000)])
    def test_resample_agrees_with_torchaudio(self, source, target):
        time_s = np.arange(source) / source
        signal = sum(np.sin(2 * np.pi * hz * time_s + hz) for hz in (110, 997, 5100)) * np.hanning(source)
        expected = torchaudio.functional.resample(torch.from_numpy(signal), source, target, lowpass_filter_width=64)
        np.testing.assert_allclose(resample(signal, source, target), expected.numpy(), atol=2e-3)

    def test_resample_keeps_nothing_above_the_new_band(self):
        signal = np.sin(2 * np.pi * 9500 * np.arange(22050) / 22050) * np.hanning(22050)
        assert np.abs(resample(signal, 22050, 16000)).max() < 1e-3

    def test_a_room_decays_by_60_db_in_its_time(self):
        click = np.zeros(1600)
        click[0] = 1.0
        tails = [reverberate(click, 0.3, np.random.default_rng(seed)) for seed in range(50)]
        power = np.mean([tail**2 for tail in tails], axis=0)
        early, late = power[1:161].mean(), power[2401:2561].mean()  # 0.15 s apart
        assert 10 * np.log10(early / late) == pytest.approx(30, abs=1)
        np.testing.assert_allclose([tail[0] for tail in tails], 1.0)
        assert len(tails[0]) == 1600 + round(0.3 * SAMPLE_RATE) - 1

    def test_noise_has_power_one_and_no_more_treble_than_white(self):
        for seed in range(20):
            noise = draw_noise(16000, np.random.default_rng(seed))
            assert np.mean(noise**2) == pytest.approx(1)
            octaves = [np.sum(np.abs(np.fft.rfft(noise)[hz : 2 * hz]) ** 2) / hz for hz in (250, 4000)]
            assert octaves[0] > 0.7 * octaves[1]

    def test_noise_and_level_are_what_the_constants_say(self):
        speech = (8000 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)).astype(np.int16)
        for seed in range(20):
            heard = record(speech, 22050, say(seed=seed)) / 32768
            quiet = np.sqrt(np.mean(heard[: int(0.05 * SAMPLE_RATE)] ** 2))
            loud = np.sqrt(np.mean(heard[len(heard) // 2 - 4000 : len(heard) // 2 + 4000] ** 2))
            assert -31 < 20 * math.log10(loud) < -17
            assert 10 < 20 * math.log10(loud / quiet) < 42  # 15 to 35 over all; brown noise wanders

    def test_loud_peaks_are_turned_down_not_clipped(self):
        click = np.zeros(22050, dtype=np.int16)
        click[10000] = 30000
        assert np.abs(record(click, 22050, say()).astype(int)).max() <= 0.951 * 32767


@needs_espeak
class TestSynthesise:
    def test_audio_is_speech_of_a_plausible_length(self, corpus):
        for split in ("train", "valid", "test"):
            for name, entry in json.loads((corpus / "manifests" / f"{split}.json").read_text()).items():
                samples, rate = soundfile.read(str(corpus / "corpus" / f"{name}.flac"))
                assert rate == entry["sample_rate"] == SAMPLE_RATE
                assert len(samples) == entry["num_samples"]
                assert 0.12 < len(samples) / rate / len(entry["words"].split()) < 1.0
                assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.2
                assert np.abs(samples).max() < 0.96

    def test_words_rate_and_pitch_are_heard(self, tmp_path):
        takes = {
            "short": say("ONE"),
            "long": say("ONE TWO THREE FOUR FIVE SIX"),
            "fast": say("ONE TWO THREE FOUR FIVE SIX", rate=250),
            "high": say("ONE TWO THREE FOUR FIVE SIX", pitch=90, pitch_range=0),
            "low": say("ONE TWO THREE FOUR FIVE SIX", pitch=10, pitch_range=0),
        }
        synthesise([replace(take, name=name) for name, take in takes.items()], tmp_path)
        sound = {name: soundfile.read(str(tmp_path / f"{name}.flac"))[0] for name in takes}
        assert len(sound["long"]) > 2.5 * len(sound["short"])
        assert len(sound["fast"]) < 0.85 * len(sound["long"])
        assert pitch_of(sound["high"]) > 1.3 * pitch_of(sound["low"])

    def test_audio_depends_on_the_plan_alone(self, corpus, prepare, tmp_path):
        prepare.prepare_synthetic(tmp_path / "corpus", tmp_path / "manifests", utterances=10, seed=3, jobs=1)
        assert content(tmp_path / "corpus") == content(corpus / "corpus")

    @pytest.mark.parametrize("voice", ["en-us+f5", "en+sandro"])
    def test_breath_too_depends_on_the_plan_alone(self, tmp_path, voice):
        """These voices hold noise, which espeak-ng seeds with the time of day."""
        for take in ("first", "second"):
            synthesise([replace(say(), voice=voice)], tmp_path / take)
        assert content(tmp_path / "first") == content(tmp_path / "second")

    def test_the_library_stays_out_of_this_process(self, corpus):  # noqa: ARG002
        maps = Path("/proc/self/maps")
        if not maps.exists():
            pytest.skip("no /proc on this system")
        assert "espeak" not in maps.read_text()

    def test_the_library_is_seen_in_maps_where_it_is_loaded(self):
        """The check above can fail."""
        code = "from toolkit.dataio.synthesis import EspeakNG; EspeakNG(); print(open('/proc/self/maps').read())"
        if not Path("/proc/self/maps").exists():
            pytest.skip("no /proc on this system")
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        assert "libespeak-ng" in done.stdout

    @pytest.mark.parametrize("voice", ["en-mars", "en-us+nobody"])
    def test_an_unknown_voice_is_an_error_that_names_it(self, tmp_path, voice):
        with pytest.raises(DataError, match=voice.replace("+", r"\+")):
            synthesise([replace(say(), voice=voice)], tmp_path / "corpus")

    def test_a_foreign_folder_is_refused_and_left_alone(self, tmp_path):
        (tmp_path / "thesis.txt").write_text("precious")
        with pytest.raises(DataError, match="not of a synthesised corpus"):
            synthesise([say()], tmp_path)
        assert content(tmp_path) == {"thesis.txt": b"precious"}


def pitch_of(samples: np.ndarray) -> float:
    """Hz of the strongest period between 60 and 400 Hz."""
    correlation = np.fft.irfft(np.abs(np.fft.rfft(samples, 2 * len(samples))) ** 2)
    return SAMPLE_RATE / (SAMPLE_RATE // 400 + np.argmax(correlation[SAMPLE_RATE // 400 : SAMPLE_RATE // 60]))


KILLED = """
import os, synthetic_prepare as script, toolkit.dataio.synthesis as synthesis
script.TEST_UTTERANCES, script.VALID_UTTERANCES, script.VALID_SENTENCES, script.LM_SENTENCES = 6, 4, 10, 100
synthesis.SHARE = 10
speak = script.synthesise
script.synthesise = lambda *plan, **how: speak(*plan, **how | {"progress": lambda spoken: os.killpg(0, 9)})
script.main(["corpus", "manifests", "--utterances", "10", "--seed", "3"])
"""


def environment(*folders: Path) -> dict[str, str]:
    """Ours, with the folders and all of sys.path to import from."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, folders), *filter(None, sys.path)])}


@needs_espeak
class TestPrepare:
    def test_manifests_are_read_as_cuts(self, corpus):
        cuts = {split: read_manifest(corpus / "manifests" / f"{split}.json") for split in ("train", "valid", "test")}
        assert {split: len(part) for split, part in cuts.items()} == {"train": 10, "valid": 4, "test": 6}
        cut = next(iter(cuts["test"]))
        assert "+" in cut.supervisions[0].speaker
        assert cut.load_audio().shape == (1, cut.num_samples)

    def test_texts_of_the_language_model(self, corpus):
        texts = {name: (corpus / f"manifests/lm_{name}.txt").read_text().splitlines() for name in ("train", "valid")}
        assert {name: len(lines) for name, lines in texts.items()} == {"train": 100, "valid": 10}

    def test_what_is_done_is_not_done_again(self, corpus, prepare, monkeypatch):
        before = content(corpus)
        monkeypatch.setattr(prepare, "synthesise", lambda *_, **__: pytest.fail("spoken again"))
        prepare.prepare_synthetic(corpus / "corpus", corpus / "manifests", utterances=10, seed=3)
        assert content(corpus) == before

    def test_a_missing_file_comes_back_as_it_was(self, corpus, prepare):
        before = content(corpus)
        (corpus / "corpus/test/00002.flac").unlink()
        prepare.prepare_synthetic(corpus / "corpus", corpus / "manifests", utterances=10, seed=3)
        assert content(corpus) == before

    def test_other_settings_leave_nothing_of_the_old_ones(self, prepare, tmp_path):
        for utterances, seed in ((4, 1), (2, 2)):
            prepare.prepare_synthetic(tmp_path / "corpus", tmp_path / "m", utterances=utterances, seed=seed)
        assert len(list(tmp_path.rglob("*.flac"))) == 2 + 4 + 6
        first = json.loads((tmp_path / "m/test.json").read_text())["test/00000"]
        assert first["words"] == prepare.draw_sentences(2, seed=2)["test"][0]

    def test_killed_it_leaves_whole_files_and_goes_on(self, corpus, prepare, tmp_path):
        """kill -9 of all its programs when the first of two shares is spoken."""
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED], cwd=tmp_path, env=environment(SCRIPT.parent), start_new_session=True
        )
        assert process.wait() == -signal.SIGKILL
        assert not list(tmp_path.rglob("*.json"))
        whole = list(tmp_path.rglob("[0-9]*.flac"))
        assert len(whole) >= 10
        for path in whole:
            assert path.read_bytes() == (corpus / path.relative_to(tmp_path)).read_bytes()
        prepare.prepare_synthetic(tmp_path / "corpus", tmp_path / "manifests", utterances=10, seed=3)
        assert content(corpus / "corpus").items() <= content(tmp_path / "corpus").items()

    def test_the_command_line(self, prepare, monkeypatch, capsys):
        seen = {}
        monkeypatch.setattr(prepare, "prepare_synthetic", lambda *_, **settings: seen.update(settings))
        prepare.main(["corpus", "manifests", "--seed", "9"])
        assert seen == {"utterances": 3500, "seed": 9, "jobs": 2}
        with pytest.raises(SystemExit, match="2"):
            prepare.main(["corpus", "manifests", "--jobs", "0"])
        assert "--jobs: invalid positive value: '0'" in capsys.readouterr().err


def test_without_espeak_the_message_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(synthesis.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'asr-recipes\[demo\]'"):
        synthesise([draw_utterance("a", "ONE", "en", Random(0))], tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()
