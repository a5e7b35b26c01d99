"""The largest batch that fits: the search against memory that is known, and the training step of a recipe."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tiny_experiment import make_experiment

from toolkit.brains.batch_size import TOLERANCE, Line, largest_batches, search
from toolkit.brains.step_memory import Recipe, StepMemory, Trainer
from toolkit.cli.main import main
from toolkit.dataio.corpus import Corpus
from toolkit.dataio.corpus_lengths import CorpusLengths
from toolkit.dataio.extremes import Extreme, extremes_of
from toolkit.errors import ConfigError


class Memory:
    """Bytes of a step that are a function of its size; tries are noted, and those beyond ``kill`` say nothing."""

    def __init__(self, of: Callable[[int], float], kill: float = float("inf")) -> None:
        self.of, self.kill, self.tried = of, kill, []

    def __call__(self, size: int) -> int | None:
        self.tried.append(size)
        return None if self.of(size) > self.kill else math.ceil(self.of(size))


@given(
    st.integers(0, 1000), st.floats(0.5, 50), st.floats(0, 2), st.integers(1, 3000), st.integers(1, 400), st.booleans()
)
def test_what_is_found_fits_and_little_more_would(
    base: int, slope: float, bend: float, most: int, first: int, killed: bool
) -> None:
    limit = 2000
    memory = Memory(lambda size: base + slope * size * (1 + bend * size / 1000), limit if killed else float("inf"))
    size = search(memory, limit, Line(), (0, first, most))
    assert 1 <= size <= most
    assert memory.of(size) <= limit
    beyond = size + max(1, int(TOLERANCE * size))
    # To the rounding of a line through measurements that are whole numbers, and a little for its bend.
    assert beyond >= most or memory.of(beyond * (1.02 + bend / 50) + 1) >= limit
    assert len(memory.tried) <= 20


def test_nothing_fits() -> None:
    assert search(Memory(lambda size: 3000 * size), 2000, Line(), (0, 40, 100)) == 0


def test_few_tries_and_none_far_too_large_where_memory_is_a_line() -> None:
    memory = Memory(lambda size: 700 + 40 * size)
    assert search(memory, 2000, Line(), (0, 2, 10**6)) == 32
    assert len(memory.tried) <= 4
    assert max(memory.of(size) for size in memory.tried) < 2.5 * 2000


def test_buckets_are_tried_from_the_longest_on() -> None:
    sizes = {"A": (1.0, 5, 50), "B": (2.0, 9, 400), "C": (4.0, 8, 400), "D": (8.0, 9, 3)}
    extremes = [Extreme(seconds, seconds, tokens, text, count) for text, (seconds, tokens, count) in sizes.items()]
    tried: list[tuple[str, int]] = []

    def measure(extreme: Extreme, size: int) -> int:
        tried.append((extreme.text, size))
        return int(500 + 10 * size * extreme.seconds)

    found = dict(largest_batches(extremes, measure, 1500, 16.0))
    assert found[3] == 3  # all that there are
    assert found[0] == 50
    assert 0.94 * 25 <= found[2] <= 25
    assert 0.94 * 50 <= found[1] <= 50
    assert [text for (text, _), (after, _) in pairwise([*tried, ("", 0)]) if text != after] == [
        "D",
        "C",
        "B",
    ]  # all of A fit, as B do


def test_extremes_of_buckets(tmp_path: Path) -> None:
    """Of each bucket the longest text; of durations, the longest of those of shorter buckets too."""
    lines = [(1.0, "AAA"), (1.5, "A A A A A"), (2.0, "AB"), (3.0, "ABCD"), (3.5, "")]
    text = "".join(
        json.dumps({"audio_filepath": f"{number}.wav", "duration": seconds, "text": words}) + "\n"
        for number, (seconds, words) in enumerate(lines)
    )
    (tmp_path / "m.json").write_text(text)
    corpus = Corpus.of("m", {"manifest_filepath": str(tmp_path / "m.json")}, metadata_only=True)
    lengths = CorpusLengths.of(corpus, list, lambda _: None)
    ends = [1.5, 2.5, 3.5]
    assert extremes_of(corpus, lengths, ends) == [
        Extreme(1.5, 1.5, 9, "A A A A A", 2), Extreme(2.5, 2.5, 9, "A A A A A", 1), Extreme(3.5, 3.5, 9, "A A A A A", 2)
    ]  # fmt: skip
    pairs = [[1.5, 4], [1.5, 9], [3.5, 2], [3.5, 9]]
    found = extremes_of(corpus, lengths, pairs)
    assert [(one.end, one.seconds, one.tokens, one.count) for one in found] == [
        ([1.5, 4], 1.5, 3, 1), ([1.5, 9], 1.5, 9, 1), ([3.5, 2], 3.5, 2, 2), ([3.5, 9], 3.5, 4, 1)
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"2 of 5 utterances fit none, the last of which is 2.5"):
        extremes_of(corpus, lengths, ends[:2])


def test_a_single_utterance_too_many() -> None:
    with pytest.raises(ConfigError, match=r"a single utterance of 9 s and 3 tokens does not fit in 1 GB"):
        list(largest_batches([Extreme(9.0, 9.0, 3, "ABC", 5)], lambda *_: None, 2**30, 10.0))


def test_a_training_step_is_measured(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    with StepMemory(Recipe(experiment.yaml, "cpu"), 2**34) as measure:
        small, large, again = (measure(Extreme(1.0, 1.0, 1, "A", 1), size) for size in (1, 256, 1))
    # 256 seconds of float32 at 16 kHz are 16 MB, and their features and gradients some more.
    assert 2**24 < large - small < 2**31
    assert abs(again - small) < (large - small) / 4
    assert not (tmp_path / "run").exists()


def test_settings_of_the_command_line_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = make_experiment(tmp_path)
    command = ["data", "batch-size", str(experiment.yaml), "--device", "cpu", "--memory", "8GB", "--buckets", "1"]
    assert main([*command, "--train_data", "{max_duration: 0.01}"]) == 2
    assert "left out: 12 by min_duration, max_duration" in capsys.readouterr().err
    assert main([*command, "--precison", "bf16"]) == 2
    assert "--precison: neither a key of" in capsys.readouterr().err


def test_recipe_is_trained_as_the_command_line_says(tmp_path: Path) -> None:
    experiment = make_experiment(tmp_path)
    text = experiment.yaml.read_text().replace("precision: fp32\n", "")
    text = text.replace("sample_rate: 16000", "rate: 8000").replace("<sample_rate>", "<rate>")
    experiment.yaml.write_text(text.replace("train_data:\n", "train_data:\n  sample_rate: !ref <rate>\n"))
    trainer = Trainer(Recipe(experiment.yaml, "cpu", {"n_mels": 8}, {"precision": "bf16"}))
    assert trainer.sample_rate == 8000
    assert trainer.brain.precision == "bf16"
    assert trainer.brain.hparams.n_mels == 8
    trainer.step(1.0, "A", 2)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment = make_experiment(tmp_path)
    options = ["--device", "cpu", "--memory", "8GB", "--buckets", "2"]
    assert main(["data", "batch-size", str(experiment.yaml), *options]) == 0
    shown = capsys.readouterr().out
    assert "# largest batches whose training step fits in 80% of 8 GB on cpu" in shown
    printed = yaml.safe_load(shown)
    assert printed["num_buckets"] == len(printed["bucket_duration_bins"]) == 2
    assert sum(printed["bucket_batch_size"]) >= 12  # all utterances of each
    # What is printed trains.
    text = experiment.yaml.read_text().replace("  batch_size: 2\n  num_buckets: 1\n", "".join(
        f"  {line}\n" for line in shown.splitlines()
    ))  # fmt: skip
    experiment.yaml.write_text(text)
    assert (experiment.train("--number_of_epochs", "1") / "train_log.txt").is_file()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ((), "--memory: training on a CPU takes what it gets; say how much that may be, such as 8GB"),
        (("--memory", "900TB"), "--memory 9.22e+05 GB: cpu has "),
    ],
)
def test_memory_is_said(
    options: tuple[str, ...], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.yaml").write_text("model: 1")
    assert main(["data", "batch-size", str(tmp_path / "m.yaml"), "--device", "cpu", *options]) == 2
    assert problem in capsys.readouterr().err


def test_a_data_set_alone_cannot_be_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.json").write_text('{"audio_filepath": "a.wav", "duration": 1}\n')
    path = tmp_path / "data.yaml"
    path.write_text(f"manifest_filepath: {tmp_path}/train.json\n")
    assert main(["data", "batch-size", str(path), "--device", "cpu", "--memory", "1GB"]) == 2
    assert "has no model; batches are measured by training a recipe: name its YAML" in capsys.readouterr().err


def test_a_stream_cannot_be_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "lines.jsonl").write_text('{"audio": "a.wav", "text": "A"}\n')
    text = experiment.yaml.read_text().replace(
        "  manifest_filepath: !ref <train_manifest>\n",
        f"  input_cfg: [{{type: hf_dataset, path: json, data_files: {tmp_path}/lines.jsonl, streaming: true}}]\n",
    )
    experiment.yaml.write_text(text)
    assert main(["data", "batch-size", str(experiment.yaml), "--device", "cpu", "--memory", "1GB"]) == 2
    problem = "tiny.yaml: some data of its train_data can only be read from its beginning"
    assert problem in capsys.readouterr().err
