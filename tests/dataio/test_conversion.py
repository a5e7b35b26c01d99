"""What is converted reads back: ids, samples, words, voices and fields, whatever the audio is a part of."""

from __future__ import annotations

import gc
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from lhotse import AudioSource, CutSet, MonoCut, MultiCut, Recording, SupervisionSegment
from lhotse.cut import Cut
from lhotse.shar import LazySharIterator

from toolkit.cli.main import main
from toolkit.dataio.conversion import FORMATS, Target, convert
from toolkit.dataio.corpus import Corpus, config_of_path
from toolkit.dataio.cut_audio import load_channels
from toolkit.dataio.exact_audio import encode
from toolkit.dataio.indexed import Listed
from toolkit.dataio.loaders import SpeechDataset
from toolkit.errors import ConfigError, DataError
from toolkit.tokenizer import WordTokenizer

NAMES = {
    "speechbrain_json": "m.json",
    "speechbrain_csv": "m.csv",
    "nemo": "m.jsonl",
    "lhotse": "m.jsonl.gz",
    "nemo_tarred": "tars",
    "lhotse_shar": "shar",
}


@pytest.fixture(autouse=True)
def _caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def recorded(path: Path, seconds: float, rate: int = 16000, channels: int = 1, subtype: str = "PCM_16") -> Recording:
    noise = np.random.default_rng(len(path.name)).normal(0, 0.1, (round(seconds * rate), channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise, rate, subtype=subtype)
    source = AudioSource("file", list(range(channels)), str(path))
    return Recording(path.stem, [source], rate, len(noise), len(noise) / rate)


def listed(cuts: list[Cut]) -> Listed[Cut]:
    return Listed(cuts, duration)


def duration(cut: Cut) -> float:
    return cut.duration


def cut_of(recording: Recording, name: str, text: str, start: float = 0.0, length: float | None = None) -> Cut:
    channel = recording.channel_ids if recording.num_channels > 1 else 0
    length = recording.duration if length is None else length
    said = SupervisionSegment(name, name, 0.0, length, channel, text=text, speaker="ann", language="fr")
    kind = MultiCut if recording.num_channels > 1 else MonoCut
    return kind(name, start, length, channel, [said], recording=recording, custom={"take": 3, "mood": "ÉTÉ"})


@pytest.fixture
def cuts(tmp_path: Path) -> list[Cut]:
    """Whole files in several encodings, parts, another rate, two channels, a resampled, a loud and a mixed one."""
    folder = tmp_path / "audio"
    long = recorded(folder / "long.flac", 2.0)
    stereo = recorded(folder / "stereo.wav", 0.5, channels=2)
    first = cut_of(recorded(folder / "a.flac", 0.3), "a", 'ÉTÉ, "ONE"')
    return [
        first,
        cut_of(recorded(folder / "telephone.wav", 0.4, rate=8000), "spk/b.wav", "TWO THREE"),
        cut_of(recorded(folder / "studio.flac", 0.35, rate=44100, subtype="PCM_24"), "c", "FOUR"),
        cut_of(recorded(folder / "floating.wav", 0.3, subtype="FLOAT"), "d", "FIVE"),
        cut_of(long, "long-1", "SIX", 0.25, 0.5),
        cut_of(long, "long-2", "SEVEN", 0.0, 0.7),
        cut_of(long, "long-3", "EIGHT", 1.30625, 0.69375),
        cut_of(stereo, "stereo", "NINE"),
        MonoCut("right", 0.0, 0.5, 1, [SupervisionSegment("r", "r", 0, 0.5, 1, "TEN", "fr", "ann")], recording=stereo),
        cut_of(recorded(folder / "f.flac", 0.3), "f", "ELEVEN").resample(8000).with_id("f8"),
        cut_of(recorded(folder / "g.flac", 0.3), "g", "TWELVE").perturb_volume(2.5).with_id("loud"),
        first.append(cut_of(long, "x", "AND THAT", 0.1, 0.3)).with_id("joined"),
    ]  # fmt: skip


def described(cuts: Iterable[Cut]) -> dict[str, Any]:
    return {
        cut.id: (
            " ".join(one.text for one in cut.supervisions),
            cut.supervisions[0].speaker,
            cut.supervisions[0].language,
            cut.sampling_rate,
            cut.num_samples,
        )
        for cut in cuts
    }


def read_back(path: Path) -> dict[str, Cut]:
    read = list(Corpus.of("converted", config_of_path(path)).examples)
    assert len({cut.id for cut in read}) == len(read)
    return {cut.id: cut for cut in read}


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_converted_reads_back(cuts: list[Cut], kind: str, tmp_path: Path) -> None:
    target = Target(kind, tmp_path / "out" / NAMES[kind], shards=3 if kind in ("nemo_tarred", "lhotse_shar") else 1)
    written = convert(listed(cuts), target)
    assert (written.utterances, written.skipped) == (len(cuts), 0)
    assert written.seconds == pytest.approx(sum(cut.duration for cut in cuts))
    read = read_back(target.output)
    assert described(read.values()) == described(cuts)
    for cut in cuts:
        np.testing.assert_array_equal(load_channels(read[cut.id]), load_channels(cut), err_msg=cut.id)
        if kind != "speechbrain_csv" and cut.id not in ("right", "joined"):
            assert (read[cut.id].take, read[cut.id].mood) == (3, "ÉTÉ")
    assert not list(target.output.parent.rglob("*.part*"))


@pytest.mark.parametrize("first", FORMATS)
@pytest.mark.parametrize("second", FORMATS)
def test_from_any_format_to_any(cuts: list[Cut], first: str, second: str, tmp_path: Path) -> None:
    some = cuts[:7]
    convert(listed(some), Target(first, tmp_path / "1" / NAMES[first]))
    there = Corpus.of("first", config_of_path(tmp_path / "1" / NAMES[first])).examples
    convert(there, Target(second, tmp_path / "2" / NAMES[second]))
    read = read_back(tmp_path / "2" / NAMES[second])
    assert described(read.values()) == described(some)
    for cut in some:
        np.testing.assert_array_equal(load_channels(read[cut.id]), load_channels(cut), err_msg=cut.id)


def test_files_are_referred_to_and_passed_on_as_they_are(cuts: list[Cut], tmp_path: Path) -> None:
    whole = cuts[:4]
    convert(listed(whole), Target("nemo", tmp_path / "m.json"))
    lines = [json.loads(line) for line in (tmp_path / "m.json").read_text().splitlines()]
    assert [line["audio_filepath"] for line in lines] == [
        "audio/a.flac", "audio/telephone.wav", "audio/studio.flac", "audio/floating.wav"
    ]  # fmt: skip
    assert not (tmp_path / "m.json_audio").exists()
    convert(listed(whole), Target("nemo_tarred", tmp_path / "tars"))
    with tarfile.open(tmp_path / "tars/audio_0.tar") as tar:
        inside = [tar.extractfile(member).read() for member in tar]
    assert inside == [Path(cut.recording.sources[0].source).read_bytes() for cut in whole]


def test_parts_have_an_offset_in_a_nemo_manifest_and_a_file_where_there_is_none(
    cuts: list[Cut], tmp_path: Path
) -> None:
    parts = listed(cuts[4:7])
    convert(parts, Target("nemo", tmp_path / "m.json"))
    lines = [json.loads(line) for line in (tmp_path / "m.json").read_text().splitlines()]
    assert [(line["offset"], line["duration"]) for line in lines] == [(0.25, 0.5), (0.0, 0.7), (1.30625, 0.69375)]
    convert(parts, Target("speechbrain_json", tmp_path / "s.json"))
    assert sorted(path.name for path in (tmp_path / "s.json_audio").iterdir()) == [f"long-{n}.flac" for n in (1, 2, 3)]


def test_manifests_side_by_side_keep_their_own_audio(cuts: list[Cut], tmp_path: Path) -> None:
    first, second = cuts[4], cuts[5].with_id(cuts[4].id)  # parts of the same name, as two Kaldi folders may have
    for cut, name in ((first, "kk.train.json"), (second, "kk.valid.json"), (second, "kk.csv")):
        convert(listed([cut]), Target("speechbrain_csv" if name == "kk.csv" else "speechbrain_json", tmp_path / name))
    for cut, name in ((first, "kk.train.json"), (second, "kk.valid.json"), (second, "kk.csv")):
        np.testing.assert_array_equal(load_channels(read_back(tmp_path / name)[first.id]), load_channels(cut))


def test_nothing_that_is_there_is_replaced(cuts: list[Cut], tmp_path: Path) -> None:
    manifest, target = tmp_path / "s.json", Target("speechbrain_json", tmp_path / "s.json")
    convert(listed(cuts[4:6]), target)
    before = {path: path.read_bytes() for path in [manifest, *(tmp_path / "s.json_audio").iterdir()]}
    read = read_back(manifest)[cuts[4].id]
    source = listed([read.truncate(duration=0.2, preserve_id=True)])  # a part of what was written
    with pytest.raises(ConfigError, match=r"s\.json: is there already; remove it if nothing needs it"):
        convert(source, target)
    manifest.rename(tmp_path / "moved.json")
    with pytest.raises(ConfigError, match=r"s\.json_audio: is there already"):
        convert(source, target)
    (tmp_path / "moved.json").rename(manifest)
    convert(source, Target("speechbrain_csv", tmp_path / "s.csv"))
    assert {path: path.read_bytes() for path in before} == before


def test_of_a_conversion_that_failed_no_audio_is_left(cuts: list[Cut], tmp_path: Path) -> None:
    target = Target("speechbrain_json", tmp_path / "s.json")
    with pytest.raises(DataError, match="appears twice"):
        convert(listed([cuts[4], cuts[4]]), target)
    assert not target.output.with_name("s.json_audio").exists()
    assert convert(listed(cuts[4:6]), target).utterances == 2


def test_words_are_in_the_order_in_which_they_are_said(cuts: list[Cut], tmp_path: Path) -> None:
    cut = cuts[0]
    said = [(0.2, "THREE"), (0.0, "ONE"), (0.1, None), (0.1, "TWO")]
    cut.supervisions = [SupervisionSegment(f"s{at}{text}", "a", at, 0.1, text=text) for at, text in said]
    convert(listed([cut]), Target("nemo", tmp_path / "m.json"))
    assert json.loads((tmp_path / "m.json").read_text())["text"] == "ONE TWO THREE"
    batch = SpeechDataset(WordTokenizer())[CutSet.from_cuts([cut])]
    assert batch.words == ["ONE TWO THREE"]


def test_shards_are_laid_out_as_nemo_does(cuts: list[Cut], tmp_path: Path) -> None:
    target = Target("nemo_tarred", tmp_path / "tars", shards=5)
    convert(listed(cuts), target)
    assert {path.name for path in (tmp_path / "tars").iterdir()} == {
        *(f"audio_{shard}.tar" for shard in range(5)), *(f"manifest_{s}.json" for s in range(5))
    }  # fmt: skip
    for shard in range(5):
        lines = [json.loads(line) for line in (tmp_path / f"tars/manifest_{shard}.json").read_text().splitlines()]
        assert [line["id"] for line in lines] == [cut.id for cut in cuts[shard::5]]
        assert {line["shard_id"] for line in lines} == {shard}
        with tarfile.open(tmp_path / f"tars/audio_{shard}.tar") as tar:
            assert tar.getnames() == [line["audio_filepath"] for line in lines]
    assert len(list(Corpus.of("printed", target.reading).examples)) == len(cuts)


# Lhotse leaves its files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_lhotse_itself_reads_what_is_written(cuts: list[Cut], tmp_path: Path) -> None:
    convert(listed(cuts), Target("lhotse", tmp_path / "m.jsonl.gz"))
    assert described(CutSet.from_file(tmp_path / "m.jsonl.gz")) == described(cuts)
    convert(listed(cuts), Target("lhotse_shar", tmp_path / "shar", shards=2))
    read = list(LazySharIterator(in_dir=tmp_path / "shar"))
    assert described(read) == described(cuts)
    by_id = {cut.id: cut for cut in cuts}
    for cut in read:
        np.testing.assert_array_equal(cut.load_audio(), load_channels(by_id[cut.id]))
    gc.collect()


def test_processes_write_the_same(cuts: list[Cut], tmp_path: Path) -> None:
    for workers in (1, 2):
        done: list[int] = []
        target = Target("nemo_tarred", tmp_path / str(workers), shards=4)
        written = convert(listed(cuts), target, workers=workers, report=done.append)
        assert written.utterances == sum(done) == len(cuts)
    for path in (tmp_path / "1").iterdir():
        if path.suffix == ".json":
            assert path.read_bytes() == (tmp_path / "2" / path.name).read_bytes()


def test_an_interrupted_conversion_goes_on(cuts: list[Cut], tmp_path: Path) -> None:
    class Broken(Listed):
        def __getitem__(self, number: int) -> Cut:
            if number == 5:
                raise KeyboardInterrupt
            return super().__getitem__(number)

    target = Target("nemo_tarred", tmp_path / "tars", shards=4, source="a")
    with pytest.raises(KeyboardInterrupt):
        convert(Broken(cuts, lambda cut: cut.duration), target)
    there = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "tars").iterdir()}
    assert set(there) == {"audio_0.tar", "manifest_0.json"}
    other = Target("nemo_tarred", tmp_path / "tars", shards=4, source="b")
    with pytest.raises(
        ConfigError, match="tars: holds an unfinished conversion of something else, or of files that have"
    ):
        convert(listed(cuts), other)
    written = convert(listed(cuts), target)
    assert written.utterances == len(cuts)
    assert (tmp_path / "tars/audio_0.tar").stat().st_mtime_ns == there["audio_0.tar"]
    assert described(read_back(tmp_path / "tars").values()) == described(cuts)
    with pytest.raises(ConfigError, match="tars: holds files already; remove it"):
        convert(listed(cuts), target)


