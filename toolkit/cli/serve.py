"""Answer requests for transcripts over HTTP.

    asr serve pretrained/an4-small
    asr serve an4=results/ctc other=results/transducer --host 0.0.0.0 --port 80 --device cuda:0 --device cuda:1
    asr serve --config service.yaml
    asr serve --new-key

    curl -F file=@speech.wav localhost:8000/transcribe

The first model is the one that requests get which name none. http://localhost:8000 is a page for people, /docs tells
programs what there is, OpenAI's client works with base_url="http://localhost:8000/v1", /metrics is for Prometheus.

Everything can also be said by the environment (ASR_PORT=80, ASR_MODELS=an4=/models/an4, ASR_LIMITS__QUEUE_S=3600)
and by one YAML, --config or ASR_CONFIG (port: 80, limits: {queue_s: 3600}); flags come first, then the environment.
--settings prints all there is, with defaults and meanings, as such a YAML; --set says what has no flag of its own.

--new-key prints a new API key, and its hash for api_key_hashes; whoever has no key is then refused. The first Ctrl-C,
or SIGTERM, finishes what was accepted; a second Ctrl-C ends at once. Logs are lines of JSON on standard error.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.errors import ConfigError, MissingDependencyError
from toolkit.files import require_writable

if TYPE_CHECKING:
    from toolkit.serving.settings import Settings

# Flags that are fields of Limits.
LIMITS = {"device": "devices", "workers": "decoders", "timeout": "timeout_s"}

# Of torch's threads in the model processes, which by default spin while they wait for each other. On two cores that
# were busy, 120 s of audio took more than 60 s so, 12 s when they sleep, and 7 s with one thread (limits.threads).
WAIT_POLICY = "PASSIVE"


def main(arguments: Sequence[str]) -> int:
    """Serve until it is stopped; the exit status."""
    options = vars(parse(arguments))
    try:
        if options.pop("new_key", False):
            print_key()
            return 0
        if options.pop("settings", False):
            from toolkit.serving.settings_list import settings_as_yaml

            print(settings_as_yaml(), end="")
            return 0
        from toolkit.serving.app import create_app  # imports take a second: not for --help
        from toolkit.serving.engine import ServiceEngine
        from toolkit.serving.logs import log_as_json
        from toolkit.serving.server import bind, serve
        from toolkit.serving.settings import read_settings
        from toolkit.serving.upload_folder import upload_folder
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise MissingDependencyError(
            f"asr serve needs {missing}; install it with pip install 'asr-recipes[serve]'"
        ) from None
    file = options.pop("config", None) or os.environ.get("ASR_CONFIG")
    settings = read_settings(as_settings(options), Path(file) if file else None)
    require_writable(settings.temporary_folder, "temporary_folder")
    log_as_json()
    os.environ.setdefault("OMP_WAIT_POLICY", WAIT_POLICY)
    with bind(settings) as address, upload_folder(settings.temporary_folder) as folder:
        engine = ServiceEngine(settings.models, settings.limits, folder)
        app = create_app(engine, settings.model_copy(update={"temporary_folder": folder / "uploads"}))
        serve(app, address, announcement(settings, address))
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line that were given, by their names."""
    parser = argparse.ArgumentParser(
        prog="asr serve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folder or hub name, or NAME=folder")
    parser.add_argument("--host", help="address to listen at; 0.0.0.0 or :: for all (127.0.0.1)")
    parser.add_argument("--port", type=int, help="0: a free one (8000)")
    parser.add_argument("--device", action="append", help="cpu, cuda:0, ...; more than once: all of them (all GPUs)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode files (2)")
    parser.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="from a request to its answer (600), and as many more as its audio has",
    )
    parser.add_argument("--upload-bytes", type=int, metavar="N", help="of a request (1 GiB)")
    parser.add_argument("--root-path", metavar="PATH", help="where a proxy shows the service, for instance /speech")
    parser.add_argument("--cors-origins", metavar="ORIGINS", help="pages that may ask, with commas between them, or *")
    parser.add_argument("--log-content", action="store_true", help="tell names of files, and what was said, in logs")
    parser.add_argument("--temporary-folder", metavar="FOLDER", help="where uploads lie while they are transcribed")
    parser.add_argument("--config", metavar="FILE", help="YAML of settings")
    parser.add_argument(
        "--set", action="append", metavar="KEY=VALUE", help="any setting, for instance limits.queue_s=3600"
    )
    parser.add_argument("--settings", action="store_true", help="print all settings as a YAML, and end")
    parser.add_argument("--new-key", action="store_true", help="print an API key and its hash, and end")
    return parser.parse_args(arguments)


def as_settings(options: dict[str, Any]) -> dict[str, Any]:
    """Options by the names of settings; those that were not given are missing. Raises ConfigError."""
    limits = {field: options.pop(flag) for flag, field in LIMITS.items() if flag in options}
    for text in options.pop("set", ()):
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text}: expected KEY=VALUE, for instance limits.queue_s=3600")
        place = limits if name.startswith("limits.") else options
        place[name.removeprefix("limits.")] = value
    if not options.get("models"):
        options.pop("models", None)
    return options | ({"limits": limits} if limits else {})


def print_key() -> None:
    """A new key and its hash."""
    from toolkit.serving.security import hash_of, new_key

    key = new_key()
    print(f"for the client, who alone keeps it:  {key}")
    print(f"for the service, in its YAML:        api_key_hashes: [{hash_of(key)}]")
    print(f"or in its environment:               ASR_API_KEY_HASHES={hash_of(key)}")


def announcement(settings: Settings, address: socket.socket) -> Callable[[], None]:
    """Says where the service is, which models it has, and how to ask it."""

    def announce() -> None:
        host, port = address.getsockname()[:2]
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
        url = f"http://{host}:{port}"
        key = " -H 'Authorization: Bearer KEY'" if settings.api_key_hashes else ""
        print(f"{url}  transcribes with {', '.join(settings.models)}; Ctrl-C stops it")
        print(f"  curl{key} -F file=@speech.wav {url}/transcribe", flush=True)

    return announce
