"""What the table of data loading promises to check, and the footprint of a process."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from tone_corpus import make_tone_corpus

from toolkit.tokenizer import Tokenizer, train_tokenizer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch):
    """From a name to a module of the benchmarks."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


def test_lost_repeated_and_excessive_batches_are_noticed(module):
    with module("dataloading_corpus").corpora(300) as (corpus,):
        batches = [batch for _, batch in corpus.sampler()]
        assert corpus.check(batches, ours=True)
        assert not corpus.check(batches[1:], ours=True)
        assert not corpus.check([*batches, batches[0]], ours=True)
        assert not corpus.check([sum(batches, [])], ours=True)  # noqa: RUF017
        assert corpus.check([list(range(300))], ours=False)
        assert [cut.duration for cut in corpus.source()] == corpus.lengths.tolist()
        assert {one.name for one in corpus.path.parent.iterdir()} == {"300.jsonl", "300.jsonl.seconds.index.npz"}


def test_a_resumed_epoch_has_the_batch_of_the_uninterrupted_one(module):
    resuming = module("dataloading_resuming")
    with module("dataloading_corpus").corpora(300) as (corpus,):
        assert resuming.resumed(corpus, 5) == resuming.expected(corpus, 5) != resuming.expected(corpus, 6)


def test_both_loaders_train_on_every_utterance(module, tmp_path: Path):
    training = module("dataloading_training")
    corpus = make_tone_corpus(tmp_path, 12)
    train_tokenizer(corpus["lm_train"].read_text().splitlines(), tmp_path / "tokenizer.model", model_type="char")
    tokenizer = Tokenizer(tmp_path / "tokenizer.model")
    brain = training.make_brain(tmp_path / "run", tokenizer)
    ours = training.train(brain, training.our_loader(corpus["train"], tokenizer))
    assert ours == training.train(brain, training.template_loader(corpus["train"], tokenizer, 5))
    entries = json.loads(corpus["train"].read_text()).values()
    assert ours == [12, sum(entry["num_samples"] for entry in entries)]


def test_the_footprint_is_of_the_function_alone(module):
    footprint = module("footprint").footprint
    assert footprint(len, "three").megabytes < 5
    assert footprint(len, "three").answer == 5
    taken = footprint(bytes.count, b"a", b"b" * 1)
    assert taken.answer == 0
    assert 40 < footprint(bytearray.__mul__, bytearray(b"a"), 50 * 2**20).megabytes < 200
