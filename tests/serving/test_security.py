"""Who has a key may ask; what is kept of keys is no key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from served import client_of, wav

from toolkit.cli.main import main
from toolkit.serving.security import hash_of, new_key


@pytest.mark.parametrize("header", ["Bearer {key}", "bearer {key}", "Bearer  {key} "])
def test_a_key_lets_in(tmp_path: Path, header: str):
    keys = [new_key() for _ in range(2)]
    with client_of(tmp_path, api_key_hashes=[hash_of(key) for key in keys]) as client:
        for key in keys:
            answer = client.post(
                "/transcribe", files={"file": wav()}, headers={"Authorization": header.format(key=key)}
            )
            assert answer.status_code == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic {key}", "{key}", "Bearer {hash}"])
def test_without_a_key_nothing_is_transcribed(tmp_path: Path, header: str | None):
    key = new_key()
    shown = {} if header is None else {"Authorization": header.format(key=key, hash=hash_of(key))}
    with client_of(tmp_path, api_key_hashes=[hash_of(key)]) as client:
        answer = client.post("/transcribe", files={"file": wav()}, headers=shown)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["type"] == "authentication_error"
        assert key not in answer.text
        for path in ("/health/live", "/health/ready", "/metrics"):  # probes have no key
            assert client.get(path).status_code == 200


@pytest.mark.parametrize("key", ["secret", "\ud800"])
def test_a_socket_shows_no_key_in_its_query_nor_one_that_cannot_be(tmp_path: Path, key: str):
    url, settings = "/v1/stream?api_key=secret&sample_rate=16000", {"api_key_hashes": [hash_of("secret")]}
    with client_of(tmp_path, upload_pause_s=0.3, **settings) as client, client.websocket_connect(url) as socket:
        if key != "secret":
            socket.send_text(json.dumps({"type": "start", "api_key": key}))
        found = socket.receive_json()
        kind = "invalid_request_error" if key == "secret" else "authentication_error"  # nothing came, or a wrong one
        assert (found["type"], found["error"]["type"]) == ("error", kind)


def test_a_wrong_key_is_refused_before_the_upload_is_read(tmp_path: Path):
    with client_of(tmp_path, api_key_hashes=[hash_of(new_key())], upload_bytes=10) as client:
        assert client.post("/transcribe", files={"file": wav()}).status_code == 401


def test_keys_are_unlike_and_only_their_hashes_are_kept(capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--new-key"]) == 0
    shown = capsys.readouterr().out
    key = next(word for word in shown.split() if word.startswith("asr-"))
    assert f"api_key_hashes: [{hash_of(key)}]" in shown
    assert f"ASR_API_KEY_HASHES={hash_of(key)}" in shown
    assert len(key) > 40
    assert new_key() != key
    assert key not in hash_of(key)
