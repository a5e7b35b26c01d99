"""The engine: the same transcripts as a Transcriber's, whatever else is computed, cancelled, killed or refused."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import dataclasses
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from running_engine import LIMITS, RATE, Running, alive, noise, write

from toolkit.errors import ConfigError, ExperimentError
from toolkit.inference.live import listen
from toolkit.inference.streaming import as_streaming
from toolkit.inference.transcriber import Transcriber
from toolkit.inference.transcript import Transcript
from toolkit.serving.engine import ServiceEngine
from toolkit.serving.jobs import Job, Limits, joined
from toolkit.serving.messages import Computed
from toolkit.serving.service_errors import (
    BusyError,
    InvalidInputError,
    NotFoundError,
    ServiceError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def models(run_folder: Path, streaming_folder: Path) -> dict[str, Path]:
    """Whose long audio is merged CTC output, a stream, and segments."""
    return {"ctc": run_folder, "streaming": streaming_folder, "an4": ROOT / "pretrained/an4-small"}


@pytest.fixture(scope="module")
def transcribers(models: dict[str, Path]) -> dict[str, Transcriber]:
    return {name: as_streaming(Transcriber.from_hparams(folder, device="cpu")) for name, folder in models.items()}


@pytest.fixture(scope="module")
def running(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.serving.processes.AGAIN_S", 0.01)
        running = Running(models, tmp_path_factory.mktemp("engine"))
        yield running
        running.stop()


@pytest.fixture(autouse=True)
def _limits_put_back(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "running" in request.fixturenames:
        request.getfixturevalue("running").engine.limits = LIMITS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Recordings by their lengths in seconds, most of them whole, and one of digital silence."""
    folder = tmp_path_factory.mktemp("files")
    files = {
        str(seconds): write(folder / f"{seconds}.wav", seconds, seed) for seed, seconds in enumerate((1, 2.5, 4, 9))
    }
    files["75"] = write(folder / "75.flac", 75.0, 7)
    soundfile.write(folder / "silence.wav", np.zeros(3 * RATE), RATE)
    return files | {"silence": folder / "silence.wav"}


def same(found: Transcript, expected: Transcript, file: Path) -> None:
    """The numbers differ by rounding alone: other lengths of batches, other sums."""
    assert (found.text, found.tokens, found.file) == (expected.text, expected.tokens, file.name)
    assert found.duration == pytest.approx(expected.duration, abs=1e-6)
    assert found.score == pytest.approx(expected.score, rel=1e-3, abs=1e-3)
    assert [one.text for one in found.nbest] == [one.text for one in expected.nbest]
    assert [word.text for word in found.words] == [word.text for word in expected.words]
    for word, other in zip(found.words, expected.words, strict=True):
        assert (word.start, word.end) == pytest.approx((other.start, other.end), abs=0.05)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process that does nothing in the meantime."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


# Transcripts


def test_files_at_the_same_time_are_heard_as_a_transcriber_hears_them_alone(
    running: Running, transcribers: dict[str, Transcriber], files: dict[str, Path]
) -> None:
    asked = [(model, file) for model in transcribers for file in files.values()]

    async def all_of_them() -> list[Transcript]:
        return await asyncio.gather(*(running.transcribe(file, model=model) for model, file in asked))

    texts = []
    for (model, file), found in zip(asked, running.run(all_of_them()), strict=True):
        same(found, transcribers[model].transcribe(file), file)
        texts.append(found.text)
    assert len(set(texts)) > 12
    assert running.engine.status().batched_windows > running.engine.status().batches


def test_parts_come_in_order_with_what_was_heard_so_far(running: Running, files: dict[str, Path]) -> None:
    async def parts() -> list[Transcript]:
        return [part async for part in running.engine.transcribe(Job(files["75"], "x", model="an4"))]

    found = running.run(parts())
    starts = [word.start for part in found for word in part.words]
    assert len(found) > 5
    assert starts == sorted(starts)
    durations = [part.duration for part in found]
    assert durations == sorted(durations)
    assert durations[-1] == 75.0


