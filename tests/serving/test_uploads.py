"""What is taken of a form, what is refused, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from served import client_of, settings_in, wav
from starlette.requests import Request
from starlette.testclient import TestClient

from toolkit.serving.app import create_app
from toolkit.serving.jobs import Limits
from toolkit.serving.service_errors import BusyError
from toolkit.serving.upload_folder import bytes_in, upload_folder
from toolkit.serving.uploads import received

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(Limits(queue_requests=4))


@pytest.fixture
def client(tmp_path: Path, engine: FakeEngine) -> Iterator[TestClient]:
    with client_of(tmp_path, engine, upload_bytes=1_000_000) as client:
        yield client
        assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list(tmp_path.iterdir()) == []


def field(name: str, value: bytes = b"1") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.wav", "a.wav"),
        ("/", "audio"),
        ("", "audio"),
        ("a\x07b\u202e.wav", "ab.wav"),
        ("ü" * 300, "ü" * 100),
    ],
)
def test_file_names_are_no_paths(client: TestClient, engine: FakeEngine, given: str, shown: str):
    body = HEAD.replace(b"a.wav", given.replace("\\", "\\\\").encode()) + wav(1) + b"\r\n--b--\r\n"
    assert client.post("/transcribe", content=body, headers=FORM).status_code == 200
    assert engine.jobs[0].name == shown
    assert given not in str(engine.jobs[0].audio) or not given.strip("/")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "ends before its end"),
        (b"what is this", 400, "damaged"),
        (b"--b--\r\n", 400, "has no file"),
        (field("nbest") + b"--b--\r\n", 400, "has no file"),
        (HEAD + wav(1), 400, "ends before its end"),
        (HEAD + b"\r\n--b--\r\n", 422, "file: is empty"),
        (HEAD + b"x\r\n" + HEAD + b"y\r\n--b--\r\n", 400, "file: is there twice"),
        (HEAD.replace(b'"file"', b'"audio"') + b"x\r\n--b--\r\n", 400, "audio: is a file"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--\r\n", 400, "has no name"),
        (b"".join(field(f"f{number}", b"") for number in range(10_000)), 400, "more than 32 fields"),
        (field("hotwords", b"x" * 70_000), 413, "more than 65536 bytes"),
        (b"".join(field("hotwords", b"x" * 7000) for _ in range(10)), 413, "more than 65536 bytes"),
        (field("model", b"\xff") + b"--b--", 400, "model: is not UTF-8"),
        (b"--b\r\n" + b"X: y\r\n" * 10_000, 400, "damaged"),
        (b"--b\r\nX: " + b"y" * 100_000, 400, "damaged"),
    ],
)
def test_a_form_that_is_none_is_refused(client: TestClient, engine: FakeEngine, body: bytes, status: int, said: str):
    answer = client.post("/transcribe", content=body, headers=FORM)
    assert (answer.status_code, engine.jobs) == (status, [])
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 415, "curl -F file=@speech.wav"),
        ({"Content-Type": "application/json"}, 415, "must be a form"),
        ({"Content-Type": "multipart/form-data"}, 400, "no boundary"),
        ({"Content-Type": f"multipart/form-data; boundary={'b' * 300}"}, 400, "boundary"),
        (FORM | {"Content-Encoding": "gzip"}, 415, "Content-Encoding"),
        ({"Content-Type": "audio/wav"}, 422, "file: is empty"),
    ],
)
def test_a_body_that_is_none_is_refused(client: TestClient, headers: dict[str, str], status: int, said: str):
    answer = client.post("/transcribe", headers=headers)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_too_many_bytes_are_not_read(client: TestClient, engine: FakeEngine, declared: bool):
    taken = []

    def pieces() -> Iterator[bytes]:
        yield HEAD
        for _ in range(1000):
            taken.append(1)
            yield bytes(64 * 1024)

    headers = FORM | ({"Content-Length": str(1000 * 64 * 1024 + len(HEAD))} if declared else {})
    answer = client.post("/transcribe", content=pieces(), headers=headers)
    assert (answer.status_code, engine.jobs) == (413, [])
    assert answer.json()["error"]["type"] == "too_large_error"
    assert "1000000 bytes" in answer.json()["error"]["message"]


def test_as_many_uploads_as_requests_may_wait(client: TestClient):
    folder = client.app.state.folder
    others = [folder / f"upload{number}" for number in range(4)]
    for other in others:
        other.touch()
    assert client.post("/transcribe", files={"file": wav(1)}).status_code == 429
    for other in others:
        other.unlink()
    assert client.post("/transcribe", files={"file": wav(1)}).status_code == 200


class SmallDisk(FakeEngine):
    """Has room for 3 MB of the 5 that uploads may take in all."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Limits(disk_bytes=5_000_000))
        self.folder = folder

    def check_disk(self, more_bytes: int = 0) -> None:
        if bytes_in(self.folder) + more_bytes > 3_000_000:
            raise BusyError("the disk is full", retry_after=5)


