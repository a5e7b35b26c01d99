"""NeMo's function from a configuration to a loader: what every batch holds, on every rank, in every worker."""

from __future__ import annotations

import collections
import copy
import itertools
import json
import logging
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import soundfile
import torch
import yaml
from lhotse import AudioSource, CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.dataset.dataloading import resolve_seed
from omegaconf import OmegaConf
from speechbrain.utils.checkpoints import Checkpointer
from torch.utils.data import Dataset

from toolkit.dataio import data_types, measures, prompt_fn
from toolkit.dataio.cut_audio import load_cuts
from toolkit.dataio.dataloader import get_lhotse_dataloader_from_config
from toolkit.dataio.epochs import EpochLoader
from toolkit.dataio.indexed import Listed
from toolkit.dataio.prompt_fn import Message, encode_messages, registered_prompt_format_fn
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.prompts.plain import PlainPromptFormatter
from toolkit.dataio.sampling import BucketSampler
from toolkit.dataio.text_adapters import TextExample
from toolkit.errors import AudioError, ConfigError, DataError

COUNT = 53
CAP = 20.0


class Names(Dataset):
    """The ids of a batch."""

    def __getitem__(self, cuts: CutSet) -> list[str]:
        assert isinstance(cuts, CutSet)
        return [cut.id for cut in cuts]


class Durations(Dataset):
    def __getitem__(self, cuts: CutSet) -> list[float]:
        return [cut.duration for cut in cuts]


def make_cut(number: int, prefix: str = "u") -> MonoCut:
    """An utterance of 0.5 to 8 s, of a file that does not exist."""
    samples = 160 * random.Random(number).randint(50, 800)
    source = AudioSource("file", [0], f"/nowhere/{prefix}{number}.wav")
    recording = Recording(f"{prefix}{number}", [source], 16000, samples, samples / 16000)
    said = SupervisionSegment(f"{prefix}{number}", f"{prefix}{number}", 0.0, samples / 16000, text="A B" * (number % 4))
    return MonoCut(f"{prefix}{number}", 0.0, samples / 16000, 0, [said], recording=recording)


ALL = {f"u{number}" for number in range(COUNT)}


@pytest.fixture
def cuts_path(tmp_path: Path) -> str:
    CutSet([make_cut(number) for number in range(COUNT)]).to_file(tmp_path / "cuts.jsonl")
    return str(tmp_path / "cuts.jsonl")


class Reader:
    """A stream of cuts, another order in each pass where it is to shuffle."""

    def __init__(self, config: Any) -> None:
        self.config, self.epoch = config, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[MonoCut]:
        numbers = list(range(self.config.get("count", COUNT)))
        if self.config.shuffle:
            random.Random(resolve_seed(self.config.shard_seed) + self.epoch).shuffle(numbers)
        self.epoch += 1
        for number in numbers:
            if number == self.config.get("damaged"):
                raise DataError("shard 3 is damaged")
            yield make_cut(number)


@pytest.fixture(autouse=True)
def _stream_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data type `stream`, as NeMo's tutorial writes such."""
    monkeypatch.setattr("toolkit.dataio.data_types._TYPES", dict(data_types._TYPES))

    @data_types.data_type_parser("stream")
    def read_stream(config: Any) -> tuple[CutSet, bool]:
        cuts = CutSet(Reader(config))
        return cuts if config.get("force_finite", False) else cuts.repeat(preserve_id=True), True


@pytest.fixture(params=["planned", "stream"])
def data(request: pytest.FixtureRequest, cuts_path: str) -> dict[str, Any]:
    """The same utterances, with and without an index."""
    common = {"batch_duration": CAP, "shuffle": True, "seed": 3, "num_buckets": 4, "force_finite": True}
    common |= {"num_cuts_for_bins_estimate": 60, "bucket_buffer_size": 100}
    return common | ({"cuts_path": cuts_path} if request.param == "planned" else {"input_cfg": [{"type": "stream"}]})


def make(config: dict[str, Any], rank: int = 0, world_size: int = 1, **options: Any) -> EpochLoader:
    return get_lhotse_dataloader_from_config(
        OmegaConf.create(config), rank, world_size, options.pop("dataset", Names()), **options
    )


def check_parts(parts: list[list[list[str]]]) -> None:
    """Ranks have as many batches, and all utterances once."""
    assert len(set(map(len, parts))) == 1
    assert sorted(name for part in parts for batch in part for name in batch) == sorted(ALL)


