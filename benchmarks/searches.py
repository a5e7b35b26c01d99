"""What beam, language models and n-grams are worth to a recogniser: WER, CER and real-time factor of each search.

    cd recipes/AN4
    OMP_NUM_THREADS=1 python ../../benchmarks/searches.py results/ctc manifests/valid.json   # weights are chosen on it
    OMP_NUM_THREADS=1 python ../../benchmarks/searches.py results/ctc manifests/test.json

The searches are those of a transducer where the run has one, and else of CTC. The audio is encoded once, in the first
row. A real-time factor is CPU seconds by seconds of audio, median of three.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from toolkit.dataio.loaders import load_split
from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.transducer import TransducerBeamSearcher
from toolkit.decoders.transducer_greedy import TransducerGreedySearcher
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.models.transducer import TransducerModel
from toolkit.pretrained import load_language_model, load_model_folder

REPEATS = 3


class Spoken(NamedTuple):
    """A batch's encoder output (B, T, D) with (B,) frames, and what was said."""

    encoded: Tensor
    frames: Tensor
    ids: list[str]
    words: list[str]


def main(arguments: list[str] | None = None) -> None:
    """Print a row as soon as it is measured."""
    options = parse(arguments)
    torch.set_num_threads(1)
    run = load_model_folder(options.run, ["model", "tokenizer", "sample_rate"])
    data = {"manifest_filepath": str(options.manifest), "sample_rate": run["sample_rate"], "batch_duration": 100}
    began = time.process_time()
    spoken, seconds = encode(run, data)
    factor = (time.process_time() - began) / seconds
    print("| search | WER (%) | sub, ins, del | CER (%) | real-time factor |", "|---|--:|---|--:|--:|", sep="\n")
    print(f"| (encoder) |||| {factor:.4f} |")
    searches = transducer_searches if isinstance(run["model"], TransducerModel) else ctc_searches
    for name, search in searches(run["tokenizer"], options):
        print(row(name, partial(search, run["model"]), spoken, tokenizer=run["tokenizer"], seconds=seconds), flush=True)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output folder of train.py with a CTC model or a transducer")
    parser.add_argument("manifest", type=Path, help="what is recognised")
    parser.add_argument("--lm", default="results/lm_char", help="folder of a neural language model, %(default)s")
    parser.add_argument("--tokens", default="results/ngram_char", help="of an n-gram over its tokens, %(default)s")
    parser.add_argument("--words", default="results/ngram", help="of an n-gram over words, for CTC, %(default)s")
    return parser.parse_args(arguments)


def transducer_searches(_tokenizer: Any, options: argparse.Namespace) -> Iterator[tuple[str, Callable]]:
    """Each search of a transducer by name, the simplest first."""
    lm, tokens = map(load_language_model, (options.lm, options.tokens))
    yield "greedy", TransducerGreedySearcher()
    for name, given in {
        "transducer": {},
        "+ LSTM": {"lm": lm, "lm_weight": 0.2, "length_bonus": 0.3},
        "+ character n-gram": {"lm": tokens, "lm_weight": 0.2, "length_bonus": 0.3},
    }.items():
        for beam in (4, 8, 16):
            yield f"{name}, beam {beam}", TransducerBeamSearcher(beam_size=beam, **given)


def ctc_searches(tokenizer: Any, options: argparse.Namespace) -> Iterator[tuple[str, Callable]]:
    """Each search of a CTC model by name, the simplest first."""
    lm, tokens, words = map(load_language_model, (options.lm, options.tokens, options.words))
    yield "greedy", CTCGreedySearcher()
    yield "prefix, beam 16", CTCPrefixSearcher(beam_size=16)
    for beam in (4, 16, 64):
        yield f"+ LSTM, beam {beam}", CTCPrefixSearcher(beam_size=beam, lm=lm, lm_weight=1.0, length_bonus=1.5)
    fusions = {
        "character n-gram": {"token_ngram": tokens, "token_weight": 0.8},
        "word n-gram": {"word_ngram": words, "alpha": 0.5, "beta": 3.0},
        "word and character n-gram": {"word_ngram": words, "alpha": 0.5, "beta": 3.0, "token_ngram": tokens},
    }
    for name, given in fusions.items():
        for beam in (4, 16, 64):
            fusion = CTCFusion(tokenizer=tokenizer, **given)
            bonus = {"length_bonus": 1.5} if "word_ngram" not in given else {}
            yield f"+ {name}, beam {beam}", CTCPrefixSearcher(beam_size=beam, fusion=fusion, **bonus)


@torch.no_grad()
def encode(run: dict[str, Any], data: dict[str, Any]) -> tuple[list[Spoken], float]:
    """The encoder's output of all utterances, and how many seconds of audio they are."""
    loader, model = load_split("data", {"data": data, "tokenizer": run["tokenizer"]}), run["model"]
    spoken, samples = [], 0
    for batch in loader:
        encoded, frames = model.encode(batch.wavs, batch.samples)
        spoken.append(Spoken(encoded, frames, batch.id, batch.words))
        samples += int(batch.samples.sum())
    return spoken, samples / run["sample_rate"]


@torch.no_grad()
def row(name: str, search: Callable, spoken: list[Spoken], *, tokenizer: Any, seconds: float) -> str:
    """A search's line of the table."""
    times = []
    for _ in range(1 + REPEATS):  # the first time is not counted: code is compiled or read from its cache
        began = time.process_time()
        found = [search(one.encoded, one.frames) for one in spoken]
        times.append(time.process_time() - began)
    scored = ErrorRateTracker()
    for one, hypotheses in zip(spoken, found, strict=True):
        for name_, words, best in zip(one.ids, one.words, hypotheses, strict=True):
            scored.add(name_, words, tokenizer.decode(best[0].tokens))
    counts, factor = scored.words, statistics.median(times[1:]) / seconds
    errors = f"{counts.substitutions}, {counts.insertions}, {counts.deletions}"
    return f"| {name} | {scored.wer:.1f} | {errors} | {scored.cer:.1f} | {factor:.4f} |"


if __name__ == "__main__":
    main()
