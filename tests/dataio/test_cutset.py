"""From a configuration to examples: data sets of any type, weights, groups and tags."""

from __future__ import annotations

import collections
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import yaml
from lhotse import CutSet
from lhotse.dataset import DynamicCutSampler
from lhotse.dataset.dataloading import resolve_seed
from lhotse.serialization import load_jsonl
from omegaconf import DictConfig, OmegaConf

from toolkit.dataio.blend import Blend, sources_of
from toolkit.dataio.cutset import data_type_parser, get_known_config_data_types, read_cutset_from_config
from toolkit.dataio.data_types import _TYPES
from toolkit.dataio.indexed import Indexed
from toolkit.dataio.nemo_adapters import expand_sharded_filepaths
from toolkit.dataio.text_adapters import AudioTurn, SourceTargetTextExample, TextExample, TextTurn
from toolkit.errors import ConfigError, DataError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def texts(folder: Path, name: str, count: int) -> dict[str, object]:
    """A data set of the lines name-0, name-1, ..."""
    (folder / f"{name}.txt").write_text("".join(f"{name}-{number}\n" for number in range(count)))
    return {"type": "txt", "paths": str(folder / f"{name}.txt")}


def manifest(folder: Path, name: str, count: int, **fields: object) -> str:
    """A NeMo manifest of utterances that nobody will hear."""
    path = folder / f"{name}.jsonl"
    lines = [
        {"audio_filepath": f"{name}-{n}.wav", "duration": 1.0 + n / 10, "sampling_rate": 16000, "text": "A"} | fields
        for n in range(count)
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)


def shares(examples: Iterator[object], count: int) -> collections.Counter[str]:
    """How many of the next examples come from each of the data sets of :func:`texts` or :func:`manifest`."""
    names = (one.text if isinstance(one, TextExample) else one.id for one in islice(examples, count))
    return collections.Counter(name.split("-")[0] for name in names)