def test_a_conversion_of_files_that_changed_does_not_go_on(
    cuts: list[Cut], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, broken = tmp_path / "m.json", Path(cuts[1].recording.sources[0].source)
    convert(listed(cuts[:4]), Target("nemo", manifest))
    whole = broken.read_bytes()
    os.truncate(broken, 3000)
    (tmp_path / "data.yaml").write_text(f"- {{type: nemo, manifest_filepath: {manifest}}}\n")
    command = ["data", "convert", str(tmp_path / "data.yaml"), str(tmp_path / "tars"), "--to", "nemo_tarred"]
    command += ["--shards", "2"]
    assert main(command) == 2
    assert (tmp_path / "tars/manifest_0.json").is_file()
    assert main([*command, "--skip-broken"]) == 2  # would leave out of one shard what is in the other
    broken.write_bytes(whole)
    text = manifest.read_text()
    manifest.write_text(text.replace("FOUR", "FIVE"))
    capsys.readouterr()
    assert main(command) == 2
    assert "tars: holds an unfinished conversion of something else, or of files that have" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "tars")
    assert main(command) == 0
    assert [cut.supervisions[0].text for cut in read_back(tmp_path / "tars").values()].count("FIVE") == 2


class Stopped(Listed):
    """Ctrl-C comes at its third utterance."""

    def __getitem__(self, number: int) -> Cut:
        if number == 2:
            raise KeyboardInterrupt
        return super().__getitem__(number)


