"""Files sent to a service, some at a time, each until it is answered or cannot be.

::

    client = Client("http://localhost:8000")
    for path, transcript in client.transcribe(["a.wav", "b.mp3"]): ...

A service that has no room is asked again when it says; one that fails, or is not reached, a few times, later and later.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from anyio.from_thread import start_blocking_portal

from toolkit.errors import ConfigError, ToolkitError, did_you_mean
from toolkit.inference.transcript import Alternative, Transcript, Word
from toolkit.serving.service_errors import (
    AuthenticationError,
    BusyError,
    InvalidInputError,
    NotFoundError,
    ServiceError,
    UnavailableError,
)

Found = tuple[str, Transcript | ServiceError]

# Of a file whose connections break, or that is refused for other reasons than a lack of room: 16 s in all.
TRIES = 6
FIRST_WAIT_S, MOST_WAIT_S = 0.5, 30.0
CONNECT_S = 10.0

# Refusals that may pass; 502 and 504 are those of a proxy whose service is begun anew.
PASSING = (429, 502, 503, 504)
ERRORS = {error.status: error for error in ServiceError.__subclasses__()}


class ServedModel(NamedTuple):
    """A model's name at its service, and when it was made, in seconds after 1970."""

    name: str
    created: float


@dataclass(frozen=True)
class Client:
    """What sends files to a service.

    Attributes
    ----------
    url
        Where the service is, ``http://host:port`` and, behind a proxy, a path.
    api_key
        Where the service asks for one.
    model
        By its name at the service; by default the first one.
    concurrency
        Files that are on their way at a time.
    timeout_s
        From the first try of a file to its answer, waiting for room included.
    """

    url: str
    api_key: str | None = None
    model: str | None = None
    concurrency: int = 8
    timeout_s: float = 600.0

    def served(self) -> ServedModel:
        """The model that answers, asked for once: what is wrong with the URL, the key or the name is told at once.

        Raises
        ------
        ConfigError
            The URL is none, or the key has letters that no header may have.
        ServiceError
            There is no service, it has no such model, or asks for another key.
        """
        try:
            with httpx.Client(**self._options()) as http:
                answer = http.get("v1/models")
            if not answer.is_success:
                raise _refusal(answer)
            models = [ServedModel(card["id"], card["created"]) for card in answer.json()["data"]]
            named = next(model for model in models if self.model in (None, model.name))
        except httpx.TransportError as error:
            raise UnavailableError(f"{self.url}: no service answers there ({_reason(error)})") from error
        except ServiceError as error:
            raise type(error)(f"{self.url}: {error}") from error
        except StopIteration:
            near = did_you_mean(self.model or "", names := [model.name for model in models])
            raise NotFoundError(f"{self.url}: no model {self.model!r}{near}; there are {', '.join(names)}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(f"{self.url}: what answers there is not a service of `asr serve`") from error
        return named

    def transcribe(self, paths: Iterable[str]) -> Iterator[Found]:
        """For each file its transcript, or why there is none, in the order in which they are answered.

        Raises
        ------
        ToolkitError
            There is no use in going on: the service does not answer any more, or asks for another key.
        """
        # An event loop in a thread of its own sends on while this one writes, and has nothing to do with Ctrl-C.
        with start_blocking_portal() as portal, contextlib.suppress(StopAsyncIteration):
            found = self._transcribe(iter(paths))
            while True:
                yield portal.call(anext, found)

    async def _transcribe(self, paths: Iterator[str]) -> AsyncIterator[Found]:
        running: set[asyncio.Task[Found]] = set()
        async with httpx.AsyncClient(**self._options()) as http:
            sender = _Sender(self, http)
            while True:
                new = islice(paths, self.concurrency - len(running))
                running |= {asyncio.create_task(sender.found(path)) for path in new}
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: task.exception() is not None):  # nothing found is lost
                    yield task.result()

    def _options(self) -> dict[str, Any]:
        """Those of httpx's clients; how long an answer takes depends on the file."""
        if self.api_key and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ConfigError("the API key has letters that no key has; give it as asr serve --new-key printed it")
        return {
            "base_url": _checked(self.url),
            "headers": {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {},
            "timeout": httpx.Timeout(None, connect=CONNECT_S),
            "limits": httpx.Limits(max_connections=None, max_keepalive_connections=self.concurrency),
        }


@dataclass(frozen=True)
class _Sender:
    """What sends one file, again and again where that may help."""

    client: Client
    http: httpx.AsyncClient

    async def found(self, path: str) -> Found:
        """The file with its transcript, or why it has none."""
        try:
            return path, await asyncio.wait_for(self._answered(path), self.client.timeout_s)
        except asyncio.TimeoutError:
            error = UnavailableError(f"no answer within {self.client.timeout_s:g} s; a longer --timeout waits for it")
        except OSError as problem:
            error = InvalidInputError(f"cannot be read: {problem.strerror or problem}")
        except AuthenticationError:
            raise
        except ServiceError as problem:
            error = problem
        named = f"{Path(path).name}: "  # by the service, which knows no more of it
        return path, type(error)(f"{path}: {str(error).removeprefix(named)}")

    async def _answered(self, path: str) -> Transcript:
        """The transcript of a file; raises why there is none, and a plain ToolkitError when there will be none."""
        failures, wait_s = 0, FIRST_WAIT_S
        while True:
            try:
                answer = await self._send(path)
                if answer.is_success:
                    return _transcript(answer, path)
                refused = _refusal(answer)
                if answer.status_code not in PASSING or answer.headers.get("x-should-retry") == "false":
                    raise refused
            except httpx.TransportError as error:
                refused = UnavailableError(f"no answer ({_reason(error)})")
            failures += not isinstance(refused, BusyError)
            if failures == TRIES:
                await self._check_alive()
                raise refused
            asked_s = wait_s if refused.retry_after is None else max(refused.retry_after, FIRST_WAIT_S)
            await asyncio.sleep(asked_s * random.uniform(1.0, 1.25))  # those refused together do not return together
            wait_s = min(2 * wait_s, MOST_WAIT_S)

    async def _send(self, path: str) -> httpx.Response:
        """What the service says to a file, which is read while it is sent."""
        fields = {"model": self.client.model} if self.client.model else {}
        name = os.fsencode(Path(path).name).decode(errors="replace")  # which need not be UTF-8 on a disk
        with Path(path).open("rb") as content:
            return await self.http.post("transcribe", data=fields, files={"file": (name, content)})

    async def _check_alive(self) -> None:
        """Raise a ToolkitError where the trouble is not that of one file: nothing answers."""
        try:
            await self.http.get("health/live")
        except httpx.TransportError as error:
            raise ToolkitError(
                f"{self.client.url}: the service does not answer any more ({_reason(error)}); when it does, --resume "
                "goes on with --output"
            ) from error


def _checked(url: str) -> httpx.URL:
    with contextlib.suppress(httpx.InvalidURL):
        parsed = httpx.URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed
    raise ConfigError(f"--url {url!r}: expected a service's address, such as http://localhost:8000")


def _refusal(answer: httpx.Response) -> ServiceError:
    """What a service, or a proxy before it, says instead of a transcript."""
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        place = answer.headers.get("location")
        message = f"HTTP {answer.status_code} {answer.reason_phrase}" + (f", to {place}" if place else "")
    after = answer.headers.get("retry-after", "")
    kind = ERRORS.get(answer.status_code, UnavailableError)
    return kind(message, retry_after=int(after) if after.isdecimal() else None)


def _transcript(answer: httpx.Response, path: str) -> Transcript:
    try:
        fields = answer.json()
        words = tuple(Word(**word) for word in fields["words"])
        nbest = tuple(Alternative(**one) for one in fields.get("nbest") or ())
        rest = {"duration": fields["duration"], "language": fields.get("language"), "file": path}
        return Transcript(fields["text"], words, nbest=nbest, **rest)
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError("what was answered is no transcript of `asr serve`") from error


def _reason(error: httpx.TransportError) -> str:
    """``All connection attempts failed``, or what kind of error it is."""
    return str(error) or type(error).__name__
