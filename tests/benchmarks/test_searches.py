"""The table of searches: each searched the same utterances, and what it counted is what the run's own test counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_experiment import load_script, make_experiment

from toolkit.models.kneser_ney import train_ngram
from toolkit.models.language import RNNLM
from toolkit.models.ngram_lm import NgramLM, WordNgram
from toolkit.tokenizer import Tokenizer

SCRIPT = Path(__file__).parents[2] / "benchmarks/searches.py"


@pytest.mark.usefixtures("logging_put_back")
def test_a_row_for_each_search(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    experiment = make_experiment(tmp_path)
    run, tokenizer = experiment.train("--number_of_epochs", "25"), Tokenizer(tmp_path / "tokenizer.model")
    sentences = [line.split() for line in (tmp_path / "manifests/lm_train.txt").read_text().splitlines()]
    words, tokens = WordNgram(2), NgramLM(tokenizer, 2)
    words.ngram = train_ngram(iter(sentences), 2)
    pieces = [[tokenizer.pieces()[token] for token in tokenizer.encode(" ".join(line))] for line in sentences]
    tokens.ngram = train_ngram(iter(pieces), 2, vocabulary=tokenizer.pieces()[1:])
    models = {"lm": RNNLM(len(tokenizer), embedding_size=4, neurons=4).eval(), "words": words, "tokens": tokens}
    script = load_script(SCRIPT)
    monkeypatch.setattr(script, "load_language_model", models.get)
    capsys.readouterr()
    options = [part for name in models for part in (f"--{name}", name)]
    script.main([str(run), str(tmp_path / "manifests/test.json"), *options])
    table = capsys.readouterr().out
    found = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| \d+, \d+, \d+ \| ([\d.]+) \| [\d.]+ \|$", table, re.M)
    rows = {name: (float(wer), float(cer)) for name, wer, cer in found}
    assert len(rows) == 14
    wer, cer = (float(rate) for rate in re.findall(r"%[WC]ER ([\d.]+)", (run / "wer_tones.txt").read_text())[:2])
    assert wer < 100  # it has learnt something, so that the figure says what was recognised
    assert rows["greedy"] == pytest.approx((wer, cer), abs=0.051)
