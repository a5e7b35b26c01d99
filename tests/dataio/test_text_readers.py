"""Text files, JSONL files and tar files as examples, one at a time."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import tarfile
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet
from lhotse.testing.dummies import dummy_cut

from toolkit.dataio.conversation_readers import NeMoMultimodalConversationJsonlAdapter, write_conversations
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation, TextExample, TextTurn
from toolkit.dataio.text_readers import (
    LhotseTextAdapter,
    LhotseTextPairAdapter,
    LhotseTextPairAdapterFromJsonl,
    NeMoSFTJsonlAdapter,
)
from toolkit.errors import ConfigError, DataError, ManifestError


def write(path: Path, lines: Iterable[object]) -> Path:
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


def test_texts(tmp_path: Path) -> None:
    write(tmp_path / "a_0.txt", ["one ", "", "two"])
    write(tmp_path / "a_1.txt", ["drei"])
    cuts = CutSet(LhotseTextAdapter(f"{tmp_path}/a__OP_0..1_CL_.txt", language="en"))
    assert list(cuts) == [TextExample(text, "en") for text in ("one", "two", "drei")]
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("packed\n")
    assert [text.text for text in LhotseTextAdapter(tmp_path / "b.txt.gz")] == ["packed"]


def test_pairs(tmp_path: Path) -> None:
    source, target = write(tmp_path / "s", ["A", "", *"BCDEF"]), write(tmp_path / "t", ["a", "", *"bcdef"])
    questions = write(tmp_path / "q", ["Why?", "How?"])
    reader = LhotseTextPairAdapter([source], [target], "en", "es", questions, "en", shard_seed=0)
    pairs = list(CutSet(reader).repeat(2))
    assert [(pair.source.text, pair.target.text) for pair in pairs] == list(
        zip("ABCDEF" * 2, "abcdef" * 2, strict=True)
    )
    assert {(one.source.language, one.target.language, one.question.language) for one in pairs} == {("en", "es", "en")}
    assert {pair.question.text for pair in pairs} == {"Why?", "How?"}
    assert pairs[:6] == pairs[6:]
    assert next(iter(LhotseTextPairAdapter(source, target))).question is None


def test_any_example_by_its_number(tmp_path: Path) -> None:
    write(tmp_path / "s_0", ["A", "", "B"]), write(tmp_path / "s_1", ["CC"])
    write(tmp_path / "t_0", ["a", "", "b"]), write(tmp_path / "t_1", ["cc"])
    pairs = LhotseTextPairAdapter(f"{tmp_path}/s_{{0..1}}", f"{tmp_path}/t_{{0..1}}")
    assert [pairs[number].source.text for number in (2, 0, 1)] == ["CC", "A", "B"]
    assert pairs.lengths.tolist() == [2, 2, 4]
    assert pickle.loads(pickle.dumps(pairs))[2] == pairs[2]
    texts = LhotseTextAdapter(f"{tmp_path}/s_{{0..1}}")
    assert (len(texts), texts[1].text, texts.lengths.tolist()) == (3, "B", [1, 1, 2])


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (["A", "B"], ["a"], "s: line 2: has no counterpart: .*t ends before it"),
        (["A"], ["a", "", "c"], "t: line 2: has no counterpart: .*s ends before it"),
        (["A", ""], ["a", "b"], "t: line 2: has no counterpart: .*s is empty there"),
        (["A", "B"], ["a", ""], "s: line 2: has no counterpart: .*t is empty there"),
    ],
)
def test_pairs_that_are_none(tmp_path: Path, source: list[str], target: list[str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        LhotseTextPairAdapter(write(tmp_path / "s", source), write(tmp_path / "t", target))


def test_as_many_targets_as_sources(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source_paths, target_paths: 2 and 3 files"):
        list(LhotseTextPairAdapter(f"{tmp_path}/s_{{0..1}}", f"{tmp_path}/t_{{0..2}}"))
    with pytest.raises(ConfigError, match="manifest_filepath, tarred_audio_filepaths: 1 and 2 files"):
        list(NeMoMultimodalConversationJsonlAdapter("a", "[audio]", "b_{0..1}.tar"))


def test_pairs_and_chats_of_jsonl(tmp_path: Path) -> None:
    line = {"source": "A", "target": "B", "source_lang": "en", "target_lang": "es", "prompt": "C", "prompt_lang": "en"}
    first, second = LhotseTextPairAdapterFromJsonl(write(tmp_path / "p", [line, "", {"source": "D", "target": "E"}]))
    assert first.source == TextExample("A", "en")
    assert first.target == TextExample("B", "es")
    assert first.question == TextExample("C", "en")
    assert (second.source, second.target, second.question) == (TextExample("D"), TextExample("E"), None)
    chat = {"conversations": [{"from": "User", "value": "A"}, {"from": "Assistant", "value": "B"}], "system": ""}
    (example,) = NeMoSFTJsonlAdapter(write(tmp_path / "c", [chat]), language="en")
    assert (example.data, example.language) == (chat, "en")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"source": "A", ', 'p: line 2: Expecting property name.*: \'{"source": "A",\''),
        ({"source": "A"}, "p: line 2: no field 'target': "),
        ({"source": "A", "target": 3}, "p: line 2: 'target' is 3; expected a text: "),
        (["A", "B"], "p: line 2: expected a JSON object, not a list: "),
    ],
)
def test_damaged_jsonl(tmp_path: Path, line: object, message: str) -> None:
    examples = iter(LhotseTextPairAdapterFromJsonl(write(tmp_path / "p", [{"source": "A", "target": "B"}, line])))
    assert next(examples).source.text == "A"
    with pytest.raises(ManifestError, match=message):
        next(examples)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("gut\nschön".encode("latin-1"))
    with pytest.raises(ManifestError, match="latin: line 2: 'utf-8' codec can't decode byte 0xf6"):
        list(LhotseTextAdapter(tmp_path / "latin"))
    for reader in (LhotseTextAdapter, LhotseTextPairAdapterFromJsonl, NeMoSFTJsonlAdapter):
        with pytest.raises(ManifestError, match=r"none: cannot be read \(No such file"):
            list(reader(tmp_path / "none"))


def test_shards_in_an_order_that_seed_and_pass_decide(tmp_path: Path) -> None:
    for number in range(6):
        write(tmp_path / f"{number}.txt", [str(number)])
    paths = f"{tmp_path}/{{0..5}}.txt"

    def passes(seed: int | str) -> list[str]:
        reader = LhotseTextAdapter(paths, shuffle_shards=True, shard_seed=seed)
        return ["".join(text.text for text in reader) for _ in range(4)]

    assert passes(1) == passes(1) != passes(2)
    assert len(set(passes(1))) > 2
    assert all(sorted(order) == list("012345") for order in passes("trng"))
    assert "".join(text.text for text in LhotseTextAdapter(paths)) == "012345"


def test_a_line_takes_a_few_bytes_of_memory(tmp_path: Path) -> None:
    write(tmp_path / "p", ({"source": f"source {number}", "target": "target"} for number in range(50_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in CutSet(LhotseTextPairAdapterFromJsonl(tmp_path / "p"))) == 50_000
        assert tracemalloc.get_traced_memory()[1] < 60 * 50_000
    finally:
        tracemalloc.stop()


SECONDS = 1.5


def make_audio(path: Path, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(16000 * SECONDS))
    soundfile.write(path, samples, 16000, format="FLAC")
    return path


def say(value: object, **fields: object) -> dict[str, object]:
    return {"from": "User", "type": "audio", "value": str(value), **fields}


def talk(*turns: dict[str, object]) -> dict[str, object]:
    return {"id": "c", "conversations": [*turns, {"from": "assistant", "type": "text", "value": "Yes."}]}


def test_conversations(tmp_path: Path) -> None:
    rec = make_audio(tmp_path / "rec.flac")
    turns = [say(rec, duration=SECONDS), say("rec.flac", text="hi"), say(rec, offset=0.25, duration=0.5)]
    manifest = write(tmp_path / "conv.jsonl", [{**talk(*turns), "custom": {"topic": "rain"}}])
    (example,) = CutSet(NeMoMultimodalConversationJsonlAdapter(manifest, "[audio]", token_equivalent_duration=0.1))
    assert (example.id, example.topic, example.token_equivalent_duration) == ("c", "rain", 0.1)
    assert [turn.role for turn in example.turns] == ["user", "user", "user", "assistant"]
    assert [turn.audio_locator_tag for turn in example.turns[:3]] == ["[audio]"] * 3
    assert [turn.text for turn in example.turns[:3]] == [None, "hi", None]
    assert example.turns[3] == TextTurn("Yes.", "assistant")
    whole, named, part = example.list_cuts()
    assert [cut.duration for cut in (whole, named, part)] == [SECONDS, SECONDS, 0.5]
    np.testing.assert_array_equal(whole.load_audio(), named.load_audio())
    np.testing.assert_array_equal(part.load_audio(), whole.load_audio()[:, 4000:12000])
    assert [cut.id for cut in (whole, named, part)] == ["c_turn0", "c_turn1", "c_turn2"]


def test_conversations_come_back_from_what_was_written(tmp_path: Path) -> None:
    cut = next(
        iter(
            NeMoMultimodalConversationJsonlAdapter(
                write(tmp_path / "a.jsonl", [talk(say(make_audio(tmp_path / "rec.flac"), offset=0.25, duration=0.5))]),
                "<a>",
            )
        )
    ).list_cuts()[0]
    written = NeMoMultimodalConversation(
        "c", [TextTurn("Élan", "user"), AudioTurn(cut, "user", "<a>", "hi"), TextTurn("B", "assistant")]
    )
    write_conversations(tmp_path / "b.jsonl", [written, written])
    (tmp_path / "rec.flac").rename(tmp_path / "gone")  # the rate was written too: no file is opened for a length
    read, _ = NeMoMultimodalConversationJsonlAdapter(tmp_path / "b.jsonl", "<a>")
    assert read.to_dict() == written.to_dict()
    again = read.list_cuts()[0]
    assert (again.start, again.duration, again.sampling_rate) == (0.25, 0.5, 16000)
    assert json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])["conversations"][1] == {
        **{"type": "audio", "from": "User", "value": str(tmp_path / "rec.flac"), "duration": 0.5},
        **{"sampling_rate": 16000, "offset": 0.25, "text": "hi"},
    }


@pytest.mark.parametrize("change", ["in memory", "faster", "mixed"])
def test_audio_that_no_jsonl_can_name_is_not_written(tmp_path: Path, change: str) -> None:
    cut = dummy_cut(0, with_data=change != "faster")
    cut = cut.perturb_speed(1.1) if change == "faster" else cut.pad(9.0) if change == "mixed" else cut
    with pytest.raises(DataError, match="no stretch of a file as it is; save_audio"):
        write_conversations(tmp_path / "a.jsonl", [NeMoMultimodalConversation("c", [AudioTurn(cut, "user", "<a>")])])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (talk(say("none.flac")), "none.flac: no such audio file"),
        (talk(say("rec.flac", duration=2.0)), "'c_turn0': has 2.0 s, but its audio has 1.500 s"),
        (talk(say("rec.flac", offset=1.5)), "'c_turn0': begins at 1.5 s, but its audio has 1.500 s"),
        (talk({"from": "User", "type": "image", "value": "a"}), "turn of type 'image'; expected 'text' or 'audio'"),
        (talk({"from": "User", "type": "text"}), "no field 'value'"),
        ({"id": "c", "conversations": []}, "a conversation of no turns"),
    ],
)
def test_damaged_conversations(tmp_path: Path, item: dict[str, object], message: str) -> None:
    make_audio(tmp_path / "rec.flac")
    manifest = write(tmp_path / "conv.jsonl", ["", item])
    with pytest.raises(ManifestError, match=f"conv.jsonl: line 2: .*{re.escape(message)}"):
        list(NeMoMultimodalConversationJsonlAdapter(manifest, "[audio]"))


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_conversations_of_tar_files(tmp_path: Path) -> None:
    content = {f"{number}.flac": make_audio(tmp_path / "rec", seed=number).read_bytes() for number in range(5)}
    for shard, names in enumerate([["0.flac", "1.flac", "2.flac"], ["3.flac", "4.flac"]]):
        make_tar(tmp_path / f"audio_{shard}.tar", {f"./{name}": content[name] for name in names})
    write(tmp_path / "conv_0.jsonl", [talk(say("0.flac", duration=SECONDS), say("2.flac"))])
    write(tmp_path / "conv_1.jsonl", [talk(say("3.flac", offset=0.5, duration=0.5)), talk(say("4.flac"))])
    manifests, tars = f"{tmp_path}/conv_{{0..1}}.jsonl", f"{tmp_path}/audio_{{0..1}}.tar"
    reader = NeMoMultimodalConversationJsonlAdapter(manifests, "<a>", tars)
    for _ in range(2):
        cuts = [cut for example in reader for cut in example.list_cuts()]
        assert [cut.duration for cut in cuts] == [SECONDS, SECONDS, 0.5, SECONDS]
        samples, _ = soundfile.read(io.BytesIO(content["2.flac"]), dtype="float32")
        np.testing.assert_array_equal(cuts[1].load_audio()[0], samples)


def test_a_tar_file_without_a_member(tmp_path: Path) -> None:
    content = make_audio(tmp_path / "rec").read_bytes()
    tar = make_tar(tmp_path / "a.tar", {"1.flac": content, "0.flac": content})
    manifest = write(tmp_path / "conv.jsonl", [talk(say("0.flac"), say("1.flac")), talk(say("2.flac"))])
    examples = iter(NeMoMultimodalConversationJsonlAdapter(manifest, "<a>", tar))
    assert [cut.duration for cut in next(examples).list_cuts()] == [SECONDS, SECONDS]
    with pytest.raises(ManifestError, match=r"conv.jsonl: line 2: .*a.tar: has no member '2.flac'"):
        next(examples)
    damaged = make_tar(tmp_path / "b.tar", {"0.flac": content[:20]})
    with pytest.raises(ManifestError, match=r"conv.jsonl: line 1: .*b.tar: member 0.flac: not audio"):
        next(iter(NeMoMultimodalConversationJsonlAdapter(manifest, "<a>", damaged)))
    (tmp_path / "c.tar").write_bytes(b"no tar file" * 100)
    with pytest.raises(ManifestError, match=r"c\.tar: "):
        next(iter(NeMoMultimodalConversationJsonlAdapter(manifest, "<a>", tmp_path / "c.tar")))
