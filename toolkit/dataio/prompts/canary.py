"""The prompt format of Canary, a recogniser and translator that is told what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lhotse.cut import Cut
from torch import Tensor

from toolkit.dataio.prompt_fn import registered_prompt_format_fn
from toolkit.dataio.prompts.formatter import EOS_SLOT, Modality, PromptFormatter
from toolkit.dataio.utterances import transcript

# The language of the aggregate tokenizer's part that knows the special marks.
CANARY_SPECIAL_TOKENIZER = "spl_tokens"

TASKS = {
    **dict.fromkeys(("transcribe", "asr", "<|transcribe|>"), "<|transcribe|>"),
    **dict.fromkeys(("translate", "ast", "s2t_translation", "<|translate|>"), "<|translate|>"),
}
# Punctuation and capitals.
PNC = {
    **dict.fromkeys(("yes", "pnc", "true", "True", "1", "<|pnc|>"), "<|pnc|>"),
    **dict.fromkeys(("no", "nopnc", "false", "False", "0", "<|nopnc|>"), "<|nopnc|>"),
}


class CanaryPromptFormatter(PromptFormatter):
    """``<|startoftranscript|><|en|><|transcribe|><|en|><|pnc|>text<|endoftext|>``.

    Languages may be written ``en`` or ``<|en|>``, tasks and ``pnc`` as :data:`TASKS` and :data:`PNC` have them.
    """

    NAME = "canary"
    OUTPUT_ROLE = "assistant"
    TEMPLATE: ClassVar = {
        "user": {
            "template": "<|startoftranscript|>|source_lang||task||target_lang||pnc|",
            "slots": {
                "source_lang": Modality.Text,
                "task": Modality.TextLiteral(*TASKS),
                "target_lang": Modality.Text,
                "pnc": Modality.TextLiteral(*PNC),
            },
        },
        "assistant": {"template": f"|text|{EOS_SLOT}", "slots": {"text": Modality.Text}},
    }

    def encode_turn(
        self, prompt_template: str, expected_slots: Mapping[str, Any], slot_values: Mapping[str, Any]
    ) -> list[int]:
        """Token ids of a turn, each value of the user's as its mark; marks are of the aggregate's special part."""
        if "task" not in expected_slots:
            return super().encode_turn(prompt_template, expected_slots, slot_values)
        marks = {slot: f"<|{slot_values[slot].strip('<|>')}|>" for slot in ("source_lang", "target_lang")}
        marks |= {"task": TASKS[slot_values["task"]], "pnc": PNC[slot_values["pnc"]]}
        language = slot_values.get(self.PROMPT_LANGUAGE_SLOT, CANARY_SPECIAL_TOKENIZER)
        return super().encode_turn(
            prompt_template, expected_slots, {**slot_values, **marks, self.PROMPT_LANGUAGE_SLOT: language}
        )


@registered_prompt_format_fn(Cut, CanaryPromptFormatter)
def format_cut_for_canary(cut: Cut, prompt: CanaryPromptFormatter) -> dict[str, Tensor]:
    """The cut's ``source_lang``, ``target_lang``, ``task`` (or ``taskname``) and ``pnc`` ask, its text answers."""
    custom = {"task": cut.taskname, **cut.custom} if cut.has_custom("taskname") else cut.custom or {}
    slots = {slot: custom[slot] for slot in prompt.get_slots("user") if slot in custom}
    turns = [{"role": "user", "slots": slots}]
    if any(supervision.text is not None for supervision in cut.supervisions):
        language = cut.supervisions[0].language or custom.get("target_lang")
        turns.append(
            {"role": prompt.OUTPUT_ROLE, "slots": {"text": transcript(cut), prompt.PROMPT_LANGUAGE_SLOT: language}}
        )
    return prompt.encode_dialog(turns)
