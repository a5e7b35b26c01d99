"""What the routes answer, and what is logged and counted of it."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fake_engine import FakeEngine
from served import SAYS, client_of, served, wav
from starlette.testclient import TestClient, WebSocketDenialResponse

from toolkit.inference.transcript import Transcript
from toolkit.serving import transcribe
from toolkit.serving.jobs import Job, Status
from toolkit.serving.logs import JSONFormatter


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(tmp_path: Path, engine: FakeEngine) -> Iterator[TestClient]:
    with client_of(tmp_path, engine) as client:
        yield client


def error_of(response) -> dict[str, str | None]:
    """The error of an answer, whose shape is checked."""
    assert list(response.json()) == ["error"]
    error = response.json()["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert error["message"]
    return error


def counters(client: TestClient) -> dict[str, float]:
    """What /metrics counts."""
    lines = [line.rpartition(" ") for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


# POST /transcribe


def test_a_file_is_transcribed(client: TestClient, engine: FakeEngine):
    answer = client.post("/transcribe", files={"file": ("a.wav", wav())})
    assert answer.status_code == 200
    found = answer.json()
    assert (found["text"], found["duration"], found["model"]) == (SAYS, 7.0, "tiny")
    assert [word["text"] for word in found["words"]] == SAYS.split()
    assert found["words"][6] == {"text": "THE", "start": 6.25, "end": 6.75, "confidence": 0.9}
    assert "language" not in found  # it is not known
    assert engine.jobs[0].name == "a.wav"
    assert not engine.jobs[0].audio.exists()


def test_alternatives_are_answered(client: TestClient):
    answer = client.post("/transcribe", files={"file": wav(2)})
    assert answer.json()["nbest"] == [{"text": "THE QUICK", "score": -1.0}]


def test_fields_reach_the_engine(client: TestClient, engine: FakeEngine):
    fields = {"model": "other", "channel": "1", "hotwords": "Avonlea, Rachel Lynde", "nbest": "3"}
    answer = client.post("/transcribe", files={"file": wav(1)}, data=fields)
    assert answer.json()["model"] == "other"
    job = engine.jobs[0]
    assert (job.model, job.channel, job.hotwords, job.nbest) == ("other", 1, ("Avonlea", "Rachel Lynde"), 3)


def test_a_body_can_be_the_file(client: TestClient, engine: FakeEngine):
    answer = client.post("/transcribe?channel=0", content=wav(), headers={"Content-Type": "audio/wav"})
    assert answer.json()["text"] == SAYS
    assert engine.jobs[0].channel == 0


@pytest.mark.parametrize(
    ("fields", "status", "param", "said"),
    [
        ({"modell": "tiny"}, 422, None, "did you mean 'model'?"),
        ({"hotwords": "x" * 5000}, 400, "hotwords", "has 5000 letters; expected at most 4000"),
        ({"model": "huge"}, 404, "model", "there are tiny, other"),
        ({"channel": "left"}, 422, "channel", "'left'; expected a whole number, 0 to 255"),
        ({"channel": "-1"}, 422, "channel", "0 to 255"),
        ({"nbest": "0"}, 422, "nbest", "1 to 100"),
        ({"nbest": "9" * 5000}, 422, "nbest", "1 to 100"),
        ({"nbest": ["1", "2"]}, 422, "nbest", "is there 2 times"),
    ],
)
def test_a_wrong_field_is_named(client: TestClient, fields: dict[str, str], status: int, param: str | None, said: str):
    answer = client.post("/transcribe", files={"file": wav(1)}, data=fields)
    assert answer.status_code == status
    assert error_of(answer)["param"] == param
    assert said in error_of(answer)["message"]
    assert len(error_of(answer)["message"]) < 200


def test_names_are_not_repeated_at_any_length(client: TestClient):
    answer = client.post(f"/transcribe?{'x' * 5000}=1", content=wav(), headers={"Content-Type": "audio/wav"})
    assert (answer.status_code, len(error_of(answer)["message"]) < 200) == (422, True)
    assert len(error_of(client.get(f"/v1/models/{'x' * 5000}"))["message"]) < 200


def test_what_is_no_audio_is_refused(client: TestClient):
    answer = client.post("/transcribe", files={"file": ("notes.txt", b"not audio")})
    assert (answer.status_code, error_of(answer)["type"]) == (415, "unsupported_media_error")
    assert "notes.txt" in error_of(answer)["message"]


def test_a_full_queue_says_when_to_come_again(client: TestClient, engine: FakeEngine):
    engine.full = True
    answer = client.post("/transcribe", files={"file": wav()})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3")
    assert "x-should-retry" not in answer.headers
    assert error_of(answer)["type"] == "rate_limit_error"


def test_others_are_answered_while_an_answer_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writes, go_on, write = threading.Event(), threading.Event(), transcribe.answer_of

    def slowly(*arguments: object) -> object:
        writes.set()
        assert go_on.wait(10)
        return write(*arguments)

    monkeypatch.setattr(transcribe, "answer_of", slowly)
    with ThreadPoolExecutor() as pool, served(tmp_path) as (host, port):
        url = f"http://{host}:{port}"
        answer = pool.submit(httpx.post, f"{url}/transcribe", files={"file": wav()})
        try:
            assert writes.wait(10)
            assert httpx.get(f"{url}/health/live", timeout=3).status_code == 200
        finally:
            go_on.set()
        assert answer.result().json()["text"] == SAYS


# other paths


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/transcribe", 405), ("DELETE", "/metrics", 405), ("POST", "/transcribe/", 404)],
)
def test_wrong_paths_and_methods_are_errors_of_the_same_shape(client: TestClient, method: str, path: str, status: int):
    answer = client.request(method, path)
    assert answer.status_code == status
    assert path in error_of(answer)["message"]


@pytest.mark.parametrize("path", ["/v1/strem", "/health/live"])
def test_a_socket_at_a_wrong_path_is_an_error_of_the_same_shape(client: TestClient, path: str):
    with pytest.raises(WebSocketDenialResponse) as caught, client.websocket_connect(path):
        pass
    assert caught.value.status_code == 404
    assert f"nothing at {path}" in error_of(caught.value)["message"]
    assert counters(client)['asr_requests_total{method="WEBSOCKET",route="unknown",status="404"}'] == 1


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/docs", "/"])
def test_probes_may_ask_without_a_body(client: TestClient, path: str):
    answer = client.head(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, client.get(path).headers["Content-Type"])


def test_health_tells_life_from_readiness(client: TestClient, engine: FakeEngine):
    assert client.get("/health/ready").json() == {"status": "ok"}
    engine.ready = False
    answer = client.get("/health/ready")
    assert (answer.status_code, error_of(answer)["type"]) == (503, "unavailable_error")
    assert client.get("/health/live").json() == {"status": "ok"}


def test_a_failure_is_told_to_the_log_and_not_to_the_client(
    client: TestClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
):
    async def fail(job: Job) -> AsyncIterator[Transcript]:
        raise RuntimeError(f"secret {job.audio}")
        yield

    engine.transcribe = fail
    answer = client.post("/transcribe", files={"file": wav()}, headers={"X-Request-ID": "r-1"})
    assert (answer.status_code, error_of(answer)["type"]) == (500, "server_error")
    assert answer.headers["x-should-retry"] == "false"
    assert "r-1" in error_of(answer)["message"]
    assert "secret" not in answer.text
    assert "secret" in caplog.text
    assert counters(client)['asr_errors_total{type="server_error"}'] == 1


# request ids, logs, counters


def test_a_request_keeps_its_id(client: TestClient):
    assert client.get("/health/live", headers={"X-Request-ID": "a-b.c_1"}).headers["X-Request-ID"] == "a-b.c_1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, '{"a":1}', "é"])
def test_an_id_that_does_not_belong_into_logs_is_replaced(client: TestClient, given: str):
    answers = [client.get("/health/live", headers={"X-Request-ID": given.encode()}) for _ in range(2)]
    made = {answer.headers["X-Request-ID"] for answer in answers}
    assert len(made) == 2
    assert all(name.isalnum() and len(name) == 32 for name in made)


@pytest.mark.parametrize("log_content", [False, True])
def test_logs_tell_content_only_when_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture, log_content: bool):
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(JSONFormatter())
    with client_of(tmp_path, log_content=log_content) as client:
        client.post("/transcribe?x=secret", files={"file": ("patient.wav", wav())}, headers={"X-Request-ID": "r-2"})
        client.post("/transcribe", files={"file": ("patient.txt", b"not audio")}, headers={"X-Request-ID": "r-3"})
    ours = [line for line in caplog.text.splitlines() if "toolkit." in line]  # the client of the test logs, too
    heard, answered, refused = map(json.loads, ours)
    assert (heard["request_id"], heard["audio_s"]) == ("r-2", 7.0)
    assert (answered["request_id"], answered["route"], answered["status"]) == ("r-2", "/transcribe", 200)
    assert (refused["status"], refused["error"], refused["param"]) == (415, "unsupported_media_error", "file")
    told = "\n".join(ours)
    assert ("patient.wav" in told, SAYS in told) == (log_content, log_content)
    assert "secret" not in told
    assert ("patient.txt: is not audio" in told) == log_content


@pytest.mark.parametrize(
    "wrong",
    [
        {"data": {"secret": "1"}, "files": {"file": wav(1)}},
        {"data": {"secret": b"\xff"}, "files": {"file": wav(1)}},
        {"data": {"secret": "1" * 70_000}, "files": {"file": wav(1)}},
        {"files": {"secret": wav(1)}},
    ],
)
def test_names_of_fields_are_content(client: TestClient, caplog: pytest.LogCaptureFixture, wrong: dict):
    caplog.set_level(logging.INFO)
    caplog.handler.setFormatter(JSONFormatter())
    answer = client.post("/transcribe", **wrong)
    assert 400 <= answer.status_code < 500
    assert "secret" in error_of(answer)["message"] or answer.status_code == 413
    assert "secret" not in caplog.text


def test_metrics_count(client: TestClient, engine: FakeEngine):
    engine.status = lambda: Status(3, 4.5, 2, batches=5, busy_s=1.5, restarts=1, batch_sizes=[1, 6])
    client.post("/transcribe", files={"file": wav()})
    client.post("/transcribe", files={"file": b"?"})
    for number in range(3):
        client.get(f"/nothing/{number}")
    found = counters(client)
    assert found['asr_requests_total{method="POST",route="/transcribe",status="200"}'] == 1
    assert found['asr_requests_total{method="POST",route="/transcribe",status="415"}'] == 1
    assert found['asr_requests_total{method="GET",route="unknown",status="404"}'] == 3  # one row for all
    assert found['asr_request_seconds_count{route="/transcribe"}'] == 2
    assert found['asr_errors_total{type="unsupported_media_error"}'] == 1
    assert (found["asr_audio_seconds_total"], found["asr_real_time_factor_count"]) == (7.0, 1)
    assert (found["asr_queue_length"], found["asr_queue_seconds"], found["asr_live_sessions"]) == (3, 4.5, 2)
    assert (found["asr_batch_size_count"], found["asr_batch_size_sum"]) == (2, 7)
    assert (found["asr_restarts_total"], found["asr_busy_seconds_total"], found["asr_ready"]) == (1, 1.5, 1)


# a proxy, pages of others, documentation


def test_the_documentation_names_all_routes_fields_and_errors(client: TestClient):
    api = client.get("/openapi.json").json()
    page = client.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    for path in ("/transcribe", "/health/ready", "/metrics"):
        assert path in api["paths"]
        assert path in page.text
    for said in ("curl -F file=@speech.wav", "hotwords", "Too Many Requests", "&quot;confidence&quot;: 0.98"):
        assert said in page.text
    assert re.findall("(?:src|href)=(.*?)>", page.text) == ['"openapi.json"']  # nothing from elsewhere


def test_a_proxy_may_show_the_service_below_a_path(tmp_path: Path):
    with client_of(tmp_path, root_path="/speech") as client:
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/speech"}]
        for path in ("/health/live", "/speech/health/live"):  # with and without what the proxy strips
            assert client.get(path).status_code == 200
        assert client.get("/speech", follow_redirects=False).headers["Location"] == "/speech/"
        assert client.get("/speech").headers["Content-Type"].startswith("text/html")
        assert client.get("/speeches").status_code == 404


def test_pages_of_others_may_ask_when_they_are_named(tmp_path: Path):
    ask = {"Origin": "https://a.org", "Access-Control-Request-Method": "POST"}
    with client_of(tmp_path, cors_origins="https://a.org") as client:
        allowed = client.options("/transcribe", headers=ask)
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://a.org"
        asked = {"Access-Control-Request-Headers": "authorization, x-stainless-os, x-stainless-retry-count"}
        assert client.options("/v1/audio/transcriptions", headers=ask | asked).status_code == 200
        other = client.options("/transcribe", headers=ask | {"Origin": "https://b.org"})
        assert "Access-Control-Allow-Origin" not in other.headers
    with client_of(tmp_path) as client:
        assert "Access-Control-Allow-Origin" not in client.get("/health/live", headers=ask).headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),  # a program
        ("http://testserver", True),
        ("https://testserver", True),  # behind a proxy
        ("https://a.org", True),
        ("https://b.org", False),
        ("https://a.org.b.org", False),
        ("null", False),
    ],
)
def test_pages_of_others_may_not_listen(tmp_path: Path, origin: str | None, allowed: bool):
    headers = {} if origin is None else {"Origin": origin}
    with client_of(tmp_path, cors_origins="https://a.org") as client:
        if allowed:
            with client.websocket_connect("/v1/stream?sample_rate=16000", headers=headers) as socket:
                assert socket.receive_json()["type"] == "ready"
                socket.send_json({"type": "end"})
                assert socket.receive_json()["type"] == "done"
            return
        with pytest.raises(WebSocketDenialResponse) as caught:
            client.websocket_connect("/v1/stream", headers=headers).__enter__()
        assert (caught.value.status_code, error_of(caught.value)["type"]) == (403, "permission_error")
