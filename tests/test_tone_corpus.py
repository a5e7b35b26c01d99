from __future__ import annotations

from pathlib import Path

import numpy as np
from tone_corpus import HIGH_HZ, LOW_HZ, SAMPLE_RATE, WORDS, make_tone_corpus, play

from toolkit.dataio.manifests import read_manifest


def test_manifests_texts_and_speakers(tmp_path):
    paths = make_tone_corpus(tmp_path, utterances=9)
    cuts = {split: list(read_manifest(paths[split])) for split in ("train", "valid", "test")}
    assert {split: len(part) for split, part in cuts.items()} == {"train": 9, "valid": 3, "test": 3}
    speakers = {split: {cut.supervisions[0].speaker for cut in part} for split, part in cuts.items()}
    assert not speakers["train"] & (speakers["valid"] | speakers["test"])
    assert set(paths["lm_train"].read_text().split()) <= set(WORDS)
    assert len(paths["lm_valid"].read_text().splitlines()) == 3


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_tone_corpus(tmp_path / name, utterances=3, seed=seed)
    a, b, c = ({path.name: path.read_bytes() for path in Path(tmp_path / name).rglob("*.flac")} for name in "abc")
    assert a == b
    assert a != c


def test_every_word_is_a_chord_of_its_own():
    heard = set()
    for word in WORDS:
        spectrum = np.abs(np.fft.rfft(play(word, 1.0, 0.0, np.random.default_rng(0)), SAMPLE_RATE))
        heard.add(tuple(max(tones, key=lambda hz: spectrum[hz]) for tones in (LOW_HZ, HIGH_HZ)))
    assert len(heard) == len(WORDS)
