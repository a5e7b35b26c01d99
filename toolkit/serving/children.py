"""Processes of the service, and the messages between them and the event loop, which nothing here blocks.

A message is a pickle with its length before it, over a pair of sockets. A child whose socket ends, ends: no child
outlives the service, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import multiprocessing
import pickle
import signal
import socket
import threading
from typing import Any, NamedTuple

IMPORTED = ["toolkit.serving.decoder_process", "toolkit.serving.model_process"]
LENGTH_BYTES = 8
REAPED_S = 5.0  # a process that was killed is gone long before

# Says what was asked for: the words of a request are in no log.
WITH_CONTENT = "toolkit.decoders.hotwords"


class ChildGoneError(Exception):
    """The process has ended."""


class Logged(NamedTuple):
    """A line for the service's log."""

    name: str
    level: int
    message: str


class Child:
    """A process that runs ``main(parent, *arguments)`` of a module, with a `Parent`; made by `begin`."""

    def __init__(self, process: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def begin(cls, module: str, *arguments: Any) -> Child:
        """Start the process, as a copy of one that has imported `IMPORTED`: at once, and in the same memory."""
        beginning = asyncio.create_task(cls._begin(module, arguments))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            child = await beginning
            child.kill()
            await child.exit_code()
            raise

    @classmethod
    async def _begin(cls, module: str, arguments: tuple[Any, ...]) -> Child:
        ours, theirs = socket.socketpair()
        with theirs:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(IMPORTED)
            level = logging.getLogger("toolkit").getEffectiveLevel()
            process = context.Process(target=_run, args=(module, theirs, level, *arguments), daemon=True)
            try:
                await asyncio.to_thread(process.start)
            except BaseException:
                ours.close()
                raise
        return cls(process, *await asyncio.open_connection(sock=ours))

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_alive()

    def send(self, message: Any) -> None:
        """Let it have a message, unless it is gone."""
        if not self._writer.is_closing():
            self._writer.write(_framed(message))

    async def receive(self) -> Any:
        """Its next message.

        Raises
        ------
        ChildGoneError
            There will be none.
        """
        while True:
            try:
                length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
                message = pickle.loads(await self._reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                raise ChildGoneError from None
            if not isinstance(message, Logged):
                return message
            logging.getLogger(message.name).log(message.level, "%s", message.message)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._writer.close()

    async def exit_code(self) -> int | None:
        """What it ended with, a negative signal's number, once it was killed or is gone."""
        await asyncio.to_thread(self._process.join, REAPED_S)
        self._writer.close()
        return self._process.exitcode


class Parent:
    """The event loop's process, as a child sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket, self._file = connection, connection.makefile("rb")
        self._sending = threading.Lock()

    def receive(self) -> Any:
        """The next message; raises EOFError when the service has ended."""
        return pickle.loads(self._read(int.from_bytes(self._read(LENGTH_BYTES), "big")))

    def send(self, message: Any) -> None:
        """Let it have a message."""
        with self._sending:
            self._socket.sendall(_framed(message))

    def _read(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) < count:  # the service was killed, perhaps while it sent this
            raise EOFError
        return found


class ToParent(logging.Handler):
    """Logs where the service does."""

    def __init__(self, parent: Parent) -> None:
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        """Let the service log a record."""
        with contextlib.suppress(OSError):  # it has ended
            self._parent.send(Logged(record.name, record.levelno, self.format(record)))


def _framed(message: Any) -> bytes:
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def _run(module: str, connection: socket.socket, level: int, *arguments: Any) -> None:
    """What a child does; the event loop never imports the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal's ctrl-c, which is for the service
    parent = Parent(connection)
    logging.basicConfig(handlers=[ToParent(parent)], level=level, format="%(message)s", force=True)
    logging.getLogger(WITH_CONTENT).setLevel(logging.ERROR)
    with contextlib.suppress(EOFError, ConnectionError):
        importlib.import_module(module).main(parent, *arguments)
