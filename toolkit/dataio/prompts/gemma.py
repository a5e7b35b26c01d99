"""The prompt format of Gemma."""

from __future__ import annotations

from typing import ClassVar

from toolkit.dataio.prompts.formatter import Modality, PromptFormatter


class GemmaPromptFormatter(PromptFormatter):
    r"""``<bos><start_of_turn>user\nquestion<end_of_turn>\n<start_of_turn>model\nanswer<end_of_turn>\n``.

    A system prompt begins the first user turn, as in Gemma 3; Gemma 1 and 2 know none.
    """

    NAME = "gemma"
    OUTPUT_ROLE = "assistant"
    INSERT_BOS = True
    INFERENCE_PREFIX = "<start_of_turn>model\n"
    TEMPLATE: ClassVar = {
        "system_and_user": {
            "template": "<start_of_turn>user\n|system|\n\n|message|<end_of_turn>\n",
            "slots": {"system": Modality.Text, "message": Modality.Text},
        },
        "user": {
            "template": "<start_of_turn>user\n|message|<end_of_turn>\n",
            "slots": {"message": Modality.Text},
        },
        "assistant": {
            "template": "<start_of_turn>model\n|message|<end_of_turn>\n",
            "slots": {"message": Modality.Text},
        },
    }
