"""Utterances one at a time, and joined to one long file: how many words more are wrong.

    python benchmarks/joined.py recipes/AN4/manifests/test.json pretrained/an4-small recipes/AN4/results/*
    python benchmarks/joined.py recipes/AN4/manifests/test.json pretrained/an4-small --minutes 60

Utterances are joined as they are, in an order drawn by chance, so that speakers, loudness and noise change from one to
the next: a recording of one place is easier. Few words are wrong and the order moves them: look at several orders.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from toolkit.dataio.audio import load_audio
from toolkit.dataio.manifests import read_manifest
from toolkit.inference.long_audio import DETECTORS
from toolkit.inference.transcriber import Transcriber
from toolkit.metrics.error_rate import ErrorRate, word_errors

Spoken = list[tuple[Tensor, str]]  # waveforms and their words


def main(arguments: list[str] | None = None) -> None:
    """Print a row for each model, detector and order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--orders", type=int, default=3, help="files, each of all utterances in another order (3)")
    parser.add_argument("--minutes", type=float, default=0, help="of audio in each file at least, as often as it takes")
    parser.add_argument("--vad", nargs="+", choices=DETECTORS, default=["energy"])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("| model | detector | order | words | wrong alone | wrong joined | % of words more |\n" + "|---" * 7 + "|")
    for model in options.models:
        transcriber = Transcriber.from_hparams(model, device="cpu")
        spoken = list(read(options.manifest, transcriber.sample_rate))
        texts = [found.text for found in transcriber.transcribe([wav for wav, _ in spoken])]
        alone = [word_errors(text, found) for (_, text), found in zip(spoken, texts, strict=True)]
        for order in range(1, options.orders + 1):
            places = ordered([len(wav) / transcriber.sample_rate for wav, _ in spoken], order, options.minutes)
            before = sum((alone[place] for place in places), ErrorRate())
            for detector in options.vad:
                transcriber.long_audio = replace(transcriber.long_audio, speech=DETECTORS[detector])
                after = joined(transcriber, [spoken[place] for place in places])
                more = 100 * (after.errors - before.errors) / before.reference_length
                counts = f"{before.reference_length} | {before.errors} | {after.errors} | {more:+.2f}"
                print(f"| {model} | {detector} | {order} | {counts} |", flush=True)


def read(manifest: str, sample_rate: int) -> Iterator[tuple[Tensor, str]]:
    """The utterances of a manifest."""
    for cut in read_manifest(manifest):
        yield load_audio(cut.recording.sources[0].source, sample_rate), cut.supervisions[0].text


def ordered(seconds: Sequence[float], seed: int, minutes: float) -> list[int]:
    """The places of all utterances in some order, once or as often as it takes for so many minutes."""
    draw, places = random.Random(seed), []
    while not places or sum(seconds[place] for place in places) < 60 * minutes:
        places += draw.sample(range(len(seconds)), len(seconds))
    return places


def joined(transcriber: Transcriber, spoken: Spoken) -> ErrorRate:
    """The errors in one waveform of all utterances."""
    found = transcriber.transcribe(torch.cat([wav for wav, _ in spoken]))
    return word_errors(" ".join(text for _, text in spoken), found.text)


if __name__ == "__main__":
    main()
