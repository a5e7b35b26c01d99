"""Carry out the steps of a Dockerfile without Docker, and try the service that it makes.

    .venv/bin/python docker/check.py
    .venv/bin/python docker/check.py docker/Dockerfile.cuda
    .venv/bin/python docker/check.py --build-arg MODEL_IMAGE=path/to/a/model --audio speech.wav

It builds in an empty folder, starts the command of the image with the image's environment and no other, as the image's
user where it may, waits for the health check, has a file transcribed and stops the service by SIGTERM. What it says at
the end is true of the image, too, but for the base image: this machine stands for that.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import httpx
from steps import Image

CONTEXT = Path(__file__).parents[1]
READY_S, STOP_S = 300, 45  # as long as kubernetes.yaml has patience
ENDS_S = 20  # what the service's children may take to notice that it is gone


def main() -> None:
    """Build, serve, ask and stop."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="asr-image-") as name:
        place = Path(name)
        place.chmod(0o755)
        image = Image(CONTEXT, place, dict(options.build_arg), options.python)
        image.build(options.dockerfile)
        subprocess.run([sys.executable, "-m", "pip", "--python", image.root / "venv/bin/python", "check"], check=True)
        print(f"venv {size_of(image.root / 'venv')} MB, model {size_of(image.root / 'model')} MB")
        audio = options.audio or write_wav(place / "second.wav")
        try_service(image, audio)
    print("ok")


def parse() -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dockerfile", nargs="?", type=Path, default=CONTEXT / "docker/Dockerfile")
    parser.add_argument(
        "--build-arg",
        action="append",
        default=[],
        type=lambda text: text.split("=", 1),
        metavar="NAME=VALUE",
        help="as of docker build; TORCH_INDEX= takes torch from where pip takes the rest",
    )
    parser.add_argument("--audio", type=Path, metavar="FILE", help="to transcribe (a second of silence)")
    parser.add_argument(
        "--python", default=getattr(sys, "_base_executable", sys.executable), help="for the base image's (this one)"
    )
    return parser.parse_args()


def try_service(image: Image, audio: Path) -> None:
    """Start the service, ask it once it is healthy, and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = image.root / "tmp"
    # a container has nothing else in its environment; its /tmp is not this machine's
    environment = image.environment | {"ASR_PORT": str(port), "TMPDIR": str(folder)}
    user = image.user() if os.geteuid() == 0 else {}
    container = {"env": environment, "cwd": image.root, **user}
    service = subprocess.Popen(image.command(), start_new_session=True, **container)
    try:
        started = time.monotonic()
        while subprocess.run(image.health_check(), capture_output=True, **container).returncode:
            require(service.poll() is None, f"the service ended with status {service.returncode}")
            require(time.monotonic() - started < READY_S, f"the service was not healthy after {READY_S} s")
            time.sleep(0.5)
        print(f"healthy after {time.monotonic() - started:.1f} s")
        with audio.open("rb") as file:
            answer = httpx.post(f"http://127.0.0.1:{port}/transcribe", files={"file": file}, timeout=STOP_S)
        require(answer.status_code == 200, f"POST /transcribe: {answer.status_code} {answer.text}")
        print(f"{audio.name}: {answer.json()['text']!r}")
        service.send_signal(signal.SIGTERM)
        require(service.wait(STOP_S) == 0, f"SIGTERM: the service ended with status {service.returncode}")
        require(ends(service.pid), "SIGTERM: the service left processes")
    finally:
        if is_there(service.pid):
            os.killpg(service.pid, signal.SIGKILL)
    left = [path.name for path in folder.glob("asr-serve-*")]
    require(not left, f"the service left {left} in its temporary folder")


def require(condition: bool, message: str) -> None:
    """End with a message unless all is as it should be."""
    if not condition:
        sys.exit(f"error: {message}")


def is_there(group: int) -> bool:
    """Whether a group of processes has any."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def ends(group: int) -> bool:
    """Whether all processes of a group are gone, or soon are."""
    until = time.monotonic() + ENDS_S
    while is_there(group) and time.monotonic() < until:
        time.sleep(0.2)
    return not is_there(group)


def size_of(folder: Path) -> int:
    """Megabytes of the files in a folder."""
    return round(sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6)


def write_wav(path: Path) -> Path:
    """A file with a second of silence."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(32000))
    return path


if __name__ == "__main__":
    main()
