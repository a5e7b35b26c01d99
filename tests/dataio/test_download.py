"""Downloads arrive whole, are what they should be, and go on where they were left."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterator
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_unpack import pack

import toolkit.dataio.download
from toolkit.dataio.download import Archive, download, fetch
from toolkit.errors import DataError

CONTENT = bytes(range(256)) * 4000
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves ``content`` under every name; ``breaks`` of its answers end early, after so many bytes."""

    daemon_threads = True
    content, edition, breaks, parts = CONTENT, "1", 0, True
    sends = 300_000

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        if self.path.endswith("missing"):
            self.send_error(404)
            return
        if self.headers.get("If-Range", server.edition) != server.edition:
            asked = None
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.parts else 0
        server.asked.append(begin)
        self.send_response(206 if asked and server.parts else 200)
        self.send_header("ETag", server.edition)
        self.send_header("Content-Length", str(len(server.content) - begin))
        self.end_headers()
        piece = server.content[begin:]
        if server.breaks and asked:
            server.breaks -= 1
            piece = piece[: server.sends]
        with contextlib.suppress(OSError):
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file(server: Server, tmp_path: Path) -> None:
    assert download(f"{server.url}/a.gz", tmp_path / "new/a.gz", MD5).read_bytes() == CONTENT
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["a.gz"]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    assert download("http://127.0.0.1:9/a", tmp_path / "a").read_text() == "mine"


def test_a_connection_that_breaks_is_opened_again(server: Server, tmp_path: Path) -> None:
    server.breaks = 3
    assert download(f"{server.url}/a", tmp_path / "a", MD5).read_bytes() == CONTENT
    assert [begin for begin in server.asked if begin] == [300_000, 600_000, 900_000]


def test_what_has_arrived_is_kept_for_the_next_call(server: Server, tmp_path: Path) -> None:
    partial = leave_part(server, tmp_path)
    with pytest.raises(DataError, match=r"/a \(broken off .*; 300000 of 1024000 bytes are kept, the same command goes"):
        download(f"{server.url}/a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == [partial]
    server.breaks, server.asked = 0, []
    assert download(f"{server.url}/a", tmp_path / "a", MD5).read_bytes() == CONTENT
    assert server.asked == [0, 300_000]
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def leave_part(server: Server, folder: Path) -> Path:
    """What a call leaves that is killed after 300,000 bytes."""
    server.breaks, server.sends = 100, 0
    with pytest.raises(DataError):
        download(f"{server.url}/a", folder / "a")
    (partial,) = folder.iterdir()
    partial.write_bytes(CONTENT[:300_000])
    return partial


def test_parts_of_another_edition_are_not_used(server: Server, tmp_path: Path) -> None:
    leave_part(server, tmp_path)
    server.breaks, server.edition, server.content = 0, "2", CONTENT[::-1]
    assert download(f"{server.url}/a", tmp_path / "a").read_bytes() == CONTENT[::-1]
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_an_edition_that_is_replaced_between_two_requests(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_part(server, tmp_path)
    server.breaks = 0

    def replace(url: str) -> HTTPMessage:
        headers = looked(url)
        server.edition, server.content = "2", CONTENT[::-1]
        return headers

    looked = toolkit.dataio.download._headers
    monkeypatch.setattr("toolkit.dataio.download._headers", replace)
    assert download(f"{server.url}/a", tmp_path / "a").read_bytes() == CONTENT[::-1]


def test_a_server_that_gives_no_parts(server: Server, tmp_path: Path) -> None:
    leave_part(server, tmp_path)
    server.breaks, server.parts = 0, False
    assert download(f"{server.url}/a", tmp_path / "a", MD5).read_bytes() == CONTENT


def test_another_content_than_was_to_come(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DataError, match=rf"/a: its md5 is \w+, expected {MD5[4:]}: damaged .*; try again"):
        download(f"{server.url}/a", tmp_path / "a", MD5)
    assert list(tmp_path.iterdir()) == []


def test_no_such_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot download http://\S+/missing \(Not Found\): get it elsewhere"):
        download(f"{server.url}/missing", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_offline(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot download http://127.0.0.1:9/a \(.*refused"):
        download("http://127.0.0.1:9/a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_no_room(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"/a: needs 0.0 GB, and \S+ has room for 0.0 GB: free some, or name"):
        download(f"{server.url}/a", tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_corpus_of_several_archives(server: Server, tmp_path: Path) -> None:
    server.content = pack(tmp_path / "packed.tar.gz", {"Libri/dev/a.flac": b"A", "Libri/README": b"R"}).read_bytes()
    archives = [
        Archive(f"{server.url}/dev.tar.gz", "dev", "Libri/dev"),
        Archive(f"{server.url}/lm.txt.gz", "text/lm.txt.gz"),
        Archive("http://127.0.0.1:9/test.tar.gz", "test", "Libri/test"),
    ]
    corpus = tmp_path / "data/Libri"
    (corpus / "test").mkdir(parents=True)
    (corpus / "test/mine.flac").touch()
    fetch(archives, corpus)
    assert (corpus / "dev/a.flac").read_bytes() == b"A"
    assert (corpus / "text/lm.txt.gz").read_bytes() == server.content
    assert sorted(one.name for one in (tmp_path / "data").iterdir()) == ["Libri", "dev.tar.gz"]


def test_an_archive_of_several_folders_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "ted.tar.gz", {"ted/dev/a": b"A", "ted/test/b": b"B", "ted/data/c": b"C"})
    checksum = f"md5:{hashlib.md5(archive.read_bytes()).hexdigest()}"
    read: list[str] = []
    for module, name in ((tarfile, "open"), (hashlib, "new")):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, f=original, name=name: (read.append(name), f(*args))[1])
    url = "http://127.0.0.1:9/ted.tar.gz"
    fetch([Archive(url, part, f"ted/{part}", checksum) for part in ("dev", "test", "data")], tmp_path / "ted")
    assert sorted(path.name for path in (tmp_path / "ted").glob("*/*")) == ["a", "b", "c"]
    assert read == ["new", "open"]
    fetch([Archive(url, part, f"ted/{part}", checksum) for part in ("dev", "test", "data")], tmp_path / "ted")
    assert read == ["new", "open"]


@pytest.mark.parametrize("member", ["an4", None])
def test_what_somebody_half_downloaded(member: str | None, tmp_path: Path) -> None:
    corpus, target = (tmp_path / "an4", ".") if member else (tmp_path, "a.tar.gz")
    (tmp_path / "a.tar.gz").write_bytes(CONTENT[:100])
    with pytest.raises(DataError, match=r"a\.tar\.gz: its md5 is \w+, .*half-downloaded or damaged; delete it"):
        fetch([Archive("http://127.0.0.1:9/a.tar.gz", target, member, MD5)], corpus)
    assert [one.name for one in tmp_path.iterdir()] == ["a.tar.gz"]


def test_no_room_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "a.tar.gz", {"an4/a": CONTENT})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DataError, match=r"a\.tar\.gz: needs 0.0 GB, and \S+ has room for"):
        fetch([Archive("http://127.0.0.1:9/a.tar.gz", ".", "an4")], tmp_path / "an4")
