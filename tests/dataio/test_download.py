"""Downloads and archives arrive whole or not at all."""

from __future__ import annotations

import io
import tarfile
import urllib.request
from pathlib import Path

import pytest

from toolkit.dataio.download import download, extract
from toolkit.errors import DataError


def pack(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in others:
            tar.addfile(member)
    return path


def test_download_and_unpack(tmp_path: Path) -> None:
    served = pack(tmp_path / "served.tar.gz", {"an4/etc/a.txt": b"A", "an4/wav/b.raw": b"BB"})
    archive = download(served.as_uri(), tmp_path / "new/an4.tar.gz")
    folder = extract(archive, tmp_path / "data/an4", member="an4")
    assert (folder / "wav/b.raw").read_bytes() == b"BB"
    assert [one.name for one in (tmp_path / "data").iterdir()] == ["an4"]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    assert download("http://127.0.0.1:9/a", tmp_path / "a").read_text() == "mine"


class BrokenOff(io.BytesIO):
    headers = {"Content-Length": "1000"}  # noqa: RUF012


def test_a_broken_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: BrokenOff(b"half"))
    with pytest.raises(DataError, match=r"cannot download http://x/a .*broken off after 4 of 1000 bytes"):
        download("http://x/a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


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


def test_damaged_archives_leave_nothing(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"an4/a": bytes(range(256)) * 100})
    archive.write_bytes(archive.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.tar\.gz: cannot be unpacked"):
        extract(archive, tmp_path / "data/an4", member="an4")
    assert list((tmp_path / "data").iterdir()) == []


def test_another_archive(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no folder 'an4'"):
        extract(pack(tmp_path / "a.tar.gz", {"b/a": b"A"}), tmp_path / "an4", member="an4")


def test_a_filled_folder_is_not_overwritten(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", {"an4/a": b"A"})
    (tmp_path / "an4").mkdir()
    (tmp_path / "an4/mine").touch()
    with pytest.raises(DataError, match="already there"):
        extract(archive, tmp_path / "an4", member="an4")
    assert [one.name for one in (tmp_path / "an4").iterdir()] == ["mine"]