@pytest.mark.parametrize(
    ("megabytes", "declared", "status"),
    [(2, True, 200), (2, False, 200), (4, True, 429), (4, False, 429), (6, True, 413)],
)
def test_no_more_of_the_disk_is_taken_than_may_be(tmp_path: Path, megabytes: int, declared: bool, status: int):
    engine, content = SmallDisk(tmp_path), wav(megabytes * 1_000_000 / 32_000)
    pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
    with client_of(tmp_path, engine) as client:
        headers = {"Content-Type": "audio/wav"} | ({"Content-Length": str(len(content))} if declared else {})
        answer = client.post("/transcribe", content=pieces, headers=headers)
        assert (answer.status_code, len(engine.jobs)) == (status, status == 200)
        assert ("Retry-After" in answer.headers) == (status == 429)
        assert bytes_in(tmp_path) == 0


def test_the_file_arrives_as_it_was_sent(client: TestClient, engine: FakeEngine):
    sent, found = wav(25) + os.urandom(100_000), []  # some bytes look like boundaries
    sent += b"\r\n--\r\n--c\r\n-"
    transcribe = engine.transcribe
    engine.transcribe = lambda job: (found.append(job.audio.read_bytes()), transcribe(job))[1]
    client.post("/transcribe", files={"file": sent})
    assert found == [sent]


# the folder


KILLED = """
import sys, time
from pathlib import Path
from toolkit.serving.upload_folder import upload_folder
with upload_folder(Path(sys.argv[1])) as folder:
    (folder / "upload").touch()
    print(folder, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_service_left_is_removed_and_not_what_a_living_one_has(tmp_path: Path):
    other = tmp_path / "of somebody else"
    other.mkdir()
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE, text=True)
    left = Path(process.stdout.readline().strip())
    with upload_folder(tmp_path) as folder:
        assert (left / "upload").exists()
        assert folder != left
    process.kill()
    process.communicate()
    with upload_folder(tmp_path) as folder:
        assert set(tmp_path.iterdir()) == {folder, other}
    assert list(tmp_path.iterdir()) == [other]


def test_only_its_owner_can_look_into_the_folder(tmp_path: Path):
    with upload_folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.anyio
@pytest.mark.parametrize("turns", range(6))
async def test_an_upload_can_be_cancelled_while_a_piece_comes(tmp_path: Path, turns: int):
    """Whatever of the event loop's turns it is in which it is cancelled: nothing waits for the next piece."""
    app, piece = create_app(FakeEngine(), settings_in(tmp_path)), asyncio.Queue[dict]()
    app.state.folder = tmp_path
    scope = {"type": "http", "headers": [(b"content-type", b"audio/wav")], "query_string": b"", "app": app}

    async def receive_all() -> None:
        async with received(Request(scope, piece.get), app.state.settings):
            pass

    task = asyncio.create_task(receive_all())
    while not piece._getters:  # until it waits for the body
        await asyncio.sleep(0)
    piece.put_nowait({"type": "http.request", "body": bytes(10), "more_body": True})
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=0.5)
    assert done
    assert task.cancelled()
    assert list(tmp_path.iterdir()) == []
