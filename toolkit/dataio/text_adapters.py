"""Examples of text, pairs of texts and conversations of text and audio, beside Lhotse's cuts.

Each class comes with the function that puts it into any prompt format; see :mod:`toolkit.dataio.prompt_fn`. Their
readers are in :mod:`toolkit.dataio.text_readers`. The names are NeMo's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol

import lhotse.custom
import numpy as np
from lhotse.cut import Cut
from torch import Tensor

from toolkit.dataio.prompt_fn import Message, encode_messages, registered_prompt_format_fn, tokenize_with_prompt
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.errors import DataError

# (text, language) -> token ids
Tokenize = Callable[[str, str | None], Sequence[int]]


class CustomFieldMixin(lhotse.custom.CustomFieldMixin):
    """Lhotse's: any attribute can be set, and is kept in ``custom``; ``None`` removes it.

    It also serves data classes that declare no field ``custom``, and a copy never changes what it was copied from.
    """

    custom = None

    def __setattr__(self, key: str, value: Any) -> None:
        if key == "custom" or key in self.__dataclass_fields__:
            object.__setattr__(self, key, value)
            return
        others = {name: kept for name, kept in (self.custom or {}).items() if name != key}
        self.custom = others if value is None else {**others, key: value}


class Formattable:
    """What a prompt format turns into token ids, whose numbers are the lengths that samplers measure."""

    def apply_prompt_format(self, prompt: PromptFormatter) -> Formattable:
        """The example itself, with its ``input_ids`` and the others of :func:`apply_prompt_format_fn`."""
        return tokenize_with_prompt(self, prompt)

    @property
    def has_answer(self) -> bool:
        """Whether the formatted example ends with a turn that the model learns to say."""
        return getattr(self, "answer_ids", None) is not None

    @property
    def input_length(self) -> int:
        """Tokens before the answer."""
        return len(_ids(self, "context_ids"))

    @property
    def output_length(self) -> int:
        """Tokens of the answer; 0 where there is none."""
        return len(self.answer_ids) if self.has_answer else 0

    @property
    def total_length(self) -> int:
        """Tokens of all."""
        return len(_ids(self, "input_ids"))


def _ids(example: Formattable, name: str) -> Tensor:
    ids = getattr(example, name, None)
    if ids is None:
        raise DataError(
            f"{type(example).__name__} has no {name}, and so no length: it was not put into a prompt format; "
            "set prompt_format, and give the loader a tokenizer"
        )
    return ids


@dataclass
class TextExample(Formattable, CustomFieldMixin):
    """One text, in one language; ``tokens`` are what :meth:`tokenize` made of it."""

    text: str
    language: str | None = None
    tokens: np.ndarray | None = None
    custom: dict[str, Any] | None = None

    def tokenize(self, tokenizer: Tokenize) -> TextExample:
        """The example itself, with its tokens."""
        self.tokens = np.asarray(tokenizer(self.text, self.language))
        return self


@registered_prompt_format_fn(TextExample)
def format_text(example: TextExample, prompt: PromptFormatter) -> dict[str, Tensor]:
    """The whole text is the model's to learn."""
    return encode_messages(prompt, [Message(prompt.OUTPUT_ROLE, example.text, example.language)])


@dataclass
class SourceTargetTextExample(Formattable, CustomFieldMixin):
    """A text and what is to be made of it, such as its translation; the question says what."""

    source: TextExample
    target: TextExample
    question: TextExample | None = None
    custom: dict[str, Any] | None = None

    def tokenize(self, tokenizer: Tokenize) -> SourceTargetTextExample:
        """The example itself, each of its texts with its tokens."""
        for text in filter(None, (self.source, self.target, self.question)):
            text.tokenize(tokenizer)
        return self


@registered_prompt_format_fn(SourceTargetTextExample)
def format_pair(example: SourceTargetTextExample, prompt: PromptFormatter) -> dict[str, Tensor]:
    """The question, if there is one, and the source are asked, the target is answered."""
    asked = " ".join(text.text for text in (example.question, example.source) if text is not None)
    answer = Message(prompt.OUTPUT_ROLE, example.target.text, example.target.language)
    return encode_messages(prompt, [Message("user", asked, example.source.language), answer])


@dataclass
class NeMoSFTExample(Formattable, CustomFieldMixin):
    """A chat as NeMo's fine-tuning of language models stores it.

    ``data`` is ``{"conversations": [{"from": "User", "value": "..."}, {"from": "Assistant", "value": "..."}, ...]}``,
    with a text under ``system`` where there is a system prompt.
    """

    data: dict[str, Any]
    language: str | None = None
    metadata: dict[str, Any] | None = None
    custom: dict[str, Any] | None = None


@registered_prompt_format_fn(NeMoSFTExample)
def format_chat(example: NeMoSFTExample, prompt: PromptFormatter) -> dict[str, Tensor]:
    """Every turn of the assistant is the model's to learn."""
    system = example.data.get("system")
    messages = [Message("system", system, example.language)] if system else []
    for turn in example.data["conversations"]:
        messages.append(Message(turn["from"].lower(), turn["value"], example.language))
    return encode_messages(prompt, messages)


@dataclass
class TextTurn:
    """What a role writes."""

    value: str
    role: str

    @property
    def text_in_prompt(self) -> str:
        """What stands for the turn in the prompt."""
        return self.value

    def to_dict(self) -> dict[str, Any]:
        """The turn, as the JSONL of conversations has it."""
        return {"type": "text", "from": self.role.title(), "value": self.value}


