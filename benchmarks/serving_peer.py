"""The peer: a service that has one request at a time, as most do that grew around a model.

    python benchmarks/serving_peer.py MODEL             # prints its address

An upload is written to a temporary file and transcribed within the request, by the same Transcriber; meanwhile no other
request is looked at. As many threads compute as PyTorch takes by itself; OMP_NUM_THREADS says otherwise.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, File, UploadFile

from toolkit.inference.transcriber import Transcriber


def peer_app(transcriber: Transcriber) -> FastAPI:
    """The service around a model."""
    app = FastAPI()

    @app.post("/transcribe")
    async def transcribe(file: Annotated[UploadFile, File()]) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(suffix=Path(file.filename or "").suffix) as audio:
            shutil.copyfileobj(file.file, audio)
            audio.flush()
            (transcript,) = transcriber.transcribe_files([audio.name])
        words = [vars(word) for word in transcript.words]
        return {"text": transcript.text, "words": words, "duration": transcript.duration}

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main(model: str) -> None:
    """Serve until it is stopped."""
    app = peer_app(Transcriber.from_hparams(model))
    with socket.create_server(("127.0.0.1", 0), backlog=256) as address:
        print(f"http://127.0.0.1:{address.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run([address])


if __name__ == "__main__":
    main(sys.argv[1])
