"""Processes of the service, and the messages between them and the event loop, which nothing here blocks.

A message is a pickle with its length before it, over a pair of sockets. A child whose socket ends, ends: no child
outlives the service, however that ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import pickle
import signal
import socket
from typing import Any

LENGTH_BYTES = 8
REAPED_S = 5.0  # a process that was killed is gone long before


class ChildGoneError(Exception):
    """The process has ended."""


class Child:
    """A process that runs ``main(parent, *arguments)`` of a module, with a `Parent`; made by `begin`."""

    def __init__(self, process: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process, self._reader, self._writer = process, reader, writer

    @classmethod
    async def begin(cls, method: str, module: str, *arguments: Any) -> Child:
        """Start the process: ``spawn``, or ``forkserver``, whose children share what it has imported."""
        ours, theirs = socket.socketpair()
        with theirs:
            context = multiprocessing.get_context(method)
            process = context.Process(target=_run, args=(module, theirs, *arguments), daemon=True)
            await asyncio.to_thread(process.start)
        return cls(process, *await asyncio.open_connection(sock=ours))

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """Let it have a message, unless it is gone."""
        if not self._writer.is_closing():
            self._writer.write(_framed(message))

    async def drained(self) -> None:
        """Returns when it has taken most of what was sent."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def receive(self) -> Any:
        """Its next message.

        Raises
        ------
        ChildGoneError
            There will be none.
        """
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
            return pickle.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ChildGoneError from None

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

    def receive(self) -> Any:
        """The next message; raises EOFError when the service has ended."""
        header = self._file.read(LENGTH_BYTES)
        if len(header) < LENGTH_BYTES:
            raise EOFError
        return pickle.loads(self._file.read(int.from_bytes(header, "big")))

    def send(self, message: Any) -> None:
        """Let it have a message."""
        self._socket.sendall(_framed(message))


def _framed(message: Any) -> bytes:
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


def _run(module: str, connection: socket.socket, *arguments: Any) -> None:
    """What a child does; the event loop never imports the module."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal's ctrl-c, which is for the service
    with contextlib.suppress(EOFError, ConnectionError):
        importlib.import_module(module).main(Parent(connection), *arguments)
