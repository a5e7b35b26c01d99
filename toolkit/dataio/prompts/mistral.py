"""The prompt format of Mistral 7B Instruct."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import EOS_SLOT, Modality, PromptFormatter


class MistralPromptFormatter(PromptFormatter):
    """``<s>[INST] question [/INST]answer</s>[INST] ...``: unlike Llama 2's, one BOS for the whole dialog."""

    NAME = "mistral"
    OUTPUT_ROLE = "assistant"
    INSERT_BOS = True
    TEMPLATE: ClassVar = {
        "system_and_user": {
            "template": "[INST] |system|\n\n|message| [/INST]",
            "slots": {"system": Modality.Text, "message": Modality.Text},
        },
        "user": {"template": "[INST] |message| [/INST]", "slots": {"message": Modality.Text}},
        "assistant": {"template": f"|message|{EOS_SLOT}", "slots": {"message": Modality.Text}},
    }
