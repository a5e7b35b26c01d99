"""Where settings come from, in which order, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.cli.serve import as_settings, parse
from toolkit.errors import ConfigError
from toolkit.serving.settings import read_settings

MODELS = {"models": {"an4": "somewhere"}}


def yaml(folder: Path, text: str) -> Path:
    file = folder / "service.yaml"
    file.write_text(text)
    return file


def test_flags_come_before_the_environment_and_that_before_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASR_PORT", "2")
    monkeypatch.setenv("ASR_ROOT_PATH", "/environment")
    monkeypatch.setenv("ASR_LIMITS__QUEUE_S", "20")
    monkeypatch.setenv("ASR_LIMITS__DECODERS", "2")
    file = yaml(
        tmp_path,
        "models: {an4: /models/an4, other: /models/other}\nport: 3\nroot_path: /yaml\nlog_content: true\n"
        "limits: {queue_s: 30, decoders: 3, batch_s: 3}",
    )
    settings = read_settings({"port": 1, "limits": {"decoders": 1}}, file)
    assert (settings.port, settings.root_path, settings.log_content) == (1, "/environment", True)
    assert (settings.limits.decoders, settings.limits.queue_s, settings.limits.batch_s) == (1, 20.0, 3.0)
    assert settings.models == {"an4": "/models/an4", "other": "/models/other"}


@pytest.mark.parametrize(
    ("given", "models"),
    [
        ("results/ctc", {"ctc": "results/ctc"}),
        ("a=results/ctc, results/ctc/", {"a": "results/ctc", "ctc": "results/ctc/"}),
        ("speechbrain/asr-crdnn", {"asr-crdnn": "speechbrain/asr-crdnn"}),
    ],
)
def test_models_are_called_as_is_said_or_like_their_folder(
    given: str, models: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ASR_MODELS", given)
    assert read_settings({}).models == models
    monkeypatch.delenv("ASR_MODELS")
    assert read_settings(as_settings(vars(parse(given.replace(",", "").split())))).models == models


def test_lists_have_commas_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ASR_CORS_ORIGINS", "https://a.org, https://b.org")
    assert read_settings(MODELS).cors_origins == ("https://a.org", "https://b.org")


def test_flags_are_settings():
    flags = "m --host :: --port 9 --device cuda:0 --device cpu --workers 3 --timeout 5 --upload-bytes 7 --root-path /a "
    flags += "--cors-origins https://a.org --log-content --temporary-folder /scratch"
    settings = read_settings(as_settings(vars(parse(flags.split()))))
    limits = settings.limits
    assert (settings.host, settings.port, settings.upload_bytes, settings.root_path) == ("::", 9, 7, "/a")
    assert (limits.devices, limits.decoders, limits.timeout_s) == (("cuda:0", "cpu"), 3, 5.0)
    assert (settings.cors_origins, settings.log_content) == (("https://a.org",), True)
    assert settings.temporary_folder == Path("/scratch")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("prot: 1", "prot: no such setting (did you mean 'port'?)"),
        ("port: 99999", "port: Input should be less than or equal to 65535, not 99999"),
        ("root_path: speech", "root_path: "),
        ("root_path: /speech/", "root_path: "),
        ("models: {}", "at least one model"),
        ("models: [a/ctc, b/ctc]", "two models are called ctc"),
        ("models: [=a]", "a model has no name"),
        ("upload_bytes: 0", "upload_bytes: "),
        ("api_key_hashes: [abc]", "api_key_hashes: "),
        ("limits: {qeue_s: 1}", "qeue_s is no limit (did you mean 'queue_s'?)"),
        ("limits: {decoders: 0}", "decoders is 0; expected more than 0"),
        ("limits: {batch_s: .nan}", "batch_s is nan"),
        ("limits: {batch_s: many}", "limits.batch_s: "),
        ("port: 1\nlog_content: perhaps\nhost: [1]", "log_content: "),
        ("- port", "service.yaml"),
        ("port: [", "service.yaml"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, wrong: str, said: str):
    with pytest.raises(ConfigError) as caught:
        read_settings({} if "models" in wrong else MODELS, yaml(tmp_path, wrong))
    assert said in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_all_wrong_settings_are_named_at_once(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"(?s)models: .*port: .*hots: "):
        read_settings({"port": -1}, yaml(tmp_path, "hots: a"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml"):
        read_settings(MODELS, tmp_path / "nothing.yaml")


def test_a_model_is_needed():
    with pytest.raises(ConfigError, match="models: is needed; name one"):
        read_settings({})
