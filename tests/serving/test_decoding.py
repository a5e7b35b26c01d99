"""Files as samples: what is decoded, what is refused and in which words, and what a file can do to who decodes it."""

from __future__ import annotations

import asyncio
import os
import signal
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import soundfile

from toolkit.dataio.audio import load_audio
from toolkit.serving.decoding import Decoders, Decoding
from toolkit.serving.service_errors import (
    InvalidInputError,
    ServiceError,
    TooLargeError,
    UnavailableError,
    UnsupportedMediaError,
)

RATE = 16000
T = TypeVar("T")


class Pool:
    """Two decoders, and the loop that they belong to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.loop, self.decoders = folder, asyncio.new_event_loop(), Decoders(2)
        self.run(self.decoders.start())

    def run(self, awaitable: Awaitable[T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, 60))

    def decoding(self, file: Path, **options: object) -> Decoding:
        given = {
            "name": "my.wav",
            "sample_rate": RATE,
            "channel": None,
            "most_s": 60.0,
            "room_bytes": 1 << 30,
        } | options
        return Decoding(file=file, samples=self.folder / "samples", **given)

    def decode(self, file: Path, **options: object) -> np.ndarray:
        decoding = self.decoding(file, **options)
        count = self.run(self.decoders.decode(decoding, self.run(self.decoders.header_s(decoding))))
        samples = np.fromfile(self.folder / "samples", np.float32)
        assert len(samples) == count
        return samples

    def pids(self) -> set[int]:
        return {child.pid for child in self.decoders._children}


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    pool = Pool(tmp_path_factory.mktemp("samples"))
    yield pool
    pids = pool.pids()
    pool.run(pool.decoders.stop())
    pool.loop.close()
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def noise(seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize(("channels", "channel"), [(1, None), (2, None), (2, 1)])
def test_samples_are_those_that_a_transcriber_hears(
    pool: Pool, tmp_path: Path, suffix: str, channels: int, channel: int | None
) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", noise(1.5, channels, 22050), 22050)
    found = pool.decode(tmp_path / f"a.{suffix}", channel=channel)
    np.testing.assert_array_equal(found, load_audio(tmp_path / f"a.{suffix}", RATE, channel=channel).numpy())


def empty(file: Path) -> None:
    file.write_bytes(b"")


def text(file: Path) -> None:
    file.write_text("no audio " * 1000)


def cut_off(file: Path) -> None:
    soundfile.write(file, noise(2), RATE, format="FLAC")
    file.write_bytes(file.read_bytes()[:20000])


def claims_4_gb(file: Path) -> None:
    soundfile.write(file, noise(1), RATE, format="WAV", subtype="PCM_16")
    header = bytearray(file.read_bytes())
    header[40:44] = struct.pack("<I", 0x7FF00000)
    file.write_bytes(bytes(header))


def not_numbers(file: Path) -> None:
    soundfile.write(file, np.full(RATE, np.nan, np.float32), RATE, format="WAV", subtype="FLOAT")


def silence_of_hours(file: Path) -> None:
    with soundfile.SoundFile(file, "w", 8000, 1, format="FLAC") as opened:
        for _ in range(2):
            opened.write(np.zeros(3600 * 8000, np.int16))


def many_channels(file: Path) -> None:
    soundfile.write(file, np.zeros((2 * RATE, 40), np.int16), RATE, format="WAV")


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (empty, InvalidInputError, "my.wav: the file is empty"),
        (text, UnsupportedMediaError, "my.wav: not audio"),
        (cut_off, InvalidInputError, "my.wav: .*cut off"),
        (claims_4_gb, InvalidInputError, "my.wav: cut off"),
        (not_numbers, InvalidInputError, "my.wav: holds samples that are not finite"),
        (silence_of_hours, TooLargeError, "my.wav: longer than the 60 seconds"),
    ],
)
def test_why_a_file_is_refused(
    pool: Pool, tmp_path: Path, make: Callable[[Path], None], kind: type[ServiceError], said: str
) -> None:
    make(tmp_path / "upload-1")
    with pytest.raises(kind, match=f"^{said}") as error:
        pool.decode(tmp_path / "upload-1")
    assert error.value.param == "file"
    assert str(tmp_path) not in str(error.value)


def test_a_channel_that_is_not_there(pool: Pool, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1, 2), RATE)
    with pytest.raises(InvalidInputError, match=r"my\.wav: has no channel 2, only 0 to 1"):
        pool.decode(tmp_path / "a.wav", channel=2)


def test_a_full_disk_is_not_the_files_fault(pool: Pool, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1), RATE)
    decoding = replace(pool.decoding(tmp_path / "a.wav"), samples=Path("/dev/full"))
    with pytest.raises(UnavailableError, match=r"my\.wav: the service has no room"):
        pool.run(pool.decoders.decode(decoding))


def test_long_files_of_few_bytes_leave_a_decoder_to_others(pool: Pool, tmp_path: Path) -> None:
    silence_of_hours(tmp_path / "long.flac")
    soundfile.write(tmp_path / "b.wav", noise(1), RATE)

    async def decode(file: Path, samples: str) -> int:
        decoding = replace(pool.decoding(file, most_s=1e6), samples=pool.folder / samples)
        return await pool.decoders.decode(decoding, await pool.decoders.header_s(decoding))

    async def long_ones_that_are_done_before() -> int:
        tasks = [asyncio.create_task(decode(tmp_path / "long.flac", f"long-{place}")) for place in range(4)]
        while not list(pool.folder.glob("long-*")):  # the first is being decoded
            await asyncio.sleep(0.001)
        assert await decode(tmp_path / "b.wav", "short") == RATE
        done = sum(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return done

    assert pool.run(long_ones_that_are_done_before()) <= 1


def test_what_is_longer_than_its_header_says_is_found_out_while_decoding(pool: Pool, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", noise(30), RATE)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content * 4)  # the first says how many frames there are
    with pytest.raises(ServiceError):
        pool.decode(tmp_path / "a.mp3", most_s=20.0)


def test_many_channels_are_averaged(pool: Pool, tmp_path: Path) -> None:
    many_channels(tmp_path / "a.wav")
    assert len(pool.decode(tmp_path / "a.wav")) == 2 * RATE


async def began(folder: Path, task: asyncio.Task) -> None:
    """Returns when samples are being written."""
    while not (folder / "samples").exists() and not task.done():
        await asyncio.sleep(0.001)


def test_a_file_that_kills_its_decoder_harms_no_other(pool: Pool, tmp_path: Path) -> None:
    silence_of_hours(tmp_path / "long.flac")
    soundfile.write(tmp_path / "b.wav", noise(1), RATE)
    (pool.folder / "samples").unlink(missing_ok=True)

    async def kill() -> int:
        before = pool.pids()
        decoding = pool.decoding(tmp_path / "long.flac", most_s=1e6)
        task = asyncio.create_task(pool.decoders.decode(decoding))
        await began(pool.folder, task)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        while any(map(alive, before)):
            await asyncio.sleep(0.001)
        other = replace(pool.decoding(tmp_path / "b.wav"), samples=pool.folder / "other")
        with pytest.raises(InvalidInputError, match=r"my\.wav: cannot be decoded"):
            await task
        return await pool.decoders.decode(other)

    assert pool.run(kill()) == RATE


def test_cancelling_ends_the_decoding_at_once(pool: Pool, tmp_path: Path) -> None:
    silence_of_hours(tmp_path / "long.flac")
    soundfile.write(tmp_path / "b.wav", noise(1), RATE)
    (pool.folder / "samples").unlink(missing_ok=True)

    async def cancel() -> list[int]:
        task = asyncio.create_task(pool.decoders.decode(pool.decoding(tmp_path / "long.flac", most_s=1e6)))
        await began(pool.folder, task)
        before = pool.pids()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        decodings = [replace(pool.decoding(tmp_path / "b.wav"), samples=pool.folder / str(place)) for place in range(4)]
        found = await asyncio.gather(*map(pool.decoders.decode, decodings))
        while pool.pids() & before == before:
            await asyncio.sleep(0.01)
        return found

    assert pool.run(cancel()) == [RATE] * 4
