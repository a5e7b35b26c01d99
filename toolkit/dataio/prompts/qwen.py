"""The prompt format of Qwen, which is ChatML."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import Modality, PromptFormatter


class QwenPromptFormatter(PromptFormatter):
    r"""``<|im_start|>user\nquestion<|im_end|>\n``, and so for each role.

    Of dialogs without one Qwen 2 and 2.5 have a system prompt of their own, Qwen 3 has none, nor has this format.
    """

    NAME = "qwen"
    OUTPUT_ROLE = "assistant"
    INFERENCE_PREFIX = "<|im_start|>assistant\n"
    TEMPLATE: ClassVar = {
        role: {"template": f"<|im_start|>{role}\n|message|<|im_end|>\n", "slots": {"message": Modality.Text}}
        for role in ("system", "user", "assistant")
    }
