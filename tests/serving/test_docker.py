"""The files of docker/: what they name is there, and they agree with each other and with the service's defaults."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from toolkit.cli.new import MADE
from toolkit.serving.security import hash_of
from toolkit.serving.settings import Settings, read_settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
# What a client that was accepted may still need, beside the settings' grace: to be told to end, and to end.
ENDING_S = 10


def load(name: str) -> ModuleType:
    """A module of docker/."""
    spec = importlib.util.spec_from_file_location(name, DOCKER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


steps = load("steps")


def read(dockerfile: str) -> list[Any]:
    return steps.read_steps(DOCKER / dockerfile)


def final(dockerfile: str) -> dict[str, str]:
    """What the last stage says, by its words."""
    found: dict[str, str] = {}
    for step in read(dockerfile):
        found = {} if step.word == "FROM" else found | {step.word: step.rest}
    return found


def environment(dockerfile: str) -> dict[str, str]:
    return steps.pairs_of(final(dockerfile)["ENV"], {"PATH": "/bin"})


def settings(dockerfile: str) -> Settings:
    """The settings that the service has in a container."""
    said = {name[4:].lower(): value for name, value in environment(dockerfile).items() if name.startswith("ASR_")}
    return Settings(**said)


def compose() -> dict[str, Any]:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())


def kubernetes() -> dict[str, dict[str, Any]]:
    """Its objects by their kinds."""
    return {one["kind"]: one for one in yaml.safe_load_all((DOCKER / "kubernetes.yaml").read_text())}


def pod() -> dict[str, Any]:
    return kubernetes()["Deployment"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_copied_is_there_and_goes_to_docker(dockerfile: str):
    patterns = steps.ignore_patterns(ROOT)
    copied = [steps.split_copy(step.rest) for step in read(dockerfile) if step.word == "COPY"]
    sources = [source for stage, sources, _ in copied if stage is None for source in sources]
    assert len(sources) >= 8
    for source in sources:
        assert (ROOT / source).exists()
        written = (path for path, _ in steps.files_of(ROOT / source))
        files = [path for path in written if not {*path.relative_to(ROOT).parts} & {*MADE}]  # not by a demo
        assert not [path for path in files if steps.is_ignored(path.relative_to(ROOT).as_posix(), patterns)]


@pytest.mark.parametrize(
    "path",
    [
        *(".git/config", ".venv/bin/python", "recipes/AN4/results/ctc/model.safetensors", "toolkit/__pycache__/a.pyc"),
        *("tests/conftest.py", "docker/check.py", "templates/asr/corpus/a.wav", "toolkit/serving/__pycache__/b.pyc"),
    ],
)
def test_what_no_image_needs_is_not_sent_to_docker(path: str):
    assert steps.is_ignored(path, steps.ignore_patterns(ROOT))


def test_the_image_with_cuda_differs_in_cuda_only():
    plain, cuda = (set(read(name)) for name in DOCKERFILES)
    variables = environment("Dockerfile.cuda").items() - environment("Dockerfile").items()
    assert {step for step in plain ^ cuda if step.word != "ENV"} == {
        steps.Step("ARG", "TORCH_INDEX="),
        steps.Step("ARG", "TORCH_INDEX=https://download.pytorch.org/whl/cpu"),
    }
    assert {name for name, _ in variables} == {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_last_image_has_no_compiler_and_no_rights(dockerfile: str):
    last = final(dockerfile)
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", last["USER"])
    assert "RUN" not in last
    assert "apt-get" not in (DOCKER / dockerfile).read_text()
    stages = {rest.partition(" AS ")[2]: rest.split()[0] for word, rest in read(dockerfile) if word == "FROM"}
    assert stages[""] == stages["dependencies"] == "python:3.11-slim-bookworm"  # a venv works where it was made


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_a_model_may_be_an_image_of_its_own(dockerfile: str):
    found = read(dockerfile)
    (default,) = (step.rest.partition("=")[2] for step in found if step.rest.startswith("MODEL_IMAGE="))
    assert found[0].word == "ARG"
    assert steps.Step("FROM", f"scratch AS {default}") in found
    assert steps.Step("FROM", "${MODEL_IMAGE} AS model") in found
    assert settings(dockerfile).models == {"default": "/model"}
    copies = [step.rest for step in found if step.word == "COPY" and step.rest.endswith("--from=model / /model")]
    assert f"--chown={final(dockerfile)['USER']}" in copies[-1]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_health_check_asks_the_port_that_is_served(dockerfile: str):
    last = final(dockerfile)
    assert settings(dockerfile).port == int(last["EXPOSE"]) == Settings(models="a").port
    assert settings(dockerfile).host == "0.0.0.0"
    command = steps.json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    compile(command[2], dockerfile, "exec")
    assert "/health/ready" in command[2]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_a_container_finds_the_code_that_was_compiled_for_any_processor(dockerfile: str, tmp_path: Path):
    found, variables = read(dockerfile), environment(dockerfile)
    place = next(index for index, step in enumerate(found) if step.rest == "dependencies AS compiled")
    building = steps.pairs_of(next(step.rest for step in found[place:] if step.word == "ENV"), {})
    assert building["NUMBA_CPU_NAME"] == variables["NUMBA_CPU_NAME"] == "generic"
    kept = building["NUMBA_CACHE_DIR"]
    assert steps.Step("COPY", f"--link --from=compiled {kept} {kept}") in found
    # it may be written in a container whose file system is read only
    image, tmp = tmp_path / "numba", tmp_path / "tmp"
    (image / "one").mkdir(parents=True)
    (image / "one/index").touch()
    tmp.mkdir()
    assert variables["NUMBA_CACHE_DIR"] == "/tmp/numba"
    shell, option, line, name = steps.json.loads(final(dockerfile)["ENTRYPOINT"])
    line = line.replace(kept, str(image), 1).replace("/tmp/ ", f"{tmp}/ ").replace("exec asr", "echo")
    for _ in range(2):  # and the container may be started again
        said = subprocess.run([shell, option, line, name, "serve", "two words"], capture_output=True, check=True)
        assert said.stdout == b"serve two words\n"
        assert (tmp / "numba/one/index").exists()


def test_versions_of_the_images_are_those_that_setup_py_asks_for():
    pinned = dict(line.split("==") for line in (DOCKER / "requirements.txt").read_text().splitlines())
    torch = next(step.rest for step in read("Dockerfile") if "torch==" in step.rest)
    pinned |= dict(re.findall(r"(torch\w*)==(\S+)", torch))
    requirements = load("requirements")
    asked = [Requirement(one) for one in requirements.asked()]
    assert len(asked) > 20
    for one in asked:
        assert one.specifier.contains(pinned[requirements.as_name(one.name)]), one


def test_prometheus_asks_the_service_of_compose():
    services = compose()["services"]
    (job,) = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, port = target.split(":")
    assert services[name]["ports"][0].endswith(f":{port}:{Settings(models='a').port}")
    assert job["metrics_path"] == "/metrics"
    assert services["prometheus"]["volumes"][0].startswith("./prometheus.yml:/etc/prometheus/prometheus.yml")
    build = services["asr"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / "Dockerfile"


def test_variables_of_compose_and_kubernetes_are_settings(monkeypatch: pytest.MonkeyPatch):
    (container,) = pod()["containers"]
    asr = compose()["services"]["asr"]
    given = {one["name"]: one.get("value") for one in container["env"]} | {"ASR_API_KEY_HASHES": hash_of("key")}
    said = asr["environment"]
    assert said.pop("ASR_API_KEY_HASHES") is None  # that of who calls compose, if there is one
    assert {name: str(value) for name, value in said.items()}.items() <= given.items()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = read_settings({"models": ["a"]})
    assert found.api_key_hashes == (hash_of("key"),)
    assert found.limits.threads == 0  # as many as the container may use
    assert found.limits.disk_bytes == 8 << 30
    assert pod()["volumes"][0]["emptyDir"]["sizeLimit"] == "12Gi"


def test_the_service_of_the_cluster_sets_no_settings(monkeypatch: pytest.MonkeyPatch):
    name = kubernetes()["Service"]["metadata"]["name"].upper()
    assert f"{name}_PORT" == "ASR_PORT"  # tcp://10.0.0.1:80, as kubelet has it for pods with service links
    assert pod()["enableServiceLinks"] is False
    (container,) = pod()["containers"]
    (port,) = (one["value"] for one in container["env"] if one["name"] == "ASR_PORT")
    monkeypatch.setenv("ASR_PORT", port)
    assert read_settings({"models": ["a"]}).port == container["ports"][0]["containerPort"]


def test_without_keys_only_this_machine_may_ask_what_compose_starts():
    for service in compose()["services"].values():
        (ports,) = service["ports"]
        assert ports.startswith(("127.0.0.1:", "${ADDRESS:-127.0.0.1}:"))


def test_the_proxy_lets_through_what_the_service_takes():
    directives = dict(re.findall(r"^ +(\w+) (.+?);", (DOCKER / "README.md").read_text(), re.MULTILINE))
    ours = Settings(models="a")
    assert directives["client_max_body_size"] == f"{ours.upload_bytes >> 30}g"
    assert int(directives["proxy_read_timeout"].removesuffix("s")) > ours.limits.timeout_s
    assert directives["proxy_request_buffering"] == directives["proxy_buffering"] == "off"


def test_containers_are_given_the_time_that_the_service_gives_its_clients():
    grace = Settings(models="a").grace_s
    assert int(compose()["services"]["asr"]["stop_grace_period"].removesuffix("s")) >= grace + ENDING_S
    (container,) = pod()["containers"]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] >= before + grace + ENDING_S


def test_the_pod_can_write_to_its_temporary_folder_and_nowhere_else():
    (container,) = pod()["containers"]
    user = pod()["securityContext"]["runAsUser"], pod()["securityContext"]["runAsGroup"]
    assert "{}:{}".format(*user) == final("Dockerfile")["USER"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    (mount,), (volume,) = container["volumeMounts"], pod()["volumes"]
    assert mount["name"] == volume["name"]
    assert "emptyDir" in volume
    assert mount["mountPath"] == environment("Dockerfile")["HOME"] == "/tmp"
    asr = compose()["services"]["asr"]
    assert asr["read_only"]
    assert asr["volumes"] == ["/tmp"]


def test_probes_ask_the_routes_of_the_service():
    (container,) = pod()["containers"]
    (port,) = container["ports"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/health/ready", "readiness": "/health/ready", "liveness": "/health/live"}
    assert {container[f"{name}Probe"]["httpGet"]["port"] for name in paths} == {port["name"]}
    assert port["containerPort"] == Settings(models="a").port
    (served,) = kubernetes()["Service"]["spec"]["ports"]
    assert served["targetPort"] == port["name"]
    labels = kubernetes()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kubernetes()["Service"]["spec"]["selector"] == labels


def test_steps_are_carried_out_as_docker_does(tmp_path: Path):
    context = tmp_path / "context"
    (context / "app/__pycache__").mkdir(parents=True)
    (context / "app/__pycache__/one.pyc").write_text("no")
    (context / "app/one.txt").write_text("one")
    (context / ".dockerignore").write_text("# of a test\n*\n!app\n!top.txt\n**/__pycache__\n")
    (context / "top.txt").write_text("top")
    (context / "Dockerfile").write_text(
        "ARG BASE=small\nFROM scratch AS small\nCOPY top.txt /\nFROM ${BASE} AS build\nWORKDIR /work\n"
        'ARG WHO=me\nENV KEY="$WHO and ${WHO}"\nCOPY app /work/app\n'
        'RUN echo "$KEY" > /work/said.txt && \\\n    # in between\n    mv /work/app/one.txt .\n'
        "FROM scratch\nCOPY --link --from=build /work /made\nCOPY --from=small /top.txt /made/other.txt\n"
        'ENV HOME=/made PATH=/made/bin:$PATH\nUSER 7:8\nENTRYPOINT ["/made/run"]\nCMD ["/etc", "it"]\n'
    )
    (tmp_path / "place").mkdir()
    image = steps.Image(context, tmp_path / "place", {"WHO": "you"}, sys.executable)
    image.build(context / "Dockerfile")
    made = image.root / "made"
    assert {path.relative_to(image.root).as_posix() for path in image.root.rglob("*") if path.is_file()} == {
        *("made/said.txt", "made/one.txt", "made/other.txt"),
    }
    assert (made / "said.txt").read_text() == "you and you\n"
    assert (made / "other.txt").read_text() == "top"
    assert image.command() == [f"{made}/run", "/etc", "it"]
    assert image.environment["HOME"] == str(made)
    assert f"{tmp_path}/place/base:" in image.environment["PATH"]
    assert image.environment["PATH"].startswith(f"{made}/bin:")
    assert image.user() == {"user": 7, "group": 8, "extra_groups": ()}


def test_a_folder_stands_for_an_image_of_a_model(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    (tmp_path / "Dockerfile").write_text(
        "ARG MODEL_IMAGE=none\nFROM ${MODEL_IMAGE} AS model\nFROM scratch\nCOPY --from=model / /model\n"
    )
    (tmp_path / "place").mkdir()
    image = steps.Image(tmp_path, tmp_path / "place", {"MODEL_IMAGE": str(tmp_path / "model")}, sys.executable)
    image.build(tmp_path / "Dockerfile")
    assert (image.root / "model/config.json").read_text() == "{}"
