"""How a route has the engine hear a file: counted, logged, and given up when the client goes away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from toolkit.inference.transcript import Transcript
from toolkit.serving.jobs import Job, joined

logger = logging.getLogger(__name__)
T = TypeVar("T")


async def transcript_of(request: Request, job: Job) -> Transcript:
    """The whole transcript. Raises ServiceError, and ClientDisconnect when nobody is there to read it."""
    return await while_connected(request, _whole(request, job))


async def while_connected(request: Request, answer: Awaitable[T]) -> T:
    """What is awaited; given up, and ClientDisconnect raised, when the client goes away."""
    work, gone = asyncio.ensure_future(answer), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _whole(request: Request, job: Job) -> Transcript:
    async with contextlib.aclosing(parts_of(request, job)) as parts:
        return joined([part async for part in parts])


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def parts_of(request: Request, job: Job) -> AsyncIterator[Transcript]:
    """The transcript part by part, as `Engine.transcribe` yields it."""
    state, start, heard = request.app.state, time.perf_counter(), []
    async with contextlib.aclosing(state.engine.transcribe(job)) as parts:
        async for part in parts:
            heard.append(part)
            yield part
    transcript, seconds = joined(heard), time.perf_counter() - start
    state.metrics.transcribed(transcript.duration, seconds)
    fields = {
        "model": job.model or state.engine.models[0].name,
        "audio_s": round(transcript.duration, 3),
        "seconds": round(seconds, 4),
    }
    if state.settings.log_content:
        fields |= {"file": job.name, "text": transcript.text}
    logger.info("transcribed", extra={"fields": fields})