def test_a_finished_shard_of_audio_that_changed_is_written_again(cuts: list[Cut], tmp_path: Path) -> None:
    target = Target("nemo_tarred", tmp_path / "tars", shards=4)
    with pytest.raises(KeyboardInterrupt):
        convert(Stopped(cuts[:4], duration), target)
    before = {number: (tmp_path / f"tars/audio_{number}.tar").stat().st_mtime_ns for number in (0, 1)}
    changed = Path(cuts[1].recording.sources[0].source)
    samples, rate = soundfile.read(changed, dtype="int16")
    soundfile.write(changed, samples // 2, rate, subtype=soundfile.info(changed).subtype)
    convert(listed(cuts[:4]), target)
    after = {number: (tmp_path / f"tars/audio_{number}.tar").stat().st_mtime_ns for number in (0, 1)}
    assert after[0] == before[0]
    assert after[1] > before[1]
    there = read_back(tmp_path / "tars")
    for cut in cuts[:4]:
        np.testing.assert_array_equal(load_channels(there[cut.id]), load_channels(cut))


def test_what_is_broken_is_left_out_where_words_a_second_are_limited_too(
    cuts: list[Cut], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(listed(cuts[:4]), Target("nemo", tmp_path / "m.json"))
    lines = (tmp_path / "m.json").read_text().splitlines()
    (tmp_path / "m.json").write_text("\n".join([lines[0], '{"audio_filepath": "a.wav"', *lines[2:]]) + "\n")
    data = {"manifest_filepath": str(tmp_path / "m.json"), "min_tps": 0.01}
    (tmp_path / "data.yaml").write_text(json.dumps(data))
    command = ["data", "convert", str(tmp_path / "data.yaml"), str(tmp_path / "tars"), "--to", "nemo_tarred"]
    assert main(command) == 2
    assert "m.json" in capsys.readouterr().err
    assert main([*command, "--skip-broken"]) == 1
    assert "# left out: 1" in capsys.readouterr().out
    assert len(read_back(tmp_path / "tars")) == 3


def test_what_a_finished_shard_left_out_still_counts(cuts: list[Cut], tmp_path: Path) -> None:
    os.truncate(cuts[1].recording.sources[0].source, 3000)
    target = Target("nemo_tarred", tmp_path / "tars", shards=3, skip_broken=True)
    order = [cuts[1], cuts[0], cuts[2], cuts[3]]
    with pytest.raises(KeyboardInterrupt):
        convert(Stopped(order, duration), target)
    done: list[int] = []
    written = convert(listed(order), target, report=done.append)
    assert (written.utterances, written.skipped, sum(done)) == (3, 1, 4)
    assert "manifest_0.json: 1, when it was written before" in written.reasons[0]


def test_what_is_broken_is_an_error_or_left_out(cuts: list[Cut], tmp_path: Path) -> None:
    cuts = cuts[:4]
    os.truncate(cuts[1].recording.sources[0].source, 3000)
    source = listed(cuts)
    with pytest.raises(DataError, match=r"utterance 'spk/b.wav': .*telephone.wav: cut off"):
        convert(source, Target("lhotse_shar", tmp_path / "shar"))
    assert not any((tmp_path / "shar").iterdir())
    written = convert(source, Target("lhotse_shar", tmp_path / "shar", skip_broken=True))
    assert (written.utterances, written.skipped) == (3, 1)
    assert "telephone.wav: cut off" in written.reasons[0]
    assert len(read_back(tmp_path / "shar")) == 3


def test_a_manifest_that_cannot_be_read_back_is_not_written(cuts: list[Cut], tmp_path: Path) -> None:
    silent = cuts[0].with_id("silent")
    silent.supervisions = []
    for source, problem in (([silent], "utterance 'silent': 'words' is empty"), ([cuts[0]] * 2, "'a' appears twice")):
        with pytest.raises(DataError, match=problem):
            convert(listed(source), Target("speechbrain_json", tmp_path / "m.json"))
        assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nemmo", "m.json"), "no format 'nemmo' (did you mean 'nemo'?)"),
        (("nemo", "m.txt"), "m.txt: expected a file that ends in .json or .jsonl for nemo"),
        (("lhotse", "m.jsonl", 4), "lhotse has no shards"),
    ],
)
def test_impossible_targets(arguments: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Target(arguments[0], Path(arguments[1]), *arguments[2:])
    assert problem in str(caught.value)


@pytest.mark.parametrize("levels", [2**15, 2**23, None])
def test_encoding_loses_nothing(levels: int | None) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (2, 500)).astype(np.float32)
    if levels is not None:
        samples = (np.rint(samples * levels) / levels).astype(np.float32)
        samples[0, :2] = -1, 1 - 1 / levels
    file = encode(samples, 16000)
    assert file.suffix == (".wav" if levels is None else ".flac")

    np.testing.assert_array_equal(soundfile.read(io.BytesIO(file.content), dtype="float32")[0].T, samples)


