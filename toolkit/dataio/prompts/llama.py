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
