"""Training n-gram models like neural ones: what a run leaves, and that it serves as a recogniser's language model."""

from __future__ import annotations

import logging
import math
import re

import kenlm
import pytest
import torch

from toolkit.brains.ngram import NgramTrainer
from toolkit.dataio.text import load_text_splits
from toolkit.errors import ConfigError, ExperimentError
from toolkit.models.arpa import read_arpa
from toolkit.models.ngram_lm import NgramLM, WordNgram
from toolkit.pretrained import collect, load_language_model
from toolkit.tokenizer import WordTokenizer

YAML = """\
output_folder: elsewhere
tokenizer: !new:toolkit.tokenizer.Tokenizer
  model_file: !ref <output_folder>/tokenizer.model
model: !new:toolkit.models.ngram_lm.NgramLM
  tokenizer: !ref <tokenizer>
  order: 4
brain: !name:toolkit.brains.ngram.NgramTrainer
"""


@pytest.fixture
def experiment(tmp_path):
    """Builds hparams of a run in tmp_path/run; a test set with words that training never saw."""
    for name, text in {"train": "AB C AB\nC AB\n\nB A\n" * 5, "valid": "AB C\n", "test": "A B C\nBA\n"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    texts = {f"{name}_text": str(tmp_path / f"{name}.txt") for name in ("train", "valid")}
    texts |= {"test_text": {"test": str(tmp_path / "test.txt")}, "batch_tokens": 12}
    return lambda **hparams: texts | {"output_folder": str(tmp_path / "run")} | hparams


def train(hparams, **run_opts):
    train, valid, tests = load_text_splits(hparams)
    trainer = NgramTrainer(hparams, run_opts)
    trainer.train_on(train, valid)
    for name, test in tests.items():
        trainer.test_on(test, name)


def test_perplexities_are_kenlms(experiment, tmp_path):
    train(experiment(model=WordNgram(3), tokenizer=WordTokenizer()))
    theirs = kenlm.Model(str(tmp_path / "run/lm.arpa.gz"))
    nats = -math.log(10) * sum(theirs.score(text) for text in ("A B C", "BA"))
    last = (tmp_path / "run/train_log.txt").read_text().splitlines()[-1]
    figures = {name: float(value) for name, value in re.findall(r"test (\w+): ([\d.e+-]+)", last)}
    perplexity = math.exp(nats / 6)
    expected = {"loss": nats / 6, "perplexity": perplexity, "word_perplexity": perplexity, "unknown": 1}
    assert figures == pytest.approx(expected, rel=5e-3)


def test_unknown_words_are_counted(experiment, tmp_path):
    (tmp_path / "valid.txt").write_text("AB X\n")
    (tmp_path / "test.txt").write_text("A X\nY A Y\n")
    train(experiment(model=WordNgram(2), tokenizer=WordTokenizer()))
    first, last = (tmp_path / "run/train_log.txt").read_text().splitlines()
    assert first.endswith("valid unknown: 1")
    assert last.endswith("test unknown: 3")


def test_the_run_is_a_language_model_wherever_it_is_collected(experiment, tokenizer, tmp_path):
    lm = NgramLM(tokenizer, 4)
    train(experiment(model=lm, tokenizer=tokenizer))
    run, collected = tmp_path / "run", tmp_path / "recogniser/lm"
    (run / "hyperparams.yaml").write_text(YAML)
    tokenizer.save(run / "tokenizer.model")
    collect(run, collected)
    tokens = torch.tensor([[0, 1, 2, 3, 1]])
    for folder in (run, collected):
        assert torch.equal(load_language_model(folder)(tokens), lm(tokens))
    assert read_arpa(run / "lm.arpa.gz").words[3:] == tokenizer.pieces()[1:]


def test_a_trained_model_is_not_trained_again(experiment, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    train(experiment(model=WordNgram(3), tokenizer=WordTokenizer()))
    arpa, log = tmp_path / "run/lm.arpa.gz", tmp_path / "run/train_log.txt"
    before, tested = arpa.stat().st_mtime_ns, log.read_text().splitlines()[-1]
    train(experiment(model=WordNgram(3), tokenizer=WordTokenizer()))
    assert "is trained already" in caplog.text
    assert arpa.stat().st_mtime_ns == before
    assert log.read_text().splitlines()[-2:] == [tested, tested]


def test_test_only_counts_nothing(experiment, tmp_path):
    with pytest.raises(ExperimentError, match="no finished epoch"):
        train(experiment(model=WordNgram(3), tokenizer=WordTokenizer()), test_only=True)
    assert not (tmp_path / "run/lm.arpa.gz").exists()


def test_debugging_leaves_the_output_folder_alone(experiment, tmp_path):
    train(experiment(model=WordNgram(3), tokenizer=WordTokenizer()), debug=True)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["text_cache"]


def test_one_process_trains(experiment, monkeypatch):
    monkeypatch.setattr("toolkit.brains.ngram.rank_and_world_size", lambda: (0, 2))
    with pytest.raises(ConfigError, match=r"start train_lm\.py without torchrun"):
        NgramTrainer(experiment(model=WordNgram(3), tokenizer=WordTokenizer()))
