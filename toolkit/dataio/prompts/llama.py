"""The prompt formats of Llama 2 and Llama 3."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import BOS_SLOT, EOS_SLOT, Modality, PromptFormatter


class Llama2PromptFormatter(PromptFormatter):
    """``<s>[INST] question [/INST] answer </s>``; the space before an answer is the one SentencePiece begins with."""

    NAME = "llama2"
    OUTPUT_ROLE = "assistant"
    TEMPLATE: ClassVar = {
        "system_and_user": {
            "template": f"{BOS_SLOT}[INST] <<SYS>>\n|system|\n<</SYS>>\n\n|message| [/INST]",
            "slots": {"system": Modality.Text, "message": Modality.Text},
        },
        "user": {"template": f"{BOS_SLOT}[INST] |message| [/INST]", "slots": {"message": Modality.Text}},
        "assistant": {"template": f"|message| {EOS_SLOT}", "slots": {"message": Modality.Text}},
    }


def _llama3_header(role: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n"


class Llama3PromptFormatter(PromptFormatter):
    r"""``<|start_header_id|>user<|end_header_id|>\n\nquestion<|eot_id|>``, and so for each role, after one BOS."""

    NAME = "llama3"
    OUTPUT_ROLE = "assistant"
    INSERT_BOS = True  # <|begin_of_text|>
    INFERENCE_PREFIX = _llama3_header("assistant")
    TEMPLATE: ClassVar = {
        role: {"template": f"{_llama3_header(role)}|message|<|eot_id|>", "slots": {"message": Modality.Text}}
        for role in ("system", "user", "assistant")
    }