@dataclass
class AudioTurn:
    """What a role says aloud; ``audio_locator_tag`` marks its place in the prompt, ``text`` is its transcript."""

    cut: Cut
    role: str
    audio_locator_tag: str
    text: str | None = None

    @property
    def text_in_prompt(self) -> str:
        """What stands for the turn in the prompt."""
        return self.audio_locator_tag

    def to_dict(self) -> dict[str, Any]:
        """The turn, as the JSONL of conversations has it.

        Raises
        ------
        DataError
            The cut is no stretch of a file as it is.
        """
        recording = getattr(self.cut, "recording", None)
        if recording is None or recording.sources[0].type != "file" or recording.transforms:
            raise DataError(f"cut {self.cut.id!r}: its audio is no stretch of a file as it is; save_audio() it first")
        turn = {"type": "audio", "from": self.role.title(), "value": recording.sources[0].source}
        turn |= {"duration": self.cut.duration, "sampling_rate": recording.sampling_rate}
        turn |= {"offset": self.cut.start} if self.cut.start else {}
        return turn | ({"text": self.text} if self.text is not None else {})


class Turn(Protocol):
    """What the turns of a conversation have in common."""

    role: str
    text_in_prompt: str

    def to_dict(self) -> dict[str, Any]:
        """The turn, as the JSONL of conversations has it."""


@dataclass
class NeMoMultimodalConversation(Formattable, CustomFieldMixin):
    """Turns of text and audio; ``token_equivalent_duration`` is how many seconds of audio take the place of a token."""

    id: str
    turns: list[Turn]
    token_equivalent_duration: float | None = None
    custom: dict[str, Any] | None = None

    @property
    def has_audio_turns(self) -> bool:
        """Whether somebody says something aloud."""
        return any(isinstance(turn, AudioTurn) for turn in self.turns)

    @property
    def has_text_turns(self) -> bool:
        """Whether somebody writes something."""
        return any(isinstance(turn, TextTurn) for turn in self.turns)

    def list_cuts(self) -> list[Cut]:
        """The audio, in the order of its turns."""
        return [turn.cut for turn in self.turns if isinstance(turn, AudioTurn)]

    @property
    def input_length(self) -> int:
        """Tokens of text and audio before the answer."""
        return super().input_length + self._extra_audio_tokens(self.turns[: len(self.turns) - self._answer_turns])

    @property
    def output_length(self) -> int:
        """Tokens of text and audio of the answer; 0 where there is none."""
        return super().output_length + self._extra_audio_tokens(self.turns[len(self.turns) - self._answer_turns :])

    @property
    def total_length(self) -> int:
        """Tokens of text and audio of all."""
        return super().total_length + self._extra_audio_tokens(self.turns)

    def to_dict(self) -> dict[str, Any]:
        """The conversation, as a line of a JSONL has it."""
        return {"id": self.id, "conversations": [turn.to_dict() for turn in self.turns]}

    @property
    def _answer_turns(self) -> int:
        """How many turns at the end make the answer."""
        last = self.turns[-1].role
        return sum(1 for _ in takewhile(lambda turn: turn.role == last, reversed(self.turns))) if self.has_answer else 0

    def _extra_audio_tokens(self, turns: Sequence[Turn]) -> int:
        """What audio adds to the number of token ids, in which the locator tag of each turn counts as one."""
        cuts = [turn.cut for turn in turns if isinstance(turn, AudioTurn)]
        return sum(count_audio_tokens(cut.duration, self.token_equivalent_duration) - 1 for cut in cuts)


def count_audio_tokens(duration: float, token_equivalent_duration: float | None) -> int:
    """How many tokens a stretch of audio is worth, both in seconds; a token begun is a token.

    Raises
    ------
    DataError
        It is not said what a token is worth.
    """
    if token_equivalent_duration is None:
        raise DataError(
            "token_equivalent_duration is not set, and audio has no length in tokens without it; it is the frame shift "
            "of the audio encoder's output in seconds, e.g. 0.08"
        )
    # Durations are decimal fractions: 0.56 s are 7 tokens of 0.08 s, though 0.56 / 0.08 > 7.
    return max(1, math.ceil(duration / token_equivalent_duration - 1e-6))


@registered_prompt_format_fn(NeMoMultimodalConversation)
def format_conversation(example: NeMoMultimodalConversation, prompt: PromptFormatter) -> dict[str, Tensor]:
    """Audio is the one token of its locator tag, in whose place the model puts what it hears.

    Raises
    ------
    DataError
        The tokenizer has no token of its own for a locator tag, or a written turn holds one.
    """
    formatted = encode_messages(prompt, (Message(turn.role, turn.text_in_prompt) for turn in example.turns))
    tags = [turn.audio_locator_tag for turn in example.turns if isinstance(turn, AudioTurn)]
    for tag in set(tags):
        found = int((formatted["input_ids"] == _locator_id(prompt, tag)).sum())
        if found != tags.count(tag):
            raise DataError(
                f"conversation {example.id!r}: {tags.count(tag)} turns of audio, but {found} tokens {tag!r} in the "
                "prompt; no written turn may hold the audio_locator_tag"
            )
    return formatted


def _locator_id(prompt: PromptFormatter, tag: str) -> int:
    number = prompt.tokenizer.token_to_id(tag)
    if number is None or number == prompt.tokenizer.unk_id or number not in prompt.tokenizer.text_to_ids(tag):
        ids = prompt.tokenizer.text_to_ids(tag)
        raise DataError(
            f"audio_locator_tag {tag!r}: the tokenizer makes {len(ids)} tokens of it ({', '.join(map(str, ids))}), "
            "expected one of its own; train it with the tag among user_defined_symbols"
        )
    return number
