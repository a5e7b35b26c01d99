"""Texts as they are, between BOS and EOS."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import Modality, PromptFormatter


class PlainPromptFormatter(PromptFormatter):
    """``<s>question answer</s>``."""

    NAME = "plain"
    OUTPUT_ROLE = "assistant"
    INSERT_BOS = True
    INSERT_EOS = True
    TEMPLATE: ClassVar = {
        role: {"template": "|message|", "slots": {"message": Modality.Text}} for role in ("user", "assistant")
    }