def test_options_of_a_job(running: Running, transcribers: dict[str, Transcriber], tmp_path: Path) -> None:
    both = np.stack([noise(3, 1), noise(3, 2)], axis=1)
    soundfile.write(tmp_path / "two.wav", both, RATE, subtype="FLOAT")
    asr, file = transcribers["an4"], tmp_path / "two.wav"
    same(running.run(running.transcribe(file, model="an4", channel=1)), asr.transcribe(file, channel=1), file)
    found = running.run(running.transcribe(file, model="an4", nbest=4))
    assert len(found.nbest) > 1
    same(found, asr.transcribe(file, nbest=4), file)
    hotwords = ("CAB", "ABC")
    found = running.run(running.transcribe(file, model="ctc", hotwords=hotwords))
    same(found, transcribers["ctc"].searching(None, hotwords).transcribe(file), file)


def test_cards_tell_of_the_models(running: Running) -> None:
    cards = {card.name: card for card in running.engine.models}
    assert list(cards) == ["ctc", "streaming", "an4"]
    assert [card.streaming for card in cards.values()] == [False, True, False]
    assert all(card.loaded and card.sample_rate == RATE for card in cards.values())
    assert cards["an4"].provenance["license"]
    assert cards["an4"].provenance["exported"]["command"].startswith("asr export transducer_seed3 an4-small --quantize")


# What is refused


@pytest.mark.parametrize(
    ("content", "options", "kind", "said"),
    [
        (b"", {}, InvalidInputError, "my file: the file is empty"),
        (b"no audio", {}, UnsupportedMediaError, "my file: not audio"),
        (None, {"channel": 5}, InvalidInputError, "my file: has no channel 5"),
        (None, {"model": "none"}, NotFoundError, "model 'none': .* there are ctc, streaming, an4"),
        (None, {"nbest": 99}, InvalidInputError, "nbest=99: expected 1 to 1"),
    ],
)
def test_what_cannot_be_transcribed(
    running: Running, tmp_path: Path, content: bytes | None, options: dict, kind: type[ServiceError], said: str
) -> None:
    file = tmp_path / "upload"
    if content is None:
        write(tmp_path / "a.wav", 1.0).rename(file)
    else:
        file.write_bytes(content)

    async def transcribe() -> None:
        async for _ in running.engine.transcribe(Job(file, "my file", **options)):
            pass

    with pytest.raises(kind, match=said) as error:
        running.run(transcribe())
    assert "/" not in str(error.value)


def test_audio_that_is_too_long(running: Running, files: dict[str, Path]) -> None:
    running.set(audio_s=5.0)
    with pytest.raises(TooLargeError, match=r"9\.wav: longer than the 5 seconds"):
        running.run(running.transcribe(files["9"]))


def test_no_more_of_the_disk_is_taken_than_may_be(running: Running, files: dict[str, Path]) -> None:
    running.set(disk_bytes=1_000_000)  # half of it for each of the decoders: 7.8 s
    with pytest.raises(BusyError, match=r"9\.wav: its samples find no room") as error:
        running.run(running.transcribe(files["9"]))
    assert error.value.retry_after
    assert running.run(running.transcribe(files["4"])).duration == 4.0
    upload = running.folder / "upload"
    upload.write_bytes(bytes(900_000))
    running.engine.check_disk(100_000)
    with pytest.raises(BusyError, match="as much of the disk"):
        running.engine.check_disk(100_001)
    with pytest.raises(BusyError, match="find no room"):
        running.run(running.transcribe(files["4"]))
    upload.unlink()
    running.engine.check_disk(1_000_000)


