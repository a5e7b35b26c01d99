"""Training an n-gram model: one pass of counting, no epochs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import yaml
from torch.utils.data import DataLoader

from toolkit.brains.train_log import TrainLog
from toolkit.checkpoints import RANK, WEIGHTS
from toolkit.dataio.batches import TextBatch
from toolkit.dataio.epochs import rank_and_world_size
from toolkit.errors import ConfigError
from toolkit.files import replacing, temporary_folder, write_atomically
from toolkit.metrics.perplexity import perplexities
from toolkit.models.arpa import write_arpa
from toolkit.models.kneser_ney import train_ngram
from toolkit.models.ngram import EOS, UNK, NgramModel
from toolkit.pretrained import load_weights
from toolkit.run_facts import RunFacts, hardware

logger = logging.getLogger(__name__)

ARPA = "lm.arpa.gz"  # in the output folder
CHECKPOINT = "save/CKPT+ngram"


class NgramTrainer:
    """Trains a `WordNgram` or `NgramLM` (toolkit.models.ngram_lm), and is used like a Brain.

    Leaves the model as ``lm.arpa.gz`` and as a checkpoint, which is what a recogniser's ``lm_folder`` reads, and logs
    perplexities as `LanguageModelBrain` does. Where the checkpoint is, training has nothing more to do.

    Parameters
    ----------
    hparams : dict
        Read here: ``model``, ``tokenizer``, ``output_folder``.
    run_opts : dict
        Options of the run: ``debug`` leaves the output folder alone, ``test_only`` skips counting and ``train_only``
        the tests, and ``archive`` is called before counting. The device makes no difference.

    Raises
    ------
    ConfigError
        When the run is distributed: each process would count its part of the text only.
    """

    needs: ClassVar[set[str]] = {
        *("model", "tokenizer", "output_folder"),
        *("train_text", "valid_text", "test_text", "batch_tokens"),
    }
    reads: ClassVar[set[str]] = set()

    def __init__(self, hparams: dict[str, Any], run_opts: dict[str, Any] | None = None) -> None:
        if rank_and_world_size()[1] > 1:
            raise ConfigError("an n-gram model is trained by one process: start train_lm.py without torchrun")
        self.model, self.tokenizer = hparams["model"], hparams["tokenizer"]
        self.output_folder, run_opts = Path(hparams["output_folder"]), run_opts or {}
        self.test_only, self.archive = run_opts.get("test_only", False), run_opts.get("archive")
        self.train_only = run_opts.get("train_only", False)
        if run_opts.get("debug"):
            self.output_folder = temporary_folder("debug-")
        self.log = TrainLog(self.output_folder / "train_log.txt")

    def train_on(self, train: DataLoader, valid: DataLoader) -> None:
        """Count the n-grams of the training text, once."""
        if self.test_only:
            return
        checkpoint = self.output_folder / CHECKPOINT
        if (checkpoint / "CKPT.yaml").is_file():
            logger.info("%s is trained already; delete %s to train it again.", self.output_folder, checkpoint)
            return
        if self.archive is not None:
            self.archive()
        facts, began = RunFacts(self.output_folder), time.perf_counter()
        options = {"vocabulary": self.model.vocabulary, "prune": self.model.prune}
        ngram = train_ngram(self._sentences(train), self.model.order, **options)
        logger.info(
            "%s n-grams of %s words, %s states", f"{len(ngram):,}", f"{len(ngram.words):,}", f"{ngram.states:,}"
        )
        self.model.ngram = ngram
        figures = {"train_stats": self._figures(train), "valid_stats": self._figures(valid)}
        figures["train_stats"]["seconds"] = time.perf_counter() - began
        self.log.log_stats({"epoch": 1}, **figures)
        self._save(ngram, checkpoint, figures["valid_stats"])
        facts.update(seed=0, parameters=len(ngram), hardware=hardware("cpu"), epochs=1, train_hours=0.0)

    def test_on(self, test: DataLoader, name: str) -> None:
        """Log the perplexity of a test text."""
        if self.train_only:
            return
        load_weights(self.model, self.output_folder)
        self.log.log_stats({"test": name}, test_stats=self._figures(test))

    def _sentences(self, texts: DataLoader) -> Iterator[list[str]]:
        """The words, or pieces of words, of each sentence."""
        pieces = self.tokenizer.pieces()
        for batch in texts:
            for tokens, count in zip(batch.token_ids.tolist(), batch.token_counts.tolist(), strict=True):
                yield [pieces[token] for token in tokens[:count]]

    def _figures(self, texts: DataLoader) -> dict[str, float]:
        """Perplexities of a text, unknown words included, and how many of its tokens these are, if any."""
        ids = np.array([self.model.ngram.word_id(piece) for piece in self.tokenizer.pieces()])
        nats, tokens, words, unknown = 0.0, 0, 0, 0
        for batch in texts:
            nats -= _log_prob(self.model.ngram, ids, batch)
            tokens += int(batch.token_counts.sum()) + len(batch)
            words += sum(len(text.split()) + 1 for text in batch.words)
            inside = np.arange(batch.token_ids.shape[1]) < batch.token_counts.numpy()[:, None]
            unknown += int(np.count_nonzero(inside & (ids[batch.token_ids.numpy()] == UNK)))
        return perplexities(nats, tokens, words) | ({"unknown": unknown} if unknown else {})

    def _save(self, ngram: NgramModel, checkpoint: Path, figures: dict[str, float]) -> None:
        """Write the ARPA file, then the checkpoint, whose CKPT.yaml comes last and says that all is there."""
        write_arpa(ngram, self.output_folder / ARPA)
        with replacing(checkpoint / WEIGHTS) as partial:
            torch.save(self.model.state_dict(), partial)
        meta = {RANK: figures["loss"], "epoch": 1, "unixtime": time.time(), **figures}
        write_atomically(checkpoint / "CKPT.yaml", yaml.safe_dump(meta))


def _log_prob(ngram: NgramModel, ids: np.ndarray, batch: TextBatch) -> float:
    """Log-probability of a batch of sentences, their ends included; ``ids`` are the word ids of the tokens."""
    states, total = np.full(len(batch), ngram.begin), 0.0
    counts, words = batch.token_counts.numpy(), ids[batch.token_ids.numpy()]
    for place in range(counts.max() + 1):
        inside = np.flatnonzero(counts >= place)
        following = words[inside, place] if place < words.shape[1] else np.full(len(inside), EOS)
        following = np.where(counts[inside] == place, EOS, following)
        logps, states[inside] = ngram.score_many(states[inside], following)
        total += logps.sum()
    return float(total)
