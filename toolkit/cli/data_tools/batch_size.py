"""The largest batch of each bucket that fits in memory, as YAML to paste into train_data.

    cd recipes/AN4
    asr data batch-size hparams/transducer.yaml --memory 4GB
    asr data batch-size hparams/transducer.yaml --device cuda:0 --precision bf16

Runs the recipe's own training step on batches of each bucket's longest utterance and longest text, larger and larger.
The buckets are those of the YAML, or else the ones that pad least. Any key of the YAML can be set as for train.py.

Only single steps are measured, and an epoch takes more: a step may take 80 percent of the memory (of a GPU's, 90). No
whole epoch has shown that this is enough, so watch the first one. On a CPU the memory is that of the whole process;
processes that read audio ahead (num_workers) take about half a GB more each.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.cli.data_tools.arguments import config_of, data_parser, known_size, positive, progress, rounded_up
from toolkit.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.dataio.corpus_lengths import CorpusLengths
    from toolkit.dataio.extremes import Extreme

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# Of the memory, for a step by itself. An epoch takes more: on a CPU, AN4's transducer reached 2.10 GiB in 125 s of
# batches of which each took at most 2.0 GiB by itself, and 2.11 GiB with 1.8 GiB (by 17 percent). Why is not known
# (fragments, oneDNN's caches for each shape?), so the CPU's share is a guess. The GPU's is NeMo's. Neither was tried
# in a whole epoch.
CPU_SHARE, GPU_SHARE = 0.8, 0.9

# Seconds of a batch to begin with, where the YAML has no batch_duration.
FIRST_SECONDS = 10.0


def main(arguments: Sequence[str]) -> int:
    """Print the largest batches of the recipe that the command line names; the exit status."""
    options = parse(arguments)
    from tqdm import tqdm

    from toolkit.brains.batch_size import largest_batches
    from toolkit.brains.step_memory import Recipe, StepMemory

    recipe = Recipe(options.data, options.device or _device(), options.overrides, options.run_opts)
    memory = memory_of(options.memory, recipe.device)
    share = GPU_SHARE if recipe.on_gpu else CPU_SHARE
    budget = int(share * memory)
    config = config_of(options)
    extremes = measure_extremes(options, config)
    sizes: dict[int, int] = {}
    with StepMemory(recipe, budget) as measure, tqdm(total=len(extremes), unit="bucket", disable=None) as bar:
        for place, size in largest_batches(extremes, measure, budget, config.get("batch_duration") or FIRST_SECONDS):
            sizes[place] = size
            bar.set_postfix_str(f"{size} of {extremes[place].seconds:g} s")
            bar.update()
    where = f"{share:.0%} of {_shown(memory)} on {recipe.device}"
    print(describe(extremes, [sizes[place] for place in range(len(extremes))], where))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = data_parser("batch-size", __doc__)
    parser.add_argument("--memory", type=_bytes, metavar="SIZE", help="such as 8GB; on a GPU by default all it has")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    parser.add_argument("--buckets", type=positive, metavar="N", help="bins of duration (those of the YAML, or 30)")
    parser.add_argument("--sub-buckets", type=positive, metavar="N", help="bins of tokens in each of them")
    parser.allow_abbrev = False
    options, rest = parser.parse_known_args(arguments)
    options.overrides, options.run_opts = _settings(options.data, rest) if rest else ({}, {})
    return options


def _settings(path: Path, words: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    from toolkit.experiment import settings
    from toolkit.hparams import HparamsDocument

    return settings(HparamsDocument(path), words)


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT]?)i?B?", text, re.IGNORECASE)
    if found:
        return int(float(found[1]) * UNITS[found[2].upper()])
    raise argparse.ArgumentTypeError(f"{text!r}: expected a size of memory, such as 8GB or 500MB")


def _shown(memory: int) -> str:
    return f"{memory / UNITS['G']:.3g} GB"


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def memory_of(asked: int | None, device: str) -> int:
    """The bytes that training may take.

    Raises
    ------
    ConfigError
        The device has less, or is a CPU and nobody said how much.
    """
    import torch

    if device.startswith("cuda"):
        there = torch.cuda.get_device_properties(device).total_memory
        return _within(asked or there, there, device)
    if asked is None:
        raise ConfigError("--memory: training on a CPU takes what it gets; say how much that may be, such as 8GB")
    return _within(asked, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), device)


def _within(asked: int, there: int, device: str) -> int:
    if asked > there:
        raise ConfigError(f"--memory {_shown(asked)}: {device} has {_shown(there)}")
    return asked


def measure_extremes(options: argparse.Namespace, config: dict[str, Any]) -> list[Extreme]:
    """The longest audio and text of each bucket of a recipe's data set.

    Raises
    ------
    ConfigError
        It is a stream, on which recipes do not train.
    """
    from toolkit.dataio.corpus import Corpus, View
    from toolkit.dataio.corpus_lengths import CorpusLengths
    from toolkit.dataio.extremes import extremes_of

    corpus = Corpus.of(str(options.data), config, View.TRAINING, metadata_only=True)
    if not corpus.is_indexed:
        raise ConfigError(
            f"{options.data}: some data of its {options.key} can only be read from its beginning, and recipes train on "
            "data with an index only; make a manifest or shards of it with `asr data convert`"
        )
    with progress(known_size(corpus)) as report:
        lengths = CorpusLengths.of(corpus, _tokenizer(options.data, options.overrides).encode, report)
    return extremes_of(corpus, lengths, _ends(options, config, lengths))


def _ends(options: argparse.Namespace, config: dict[str, Any], lengths: CorpusLengths) -> list[float | list[float]]:
    """The upper ends of all buckets: those of the YAML, or the best."""
    from toolkit.dataio.bins import duration_bins, duration_bins_2d

    ends, buckets = config.get("bucket_duration_bins"), options.buckets or config.get("num_buckets") or 30
    if options.sub_buckets:
        pairs = duration_bins_2d(lengths.seconds, lengths.tokens, buckets, options.sub_buckets, lengths.frequencies)
        return [[rounded_up(end), int(sub)] for end, sub in pairs]
    if ends is None or options.buckets:
        ends = [rounded_up(end) for end in duration_bins(lengths.seconds, buckets, lengths.frequencies)]
    elif isinstance(ends[0], list) or config.get("bucket_batch_size"):
        return ends
    longest = rounded_up(lengths.seconds.max())  # the YAML of bins leaves out the end of the last
    return ends if ends and ends[-1] >= longest else [*ends, longest]


def _tokenizer(path: Path, overrides: Mapping[str, Any]) -> Any:
    """The tokenizer of a recipe.

    Raises
    ------
    ConfigError
        The YAML is not of a recipe.
    """
    from toolkit.hparams import HparamsDocument

    document = HparamsDocument(path)
    document.override(overrides)
    for key in ("model", "brain", "tokenizer"):
        if key not in document:
            raise ConfigError(f"{path}: has no {key}; batches are measured by training a recipe: name its YAML")
    document.keep(document.needed_by(["tokenizer"]))
    return document.build()["tokenizer"]


def describe(extremes: Sequence[Extreme], sizes: Sequence[int], where: str) -> str:
    """The YAML of the buckets, and which of them take all their utterances at once."""
    ends = ", ".join(f"{extreme.end:g}" if isinstance(extreme.end, float) else str(extreme.end) for extreme in extremes)
    whole = sum(size >= extreme.count for extreme, size in zip(extremes, sizes, strict=True))
    head = f"# largest batches whose training step fits in {where}, of each bucket's longest utterance and text"
    note = [f"# {whole} of {len(sizes)} buckets fit as a whole"] if whole else []
    lines = [f"num_buckets: {len(sizes)}", "use_bucketing: true", f"bucket_duration_bins: [{ends}]"]
    return "\n".join([head, *note, *lines, f"bucket_batch_size: [{', '.join(map(str, sizes))}]"])
