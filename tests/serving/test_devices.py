"""Where models compute: how many cores there are, and what is said of devices that are not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from toolkit.errors import ConfigError
from toolkit.serving import device_process


@pytest.fixture(autouse=True)
def _sixteen_cores_and_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def machine(root: Path, cgroup: str, **files: str) -> Path:
    """A folder that stands for ``/``."""
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
        ("0::/a/b\n", {"sys/fs/cgroup/a/b/cpu.max": "max 100000\n", "sys/fs/cgroup/a/cpu.max": "300000 100000\n"}, 3),
        ("0::/../of/the/host\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (
            "5:memory:/x\n4:cpu,cpuacct:/docker/1\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        (
            "4:cpu:/docker/1\n0::/\n",
            {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"},
            16,
        ),
    ],
)
def test_cores_are_those_that_a_container_may_use(tmp_path: Path, cgroup: str, files: dict[str, str], cores: int):
    assert device_process.cores_of(machine(tmp_path, cgroup, **files)) == cores


def test_a_machine_without_cgroups(tmp_path: Path):
    assert device_process.cores_of(tmp_path) == 16


class Heard:
    """A `Parent` that keeps what it is told."""

    def __init__(self, *asked: str) -> None:
        self.messages: list[object] = []
        device_process.main(self, asked)

    def send(self, message: object) -> None:
        self.messages.append(message)


def test_models_compute_where_they_are_told_or_on_all_gpus_or_on_some_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device_process, "cores_of", lambda _: 3)
    assert Heard().messages == [(("cuda:0", "cuda:1"), 3)]
    assert Heard("cuda:1", "cpu").messages == [(("cuda:1", "cpu"), 3)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert Heard().messages == [(("cpu", "cpu", "cpu"), 3)]


@pytest.mark.parametrize("name", ["bogus", "cuda:2", "CPU", "cpu cpu"])
def test_a_device_that_is_not_there_is_named(name: str):
    (error,) = Heard("cpu", name).messages
    assert isinstance(error, ConfigError)
    assert str(error) == f"limits.devices (--device): there is no {name!r}; there are cpu, cuda:0, cuda:1"
