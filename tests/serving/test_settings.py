"""Where settings come from, in which order, and what is said of wrong ones."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from toolkit.cli.main import main
from toolkit.cli.serve import as_settings, parse
from toolkit.errors import ConfigError
from toolkit.serving.jobs import Limits
from toolkit.serving.settings import Settings, read_settings

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


def test_devices_have_commas_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert read_settings(MODELS, yaml(tmp_path, "limits: {devices: cpu}")).limits.devices == ("cpu",)
    monkeypatch.setenv("ASR_LIMITS__DEVICES", "cuda:0, cpu")
    assert read_settings(MODELS).limits.devices == ("cuda:0", "cpu")


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (
            "ASR_API_KEY_HASH",
            "ASR_API_KEY_HASH, of the environment: no such setting (did you mean 'ASR_API_KEY_HASHES'?)",
        ),
        ("ASR_LIMIT__QUEUE_S", "ASR_LIMIT__QUEUE_S, of the environment: no such setting"),
        ("ASR_LIMITS__QEUE_S", "qeue_s is no limit"),
        ("ASR_LIMITS", "ASR_LIMITS: expected JSON"),
        ("ASR_API_KEY_HASHES", "api_key_hashes: one is no hash"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, said: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(variable, "x")
    with pytest.raises(ConfigError) as caught:
        read_settings(MODELS)
    assert said in str(caught.value)


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    for name in ("CONFIG", "API_KEY", "SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_80_TCP_ADDR", "GATE_PORT_80_TCP"):
        monkeypatch.setenv(f"ASR_{name}", "tcp://10.0.0.1:80")
    assert read_settings(MODELS).port == 8000


def test_a_key_in_place_of_its_hash_is_not_shown(tmp_path: Path):
    for text in ("[asr-SECRET]", "{asr-SECRET: 1}", "[{asr-SECRET: 1}]", "asr-SECRET"):
        with pytest.raises(ConfigError, match="api_key_hashes: ") as caught:
            read_settings(MODELS, yaml(tmp_path, f"api_key_hashes: {text}"))
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "hashes", "is_open"),
    [("0.0.0.0", (), True), ("::", (), True), ("::1", (), False), ("0.0.0.0", ("0" * 64,), False)],
)
def test_a_service_without_keys_is_open_where_others_reach_it(host: str, hashes: tuple[str, ...], is_open: bool):
    assert read_settings(MODELS | {"host": host, "api_key_hashes": hashes}).is_open == is_open


def test_a_root_path_may_end_with_a_slash():
    assert read_settings(MODELS | {"root_path": "/speech/"}).root_path == "/speech"
    assert read_settings(MODELS | {"root_path": "/"}).root_path == ""


def test_any_setting_can_be_set():
    flags = (
        "m --port 9 --timeout 5 --set limits.queue_s=60 --set grace_s=3 --set cors_origins=https://a.org,https://b.org"
    )
    settings = read_settings(as_settings(vars(parse(flags.split()))))
    assert (settings.port, settings.grace_s, settings.cors_origins) == (9, 3.0, ("https://a.org", "https://b.org"))
    assert (settings.limits.queue_s, settings.limits.timeout_s) == (60.0, 5.0)
    for wrong, said in (("port", "expected KEY=VALUE"), ("prot=1", "prot: no such"), ("limits.qeue_s=1", "no limit")):
        with pytest.raises(ConfigError, match=said):
            read_settings(as_settings(vars(parse(["m", "--set", wrong]))))


def test_all_settings_are_printed_as_a_file_that_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["serve", "--settings"]) == 0
    shown = capsys.readouterr().out
    assert read_settings(MODELS, yaml(tmp_path, shown)).model_dump() == read_settings(MODELS).model_dump()
    names = [*Settings.model_fields, *(field.name for field in dataclasses.fields(Limits))]
    assert re.findall(r"^ *(\w+):", shown, re.MULTILINE) == names  # each, and once
    assert (
        "# Folders (or names on the hub) by what requests call them; the first is the default.\nmodels: {}\n" in shown
    )


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
        ("root_path: speech", "root_path: 'speech'; expected a path such as /speech"),
        ("models: {}", "at least one model"),
        ("models: [a/ctc, b/ctc]", "two models are called ctc"),
        ("models: [=a]", "a model has no name"),
        ("models: [5]", "models: expected folders"),
        ("models: 7", "models: expected folders"),
        ("models: [{a: m}]", "models: expected folders"),
        ("models: {1: a}", "models.1.[key]: "),
        ("1: 2", "service.yaml: expected settings by their names"),
        ("limits: {1: 2}", "1 is no limit"),
        ("cors_origins: [https://a.org/]", "'https://a.org/'; expected an origin"),
        ("cors_origins: a.org", "'a.org'; expected an origin"),
        ("api_key_hashes: ' , '", "api_key_hashes: names none"),
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
