"""``asr serve`` with an engine that needs no models, as a process: seconds a part, then the options of the command."""

from __future__ import annotations

import asyncio
import sys
import types
from pathlib import Path

from fake_engine import FakeEngine

from toolkit.cli.main import main
from toolkit.errors import ModelError
from toolkit.serving.jobs import Limits


class Engine(FakeEngine):
    def __init__(self, models: dict[str, str], limits: Limits, folder: Path) -> None:  # noqa: ARG002
        super().__init__(limits, part_seconds=float(sys.argv[1]))
        self.folders = models

    async def start(self) -> None:
        for folder in self.folders.values():
            if folder == "nowhere":
                raise ModelError("nowhere: is no folder of a model")
            if folder == "endless":
                print("loading", flush=True)
                await asyncio.Event().wait()
        await super().start()


engine = types.ModuleType("toolkit.serving.engine")
engine.ServiceEngine = Engine
sys.modules[engine.__name__] = engine
sys.exit(main(["serve", *sys.argv[2:]]))