def test_a_device_that_is_not_there_is_told_at_the_beginning(run_folder: Path, tmp_path: Path) -> None:
    engine = ServiceEngine({"ctc": run_folder}, dataclasses.replace(LIMITS, devices=("cpu", "bogus")), tmp_path)
    with pytest.raises(ConfigError, match=r"limits\.devices \(--device\): there is no 'bogus'; there are cpu"):
        asyncio.run(engine.start())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "said"), [({"queue_requests": 1}, "1 requests wait"), ({"queue_s": 30.0}, "seconds")]
)
def test_more_than_may_wait(running: Running, files: dict[str, Path], limits: dict, said: str) -> None:
    async def two() -> None:
        running.set(**limits)
        with stopped(running.model_pid()):
            task = asyncio.create_task(running.transcribe(files["75"], model="an4"))
            await running.until(lambda: running.engine.status().waiting_s == 75.0)
            with pytest.raises(BusyError, match=said) as error:
                await running.transcribe(files["1"])
        assert 1 <= error.value.retry_after <= 60
        await task
        await running.transcribe(files["1"])

    running.run(two())


def test_what_is_not_done_in_time(running: Running, files: dict[str, Path]) -> None:
    with stopped(running.model_pid()):
        running.set(timeout_s=0.3)
        with pytest.raises(UnavailableError, match=r"1\.wav: was not transcribed in time"):
            running.run(running.transcribe(files["1"]))
        assert running.engine.status().waiting_requests == 0
    before = running.model_pid()
    running.set(timeout_s=60.0)
    running.run(running.transcribe(files["1"]))
    assert running.model_pid() == before  # which did nothing wrong


def test_a_long_file_has_more_time(running: Running, files: dict[str, Path]) -> None:
    running.set(timeout_s=2.0)

    async def late() -> Transcript:
        task = asyncio.create_task(running.transcribe(files["75"]))
        await asyncio.sleep(2.5)
        os.kill(running.model_pid(), signal.SIGCONT)
        return await task

    with stopped(running.model_pid()):
        assert running.run(late()).duration == 75.0


def test_the_longest_file_leaves_room_for_others() -> None:
    assert Limits().queue_s >= 2 * Limits().audio_s


def test_who_reads_slowly_keeps_no_place_in_the_queue(running: Running, files: dict[str, Path]) -> None:
    async def slowly() -> list[Transcript]:
        async with aclosing(running.engine.transcribe(Job(files["75"], "x", model="an4"))) as parts:
            found = [await anext(parts)]
            await running.until(lambda: not running.engine.status().waiting_requests)
            await running.until(lambda: not list(running.folder.glob("*/*.f32")))
            return found + [part async for part in parts]

    assert running.run(slowly())[-1].duration == 75.0


# What goes wrong


def test_a_file_that_nobody_waits_for_is_computed_no_further(running: Running, tmp_path: Path) -> None:
    long, short = write(tmp_path / "600.flac", 600.0), write(tmp_path / "1.wav", 1.0)

    async def give_up() -> float:
        async with aclosing(running.engine.transcribe(Job(long, "x", model="an4"))) as parts:
            await anext(parts)
        await running.transcribe(short, model="an4")  # what was being computed is done
        return running.engine.status().batched_s

    before = running.engine.status().batched_s
    assert running.run(give_up()) - before < 300.0
    assert running.engine.status().waiting_s == 0.0


def test_a_model_process_that_is_killed(
    running: Running, transcribers: dict[str, Transcriber], files: dict[str, Path]
) -> None:
    async def kill() -> list[Transcript]:
        tasks = [asyncio.create_task(running.transcribe(files[name], model="an4")) for name in ("75", "4", "9")]
        windows = running.engine.status().batched_windows
        await running.until(lambda: running.engine.status().batched_windows > windows)
        os.kill(running.model_pid(), signal.SIGKILL)
        return await asyncio.gather(*tasks)

    restarts = running.engine.status().restarts
    for name, found in zip(("75", "4", "9"), running.run(kill()), strict=True):
        same(found, transcribers["an4"].transcribe(files[name]), files[name])
    assert running.engine.status().restarts == restarts + 1
    assert running.engine.ready


def test_a_file_that_kills_every_process_is_refused_and_no_other(running: Running, files: dict[str, Path]) -> None:
    async def kill() -> list[Transcript | BaseException]:
        tasks = [asyncio.create_task(running.transcribe(files[name], model="an4")) for name in ("9", "4", "2.5")]
        process = running.engine._processes[0]
        for many in (3, 1):  # the second time they are heard one after the other: who kills is known
            await running.until(lambda: process.ready.is_set() and len(process._work) >= many)  # noqa: B023
            os.kill(process.pid, signal.SIGKILL)
            await running.until(lambda: not process.ready.is_set())
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = running.run(kill())
    (error,) = (one for one in found if isinstance(one, BaseException))
    assert isinstance(error, InvalidInputError)
    assert re.fullmatch(r"[\d.]+\.wav: the model process died of it, 2 times", str(error))


