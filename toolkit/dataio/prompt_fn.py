"""How a data type is put into a prompt format: functions registered by both types.

The most specific function is used: that of the example's own class before those of its parents, and for each of these
that of the prompt format's own class before those of its parents and before the data type's general one::

    @registered_prompt_format_fn(Triplet)
    def triplet(example: Triplet, prompt: PromptFormatter) -> dict[str, Tensor]: ...

    @registered_prompt_format_fn(Triplet, Llama2PromptFormatter)
    def triplet_for_llama2(example: Triplet, prompt: Llama2PromptFormatter) -> dict[str, Tensor]: ...

The general functions of this package's types stand beside their classes, in :mod:`toolkit.dataio.text_adapters`;
that of Lhotse's cuts stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from lhotse.cut import Cut
from torch import Tensor

from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.utterances import transcript
from toolkit.errors import DataError

T = TypeVar("T")
PromptFormatFn = Callable[[Any, PromptFormatter], dict[str, Tensor]]

_FUNCTIONS: dict[tuple[type, type[PromptFormatter]], PromptFormatFn] = {}


def registered_prompt_format_fn(
    example_type: type, formatter_type: type[PromptFormatter] = PromptFormatter
) -> Callable[[PromptFormatFn], PromptFormatFn]:
    """Decorator: the function that formats examples of a type, for one prompt format or for all."""

    def register(function: PromptFormatFn) -> PromptFormatFn:
        _FUNCTIONS[example_type, formatter_type] = function
        return function

    return register


def registered_functions() -> dict[tuple[type, type[PromptFormatter]], PromptFormatFn]:
    """The function of each type of examples and prompt format."""
    return dict(_FUNCTIONS)


def apply_prompt_format_fn(example: Any, prompt: PromptFormatter) -> dict[str, Tensor]:
    """``input_ids``, ``context_ids`` and, of an example with an answer, ``answer_ids`` and the loss ``mask``.

    Raises
    ------
    DataError
        No function is registered for the type of the example, or the example does not fit the prompt format.
    """
    for example_type in type(example).__mro__:
        for formatter_type in type(prompt).__mro__:
            if function := _FUNCTIONS.get((example_type, formatter_type)):
                return function(example, prompt)
    known = ", ".join(sorted({kind.__name__ for kind, _ in _FUNCTIONS}))
    raise DataError(
        f"{type(example).__name__} cannot be put into prompt format {prompt.NAME!r}: no function was registered for it "
        f"with @registered_prompt_format_fn; there are functions for {known}"
    )


def tokenize_with_prompt(example: T, prompt: PromptFormatter) -> T:
    """The example itself, with what :func:`apply_prompt_format_fn` makes of it as its attributes."""
    formatted = apply_prompt_format_fn(example, prompt)
    for name in ("input_ids", "context_ids", "answer_ids", "mask"):
        setattr(example, name, formatted.get(name))
    return example


class Message(NamedTuple):
    """What one role says, and in which language, for tokenizers of several."""

    role: str
    text: str
    language: str | None = None


def encode_messages(prompt: PromptFormatter, messages: Iterable[Message]) -> dict[str, Tensor]:
    """The encoded dialog of texts, for formats whose turns have the one slot ``message``.

    What a role says in one go is one turn, its texts a space apart. A format without a role ``system`` gets it together
    with the first user turn, where it has the role ``system_and_user``.
    """
    turns = []
    for (role, language), group in groupby(messages, key=lambda message: (message.role, message.language)):
        slots = {"message": " ".join(message.text for message in group)}
        turns.append({"role": role, "slots": slots | ({prompt.PROMPT_LANGUAGE_SLOT: language} if language else {})})
    is_led_by_system = [turn["role"] for turn in turns[:2]] == ["system", "user"]
    if is_led_by_system and "system" not in prompt.TEMPLATE and "system_and_user" in prompt.TEMPLATE:
        system, user = turns[:2]
        slots = {**user["slots"], "system": system["slots"]["message"]}
        turns[:2] = [{"role": "system_and_user", "slots": slots}]
    return prompt.encode_dialog(turns)


@registered_prompt_format_fn(Cut)
def format_cut(cut: Cut, prompt: PromptFormatter) -> dict[str, Tensor]:
    """A cut's field ``context`` (else ``question``, else ``default_context``) is asked, its text is the answer."""
    messages = [Message("system", cut.system_prompt)] if cut.has_custom("system_prompt") else []
    contexts = (name for name in ("context", "question", "default_context") if cut.has_custom(name))
    name = next(contexts, None)
    messages.append(Message("user", getattr(cut, name) if name else ""))
    if any(supervision.text is not None for supervision in cut.supervisions):
        messages.append(Message(prompt.OUTPUT_ROLE, transcript(cut)))
    return encode_messages(prompt, messages)