def test_command(cuts: list[Cut], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(listed(cuts[:4]), Target("nemo", tmp_path / "m.json"))
    (tmp_path / "data.yaml").write_text(
        f"train_data:\n  input_cfg:\n    - {{type: nemo, manifest_filepath: {tmp_path}/m.json, tags: {{task: asr}}}}\n"
        "  max_duration: 0.36\n  batch_size: 4\nmodel: none\n"
    )
    output = tmp_path / "s.json"
    assert main(["data", "convert", str(tmp_path / "data.yaml"), str(output), "--to", "speechbrain_json"]) == 0
    assert capsys.readouterr().out == f"# 3 utterances, 0.00 h\nmanifest_filepath: {output}\n"
    assert [cut.task for cut in read_back(output).values()] == ["asr"] * 3
    assert main(["data", "convert", str(tmp_path / "data.yaml"), "x", "--to", "lhotse", "--key", "valid_data"]) == 2


@pytest.mark.parametrize(
    ("output", "options", "problem"),
    [
        (
            "m.json",
            ["--to", "nemo"],
            "m.json: is there already; remove it if nothing needs it, or choose another OUTPUT",
        ),
        ("folder.json", ["--to", "nemo"], "folder.json: is there already"),
        ("m.json/s.json", ["--to", "nemo"], "m.json is not a folder; name another place"),
        ("m.json", ["--to", "nemo_tarred"], "m.json is not a folder; name another place"),
        (f"{'x' * 300}.json", ["--to", "nemo"], "xxx.json: File name too long"),
        (".", ["--to", "nemo_tarred"], ".: holds files already; remove it, or choose another folder"),
        ("s.json", ["--to", "nemo", "-j", "2"], "-j 2: one process writes a manifest; leave it out, or write shards"),
    ],
)
def test_where_nothing_can_be_written(
    output: str, options: list[str], problem: str, cuts: list[Cut], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    convert(listed(cuts[:4]), Target("nemo", tmp_path / "m.json"))
    (tmp_path / "folder.json").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["data", "convert", "m.json", output, *options]) == 2
    assert problem in capsys.readouterr().err


@pytest.mark.parametrize("open_shards", [256, 2])
def test_a_stream_is_divided_among_shards(
    cuts: list[Cut], open_shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = 0

    class Stream:
        def __iter__(self) -> Iterator[Cut]:
            nonlocal passes
            passes += 1
            return iter(cuts)

    monkeypatch.setattr("toolkit.dataio.conversion._OPEN_SHARDS", open_shards)
    done: list[int] = []
    convert(listed(cuts), Target("nemo_tarred", tmp_path / "indexed", shards=5))
    written = convert(Stream(), Target("nemo_tarred", tmp_path / "tars", shards=5), report=done.append)
    assert written.utterances == sum(done) == len(cuts)
    assert passes == {256: 1, 2: 3}[open_shards]
    for number in range(5):
        name = f"manifest_{number}.json"
        assert (tmp_path / "tars" / name).read_bytes() == (tmp_path / "indexed" / name).read_bytes()
    assert described(read_back(tmp_path / "tars").values()) == described(cuts)


def test_a_process_gets_the_source_once(cuts: list[Cut], tmp_path: Path) -> None:
    sent = 0

    class Counted(Listed):
        def __reduce__(self) -> tuple[Any, ...]:
            nonlocal sent
            sent += 1
            return Listed, (self.examples, duration)

    convert(Counted(cuts, duration), Target("nemo_tarred", tmp_path / "tars", shards=12), workers=2)
    assert sent <= 2


@pytest.mark.parametrize("command", [["convert", "x.json", "--to", "nemo"], ["stats"], ["check"]])
def test_texts_are_no_utterances(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("one\n")
    (tmp_path / "data.yaml").write_text(f"- {{type: txt, paths: {tmp_path}/a.txt}}\n")
    assert main(["data", command[0], str(tmp_path / "data.yaml"), *command[1:]]) == 2
    assert "expected a data set of utterances, but it holds TextExample" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("none.json", "none.json: no such file or folder; expected a manifest, a folder of data, or a YAML"),
        ("notes.txt", "notes.txt: not known what this is; expected .json,"),
        ("broken.yaml", "broken.yaml: cannot be read as YAML"),
        ("recipe.yaml", "--key train_data: "),
        ("misspelt.yaml", "manifest_filepth: unknown key (did you mean 'manifest_filepath'?)"),
    ],
)
def test_data_that_is_not_there(name: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "recipe.yaml").write_text("model: 1\ntest_data: {test: {}}")
    (tmp_path / "misspelt.yaml").write_text("manifest_filepth: a.json")
    assert main(["data", "stats", str(tmp_path / name)]) == 2
    assert problem in capsys.readouterr().err