def test_seed_000_cells_5_and_6(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.dataio.data_types._TYPES", dict(_TYPES))

    @dataclass
    class LhotseTextPairAdapterFromJsonl:
        manifest_path: str | list[str]
        shuffle_shards: bool = False
        shard_seed: int | Literal["trng", "randomized"] = "trng"

        def __post_init__(self):
            self.manifest_path = expand_sharded_filepaths(self.manifest_path)

        def __iter__(self) -> Iterator[SourceTargetTextExample]:
            seed = resolve_seed(self.shard_seed)
            rng = random.Random(seed)
            paths = self.manifest_path
            if self.shuffle_shards:
                rng.shuffle(paths)
            for p in paths:
                for item in load_jsonl(p):
                    yield SourceTargetTextExample(
                        source=TextExample(item["source"], item.get("source_lang")),
                        target=TextExample(item["target"], item.get("target_lang")),
                        question=(
                            TextExample(item["prompt"], language=item("prompt_lang")) if "prompt" in item else None
                        ),
                    )

    @data_type_parser("txt_pair_jsonl")
    def read_txt_pair_paths(config: DictConfig) -> tuple[CutSet, bool]:
        cuts = CutSet(
            LhotseTextPairAdapterFromJsonl(
                manifest_path=config.manifest_path,
                shuffle_shards=config.shuffle,
                shard_seed=config.shard_seed,
            )
        )
        if not config.get("force_finite", False):
            cuts = cuts.repeat()
        return cuts, True

    (here / "_tutorial_nmt_0.jsonl").write_text('{"source": "A", "target": "B"}\n')
    (here / "_tutorial_nmt_1.jsonl").write_text('{"source": "C", "target": "D"}\n')
    data, use_iterable_dataset = read_cutset_from_config(
        {
            "input_cfg": [
                {
                    "type": "txt_pair_jsonl",
                    "manifest_path": "_tutorial_nmt__OP_0..1_CL_.jsonl",
                }
            ]
        }
    )
    example = next(iter(data))
    assert isinstance(example, SourceTargetTextExample)
    assert example.source.text == "A"
    assert example.target.text == "B"
    assert use_iterable_dataset
    assert str(example) == (
        "SourceTargetTextExample(source=TextExample(text='A', language=None, tokens=None, custom=None), "
        "target=TextExample(text='B', language=None, tokens=None, custom=None), question=None, custom=None)"
    )


def test_the_built_in_type_of_the_same_name_reads_the_same(here: Path) -> None:
    (here / "nmt_0.jsonl").write_text('{"source": "A", "target": "B"}\n')
    (here / "nmt_1.jsonl").write_text('{"source": "C", "target": "D", "prompt": "Translate"}\n')
    item = {"type": "txt_pair_jsonl", "manifest_path": "nmt_{0..1}.jsonl"}
    data, iterable = read_cutset_from_config({"input_cfg": [item], "force_finite": True})
    assert [(one.source.text, one.target.text) for one in data] == [("A", "B"), ("C", "D")]
    assert iterable
    data, _ = read_cutset_from_config({"input_cfg": [item]})
    assert [one.source.text for one in islice(data, 5)] == ["A", "C", "A", "C", "A"]


@pytest.mark.parametrize("weights", [(0.8, 0.2), (3, 1)])
def test_a_blend_has_its_proportions(tmp_path: Path, weights: tuple[float, float]) -> None:
    first, second = texts(tmp_path, "a", 7), texts(tmp_path, "b", 90)
    group = [first | {"weight": weights[0]}, second | {"weight": weights[1]}]
    counts = shares(iter(read_cutset_from_config({"input_cfg": group, "shard_seed": 5})[0]), 4000)
    share = weights[0] / sum(weights)
    assert abs(counts["a"] - 4000 * share) < 3 * (4000 * share * (1 - share)) ** 0.5


def test_groups_are_weighed_among_their_neighbours_and_anew_inside(tmp_path: Path) -> None:
    inner = [texts(tmp_path, "b", 5) | {"weight": 30}, texts(tmp_path, "c", 5) | {"weight": 10}]
    (tmp_path / "inner.yaml").write_text(yaml.safe_dump(inner))
    for input_cfg in (inner, str(tmp_path / "inner.yaml")):
        group = [texts(tmp_path, "a", 5) | {"weight": 1}, {"type": "group", "weight": 1, "input_cfg": input_cfg}]
        cuts, _ = read_cutset_from_config(OmegaConf.create({"input_cfg": group, "shard_seed": 1}))
        counts = shares(iter(cuts), 4000)
        for name, share in {"a": 0.5, "b": 0.375, "c": 0.125}.items():
            assert abs(counts[name] - 4000 * share) < 3 * (4000 * share * (1 - share)) ** 0.5


def test_without_weights_a_data_set_weighs_as_much_as_it_has_examples(tmp_path: Path) -> None:
    paths = [manifest(tmp_path, "a", 30), manifest(tmp_path, "b", 10)]
    cuts, is_tarred = read_cutset_from_config({"manifest_filepath": paths, "shard_seed": 2})
    assert not is_tarred
    assert abs(shares(iter(cuts), 4000)["a"] - 3000) < 3 * 750**0.5


def test_nothing_is_lost_or_repeated_in_a_finite_blend(tmp_path: Path) -> None:
    paths = [[manifest(tmp_path, "a", 30), 0.9], [manifest(tmp_path, "b", 10), 0.1]]
    cuts, _ = read_cutset_from_config({"manifest_filepath": paths, "force_finite": True})
    expected = sorted([f"a-{n}.wav" for n in range(30)] + [f"b-{n}.wav" for n in range(10)])
    assert sorted(cut.id for cut in cuts) == expected
    assert len(cuts) == 40


def test_what_has_an_index_keeps_it(tmp_path: Path) -> None:
    paths = [[manifest(tmp_path, "a", 3), 2], [manifest(tmp_path, "b", 5), 6]]
    single = sources_of(read_cutset_from_config({"manifest_filepath": paths[0][0]})[0])
    assert isinstance(single, Indexed)
    np.testing.assert_allclose(single.lengths, [1.0, 1.1, 1.2])
    assert single[1].id == "a-1.wav"
    tagged = {"type": "nemo", "manifest_filepath": paths, "tags": {"task": "asr"}}
    blend = sources_of(read_cutset_from_config({"input_cfg": [tagged]})[0])
    assert isinstance(blend, Blend)
    assert [len(source) for source in blend.sources] == [3, 5]
    assert blend.weights == [2, 6]
    assert all(isinstance(source, Indexed) for source in blend.sources)
    assert blend.sources[1][4].task == "asr"


def test_tags_and_inherited_keys(tmp_path: Path) -> None:
    path = manifest(tmp_path, "a", 2, lang="de", sentence="B")
    inner = {"type": "nemo", "manifest_filepath": path, "tags": {"inner": 1}, "lang_field": "language"}
    group = {"type": "group", "input_cfg": [inner], "tags": {"outer": {"x": [2]}}, "text_field": "sentence"}
    cut = next(iter(read_cutset_from_config({"input_cfg": [group]})[0]))
    assert (cut.inner, cut.outer, cut.supervisions[0].text, cut.supervisions[0].language) == (1, {"x": [2]}, "B", None)


def test_ranks_are_disjoint_and_complete_whatever_the_seed_of_shards(tmp_path: Path) -> None:
    """With ``trng`` Lhotse's multiplexer drew another order on each rank, and 49 of 60 utterances were seen."""
    paths = [manifest(tmp_path, "a", 40), manifest(tmp_path, "b", 20)]
    seen = []
    for rank in range(2):
        config = {"manifest_filepath": paths, "shard_seed": "trng", "shuffle": True, "force_finite": True}
        cuts, is_tarred = read_cutset_from_config(config)
        assert not is_tarred
        sampler = DynamicCutSampler(cuts, max_cuts=1, shuffle=True, seed=3, rank=rank, world_size=2)
        seen += [cut.id for batch in sampler for cut in batch]
    assert (len(seen), len(set(seen))) == (60, 60)


def test_trng_differs_from_run_to_run_where_every_process_reads_as_it_likes(tmp_path: Path) -> None:
    group = [texts(tmp_path, "a", 50), texts(tmp_path, "b", 50)]
    config = {"input_cfg": group, "force_finite": True}
    runs = [[one.text for one in read_cutset_from_config(config)[0]] for _ in range(2)]
    assert runs[0] != runs[1]
    runs = [[one.text for one in read_cutset_from_config(config | {"shard_seed": 3})[0]] for _ in range(2)]
    assert runs[0] == runs[1]


def test_few_streams_are_open_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.dataio.data_types._TYPES", dict(_TYPES))
    opened: set[str] = set()
    most = 0

    def stream(name: str) -> Iterator[TextExample]:
        nonlocal most
        opened.add(name)
        most = max(most, len(opened))
        yield from (TextExample(f"{name}-{number}") for number in range(5))
        opened.remove(name)

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def __iter__(self) -> Iterator[TextExample]:
            return stream(self.name + str(random.random()))

    @data_type_parser("stream")
    def read_stream(config: DictConfig) -> tuple[CutSet, bool]:
        return CutSet(Stream(config.name)).repeat(), True

    group = [{"type": "stream", "name": str(number), "weight": 1} for number in range(10)]
    for streams, expected in ((3, 3), (None, 10)):
        opened.clear()
        most = 0
        config = {"input_cfg": group, "shard_seed": 0, "max_open_streams": streams}
        assert len(list(islice(read_cutset_from_config(config)[0], 300))) == 300
        assert most == expected


def test_utterances_as_conversations(tmp_path: Path) -> None:
    path = manifest(tmp_path, "a", 1, context="Repeat:", system_prompt="Be brief.")
    item = {"type": "lhotse_as_conversation", "manifest_filepath": path, "tags": {"task": "asr"}}
    config = {"input_cfg": [item], "audio_locator_tag": "[audio]", "token_equivalent_duration": 0.08}
    conversation = next(iter(read_cutset_from_config(config)[0]))
    assert [type(turn) for turn in conversation.turns] == [TextTurn, TextTurn, AudioTurn, TextTurn]
    assert [turn.role for turn in conversation.turns] == ["system", "user", "user", "assistant"]
    assert (conversation.turns[3].value, conversation.turns[2].audio_locator_tag) == ("A", "[audio]")
    assert (conversation.token_equivalent_duration, conversation.task) == (0.08, "asr")


def test_an_utterance_without_text_is_no_conversation(tmp_path: Path) -> None:
    path = manifest(tmp_path, "a", 1, text=None)
    item = {"type": "lhotse_as_conversation", "manifest_filepath": path}
    cuts, _ = read_cutset_from_config({"input_cfg": [item], "audio_locator_tag": "[audio]"})
    with pytest.raises(DataError, match="has no text, so the assistant has no answer"):
        list(cuts)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"type": "nemmo"},
            r"input_cfg\[1\].type: unknown type 'nemmo' \(did you mean 'nemo'\?\); known: .*kaldi",
        ),
        ({"type": None}, r"input_cfg\[1\].type: unknown type None; known: "),
        ({"weight": 0}, r"input_cfg\[1\].weight: expected a number above 0, not 0; to leave a data set out, delete it"),
        ({"weight": -1}, r"input_cfg\[1\].weight: expected a number above 0, not -1"),
        ({"weight": "much"}, r"input_cfg\[1\].weight: expected a number above 0, not 'much'"),
        ({"weight": None}, r"input_cfg\[1\]: has no weight, but others have"),
        ({"path": "b.txt"}, r"input_cfg\[1\].path: unknown key of type 'txt' \(did you mean 'paths'\?\)"),
        ({"paths": None}, r"input_cfg\[1\]: type 'txt' needs 'paths'"),
        ({"paths": 3}, r"input_cfg\[1\]: expected a path such as"),
    ],
)
def test_impossible_data_sets(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    group = [texts(tmp_path, "a", 2) | {"weight": 1}, texts(tmp_path, "b", 2) | {"weight": 1} | changes]
    with pytest.raises(ConfigError, match=said):
        list(islice(read_cutset_from_config({"input_cfg": group})[0], 10))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"batch_sise": 5}, r"config.batch_sise: unknown key \(did you mean 'batch_size'\?\)"),
        ({}, "config.manifest_filepath: missing; give it or input_cfg, cuts_path or shar_path"),
        ({"input_cfg": []}, "input_cfg: expected a list of data sets, each with its type, or a YAML file"),
        ({"input_cfg": "none.yaml"}, "input_cfg: none.yaml: cannot be read"),
        ({"input_cfg": [{"type": "group"}]}, r"input_cfg\[0\]: type 'group' needs 'input_cfg'"),
        ({"manifest_filepath": [["a", 1], ["b", 0]]}, "the weight of b: expected a number above 0, not 0"),
        ({"manifest_filepath": [["a", 1], "b"]}, "some paths have a weight and others have none"),
        ({"manifest_filepath": ["a", "b"], "tarred_audio_filepaths": ["a"]}, "tarred_audio_filepaths: expected a list"),
    ],
)
def test_impossible_configurations(config: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_cutset_from_config(config)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- {type: txt, paths: '${data_dir}'}", r"speech\.input_cfg: g\.yaml: \[0\]\.paths: .*data_dir"),
        ("- {type: txt, paths: '???'}", r"speech\.input_cfg: g\.yaml: \[0\]\.paths: Missing mandatory value"),
        ("- {type: text}", r"speech\.input_cfg of g\.yaml\[0\]\.type: unknown type 'text'"),
    ],
)
def test_impossible_files_of_data_sets(here: Path, content: str, said: str) -> None:
    (here / "g.yaml").write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_cutset_from_config({"input_cfg": "g.yaml"}, "speech")


def test_an_empty_data_set(here: Path) -> None:
    (here / "a.jsonl").touch()
    with pytest.raises(DataError, match=r"input_cfg\[0\]: holds no example"):
        read_cutset_from_config({"input_cfg": [{"type": "nemo", "manifest_filepath": "a.jsonl"}]})


def test_known_types() -> None:
    wanted = "lhotse lhotse_shar nemo nemo_tarred txt txt_pair txt_pair_jsonl nemo_sft_jsonl multimodal_conversation "
    wanted += "lhotse_as_conversation group speechbrain_json speechbrain_csv hf_dataset kaldi audio_folder"
    assert set(wanted.split()) <= set(get_known_config_data_types())