def test_a_model_process_that_hangs(running: Running, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    before = running.model_pid()
    monkeypatch.setattr("toolkit.serving.processes.SILENT_S", 0.2)

    async def feed_a_minute() -> None:
        live = await running.engine.open_live("", RATE)
        await live.feed(bytes(2 * 60 * RATE))
        await live.finish()
        async for _ in live.heard():
            pass

    async def both() -> list[Transcript | BaseException]:
        return await asyncio.gather(feed_a_minute(), running.transcribe(files["1"]), return_exceptions=True)

    os.kill(before, signal.SIGSTOP)
    error, found = running.run(both())
    assert isinstance(error, UnavailableError)
    assert found.duration == 1.0  # by its successor
    assert not alive(before)


def test_no_more_live_sessions_than_may_be_after_a_restart(running: Running) -> None:
    async def many() -> list[object]:
        running.set(live_sessions=2)
        os.kill(running.model_pid(), signal.SIGKILL)
        await running.until(lambda: not running.engine.ready)
        found = await asyncio.gather(*(running.engine.open_live("", RATE) for _ in range(5)), return_exceptions=True)
        for one in found:
            if not isinstance(one, BusyError):
                await one.close()
        return found

    assert sum(isinstance(one, BusyError) for one in running.run(many())) == 3


def test_the_event_loop_answers_while_much_is_computed(running: Running, files: dict[str, Path]) -> None:
    async def load() -> float:
        tasks = [asyncio.create_task(running.transcribe(file, model="an4")) for file in [*files.values()] * 2]
        longest, computed = 0.0, time.thread_time()
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0.001)
            # of this thread alone: what others compute on the same cores is not the loop's doing
            longest, computed = max(longest, time.thread_time() - computed), time.thread_time()
        await asyncio.gather(*tasks)
        return longest

    assert running.run(load()) < 0.1


