"""A question, and an answer that begins and ends as a sentence of its own does."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import Modality, PromptFormatter


class PrefixPromptFormatter(PromptFormatter):
    """``question<s>answer</s>``: what a decoder is told before BOS, it is told by a question here."""

    NAME = "prefix"
    OUTPUT_ROLE = "assistant"
    INFERENCE_PREFIX = "|bos|"
    TEMPLATE: ClassVar = {
        "user": {"template": "|message|", "slots": {"message": Modality.Text}},
        "assistant": {"template": "|bos||message||eos|", "slots": {"message": Modality.Text}},
    }
