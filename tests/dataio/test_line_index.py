"""Lines of large files by number, and caches that are never trusted blindly."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from toolkit.dataio import index_cache
from toolkit.dataio.line_index import LineIndex
from toolkit.errors import ManifestError


def duration(line: bytes) -> float | None:
    return json.loads(line)["duration"] if line.strip() else None


def write(path: Path, durations: list[float], *, age_s: float = 10.0) -> Path:
    """A manifest with an empty line, other line ends, letters of several bytes and no end of its last line."""
    lines = [
        json.dumps({"text": "ü" * number, "duration": one}, ensure_ascii=False) for number, one in enumerate(durations)
    ]
    path.write_bytes("\r\n".join(lines[:2]).encode() + b"\n\n" + "\n".join(lines[2:]).encode())
    changed = time.time() - age_s
    os.utime(path, (changed, changed))
    return path


def cached_measure(line: bytes) -> float | None:
    raise AssertionError(f"measured again: {line!r}")


def test_lines_and_lengths(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [1.5, 0.1, 3.0, 2.25])
    index = LineIndex.of(path, duration, "seconds")
    assert index.lengths.tolist() == [1.5, 0.1, 3.0, 2.25]
    lines = [line for line in path.read_bytes().splitlines() if line]
    assert [index.read(number) for number in (3, 0, 2, 1)] == [lines[number] for number in (3, 0, 2, 1)]
    assert [index.where(number) for number in range(4)] == [f"{path}: line {number}" for number in (1, 2, 4, 5)]


def test_several_measures_and_no_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [1.5, 0.1, 3.0])
    index = LineIndex.of(path, lambda line: (len(line), 1) if line.strip() else None, "bytes, 1")
    assert index.measures.shape == (3, 2)
    assert index.measures[:, 1].tolist() == [1, 1, 1]
    path.write_bytes(b"")
    assert len(LineIndex.of(path, duration, "seconds")) == len(LineIndex.of(path, duration, "seconds").lengths) == 0


def test_the_cache_is_used_and_of_one_measure(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [1.5, 0.1])
    built = LineIndex.of(path, duration, "seconds")
    cached = LineIndex.of(path, cached_measure, "seconds")
    assert cached.lengths.tolist() == built.lengths.tolist()
    assert cached.read(1) == built.read(1)
    assert LineIndex.of(path, lambda line: len(line) or None, "bytes").lengths[0] > 2
    assert LineIndex.of(path, cached_measure, "seconds").lengths.tolist() == [1.5, 0.1]


def foreign_indexes(path: Path) -> list[bytes]:
    """Text offsets as Lhotse's StatelessSampler writes them, binary ones as Lhotse 2's, another archive, and damage."""
    other = path.with_name("other.npz")
    np.savez(other, stamp=np.array("something else"), starts=np.arange(3))
    whole = index_cache._places(path, "seconds")[0].read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    return [b"0\n41\n99\n", np.arange(5).tobytes(), b"", other.read_bytes(), whole[: len(whole) // 2], bytes(flipped)]


def test_an_index_that_is_foreign_damaged_or_stale_is_built_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [1.5, 0.1, 2.0])
    LineIndex.of(path, duration, "seconds")
    place = index_cache._places(path, "seconds")[0]
    for content in foreign_indexes(path):
        place.write_bytes(content)
        assert LineIndex.of(path, duration, "seconds").lengths.tolist() == [1.5, 0.1, 2.0]
        assert LineIndex.of(path, cached_measure, "seconds").lengths.tolist() == [1.5, 0.1, 2.0]
    write(path, [1.5, 0.7, 2.0], age_s=5.0)  # as many bytes as before
    assert LineIndex.of(path, duration, "seconds").lengths.tolist() == [1.5, 0.7, 2.0]


def test_a_file_written_this_moment_has_no_cache_yet(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [1.5, 0.1], age_s=0.0)
    LineIndex.of(path, duration, "seconds")
    write(path, [1.5, 0.7], age_s=0.0)
    assert LineIndex.of(path, duration, "seconds").lengths.tolist() == [1.5, 0.7]


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.jsonl", [1.5, 0.1])
    index_cache._places(path, "seconds")[0].mkdir()  # root may write anywhere, but not to a folder as to a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    LineIndex.of(path, duration, "seconds")
    assert LineIndex.of(path, cached_measure, "seconds").lengths.tolist() == [1.5, 0.1]
    assert not caplog.records
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert LineIndex.of(path, duration, "seconds").lengths.tolist() == [1.5, 0.1]
    assert "the index is built anew at every start" in caplog.text


@pytest.mark.parametrize(
    ("line", "said"),
    [('{"duration": 1.0', "line 2: .*: '{\"duration\": 1.0'"), ('{"length": 1.0}', "line 2: no field 'duration'")],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"duration": 1.0}\n' + line + "\n")
    with pytest.raises(ManifestError, match=rf"a\.jsonl: {said}"):
        LineIndex.of(path, duration, "seconds")


def test_files_that_are_missing_or_shrink(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"a\.jsonl: cannot be read \(No such file"):
        LineIndex.of(tmp_path / "a.jsonl", duration, "seconds")
    path = write(tmp_path / "a.jsonl", [1.5, 0.1])
    index = LineIndex.of(path, duration, "seconds")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ManifestError, match="it changed while in use"):
        index.read(1)


def slow_duration(line: bytes) -> float | None:
    with Path(os.environ["SCANS"]).open("a") as file:
        file.write("line\n")
    time.sleep(0.05)
    return duration(line)


def test_processes_that_start_together_scan_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCANS", str(tmp_path / "scans"))
    path = write(tmp_path / "a.jsonl", [1.5, 0.1])
    with multiprocessing.get_context("fork").Pool(3) as pool:
        indexes = pool.starmap(LineIndex.of, [(path, slow_duration, "seconds")] * 3)
    assert [index.lengths.tolist() for index in indexes] == [[1.5, 0.1]] * 3
    assert len((tmp_path / "scans").read_text().splitlines()) == 3  # two lines and an empty one


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_reads_many_files_with_few_of_them_open(tmp_path: Path) -> None:
    indexes = [LineIndex.of(write(tmp_path / f"{number}.jsonl", [number]), duration, "s") for number in range(300)]
    before = open_files()
    assert all(json.loads(index.read(0))["duration"] == number for number, index in enumerate(indexes))
    assert open_files() - before <= 128