def test_the_event_loop_waits_for_no_disk_and_no_process(
    running: Running, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = []

    def told(where: object, name: str) -> None:
        call = getattr(where, name)

        def watched(*arguments: object, **options: object) -> object:
            if threading.current_thread() is threading.main_thread():
                blocked.append((name, arguments))
            return call(*arguments, **options)

        monkeypatch.setattr(where, name, watched)

    for where, name in [(os, "unlink"), (io, "open"), (builtins, "open"), (time, "sleep"), (BaseProcess, "join")]:
        told(where, name)

    async def transcribe_and_cancel() -> None:
        task = asyncio.create_task(running.transcribe(files["75"], model="an4"))
        await running.transcribe(files["9"])
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await running.transcribe(files["1"])

    running.run(transcribe_and_cancel())
    assert blocked == []


# Two processes


@pytest.fixture
def two(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr("toolkit.serving.processes.AGAIN_S", 0.01)
    running = Running({"ctc": run_folder}, tmp_path, dataclasses.replace(LIMITS, devices=("cpu", "cpu"), batch_s=10.0))
    yield running
    running.stop()


def test_a_process_takes_over_what_another_died_of_and_each_new_part_is_a_new_beginning(
    two: Running, transcribers: dict[str, Transcriber], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file, processes = write(tmp_path_factory.mktemp("long") / "300.flac", 300.0), two.engine._processes

    async def kill() -> tuple[Transcript, int]:
        parts = []
        async with aclosing(two.engine.transcribe(Job(file, file.name))) as said:
            async for part in said:
                parts.append(part)
                busy = [process for process in processes if process._work and process.ready.is_set()]
                if busy and sum(process.restarts for process in processes) < 3:
                    os.kill(busy[0].pid, signal.SIGKILL)
                    await two.until(lambda: not busy[0].ready.is_set())  # noqa: B023
        return joined(parts), sum(process.restarts for process in processes)

    found, deaths = two.run(kill())
    same(found, transcribers["ctc"].transcribe(file), file)
    assert deaths >= 2


def test_one_process_answers_while_another_cannot_begin_which_is_tried_again(
    two: Running, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = two.engine._processes

    async def go_on() -> None:
        with monkeypatch.context() as patch:
            patch.setattr("toolkit.serving.processes.MODULE", "dying_process")
            os.kill(broken.pid, signal.SIGKILL)
            await two.until(lambda: broken.failed)
            assert two.engine.ready
            await asyncio.gather(*(two.transcribe(files["1"]) for _ in range(4)))
        await two.until(lambda: broken.ready.is_set() and not broken.failed)
        os.kill(other.pid, signal.SIGKILL)
        await two.until(lambda: not other.ready.is_set())
        await two.transcribe(files["1"])

    two.run(go_on())


def test_a_process_that_dies_as_soon_as_it_is_ready_is_not_begun_all_the_time(
    two: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.serving.processes.AGAIN_S", 3600.0)
    process = two.engine._processes[0]

    async def kill_twice() -> None:
        for _ in range(2):
            await two.until(process.ready.is_set)
            os.kill(process.pid, signal.SIGKILL)
            await two.until(lambda: not process.ready.is_set())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.ready.wait(), 3.0)

    two.run(kill_twice())


def test_sizes_of_batches_that_nobody_asks_for_are_not_kept_for_ever(two: Running) -> None:
    for _ in range(20_000):
        two.engine._processes[0]._take(Computed(1, 1.0, 0.1))
    assert len(two.engine.status().batch_sizes) <= 10_000
    assert two.engine.status().batch_sizes == []


# Live speech


@pytest.mark.parametrize("model", ["streaming", "an4"])
def test_live_speech(running: Running, transcribers: dict[str, Transcriber], model: str) -> None:
    samples = (noise(8, 3) * 2**15).astype("<i2")

    async def session() -> list:
        live = await running.engine.open_live(model, RATE)
        for start in range(0, 2 * len(samples), 6001):  # odd: half a sample waits for its other half
            await live.feed(samples.tobytes()[start : start + 6001])
        await live.finish()
        return [heard async for heard in live.heard()]

    found = [heard for heard in running.run(session()) if heard.final]
    asr = transcribers[model]
    expected = [heard for heard in listen(asr, [samples.astype(np.float32) / 2**15]) if heard.final]
    assert [heard.transcript.text for heard in found] == [heard.transcript.text for heard in expected]
    assert "".join(heard.transcript.text for heard in found)
    assert running.engine.status().live_sessions == 0


def test_live_speech_while_a_long_file_is_transcribed(running: Running, files: dict[str, Path]) -> None:
    async def both() -> tuple[bool, str]:
        task = asyncio.create_task(running.transcribe(files["75"], model="an4"))
        windows = running.engine.status().batched_windows
        await running.until(lambda: running.engine.status().batched_windows > windows)
        live = await running.engine.open_live("an4", RATE)
        await live.feed((noise(3, 3) * 2**15).astype("<i2").tobytes())
        await live.finish()
        text = " ".join([heard.transcript.text async for heard in live.heard() if heard.final])
        done = task.done()
        await task
        return done, text

    done, text = running.run(both())
    assert not done
    assert text


def test_a_live_session_ends_with_its_process_and_with_its_client(running: Running) -> None:
    async def killed() -> None:
        live = await running.engine.open_live("an4", RATE)
        await live.feed(bytes(3200))
        os.kill(running.model_pid(), signal.SIGKILL)
        async for _ in live.heard():
            pass

    async def closed() -> None:
        running.set(live_sessions=1)
        live = await running.engine.open_live("", 8000)
        with pytest.raises(BusyError, match="1 live sessions"):
            await running.engine.open_live("", 8000)
        await live.close()
        await (await running.engine.open_live("", 8000)).close()

    with pytest.raises(UnavailableError, match="begin the session again"):
        running.run(killed())
    running.run(running.until(lambda: running.engine.ready))
    running.run(closed())
    with pytest.raises(NotFoundError):
        running.run(running.engine.open_live("none", RATE))


# Beginning and end


def test_stopping_answers_what_was_accepted_and_nothing_else(
    run_folder: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    running = Running({"ctc": run_folder}, tmp_path)

    async def stop() -> Transcript:
        task = asyncio.create_task(running.transcribe(files["75"]))
        await running.until(lambda: running.engine.status().waiting_requests)
        stopping = asyncio.create_task(running.engine.stop(60.0))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError, match="stops") as caught:
            await running.transcribe(files["1"])
        assert caught.value.retry_after  # another service may have begun by then
        await stopping
        return await task

    assert running.run(stop()).duration == 75.0
    running.stop()


def test_what_takes_longer_than_the_grace_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    running = Running({"an4": ROOT / "pretrained/an4-small"}, tmp_path)

    async def stop() -> None:
        task = asyncio.create_task(running.transcribe(files["75"]))
        await running.until(lambda: running.engine.status().waiting_requests)
        await running.engine.stop(0.0)
        await task

    with pytest.raises(UnavailableError, match="the service stops") as caught:
        running.run(stop())
    assert caught.value.retry_after
    running.stop()


def test_models_leave_when_there_is_no_memory_for_them(models: dict[str, Path], files: dict, tmp_path: Path) -> None:
    running = Running(models, tmp_path, dataclasses.replace(LIMITS, memory_bytes=1))

    def loaded() -> list[str]:
        return [card.name for card in running.engine.models if card.loaded]

    assert loaded() == ["ctc"]
    for name in ("an4", "streaming", "an4"):
        assert running.run(running.transcribe(files["2.5"], model=name)).duration == 2.5
        assert loaded() == [name]
    running.stop()


def test_an_engine_that_was_not_begun_can_be_stopped(run_folder: Path) -> None:
    engine = ServiceEngine({"ctc": run_folder}, LIMITS)
    asyncio.run(engine.stop(1.0))
    with pytest.raises(UnavailableError, match="has not begun"):
        engine.check_room()


def test_a_folder_that_holds_no_model_is_told_at_the_beginning(run_folder: Path, tmp_path: Path) -> None:
    engine = ServiceEngine({"ctc": run_folder, "none": tmp_path / "none"}, LIMITS, tmp_path)
    with pytest.raises(ExperimentError, match="none: no such folder"):
        asyncio.run(engine.start())
    assert not engine.ready
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_dies_again_and_again_is_told(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("toolkit.serving.processes.MODULE", "dying_process")
    monkeypatch.setattr("toolkit.serving.processes.AGAIN_S", 0.001)
    engine = ServiceEngine({"ctc": run_folder}, LIMITS, tmp_path)
    with pytest.raises(UnavailableError, match=r"ended 3 times while it began \(exit code 7\)"):
        asyncio.run(engine.start())
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_cannot_look_for_devices_is_told(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.serving.engine.DEVICES", "dying_process")
    with pytest.raises(UnavailableError, match=r"looks for devices ended \(exit code 7\)"):
        asyncio.run(ServiceEngine({"ctc": run_folder}, LIMITS).start())


KILLED = """
import asyncio, sys
from pathlib import Path
from running_engine import Running, LIMITS
if __name__ == "__main__":
    running = Running({"ctc": sys.argv[1]}, Path(sys.argv[2]))
    print(*running.pids(), flush=True)
    running.run(running.transcribe(Path(sys.argv[3])))
    print("done", flush=True)
    running.run(asyncio.sleep(60))
"""


def test_no_process_and_no_file_outlives_a_service_that_is_killed(
    run_folder: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", KILLED, str(run_folder), str(tmp_path), str(files["1"])]
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as service:
        pids = [int(pid) for pid in service.stdout.readline().split()]
        assert service.stdout.readline() == "done\n"
        service.kill()
    end = time.monotonic() + 20
    while (any(map(alive, pids)) or list(tmp_path.iterdir())) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(alive, pids))
    assert list(tmp_path.iterdir()) == []
