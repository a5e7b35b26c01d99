"""Archives arrive whole or not at all, and write nowhere else."""

from __future__ import annotations

import errno
import io
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from toolkit.dataio.unpack import extract, extract_each
from toolkit.errors import DataError


def pack(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    """A tar archive, packed as its name says, or a zip."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as opened:
            for name, data in files.items():
                opened.writestr(name, data)
        return path
    with tarfile.open(path, f"w:{path.suffix.removeprefix('.')}") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in others:
            tar.addfile(member)
    return path


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip"])
def test_one_folder_of_an_archive(name: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / name, {"README": b"no", "./an4/etc/a.txt": b"A", "an4/wav/b.raw": b"BB", "an4x/c": b"C"})
    folder = extract(archive, tmp_path / "data/an4", member="an4")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {"etc/a.txt", "wav/b.raw"}
    assert (folder / "wav/b.raw").read_bytes() == b"BB"
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["an4"]


def test_all_of_an_archive(tmp_path: Path) -> None:
    folder = extract(pack(tmp_path / "a.zip", {"line_index.tsv": b"x", "a.wav": b"y"}), tmp_path / "female", ".")
    assert sorted(path.name for path in folder.iterdir()) == ["a.wav", "line_index.tsv"]


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/tmp/outside"),
        tarfile.TarInfo("an4/../../outside"),
        link("an4/b", "../../outside"),
        link("an4/b", "/etc/passwd", tarfile.LNKTYPE),
        link("an4/b", "", tarfile.FIFOTYPE),
    ],
    ids=lambda entry: entry.name,
)
def test_archives_do_not_write_elsewhere(
    tmp_path: Path, entry: tarfile.TarInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tarfile, "data_filter")  # as in Python 3.11.2
    archive = pack(tmp_path / "evil.tar.gz", {"an4/a": b"A"}, entry)
    with pytest.raises(DataError, match=f"evil.tar.gz: cannot be unpacked .*{entry.name}"):
        extract(archive, tmp_path / "deep/an4", member="an4")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "evil.tar.gz"]
    assert not Path("/tmp/outside").exists()


def test_links_beside_the_folder_are_left_out(tmp_path: Path) -> None:
    archive = pack(tmp_path / "ted.tar.gz", {"ted/data/a.sph": b"A"}, link("ted/legacy/train/sph", "../../data/sph"))
    folder = extract(archive, tmp_path / "ted/data", member="ted/data")
    assert [path.name for path in folder.rglob("*")] == ["a.sph"]


def test_hard_links_to_files_of_the_archive_are_those_files(tmp_path: Path) -> None:
    links = [link("an4/b", "an4/a", tarfile.LNKTYPE), link("an4/c", "other/d", tarfile.LNKTYPE)]
    archive = pack(tmp_path / "a.tar.gz", {"an4/a": b"A", "other/d": b"D"}, *links)
    folder = extract(archive, tmp_path / "data/an4", member="an4")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"A", "b": b"A", "c": b"D"}


def test_another_download_is_not_advised_where_it_does_not_help(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"an4/a": b"A"}, link("an4/b", "a"))
    with pytest.raises(
        DataError, match=r"a.tar.gz: cannot be unpacked safely \('an4/b' is a link .*unpack it by hand$"
    ):
        extract(archive, tmp_path / "an4", member="an4")


def test_several_folders_appear_together(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"ted/dev/a": b"A", "ted/data/b": b"B", "ted/c": b"C"})
    targets = {"ted/dev": tmp_path / "x/legacy/dev", "ted/data": tmp_path / "x/data"}
    extract_each(archive, targets)
    assert [path.read_bytes() for path in (tmp_path / "x/legacy/dev/a", tmp_path / "x/data/b")] == [b"A", b"B"]
    assert sorted(path.name for path in (tmp_path / "x").rglob("*")) == ["a", "b", "data", "dev", "legacy"]
    with pytest.raises(DataError, match="holds no folder 'ted/test'"):
        extract_each(archive, {"ted/dev": tmp_path / "y/dev", "ted/test": tmp_path / "y/test"})
    assert list((tmp_path / "y").iterdir()) == []


def test_zips_do_not_write_elsewhere(tmp_path: Path) -> None:
    pointer = zipfile.ZipInfo("an4/b")
    pointer.external_attr = (stat.S_IFLNK | 0o777) << 16
    for number, entry in enumerate([pointer, "../outside", "an4/../../outside"]):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as opened:
            opened.writestr(entry, "/etc/passwd")
        with pytest.raises(DataError, match=r"is a link or a device|leads elsewhere"):
            extract(tmp_path / f"{number}.zip", tmp_path / "deep/an4", member="an4")
    assert list((tmp_path / "deep").iterdir()) == []


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz", "a.zip"])
@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_damaged_archives_leave_nothing(name: str, damage: str, tmp_path: Path) -> None:
    noise = b"".join(number.to_bytes(4, "little") for number in range(7, 200_000, 7))
    archive = pack(tmp_path / name, {"an4/a": noise})
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content if damage == "changed" else content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{name}: cannot be unpacked .*delete it and download it again"):
        extract(archive, tmp_path / "data/an4", member="an4")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DataError, match=r"a\.zip: cannot be unpacked to .*data \(No space left on device\)"):
        extract(pack(tmp_path / "a.zip", {"an4/a": b"A"}), tmp_path / "data/an4", member="an4")
    assert list((tmp_path / "data").iterdir()) == []


def test_what_a_killed_process_left_is_gone(tmp_path: Path) -> None:
    (tmp_path / ".an4.unpacking").mkdir()
    (tmp_path / ".an4.unpacking/half").touch()
    extract(pack(tmp_path / "a.zip", {"an4/a": b"A"}), tmp_path / "an4", member="an4")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.zip", "an4"]


def test_another_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folder 'an4'"):
        extract(pack(tmp_path / "a.tar.gz", {"b/a": b"A"}), tmp_path / "an4", member="an4")


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_text("<html>Log in first</html>")
    with pytest.raises(DataError, match=r"a\.tar\.gz: cannot be unpacked \(.*\); delete it"):
        extract(tmp_path / "a.tar.gz", tmp_path / "an4", member="an4")


def test_a_filled_folder_is_not_overwritten(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"an4/a": b"A"})
    (tmp_path / "an4").mkdir()
    (tmp_path / "an4/mine").touch()
    with pytest.raises(DataError, match="already there"):
        extract(archive, tmp_path / "an4", member="an4")
    assert [one.name for one in (tmp_path / "an4").iterdir()] == ["mine"]
