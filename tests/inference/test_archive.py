"""Archives: every recording once, whatever the batches, the workers, the order, and who was killed when."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
import torch
from lhotse import CutSet, Recording

from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.errors import AudioError, ConfigError, DataError, ExperimentError, MissingDependencyError, ToolkitError
from toolkit.inference import archive, engines
from toolkit.inference.archive import Item, Shard, Worker, in_order, shards_of
from toolkit.inference.archive_inputs import read_archive
from toolkit.inference.archive_outputs import Files, LinesFile
from toolkit.inference.archive_places import Model, Place, places_in
from toolkit.inference.engines import transcribe_here, transcribe_in_processes
from toolkit.inference.formats import text_of
from toolkit.inference.ray_engine import resources, transcribe_with_ray
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Transcript, Word

RATE = 16000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a dozen recordings of many lengths, each with a changing spectrum of its own."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(3)
    for number in range(12):
        loudness = np.repeat(rng.uniform(0, 0.3, size=6 + 5 * (number * 7 % 12)), 800)
        soundfile.write(folder / f"{number:02}.wav", loudness * rng.standard_normal(len(loudness)), RATE)
    return folder


@pytest.fixture(scope="module")
def alone(corpus: Path, run_folder: Path) -> dict[str, str]:
    """The words of each file when it is transcribed alone."""
    transcriber = Transcriber.from_hparams(run_folder, device="cpu")
    texts = {str(path): transcriber.transcribe_file(path) for path in sorted(corpus.glob("*.wav"))}
    assert len(set(texts.values())) == len(texts)  # else what follows would show nothing
    return texts


def texts_of(found: Iterable[archive.Found]) -> dict[str, str]:
    """Words by id; an id that is found twice is an error."""
    texts: dict[str, str] = {}
    for one in found:
        assert not texts.keys() & one.keys()
        texts |= {name: transcript.text for name, transcript in one.items()}
    return texts


# Shards and workers


def test_shards_hold_every_item_once_longest_first_in_batches_that_fit() -> None:
    items = [Item(str(number), "x.wav", seconds) for number, seconds in enumerate([3, 100, 4, 4, 7, 2, float("inf")])]
    batches = [batch for shard in shards_of(items, 12.0) for batch in shard]
    assert [[item.seconds for item in batch] for batch in batches] == [[float("inf")], [100], [7], [4, 4, 3], [2]]
    assert shards_of([], 12.0) == []


def test_every_worker_gets_several_shards_of_a_small_archive_and_few_of_a_large() -> None:
    def shards(count: int, workers: int) -> list[Shard]:
        return shards_of([Item(str(number), "x.wav", 10.0) for number in range(count)], 60.0, workers)

    assert len(shards(6 * 8, 2)) >= 8
    assert max(len(shard) for shard in shards(6 * 1000, 2)) == archive.MOST_BATCHES


@pytest.mark.parametrize("batch_seconds", [0.1, 2.0, 100.0])
def test_transcripts_do_not_depend_on_batches_or_order(
    corpus: Path, run_folder: Path, alone: dict[str, str], batch_seconds: float
) -> None:
    worker = Worker(str(run_folder), "cpu", batch_seconds)
    items = list(read_archive([str(corpus)]).items.values())
    for order in (items, items[::-1]):
        assert texts_of(transcribe_here(shards_of(order, batch_seconds), worker)) == alone


def test_transcripts_do_not_depend_on_the_number_of_workers(
    corpus: Path, run_folder: Path, alone: dict[str, str]
) -> None:
    shards = shards_of(list(read_archive([str(corpus)]).items.values()), 2.0, workers=2)
    assert texts_of(transcribe_in_processes(shards, Worker(str(run_folder), "cpu"), 2)) == alone


def test_a_long_file_is_left_to_the_transcriber(
    corpus: Path, run_folder: Path, alone: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LONG_S", 1.0)
    shards = shards_of(list(read_archive([str(corpus)]).items.values()), 2.0)
    assert texts_of(transcribe_here(shards, Worker(str(run_folder), "cpu"))) == alone


def test_a_file_that_breaks_off_says_why_and_the_others_of_its_batch_are_transcribed(
    corpus: Path, run_folder: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.flac"
    soundfile.write(broken, np.random.default_rng(0).standard_normal(RATE) / 9, RATE)
    broken.write_bytes(broken.read_bytes()[:9000])  # its header is whole
    items = read_archive([str(corpus), str(broken)]).items
    (found,) = transcribe_here(shards_of(list(items.values()), 1000.0), Worker(str(run_folder), "cpu"))
    assert str(found.pop(str(broken))).startswith(f"{broken}: ")
    assert texts_of([found]) == alone


@pytest.mark.parametrize("longest", [0.5, 600.0])
def test_one_channel_can_be_heard(
    corpus: Path, run_folder: Path, tmp_path: Path, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LONG_S", longest)
    voices = [soundfile.read(corpus / name)[0][:16000] for name in ("03.wav", "05.wav")]
    for name, samples in (("0.wav", voices[0]), ("1.wav", voices[1]), ("both.wav", np.stack(voices, axis=1))):
        soundfile.write(tmp_path / name, samples, RATE)
    both = read_archive([str(tmp_path / "both.wav")]).items.values()
    heard = [texts_of([Worker(str(run_folder), "cpu", channel=number)([list(both)])]) for number in (0, 1)]
    transcriber = Transcriber.from_hparams(run_folder, device="cpu")
    expected = [transcriber.transcribe_file(tmp_path / name) for name in ("0.wav", "1.wav")]
    assert [list(texts.values()) for texts in heard] == [[text] for text in expected]
    assert expected[0] != expected[1]
    (error,) = Worker(str(run_folder), "cpu", channel=2)([list(both)]).values()
    assert "has no channel 2" in str(error)


@pytest.mark.parametrize("longest", [0.5, 600.0])
def test_clipping_is_warned_of_once_and_by_name(
    run_folder: Path,
    tmp_path: Path,
    longest: float,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(archive, "LONG_S", longest)
    loud = str(tmp_path / "loud.wav")
    soundfile.write(loud, np.sign(np.random.default_rng(0).standard_normal(RATE)), RATE)
    (found,) = Worker(str(run_folder), "cpu")([list(read_archive([loud]).items.values())]).values()
    assert [record.getMessage().partition(": clipped: ")[0] for record in caplog.records] == [loud]
    assert found.file == loud
    caplog.clear()
    (tmp_path / "segments.json").write_text(json.dumps({"shout": {"wav": loud, "length": 1.0, "words": "A"}}))
    Worker(str(run_folder), "cpu")([list(read_archive([str(tmp_path / "segments.json")]).items.values())])
    assert [record.getMessage().partition(": clipped: ")[0] for record in caplog.records] == ["shout"]


@pytest.mark.parametrize("longest", [0.5, 600.0])
def test_as_many_texts_are_found_as_asked_for(
    corpus: Path, run_folder: Path, longest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "LONG_S", longest)
    items = list(read_archive([str(corpus)]).items.values())
    worker = Worker(str(run_folder), "cpu", nbest=3)
    worker.transcriber.search = CTCPrefixSearcher(beam_size=4)
    assert max(len(one.nbest) for one in worker([items]).values()) == 3


def test_a_model_that_is_none_is_an_error_of_the_parent(corpus: Path, tmp_path: Path) -> None:
    shards = shards_of(list(read_archive([str(corpus)]).items.values()), 2.0)
    for engine in (transcribe_here, partial(transcribe_in_processes, workers=1)):
        with pytest.raises(ExperimentError, match=r"no hyperparams\.yaml here"):
            list(engine(shards, Worker(str(tmp_path))))


@dataclass(frozen=True)
class DiesOnce(Worker):
    """A worker that is killed in the middle of the archive, until the file that it makes before is there."""

    marker: str = ""

    def __call__(self, shard: Shard) -> archive.Found:
        if any(item.id.endswith("07.wav") for batch in shard for item in batch) and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(shard)


def test_a_process_that_is_killed_ends_the_run_with_a_sentence(corpus: Path, run_folder: Path, tmp_path: Path) -> None:
    shards = shards_of(list(read_archive([str(corpus)]).items.values()), 2.0, workers=2)
    with pytest.raises(ToolkitError, match="killed, most likely as memory ran out"):
        list(transcribe_in_processes(shards, DiesOnce(str(run_folder), "cpu", marker=str(tmp_path / "dead")), 1))


@dataclass(frozen=True)
class Sleeps(Worker):
    """A worker that tells of its process and never ends."""

    def __call__(self, shard: Shard) -> archive.Found:  # noqa: ARG002
        Path(self.model).write_text(str(os.getpid()))
        time.sleep(600)
        return {}


def test_processes_take_the_gpus_in_turn_unless_told_otherwise(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(threading, "Thread", Mock())
    begun = multiprocessing.Value("i", 0)

    def devices(asked: str | None) -> list[str | None]:
        found = []
        for _ in range(3):
            engines._Process.begin(Worker(str(corpus), asked), torch.get_num_threads(), begun)
            found.append(engines._Process.worker.device)
        return found

    assert devices(None) == ["cuda:0", "cuda:1", "cuda:0"]
    assert devices("cuda:1") == ["cuda:1"] * 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices(None) == [None] * 3


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        (None, 0, (0, "cpu")),
        (None, 2, (1, "cuda")),
        ("cpu", 2, (0, "cpu")),
        ("cuda", 2, (1, "cuda")),
        ("cuda:1", 2, (1, "cuda")),  # Ray shows an actor its GPU alone, as cuda:0
    ],
)
def test_ray_gives_each_worker_a_gpu_where_there_is_one(
    device: str | None, gpus: int, expected: tuple[int, str]
) -> None:
    assert resources(device, gpus) == expected


def test_ray_does_not_wait_for_a_gpu_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="--device cuda: the Ray cluster has no GPU; expected cpu"):
        resources("cuda", 0)


@pytest.mark.slow
def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    code = (
        "from test_archive import *\n"
        "if __name__ == '__main__':\n"
        f"    list(transcribe_in_processes([[[Item('a', 'a.wav', 1.0)]]], Sleeps({str(tmp_path / 'pid')!r}), 1))\n"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, tmp_path / "parent.py"], env=environment) as parent:
        _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        parent.kill()
    _until(lambda: not Path("/proc", (tmp_path / "pid").read_text()).exists())


def _until(done: Callable[[], object]) -> None:
    for _ in range(600):
        if done():
            return
        time.sleep(0.1)
    pytest.fail("a minute was not enough")


@pytest.mark.slow
def test_ray_loses_and_doubles_nothing_when_a_worker_is_killed(
    corpus: Path, run_folder: Path, alone: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for DiesOnce
    ray.init(num_cpus=2, logging_level="error", log_to_driver=False, include_dashboard=False)
    try:
        monkeypatch.chdir(corpus)  # where the cluster's processes are not
        shards = shards_of(list(read_archive(["."]).items.values()), 2.0, workers=2)
        worker = DiesOnce(str(run_folder), "cpu", marker=str(tmp_path / "dead"))
        found = transcribe_with_ray(shards, worker, workers=3)  # one more than there is room for
        assert texts_of(found) == {Path(path).name: text for path, text in alone.items()}
        assert (tmp_path / "dead").exists()
        with pytest.raises(ExperimentError, match=r"no hyperparams\.yaml here"):
            list(transcribe_with_ray(shards, Worker(str(tmp_path)), workers=1))
    finally:
        ray.shutdown()


def test_without_ray_the_extra_is_named(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"asr-recipes\[scale\]"):
        list(transcribe_with_ray([[[Item("a", "a.wav", 1.0)]]], Worker(str(corpus)), 1))


# What there is to transcribe


def test_files_folders_and_patterns_are_found_once_each(corpus: Path, tmp_path: Path) -> None:
    wavs = sorted(map(str, corpus.glob("*.wav")))
    nested = tmp_path / "a/b"
    nested.mkdir(parents=True)
    shutil.copy(wavs[0], nested / "deep.WAV")
    (nested / "notes.txt").write_text("not audio")
    found = read_archive([wavs[3], str(corpus), f"{corpus}/0*.wav", f"{tmp_path}/**/*.WAV", str(tmp_path)])
    assert list(found.items) == [wavs[3], *wavs[:3], *wavs[4:], str(nested / "deep.WAV")]
    assert found.broken == []
    assert found.items[wavs[0]].seconds == pytest.approx(soundfile.info(wavs[0]).duration)


def test_a_file_whose_name_looks_like_a_pattern_is_the_file(corpus: Path, tmp_path: Path) -> None:
    path = shutil.copy(corpus / "00.wav", tmp_path / "talk [1].wav")
    assert list(read_archive([str(path)]).items) == [str(path)]


def test_broken_files_are_told_and_the_others_found(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    found = read_archive([str(tmp_path / "missing.wav"), str(corpus / "00.wav"), str(tmp_path / "empty.wav")])
    assert list(found.items) == [str(corpus / "00.wav")]
    assert [type(error) for error in found.broken] == [AudioError, AudioError]
    assert "no such audio file" in str(found.broken[0])


def test_nothing_to_transcribe_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no audio in this folder"):
        read_archive([str(tmp_path)])
    with pytest.raises(DataError, match="no file matches this pattern"):
        read_archive([f"{tmp_path}/*.wav"])


def manifests_of(corpus: Path, folder: Path) -> dict[str, Path]:
    """Manifests of every format; NeMo's and Lhotse's name segments: the last 0.3 s of each file."""
    cuts = [
        Recording.from_file(path)
        .to_cut()
        .truncate(offset=soundfile.info(path).duration - 0.3)
        .with_id(f"cut-{path.stem}")
        for path in sorted(corpus.glob("*.wav"))
    ]
    CutSet.from_cuts(cuts).to_file(folder / "cuts.jsonl.gz")
    with (folder / "nemo.jsonl").open("w") as nemo:
        for cut in cuts:
            row = {"audio_filepath": cut.recording.sources[0].source, "offset": cut.start, "duration": 0.3, "text": "A"}
            nemo.write(json.dumps(row | {"id": cut.id}) + "\n")
    wavs = {path.stem: soundfile.info(path) for path in sorted(corpus.glob("*.wav"))}
    entries = {
        name: {"wav": str(corpus / f"{name}.wav"), "length": info.duration, "words": "A"} for name, info in wavs.items()
    }
    (folder / "speechbrain.json").write_text(json.dumps(entries))
    rows = [f"{name},{entry['length']},{entry['wav']},s,A" for name, entry in entries.items()]
    (folder / "speechbrain.csv").write_text("\n".join(["ID,duration,wav,spk_id,wrd", *rows]) + "\n")
    return {path.name: path for path in folder.iterdir()}


def test_segments_of_any_manifest_are_transcribed_by_their_ids(
    corpus: Path, run_folder: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    worker = Worker(str(run_folder), "cpu")
    ends = {f"cut-{Path(path).stem}": soundfile.read(path, dtype="float32")[0][-4800:] for path in alone}
    wavs = [torch.from_numpy(samples) for samples in ends.values()]
    segments = dict(zip(ends, (one.text for one in worker.transcriber.transcribe(wavs)), strict=True))
    whole = {Path(path).stem: text for path, text in alone.items()}
    expected = {"cuts.jsonl.gz": segments, "nemo.jsonl": segments, "speechbrain.json": whole, "speechbrain.csv": whole}
    manifests = manifests_of(corpus, tmp_path)
    assert manifests.keys() == expected.keys()
    for name, path in manifests.items():
        items = read_archive([str(path)]).items
        assert texts_of(transcribe_here(shards_of(list(items.values()), 2.0), worker)) == expected[name], name
    with pytest.raises(DataError, match="'cut-00' is the id of two recordings"):
        read_archive([str(manifests["cuts.jsonl.gz"]), str(manifests["nemo.jsonl"])])


def test_segments_at_another_rate_are_resampled(corpus: Path, run_folder: Path, tmp_path: Path) -> None:
    samples, _ = soundfile.read(corpus / "03.wav")
    soundfile.write(tmp_path / "slow.wav", samples, 8000)  # twice as long, an octave lower
    entry = {"wav": str(tmp_path / "slow.wav"), "length": len(samples) / 8000, "words": "A"}
    (tmp_path / "m.json").write_text(json.dumps({"x": entry}))
    worker = Worker(str(run_folder), "cpu")
    (found,) = transcribe_here(shards_of(list(read_archive([str(tmp_path / "m.json")]).items.values()), 9.0), worker)
    assert found["x"].duration == pytest.approx(len(samples) / 8000, abs=1e-3)


def test_a_damaged_entry_of_a_manifest_is_told_and_the_others_found(corpus: Path, tmp_path: Path) -> None:
    good = {"audio_filepath": str(corpus / "00.wav"), "duration": 0.3, "offset": 0.0, "text": "A", "id": "good"}
    lines = [
        json.dumps(good),
        json.dumps(good | {"audio_filepath": "missing.wav", "id": "bad"}),
        '{"audio_filepath": 3',
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    found = read_archive([str(tmp_path / "m.jsonl")])
    assert (list(found.items), len(found.broken)) == (["good"], 2)


# Where transcripts go


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def say(name: str, text: str = "A B") -> Transcript:
    return Transcript(text, file=name, duration=1.0)


@pytest.mark.parametrize("form", ["txt", "jsonl"])
def test_lines_are_kept_as_they_come_and_in_order_in_the_end(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"out.{form}"
    output = LinesFile(path, form)
    for name in ("c", "a", "b"):
        output.write(name, say(name))
        assert not path.exists()
        assert f"out.{form}.part" in names_in(tmp_path)
    assert len((tmp_path / f"out.{form}.part").read_text().splitlines()) == 3
    output.close()
    output.finish(["a", "b", "c"])
    assert path.read_text() == "".join(text_of(say(name), form) for name in "abc")
    assert names_in(tmp_path) == [path.name]


@pytest.mark.parametrize("form", ["txt", "jsonl"])
@pytest.mark.parametrize("cut", [0, 1, 7])
def test_a_half_written_line_does_not_count(tmp_path: Path, form: str, cut: int) -> None:
    path, part = tmp_path / f"out.{form}", tmp_path / f"out.{form}.part"
    lines = [text_of(say(name), form) for name in ("a", "b", "ü")]
    content = "".join(lines).encode()
    part.write_bytes(content[: len(content) - cut])
    output = LinesFile(path, form, resume=True)
    assert output.done == ({"a", "b"} if cut else {"a", "b", "ü"})
    for name in {"a", "b", "ü", "d"} - output.done:
        output.write(name, say(name))
    output.close()
    output.finish(["d", "a", "b", "ü"])
    assert path.read_text() == text_of(say("d"), form) + "".join(lines)


def test_a_finished_file_is_gone_on_with_too_and_keeps_what_is_asked_for_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    for names in (["a", "b"], ["c"]):
        output = LinesFile(path, "txt", resume=True)
        for name in names:
            output.write(name, say(name))
        output.close()
        output.finish(names)
    assert path.read_text() == "c\tA B\na\tA B\nb\tA B\n"
    fresh = LinesFile(path, "txt")
    fresh.write("d", say("d"))
    fresh.close()
    fresh.finish(["d"])
    assert path.read_text() == "d\tA B\n"


def test_what_a_stopped_run_left_is_not_lost_without_resume(tmp_path: Path) -> None:
    (tmp_path / "out.txt.part").write_text("a\tA\n")
    with pytest.raises(ConfigError, match=r"out\.txt\.part: of a run that was stopped; go on with it by --resume"):
        LinesFile(tmp_path / "out.txt", "txt")
    assert (tmp_path / "out.txt.part").read_text() == "a\tA\n"


def test_processes_write_files_of_their_own_that_become_one(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    outputs = [LinesFile(path, "txt", rank=rank) for rank in range(3)]
    for rank, name in enumerate("bca"):
        outputs[rank].write(name, say(name))
        outputs[rank].close()
    with closing(LinesFile(path, "txt", resume=True, rank=1)) as output:
        assert output.done == {"a", "b", "c"}
    outputs[0].finish("abc")
    assert path.read_text() == "".join(text_of(say(name), "txt") for name in "abc")
    assert names_in(tmp_path) == ["out.txt"]


def test_a_name_that_would_break_a_line_is_refused_by_txt_and_kept_by_jsonl(tmp_path: Path) -> None:
    with closing(LinesFile(tmp_path / "out.txt", "txt")) as output, pytest.raises(ConfigError, match="use jsonl"):
        output.write("a\tb", say("a\tb"))
    with closing(LinesFile(tmp_path / "out.jsonl", "jsonl")) as output:
        output.write("a\tb\n", say("a\tb\n"))
    with closing(LinesFile(tmp_path / "out.jsonl", "jsonl", resume=True)) as output:
        assert output.done == {"a\tb\n"}


def test_a_file_a_recording_lies_as_the_recordings_do(corpus: Path, tmp_path: Path) -> None:
    talks, out = tmp_path / "talks", tmp_path / "out"
    for name in ("a/one.wav", "a/b/two.v2.wav", "three.WAV"):
        (talks / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus / "00.wav", talks / name)
    items = read_archive([f"{talks}/a/*", str(talks), f"{talks}/**/*.wav", f"{talks}/a/b/two.v2.wav"]).items
    places = places_in(out, "srt", items.values())
    assert list(places.values()) == [out / "one.srt", out / "a/b/two.v2.srt", out / "three.srt"]
    one = f"{talks}/a/one.wav"
    output = Files(places, "srt")
    output.write(one, say(one))
    assert "A B" in (out / "one.srt").read_text()
    assert Files(places, "srt", resume=True).done == {one}
    assert Files(places, "srt").done == set()


def test_where_a_recording_lies_does_not_depend_on_the_others(corpus: Path, tmp_path: Path) -> None:
    """So that a run with more recordings, or fewer that can be read, goes on where one was stopped."""
    for name in ("ann/1.wav", "bob/2.wav", "bob/deep/3.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(corpus / "00.wav", tmp_path / name)
    sources = [f"{tmp_path}/ann/*.wav", f"{tmp_path}/bob", f"{tmp_path}/bob/2.wav"]
    together = places_in(tmp_path, "srt", read_archive(sources).items.values())
    for source in sources:
        alone = places_in(tmp_path, "srt", read_archive([source]).items.values())
        assert alone
        assert alone.items() <= together.items()


def test_two_recordings_do_not_share_a_file(corpus: Path, tmp_path: Path) -> None:
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        shutil.copy(corpus / "00.wav", tmp_path / name / "x.wav")
    both = read_archive([f"{tmp_path}/ann/x.wav", f"{tmp_path}/bob/x.wav"]).items.values()
    with pytest.raises(ConfigError, match=r"ann/x\.wav and .*bob/x\.wav would both be written to .*; name the folder"):
        places_in(tmp_path / "out", "srt", both)
    with pytest.raises(ConfigError, match=r"ann/x\.wav and .*bob/x\.wav have one name in a ctm, x; use jsonl"):
        Place.of(tmp_path / "out.ctm", None).open(both)


def test_ids_cannot_leave_the_folder(tmp_path: Path) -> None:
    items = [Item(name, name, 1.0, name) for name in ("../../../etc/passwd", "a", "/b", "//c", "dr. no")]
    places = places_in(tmp_path, "txt", items)
    names = ["etc/passwd.txt", "a.txt", "b.txt", "c.txt", "dr. no.txt"]
    assert list(places.values()) == [tmp_path / name for name in names]


def test_a_ctm_of_many_recordings_is_whole_though_its_lines_name_no_path(tmp_path: Path) -> None:
    path = tmp_path / "out.ctm"
    words = (Word("A", 0.5, 0.75, 1.0), Word("B", 1.0, 1.25, 0.5))
    found = {f"talks/{name}.wav": Transcript("A B", words, file=f"talks/{name}.wav") for name in "ab"}
    found["talks/silent.wav"] = Transcript("", file="talks/silent.wav")
    output = LinesFile(path, "ctm")
    for name in ("talks/silent.wav", "talks/b.wav"):
        output.write(name, found[name])
    output.stream.write('{"file": "talks/a.wav", "lines": "a 1 0.5')  # and then it was killed
    output.close()
    output = LinesFile(path, "ctm", resume=True)
    assert output.done == {"talks/silent.wav", "talks/b.wav"}
    output.write("talks/a.wav", found["talks/a.wav"])
    output.close()
    output.finish(found)
    assert path.read_text().splitlines() == [
        "a 1 0.500 0.250 A 1.000",
        "a 1 1.000 0.250 B 0.500",
        "b 1 0.500 0.250 A 1.000",
        "b 1 1.000 0.250 B 0.500",
    ]
    with pytest.raises(ConfigError, match=r"out\.ctm: is finished, and ctm does not say of which recordings"):
        LinesFile(path, "ctm", resume=True)


@pytest.mark.parametrize(("output", "form"), [("out.jsonl", None), ("subtitles", "srt")])
def test_an_output_is_of_one_model(tmp_path: Path, output: str, form: str | None) -> None:
    place = Place.of(tmp_path / output, form)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.ckpt").write_text(name)
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    place.keep_to(Model.of(first), done=[])
    place.keep_to(Model.of(first), done=["a.wav"])
    with pytest.raises(
        ConfigError, match=r"1 transcripts are of .*/first as of .*, the others would be of .*/second as"
    ):
        place.keep_to(Model.of(second), done=["a.wav"])
    os.utime(tmp_path / "first/model.ckpt", (0, 0))  # the same folder with other weights
    with pytest.raises(ConfigError, match=r"are of .*/first as of .*, the others would be of .*/first as of 19"):
        place.keep_to(Model.of(first), done=["a.wav"])
    place.keep_to(Model.of(second), done=[])  # nothing is there of the first
    with pytest.raises(ConfigError, match=r"are of .*/second as of .*, the others .* with --channel 1; go on"):
        place.keep_to(Model.of(second, "--channel 1"), done=["a.wav"])
    place.keep_to(Model.of(second), done=["a.wav"])


def test_in_order_gives_each_as_soon_as_those_before_it_are_there() -> None:
    found = iter([("c", 3), ("a", 1), ("b", 2), ("e", 5), ("d", 4)])
    pairs = in_order(found, "abcde")
    assert next(pairs) == ("a", 1)
    assert next(found) == ("b", 2)  # not looked at yet
    assert list(in_order(iter([("b", 2), ("a", 1)]), "ab")) == [("a", 1), ("b", 2)]