# Nothing lost, nothing repeated


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("bucketing", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_an_epoch(data: dict[str, Any], world_size: int, bucketing: bool, shuffle: bool) -> None:
    data |= {"shard_seed": "trng", "use_bucketing": bucketing, "shuffle": shuffle}
    loaders = [make(data, rank, world_size) for rank in range(world_size)]
    for _ in range(2):
        check_parts([list(loader) for loader in loaders])


@pytest.mark.parametrize("force", [{}, {"force_map_dataset": True}, {"force_iterable_dataset": True}])
def test_workers_share_what_a_rank_has(data: dict[str, Any], force: dict[str, bool]) -> None:
    data |= force
    alone = [list(make(data, rank, 2)) for rank in range(2)]
    check_parts(alone)
    helped = [make(data | {"num_workers": 2}, rank, 2) for rank in range(2)]
    assert [list(loader) for loader in helped] == alone
    helped[1].seek(0, 3)
    assert list(helped[1]) == alone[1][3:]


def test_endless_data_is_divided_too(cuts_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = {"input_cfg": [{"type": "stream"}], "batch_size": 1, "num_workers": 2}
    for rank in range(2):
        names = [name.split("_")[0] for [name] in islice(make(stream, rank, 2), 60)]
        assert names == [f"u{(2 * step + rank) % COUNT}" for step in range(60)]
    monkeypatch.setattr("toolkit.dataio.sampling._ENDLESS_EPOCH", 0)
    twice = {"input_cfg": [{"type": "lhotse", "cuts_path": cuts_path}] * 2, "batch_size": 1, "shuffle": True}
    names = [name.split("_")[0] for rank in range(2) for [name] in islice(make(twice, rank, 2), COUNT)]
    assert collections.Counter(names) == dict.fromkeys(ALL, 2)


def test_few_utterances_for_many_ranks(data: dict[str, Any]) -> None:
    data |= {"batch_duration": 1000.0, "num_buckets": 1}
    check_parts([list(make(data, rank, 7)) for rank in range(7)])
    data |= {"batch_duration": None, "batch_size": 1}
    parts = [list(make(data, rank, 4)) for rank in range(4)]
    assert {len(part) for part in parts} == {14}
    counts = collections.Counter(name for part in parts for batch in part for name in batch)
    assert (set(counts), counts.total()) == (ALL, 56)  # 53 batches of one cannot be halved: three come again


@pytest.mark.parametrize("bucketing", [True, False])
def test_drop_last_leaves_out_what_is_not_full(data: dict[str, Any], bucketing: bool) -> None:
    data |= {"batch_duration": None, "batch_size": 4, "num_buckets": 2, "use_bucketing": bucketing}
    assert {len(batch) for batch in make(data)} == {1, 4} or bucketing
    loaders = [make(data | {"drop_last": True}, rank, 2) for rank in range(2)]
    parts = [list(loader) for loader in loaders]
    assert {len(batch) for part in parts for batch in part} == {4}
    assert len(parts[0]) == len(parts[1]) >= 5
    names = [name for part in parts for batch in part for name in batch]
    assert len(names) == len(set(names))


def test_orders_are_of_seed_and_epoch(data: dict[str, Any]) -> None:
    loader, again = make(data), make(data)
    epochs = [list(loader) for _ in range(2)]
    assert epochs == [list(again) for _ in range(2)]
    assert epochs[0] != epochs[1]
    assert list(make(data | {"seed": 4})) not in epochs
    # A seed that is drawn is another one in each run; ranks have to be connected to know it.
    assert list(make(data | {"seed": "trng"})) != list(make(data | {"seed": "trng"}))
    with pytest.raises(ConfigError, match=r"config\.seed: 2 processes that torch.distributed does not connect"):
        make(data | {"seed": "trng"}, 1, 2)


# The cap


@pytest.mark.parametrize("bucketing", [True, False])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("quadratic", [None, 20.0])
def test_the_budget_is_a_cap(data: dict[str, Any], bucketing: bool, shuffle: bool, quadratic: float | None) -> None:
    data |= {"use_bucketing": bucketing, "shuffle": shuffle, "quadratic_duration": quadratic}
    batches = list(make(data, dataset=Durations()))
    longest = [max(batch) if quadratic is None else max(batch) + max(batch) ** 2 / quadratic for batch in batches]
    padded = [len(batch) * one for batch, one in zip(batches, longest, strict=True)]
    assert all(size <= CAP + 1e-6 for size, batch in zip(padded, batches, strict=True) if len(batch) > 1)
    assert np.mean(padded) > 0.6 * CAP


def test_without_bucketing_batches_are_of_any_lengths(data: dict[str, Any]) -> None:
    """`num_buckets` alone asks for buckets, as in our recipes; `use_bucketing: false` refuses them."""
    data |= {"batch_duration": None, "batch_size": 5, "bucket_buffer_size": COUNT}
    spread = {}
    for key, given in {"plain": {"use_bucketing": False}, "implied": {}, "asked": {"use_bucketing": True}}.items():
        spread[key] = np.mean([max(batch) - min(batch) for batch in make(data | given, dataset=Durations())])
    assert spread["implied"] == spread["asked"] < 0.5 * spread["plain"]
    del data["num_buckets"]
    assert np.mean([max(batch) - min(batch) for batch in make(data, dataset=Durations())]) == spread["plain"]


# Going on


@pytest.mark.parametrize("workers", [(0, 0), (2, 2), (2, 0), (1, 2)])
@pytest.mark.parametrize("endless", [False, True])
def test_a_run_goes_on_with_the_next_batch(
    data: dict[str, Any], tmp_path: Path, workers: tuple[int, int], endless: bool
) -> None:
    """As a recoverable of SpeechBrain's Checkpointer, saved while workers have read ahead."""
    data |= {"shard_seed": 1, "force_finite": not endless}
    if endless and "cuts_path" in data:  # a blend has no end
        data["input_cfg"] = [{"type": "lhotse", "cuts_path": data.pop("cuts_path"), "weight": 1}] * 2
    expected = list(islice(make(data), 30)) if endless else list(make(data)) + list(make_second_epoch(data))
    stopped, resumed = (make(data | {"num_workers": count}) for count in workers)
    seen = list(islice(stopped, 4))
    saved = Checkpointer(tmp_path / "save")
    saved.add_recoverable("loader", stopped, load_state, save_state)
    saved.save_checkpoint()
    loaded = Checkpointer(tmp_path / "save")
    loaded.add_recoverable("loader", resumed, load_state, save_state)
    loaded.recover_if_possible()
    assert place(resumed) == (0, 4)
    if endless:
        assert seen + list(islice(resumed, 26)) == expected
        assert list(islice(stopped, 26)) == expected[4:]  # it, too, goes on where it was left
    else:
        assert seen + list(resumed) + list(resumed) == expected
        assert place(resumed) == (2, 0)


def make_second_epoch(data: dict[str, Any]) -> EpochLoader:
    loader = make(data)
    loader.seek(1)
    return loader


def place(loader: EpochLoader) -> tuple[int, int]:
    state = loader.state_dict()
    return state["epoch"], state["batches"]


def save_state(loader: EpochLoader, path: Path) -> None:
    torch.save(loader.state_dict(), path)


def load_state(loader: EpochLoader, path: Path, end_of_epoch: bool) -> None:  # noqa: ARG001 (SpeechBrain's)
    loader.load_state_dict(torch.load(path))


def test_the_state_of_an_endless_run_is_of_the_epoch_it_is_in(cuts_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.dataio.sampling._ENDLESS_EPOCH", 60)
    config = {"input_cfg": [{"type": "lhotse", "cuts_path": cuts_path}] * 2, "batch_size": 10, "shuffle": True}
    loader = make(config)
    list(islice(loader, 25))
    state = loader.state_dict()
    assert state["epoch"] > 0
    again = make(config)
    again.load_state_dict(state)
    loader.seek(0, 25)
    assert list(islice(again, 2)) == list(islice(loader, 2))


@pytest.mark.parametrize("fusion", ["round_robin", "randomized_round_robin", "zip"])
def test_going_on_far_into_fused_data_plans_only_the_epochs_that_it_goes_on_in(
    cuts_path: str, monkeypatch: pytest.MonkeyPatch, fusion: str
) -> None:
    monkeypatch.setattr("toolkit.dataio.sampling._ENDLESS_EPOCH", 60)
    sources = [{"type": "lhotse", "cuts_path": cuts_path}] * 2
    group = {"input_cfg": sources, "batch_size": 10, "shuffle": True}
    config = {"multi_config": True, "sampler_fusion": fusion, "one": group, "other": group | {"seed": 5}}
    loader = make(config)
    batches = list(islice(loader, 100))
    state = yaml.safe_load(yaml.safe_dump(loader.state_dict()))
    planned, resumed = [], make(config)
    plan = BucketSampler.plan
    monkeypatch.setattr(BucketSampler, "plan", lambda self, epoch: planned.append(epoch) or plan(self, epoch))
    resumed.load_state_dict(state | {"batches": 98})
    assert list(islice(resumed, 2)) == batches[98:]
    assert len(planned) <= 4, "of each sampler one, and another where that ends"
    resumed.load_state_dict(state)
    loader.seek(0, 100)
    assert list(islice(resumed, 3)) == list(islice(loader, 3))


def test_what_is_no_state_of_this_run(data: dict[str, Any]) -> None:
    loader = make(data, 0, 2)
    state = loader.state_dict()
    for wrong in ({"epoch": 1}, state | {"epoch": -1}, state | {"batches": -3}, state | {"batches": None}):
        with pytest.raises(ConfigError, match="expected epoch, batches and origin of a loader's"):
            loader.load_state_dict(wrong)
    other = make(data | {"batch_duration": 10.0, "seed": 4}, 2, 3)
    changed = r"world_size was 2 and is 3, config\.batch_duration was 20\.0 and is 10\.0, config\.seed was 3 and is 4"
    with pytest.raises(ConfigError, match=changed):
        other.load_state_dict(state)
    make(data | {"num_workers": 1, "pin_memory": True}, 1, 2).load_state_dict(state)
    with pytest.raises(ConfigError, match="global_rank: expected one of 0 to 1, not 3"):
        make(data, 3, 2)


def test_a_state_is_of_as_many_examples(cuts_path: str) -> None:
    state = make({"cuts_path": cuts_path, "batch_size": 2}).state_dict()
    longer = make({"cuts_path": cuts_path, "batch_size": 2, "min_duration": 1.0})
    with pytest.raises(ConfigError, match=r"config: examples was 53 and is \d\d$"):
        longer.load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("endless", [False, True])
def test_a_run_goes_on_with_the_seeds_that_it_drew(data: dict[str, Any], workers: int, endless: bool) -> None:
    """Of the order, the augmentation and the choice within blends."""
    data |= {
        "seed": "trng",
        "truncate_duration": 4.0,
        "batch_duration": 10.0,
        "force_finite": not endless,
        "num_workers": workers,
    }
    if endless:
        planned = {"type": "lhotse", "cuts_path": data.pop("cuts_path")} if "cuts_path" in data else {"type": "stream"}
        data["input_cfg"] = [planned | {"weight": 1}, {"type": "stream", "weight": 1}]
    stopped, resumed = (make(data, dataset=Starts()) for _ in range(2))
    seen = list(islice(stopped, 5))
    assert next(iter(resumed)) != seen[0]
    resumed.load_state_dict(stopped.state_dict())
    again = make(data, dataset=Starts())
    expected = list(islice(remade(stopped), 12))
    assert seen + list(islice(resumed, 4)) == expected[:9]
    again.load_state_dict(resumed.state_dict())
    assert again.state_dict() == resumed.state_dict()
    assert list(islice(again, 3)) == expected[9:]


def remade(loader: EpochLoader) -> EpochLoader:
    loader.seek(0)
    return loader


class Starts(Dataset):
    """The id of each cut, and where it starts; texts."""

    def __getitem__(self, examples: CutSet) -> list[str]:
        return [one.text if isinstance(one, TextExample) else f"{one.id} {one.start}" for one in examples]


@pytest.mark.usefixtures("_texts")
def test_several_samplers_go_on_with_the_seeds_that_they_drew(data: dict[str, Any]) -> None:
    fusion = {"seed": "trng", "sampler_fusion": "randomized_round_robin"}
    config = make_groups(data | {"seed": "trng"}, **fusion)
    del config["speech"]["num_buckets"]
    stopped, resumed = (make(config, dataset=Starts()) for _ in range(2))
    seen = list(islice(stopped, 7))
    resumed.load_state_dict(stopped.state_dict())
    assert seen + list(resumed) == list(remade(stopped))


# Several processes


ALONE = """
import sys
from datetime import timedelta
from torch import distributed
from toolkit.dataio.dataloader import get_lhotse_dataloader_from_config
rank, cuts, store = int(sys.argv[1]), sys.argv[2], sys.argv[3]
distributed.init_process_group(
    "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=20)
)
if rank == 0:
    config = {"input_cfg": [{"type": "lhotse", "cuts_path": cuts}] * 2, "batch_size": 2, "seed": "trng"}
    get_lhotse_dataloader_from_config(config, 0, 1, None)
config = {"cuts_path": cuts, "batch_size": 2, "seed": "trng", "shuffle": True}
seeds = [None, None]
distributed.all_gather_object(
    seeds, get_lhotse_dataloader_from_config(config, rank, 2, None).state_dict()
)
assert seeds[0] == seeds[1]
distributed.destroy_process_group()  # its threads, left to the interpreter's end, may abort it
"""


def test_a_rank_may_read_alone_and_ranks_agree_on_random_seeds(cuts_path: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ALONE]
    ranks = [subprocess.Popen([*command, str(rank), cuts_path, str(tmp_path / "store")]) for rank in range(2)]
    assert [rank.wait(100) for rank in ranks] == [0, 0]


def test_hf_streams_are_shared_by_workers(tmp_path: Path) -> None:
    """Each worker of `datasets` would read one of the three files, and take each second batch of that."""
    for part in range(3):
        rows = [{"audio": f"{tmp_path}/{part}-{number}.wav", "id": f"{part}-{number}"} for number in range(5)]
        (tmp_path / f"{part}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        for row in rows:
            soundfile.write(row["audio"], np.zeros(1600), 16000)
    files = [str(tmp_path / f"{part}.jsonl") for part in range(3)]
    item = {"type": "hf_dataset", "path": "json", "data_files": files, "streaming": True}
    config = {"input_cfg": [item], "batch_size": 2, "num_workers": 2, "shuffle": True}
    parts = [list(make(config, rank, 2)) for rank in range(2)]
    names = sorted(name for part in parts for batch in part for name in batch)
    assert names == [f"{part}-{number}" for part in range(3) for number in range(5)]


def test_a_blend_of_both_kinds(cuts_path: str) -> None:
    items = [{"type": "lhotse", "cuts_path": cuts_path, "weight": 1}, {"type": "stream", "count": 9, "weight": 1}]
    config = {"input_cfg": items, "batch_size": 4, "shuffle": True, "force_finite": True}
    parts = [list(make(config, rank, 2)) for rank in range(2)]
    counts = collections.Counter(name for part in parts for batch in part for name in batch)
    assert counts == {name: 1 + (int(name[1:]) < 9) for name in ALL}


@pytest.mark.parametrize("sizes", [{"batch_size": 4}, {"batch_duration": 20.0, "num_buckets": 2}])
@pytest.mark.parametrize("force", [{}, {"force_map_dataset": True}])
def test_what_has_an_index_is_built_where_it_is_used(sizes: dict[str, Any], force: dict[str, bool]) -> None:
    """In a blend with a stream: by neither the other ranks nor a run that goes on behind it."""
    built: list[int] = []

    class Built(Listed):
        def __getitem__(self, number: int) -> MonoCut:
            built.append(number)
            return super().__getitem__(number)

    cuts = Built([make_cut(number, "v") for number in range(COUNT)], lambda cut: cut.duration)
    data_types.data_type_parser("built")(lambda _: (CutSet(cuts).repeat(), False))
    items = [{"type": "built", "weight": 1}, {"type": "stream", "weight": 1}]
    config = {"input_cfg": items, "shuffle": True, "shard_seed": 1, **sizes, **force}
    expected = list(islice(make(config, 1, 2), 60))
    loader = make(config, 1, 2)
    loader.seek(0, 55)
    built.clear()
    assert list(islice(loader, 5)) == expected[55:]
    used = [name for batch in expected[55:] for name in batch if name.startswith("v")]
    assert sorted(built) == sorted(int(name[1:].split("_")[0]) for name in used) or force


# Blends, several samplers


def test_weights_are_shares(cuts_path: str, tmp_path: Path) -> None:
    CutSet([make_cut(number, "v") for number in range(20)]).to_file(tmp_path / "more.jsonl")
    more = str(tmp_path / "more.jsonl")
    config = {"cuts_path": [[cuts_path, 0.7], [more, 0.3]], "batch_size": 10, "shuffle": True}
    for part in ({}, {"max_open_streams": 1}):
        names = [name for batch in islice(make(config | part), 200) for name in batch]
        share = sum(name.startswith("v") for name in names) / len(names)
        assert abs(share - 0.3) < 3 * math.sqrt(0.3 * 0.7 / len(names))


def test_max_open_streams_bounds_what_is_read_at_a_time() -> None:
    opened: set[int] = set()
    most = []

    class Shard:
        def __init__(self, number: int) -> None:
            self.number = number

        def __iter__(self) -> Iterator[MonoCut]:
            opened.add(self.number)
            most.append(len(opened))
            for number in range(3):
                yield make_cut(10 * self.number + number)
            opened.discard(self.number)

    data_types.data_type_parser("shard")(lambda config: (CutSet(Shard(config.number)), True))
    shards = [{"type": "shard", "number": number, "weight": 1} for number in range(8)]
    for bound in (None, 2):
        loader = make({"input_cfg": shards, "batch_size": 2, "max_open_streams": bound, "shard_seed": 1})
        most.clear(), opened.clear()  # of what was looked at
        names = list(islice(loader, 100))
        assert len({name.split("_")[0] for batch in names for name in batch}) == 24
        assert (max(most) <= 3) == (bound == 2)


def make_groups(data: dict[str, Any], **whole: Any) -> dict[str, Any]:
    """Utterances, and texts in batches of two."""
    texts = {"input_cfg": [{"type": "texts"}], "batch_size": 2, "force_finite": data["force_finite"]}
    return {"multi_config": True, "seed": 0, "speech": data, "text": texts, **whole}


class Kinds(Dataset):
    def __getitem__(self, examples: CutSet) -> str:
        return "".join("t" if isinstance(example, TextExample) else "s" for example in examples)


@pytest.fixture
def _texts(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("".join(f"{number}\n" for number in range(20)))
    read = data_types._TYPES["txt"].parse

    def read_texts(config: Any) -> tuple[CutSet, bool]:
        return read(OmegaConf.merge(config, {"paths": str(tmp_path / "texts.txt")}))

    data_types.data_type_parser("texts")(read_texts)


@pytest.mark.usefixtures("_texts")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
def test_samplers_in_turns(data: dict[str, Any], workers: int, world_size: int) -> None:
    config = make_groups(data | {"batch_duration": None, "batch_size": 4}, num_workers=workers)
    ranks = [list(make(config, rank, world_size, dataset=Kinds())) for rank in range(world_size)]
    assert "".join(kinds for rank in ranks for kinds in rank).count("s") == COUNT
    assert len({len(rank) for rank in ranks}) == 1
    for rank in ranks:
        first = [kinds[0] for kinds in rank]
        texts = first.count("t")
        assert first[: 2 * texts] == ["s", "t"] * texts  # texts end first
        assert set(first[2 * texts :]) == {"s"}


@pytest.mark.usefixtures("_texts")
def test_samplers_at_random_by_weight(data: dict[str, Any]) -> None:
    weights = {"speech": 0.8, "text": 0.2}
    fusion = {"sampler_fusion": "randomized_round_robin", "sampler_weights": weights}
    config = make_groups(data | {"force_finite": False}, **fusion)
    if "cuts_path" in data:
        config["speech"]["cuts_path"] = [[data["cuts_path"], 1], [data["cuts_path"], 1]]
    drawn = [kinds[0] for kinds in islice(make(config, dataset=Kinds()), 1000)]
    assert abs(drawn.count("s") - 800) < 3 * math.sqrt(1000 * 0.8 * 0.2)
    # The same on all ranks, so that their steps take as long, and once more at the same place.
    other = make(config, 1, 2, dataset=Kinds())
    assert [kinds[0] for kinds in islice(other, 50)] == drawn[:50]
    other.seek(0, 40)
    assert [kinds[0] for kinds in islice(other, 10)] == drawn[40:50]
    with pytest.raises(TypeError, match="endless"):
        len(other)
    with pytest.raises(ConfigError, match="sampler_weights: all are 0"):
        make(config | {"sampler_weights": {"speech": 0, "text": 0}})
    never = make_groups(data, sampler_fusion="randomized_round_robin", sampler_weights={"speech": 1, "text": 0})
    assert {kinds[0] for kinds in make(never, dataset=Kinds())} == {"s"}


@pytest.mark.usefixtures("_texts")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fusion", ["round_robin", "randomized_round_robin"])
def test_what_ends_is_repeated_beside_what_does_not(data: dict[str, Any], fusion: str, workers: int) -> None:
    """Utterances that end (``force_finite``), and texts for ever: of each pass, every utterance once."""
    config = make_groups(data | {"num_buckets": 1}, sampler_fusion=fusion, num_workers=workers)
    config["text"]["force_finite"] = False
    batches = list(islice(make(config, dataset=Starts()), 200))
    said = [batch for batch in batches if batch[0].startswith("u")]
    assert 70 <= len(said) <= 130
    passes = [name.split("_")[0] for batch in said for name in batch][: 2 * COUNT]
    assert {frozenset(passes[:COUNT]), frozenset(passes[COUNT:])} == {frozenset(f"{name} 0.0" for name in ALL)}
    resumed = make(config, dataset=Starts())
    resumed.seek(0, 150)
    assert list(islice(resumed, 50)) == batches[150:]
    with pytest.raises(TypeError, match="endless"):
        len(resumed)


@pytest.mark.usefixtures("_texts")
@pytest.mark.parametrize("fusion", ["round_robin", "randomized_round_robin"])
def test_turns_that_are_passed_over_are_those_that_were_taken(data: dict[str, Any], fusion: str) -> None:
    weights = {"speech": 0.6, "text": 0.4}
    config = make_groups(data | {"batch_duration": 10.0}, sampler_fusion=fusion, sampler_weights=weights)
    loader = make(config, dataset=Kinds())
    batches = list(loader)
    for skipped in range(len(batches) + 2):
        loader.seek(0, skipped)
        assert list(loader) == batches[skipped:]


@pytest.mark.usefixtures("_texts")
def test_samplers_side_by_side(data: dict[str, Any]) -> None:
    batches = list(make(make_groups(data, sampler_fusion="zip"), dataset=Kinds()))
    assert all(kinds.endswith("stt") for kinds in batches)
    assert len(batches) == min(10, len(list(make(data))))


# Audio


@pytest.fixture
def wavs(tmp_path: Path) -> dict[str, Any]:
    """Twelve noises of half a second at 8 kHz."""
    (tmp_path / "wavs").mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).normal(0, 0.1, 4000)
        soundfile.write(tmp_path / f"wavs/{number}.wav", noise, 8000)
    folder = {"type": "audio_folder", "audio_dir": str(tmp_path / "wavs")}
    return {"input_cfg": [folder], "batch_size": 4, "force_finite": True}


class Audio(Dataset):
    """Samples of each cut, by its id and its rate."""

    def __getitem__(self, cuts: CutSet) -> dict[str, int]:
        cuts = list(cuts)
        names = [f"{cut.id} {cut.sampling_rate}" for cut in cuts]
        return dict(zip(names, load_cuts(cuts)[1].tolist(), strict=True))


def heard(config: dict[str, Any]) -> list[dict[str, int]]:
    return list(make(config, dataset=Audio()))


def test_audio_is_resampled_perturbed_and_joined(wavs: dict[str, Any]) -> None:
    for rate in (8000, 16000):
        found = {name: count for batch in heard(wavs | {"sample_rate": rate}) for name, count in batch.items()}
        assert ({name.split()[1] for name in found}, set(found.values())) == ({str(rate)}, {rate // 2})
    wavs |= {"sample_rate": 8000}
    found = {name: count for batch in heard(wavs | {"perturb_speed": True}) for name, count in batch.items()}
    assert collections.Counter(found.values()) == {4000: 12, 4444: 12, 3636: 12}
    assert {count for name, count in found.items() if "_sp0.9" in name} == {4444}
    joined = {"concatenate_samples": True, "concatenate_gap_seconds": 0.0, "concatenate_duration_factor": 2.0}
    assert [list(batch.values()) for batch in heard(wavs | joined)] == [[8000, 8000]] * 3


class Draw(Dataset):
    """What a user's transform draws."""

    def __getitem__(self, cuts: CutSet) -> tuple[float, float, float]:
        return random.random(), np.random.rand(), torch.rand(()).item()


def test_each_process_draws_its_own_random_numbers(data: dict[str, Any]) -> None:
    drawn = [one for rank in range(2) for one in islice(make(data | {"num_workers": 2}, rank, 2, dataset=Draw()), 2)]
    for library in zip(*drawn, strict=True):
        assert len(set(library)) == 4


@pytest.mark.parametrize("force", [{}, {"force_iterable_dataset": True}])
def test_workers_draw_other_random_numbers_in_each_epoch(data: dict[str, Any], force: dict[str, bool]) -> None:
    """And from each batch on, where a run is resumed; the same, where it begins once more at the same one."""
    data |= force | {"num_workers": 1}
    loader = make(data, dataset=Draw())
    drawn = [next(iter(loader)) for _ in range(3)]
    for batches in (0, 2):
        resumed = make(data, dataset=Draw())
        resumed.load_state_dict(loader.state_dict() | {"epoch": 1, "batches": batches})
        drawn.append(next(iter(resumed)))
    again = make(data, dataset=Draw())
    again.load_state_dict(loader.state_dict() | {"epoch": 1, "batches": 2})
    assert drawn[4] == next(iter(again))
    if force or "cuts_path" not in data:  # whose workers are new in each epoch
        assert drawn.pop(3) == drawn[1]
    for library in zip(*drawn, strict=True):
        assert len(set(library)) == len(drawn)


# Errors


@pytest.mark.parametrize("workers", [0, 2])
def test_what_cannot_be_read_is_said_and_does_not_hang(wavs: dict[str, Any], tmp_path: Path, workers: int) -> None:
    loader = make(wavs | {"num_workers": workers}, dataset=Audio())
    (tmp_path / "wavs/7.wav").write_bytes(b"")
    check_raises(AudioError, r"utterance '7.*7\.wav: ", loader)
    damaged = {"input_cfg": [{"type": "stream", "damaged": 30}], "batch_size": 4, "force_finite": True}
    loader = make(damaged | {"num_workers": workers, "concurrent_bucketing": True, "use_bucketing": False})
    check_raises(DataError, "shard 3 is damaged", loader)


def check_raises(error: type[Exception], said: str, loader: EpochLoader) -> None:
    """The loader is not kept alive by a traceback, which would end its workers by their time limit."""
    message = None
    try:
        list(loader)
    except error as found:
        message = str(found)
    assert message is not None
    assert re.search(said, message)


@pytest.mark.parametrize(
    ("values", "error", "said"),
    [
        ({"batch_sise": 5}, ConfigError, r"config\.batch_sise: unknown key \(did you mean 'batch_size'\?\)"),
        ({"batch_duration": None}, ConfigError, r"config\.batch_duration: missing; give it or batch_size"),
        ({"batch_tokens": 5, "batch_duration": None}, ConfigError,
         "batch_tokens counts with use_multimodal_sampling: true only"),
        ({"use_multimodal_sampling": True}, ConfigError, r"config\.batch_tokens: missing"),
        ({"min_duration": 100}, DataError, "none of 53 examples is left; left out: 53 by min_duration, max_duration"),
        ({"prompt_format": "lama"}, ConfigError, "lama"),
        ({"use_bucketing": False, "bucket_duration_bins": [9], "bucket_batch_size": [1], "batch_duration": None},
         ConfigError, "batch_duration: missing"),
    ],
)  # fmt: skip
def test_what_cannot_be(data: dict[str, Any], values: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        list(make(data | values, tokenizer=Letters()))


def test_no_example(cuts_path: str) -> None:
    stream = {"input_cfg": [{"type": "stream", "count": 0}], "batch_size": 4}
    for config in (stream, stream | {"force_finite": True}):
        with pytest.raises(DataError, match="config: holds no example"):
            make(config)
    endless = {"input_cfg": [{"type": "lhotse", "cuts_path": cuts_path}] * 2, "shuffle": True, "num_buckets": 2}
    with pytest.raises(DataError, match="no batch is full; leave out drop_last"):
        next(iter(make(endless | {"batch_size": 100_000, "drop_last": True})))


def test_what_has_no_length_says_so() -> None:
    stream = {"input_cfg": [{"type": "stream"}], "batch_size": 4}
    for config, said in (
        (stream, "endless data"),
        (stream | {"force_finite": True}, "only be read from its beginning"),
    ):
        with pytest.raises(TypeError, match=said):
            len(make(config))


# Tokens


class Letters:
    """A tokenizer of letters."""

    def text_to_ids(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]


class Tokens(Dataset):
    def __getitem__(self, examples: CutSet) -> list[int]:
        return [
            len(one.tokens) if isinstance(one, TextExample) else len(one.supervisions[0].tokens) for one in examples
        ]


def test_cuts_by_pairs_of_seconds_and_tokens(data: dict[str, Any]) -> None:
    bins, sizes = [[4.0, 4], [4.0, 12], [8.0, 4], [8.0, 12]], [6, 4, 3, 2]
    data |= {"batch_duration": None, "num_buckets": None, "bucket_duration_bins": bins, "bucket_batch_size": sizes}

    class Lengths(Dataset):
        def __getitem__(self, cuts: CutSet) -> list[tuple[float, int]]:
            return [(cut.duration, len(cut.supervisions[0].tokens)) for cut in cuts]

    batches = list(make(data, dataset=Lengths(), tokenizer=Letters()))
    assert sum(map(len, batches)) == COUNT
    for batch in batches:
        places = {next(n for n, (a, b) in enumerate(bins) if seconds <= a and count <= b) for seconds, count in batch}
        assert len(places) == 1
        assert len(batch) <= sizes[places.pop()]
    # What fits no pair is left out.
    narrow = data | {"bucket_duration_bins": [[4.0, 3], [8.0, 3]], "bucket_batch_size": [4, 2]}
    kept = [one for batch in make(narrow, dataset=Lengths(), tokenizer=Letters()) for one in batch]
    assert max(count for _, count in kept) == 3
    assert len(kept) == sum(number % 4 < 2 for number in range(COUNT))


@pytest.mark.parametrize("shuffle", [False, True])
def test_what_is_beyond_the_last_bin_of_a_given_size_is_left_out_and_counted(
    data: dict[str, Any], shuffle: bool, caplog: pytest.LogCaptureFixture
) -> None:
    data |= {"batch_duration": None, "num_buckets": None, "bucket_duration_bins": [2.0, 4.0]}
    with caplog.at_level(logging.INFO):
        batches = list(make(data | {"bucket_batch_size": [6, 4], "shuffle": shuffle}, dataset=Durations()))
    kept = [seconds for batch in batches for seconds in batch]
    assert max(kept) <= 4.0
    assert f"config: of {COUNT} examples left out: {COUNT - len(kept)} by bucket_duration_bins" in caplog.text


def test_no_full_batch(cuts_path: str) -> None:
    config = {"cuts_path": cuts_path, "batch_size": 2 * COUNT, "drop_last": True, "shuffle": True}
    with pytest.raises(DataError, match="no batch is full; leave out drop_last"):
        list(make(config))


def test_texts_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(measures, "_WORTH_KEEPING", 100)
    rng = random.Random(0)
    (tmp_path / "a.txt").write_text("".join("x" * rng.randint(1, 50) + "\n" for _ in range(200)))
    prompted = {"prompt_format": "plain", "measure_total_length": True}
    config = {"input_cfg": [{"type": "txt", "paths": str(tmp_path / "a.txt")}], "batch_tokens": 300, "num_buckets": 3}
    config |= {"use_multimodal_sampling": True, "force_finite": True, "shuffle": True} | prompted

    class Prompted(Dataset):
        def __getitem__(self, examples: CutSet) -> list[int]:
            return [len(example.input_ids) for example in examples]

    def lengths(**changed: Any) -> tuple[list[list[int]], int]:
        batches = list(make(config | changed, dataset=Prompted(), tokenizer=Plain()))
        return batches, len(list((tmp_path / "cache").rglob("*.measures.npy")))

    batches, kept = lengths()
    assert max(len(batch) * max(batch) for batch in batches) <= 300
    assert (sum(map(len, batches)), kept) == (200, 1)
    monkeypatch.setattr(measures, "tqdm", None)  # nothing is measured again
    assert lengths() == (batches, 1)
    with pytest.raises(TypeError):
        lengths(prompt_format="llama2")
    # What would take too long to measure is streamed, its batches as full.
    monkeypatch.setattr("toolkit.dataio.parts.MOST_MEASURED", 10)
    loader = make(config, dataset=Prompted(), tokenizer=Plain())
    epochs = [list(loader) for _ in range(2)]
    for epoch in epochs:
        assert sorted(itertools.chain(*epoch)) == sorted(itertools.chain(*batches))
        assert max(len(batch) * max(batch) for batch in epoch) <= 300
    assert epochs[0] != epochs[1]


def longer_in_a_few(example: TextExample, prompt: PromptFormatter) -> dict[str, Any]:
    """One of 200 texts is much longer."""
    times = 100 if example.text.endswith("y") else 1
    return encode_messages(prompt, [Message(prompt.OUTPUT_ROLE, example.text * times)])


@pytest.mark.parametrize("changed", ["function", "template"])
def test_kept_lengths_are_of_the_prompts_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(measures, "_WORTH_KEEPING", 100)
    lines = ["x" * (number % 50 + 1) for number in range(200)]
    lines[103] += "y"  # none of those that are compared
    (tmp_path / "a.txt").write_text("".join(f"{line}\n" for line in lines))
    config = {"input_cfg": [{"type": "txt", "paths": str(tmp_path / "a.txt")}], "batch_tokens": 2000}
    config |= {"use_multimodal_sampling": True, "force_finite": True, "prompt_format": "plain"}

    class Prompted(Dataset):
        def __getitem__(self, examples: CutSet) -> list[int]:
            return [len(example.input_ids) for example in examples]

    def padded() -> list[int]:
        batches = make(config, dataset=Prompted(), tokenizer=Plain())
        return [len(batch) * max(batch) for batch in batches]

    before = padded()
    assert max(before) <= 2000
    if changed == "function":
        monkeypatch.setattr(prompt_fn, "_FUNCTIONS", dict(prompt_fn._FUNCTIONS))
        registered_prompt_format_fn(TextExample)(longer_in_a_few)
    else:
        template = copy.deepcopy(PlainPromptFormatter.TEMPLATE)
        template["assistant"]["template"] = "|message|" * 5
        monkeypatch.setattr(PlainPromptFormatter, "TEMPLATE", template)
    after = padded()
    assert max(after) <= 2000
    assert sum(after) > sum(before)


@pytest.mark.parametrize("pad", [None, 9.0])
def test_a_stream_is_tokenized_by_those_who_use_it(pad: float | None) -> None:
    """Unless utterances are padded, which hides their supervisions."""

    class Counted(Letters):
        texts: ClassVar[list[str]] = []

        def text_to_ids(self, text: str) -> list[int]:
            self.texts.append(text)
            return super().text_to_ids(text)

    tokenizer = Counted()
    config = {"input_cfg": [{"type": "stream"}], "batch_size": 4, "force_finite": True, "pad_min_duration": pad}
    loader = make(config, 1, 2, dataset=Tokens(), tokenizer=tokenizer)
    tokenizer.texts.clear()
    counts = [count for batch in loader for count in batch]
    assert counts == [3 * (number % 4) for number in range(COUNT) if number // 4 % 2 == 1]
    assert len(tokenizer.texts) == (COUNT if pad else len(counts))


def test_of_processes_that_start_together_one_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(measures, "_WORTH_KEEPING", 1)
    _measured.clear()
    source = Listed(range(200), float)
    with ThreadPoolExecutor(2) as threads:  # locks of files are between threads, too
        found = list(threads.map(lambda _: measures.measured(source, _measure_slowly, "lengths").tolist(), range(2)))
    assert found == [list(range(200))] * 2
    assert 200 <= len(_measured) < 300  # kept numbers may be compared with some that are measured anew


_measured: list[float] = []


def _measure_slowly(length: float) -> float:
    time.sleep(0.002)
    _measured.append(length)
    return length


class Plain(Letters):
    bos_id, eos_id, unk_id = 1, 2, 0


class Chat(Plain):
    """A tokenizer of letters, and of one mark of audio."""

    def token_to_id(self, token: str) -> int:
        return {"|audio|": 700}[token]

    def text_to_ids(self, text: str) -> list[int]:
        return [700] if text == "|audio|" else super().text_to_ids(text)


class TotalLengths(Dataset):
    def __getitem__(self, examples: CutSet) -> list[int]:
        return [example.total_length for example in examples]


@pytest.mark.parametrize("most_measured", [1_000_000, 0])
def test_conversations_are_padded_before_they_are_measured(
    cuts_path: str, monkeypatch: pytest.MonkeyPatch, most_measured: int
) -> None:
    monkeypatch.setattr("toolkit.dataio.parts.MOST_MEASURED", most_measured)
    talk = {"type": "lhotse_as_conversation", "cuts_path": cuts_path, "audio_locator_tag": "|audio|"}
    config = {"input_cfg": [talk | {"token_equivalent_duration": 0.08}], "prompt_format": "plain", "shuffle": True}
    config |= {"use_multimodal_sampling": True, "batch_tokens": 300, "pad_min_duration": 4.0, "force_finite": True}
    batches = list(make(config, dataset=TotalLengths(), tokenizer=Chat()))
    assert sum(map(len, batches)) == COUNT
    assert min(length for batch in batches for length in batch) >= 4.0 / 0.08
    assert max(len(batch) * max(batch) for batch in batches) <= 300
