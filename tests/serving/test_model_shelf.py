"""Who says where somebody speaks, to the models of a process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from toolkit.errors import ConfigError, MissingDependencyError
from toolkit.inference import silero
from toolkit.inference.silero import Silero
from toolkit.inference.speech import Levels
from toolkit.serving.model_shelf import ModelShelf, vad_of_live

MODEL = Path(__file__).parents[2] / "pretrained/an4-small"


@pytest.mark.parametrize(("vad", "of_files", "of_live"), [("auto", Levels, Silero), ("energy", Levels, Levels)])
def test_live_speech_is_found_by_the_detector_and_that_of_files_by_its_level(vad: str, of_files: type, of_live: type):
    pytest.importorskip("silero_vad")
    shelf = ModelShelf({"an4": str(MODEL)}, "cpu", None, vad=vad)
    loaded = shelf.get("an4")
    assert (loaded.transcriber.long_audio.speech, loaded.listener.long_audio.speech) == (of_files, of_live)
    assert loaded.listener.model is loaded.transcriber.model


def test_what_is_not_there_is_done_without_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch):
    assert vad_of_live("auto", 22050) == "energy"
    with pytest.raises(ConfigError, match="22050"):
        vad_of_live("silero", 22050)
    silero._session.cache_clear()
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    assert vad_of_live("auto", 16000) == "energy"
    with pytest.raises(MissingDependencyError, match="asr-recipes\\[vad\\]"):
        vad_of_live("silero", 16000)
