"""The prompt formats of Phi 2 and Phi 3."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import EOS_SLOT, Modality, PromptFormatter


class Phi2QAPromptFormatter(PromptFormatter):
    r"""``Instruct: question\nOutput: answer<|endoftext|>``."""

    NAME = "phi2_qa"
    OUTPUT_ROLE = "assistant"
    INFERENCE_PREFIX = "Output:"
    TEMPLATE: ClassVar = {
        "user": {"template": "Instruct: |message|\n", "slots": {"message": Modality.Text}},
        "assistant": {"template": f"Output: |message|{EOS_SLOT}", "slots": {"message": Modality.Text}},
    }


class Phi3PromptFormatter(PromptFormatter):
    r"""``<|user|>\nquestion<|end|>\n<|assistant|>\nanswer<|end|>\n<|endoftext|>``."""

    NAME = "phi3"
    OUTPUT_ROLE = "assistant"
    INSERT_EOS = True
    INFERENCE_PREFIX = "<|assistant|>\n"
    TEMPLATE: ClassVar = {
        role: {"template": f"<|{role}|>\n|message|<|end|>\n", "slots": {"message": Modality.Text}}
        for role in ("system", "user", "assistant")
    }
