r"""Prompt formats: how the turns of a dialog become the token ids that a language model was trained to expect.

A format is a class that declares a template for each role; it is known by its ``NAME`` from then on::

    class ParrotPromptFormatter(PromptFormatter):
        NAME = "parrot"
        OUTPUT_ROLE = "assistant"
        TEMPLATE = {
            "user": {"template": "|bos|Say: |message|\n", "slots": {"message": Modality.Text}},
            "assistant": {"template": "|message||eos|", "slots": {"message": Modality.Text}},
        }

    PromptFormatter.resolve("parrot")(tokenizer).encode_dialog(
        [{"role": "user", "slots": {"message": "hi"}}, {"role": "assistant", "slots": {"message": "hi"}}]
    )

``|bos|`` and ``|eos|`` stand for the tokenizer's own tokens. The names are those of NeMo's prompt formats.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from toolkit.dataio.tokenize import TokenizerWrapper
from toolkit.errors import ConfigError, DataError, did_you_mean

BOS_SLOT = "|bos|"
EOS_SLOT = "|eos|"


class Text:
    """Any text."""

    @staticmethod
    def matches(value: Any) -> bool:
        """Whether a slot takes the value."""
        return isinstance(value, str)

    def __repr__(self) -> str:
        return "a text"


class TextLiteral(Text):
    """One of a few texts."""

    def __init__(self, *items: str) -> None:
        self.allowed = items

    def matches(self, value: Any) -> bool:
        """Whether a slot takes the value."""
        return value in self.allowed

    def __repr__(self) -> str:
        return " or ".join(map(repr, self.allowed))


class Modality:
    """What the slots of a template may hold."""

    Text = Text()
    TextLiteral = TextLiteral


class PromptFormatter:
    """Dialogs as token ids, by the templates that a subclass declares.

    Attributes
    ----------
    NAME
        What :meth:`resolve` finds the format by; a subclass without a name of its own is not registered.
    TEMPLATE
        By role, its ``template`` with ``|slot|`` where texts go, and what its ``slots`` may hold.
    OUTPUT_ROLE
        Whose turns the model learns to say.
    INSERT_BOS, INSERT_EOS
        Begin a dialog with the tokenizer's BOS; end it with its EOS when the last turn is the model's.
    INFERENCE_PREFIX
        How every template of the output role begins, and what a prompt without an answer ends with: the model is told
        it, and never learns to say it.
    PROMPT_LANGUAGE_SLOT
        The slot that every role may have besides its own, for a tokenizer of several languages: which one it speaks.
    """

    NAME: ClassVar[str] = ""
    TEMPLATE: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    OUTPUT_ROLE: ClassVar[str] = "assistant"
    INSERT_BOS: ClassVar[bool] = False
    INSERT_EOS: ClassVar[bool] = False
    INFERENCE_PREFIX: ClassVar[str] = ""
    PROMPT_LANGUAGE_SLOT: ClassVar[str] = "prompt_language"

    _registered: ClassVar[dict[str, type[PromptFormatter]]] = {}

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self._tokenize = TokenizerWrapper(tokenizer)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_templates(cls)
        if "NAME" in cls.__dict__:
            other = cls._registered.get(cls.NAME, cls)
            if other.__qualname__ != cls.__qualname__:  # the same class again: its notebook cell was run twice
                raise ConfigError(f"prompt format {cls.NAME!r} of {cls.__name__}: {other.__name__} has that name")
            cls._registered[cls.NAME] = cls

    @classmethod
    def resolve(cls, name: str) -> type[PromptFormatter]:
        """The format of that name.

        Raises
        ------
        ConfigError
            There is none; names those that exist.
        """
        package = importlib.import_module(__package__)
        for module in pkgutil.iter_modules(package.__path__, f"{__package__}."):
            importlib.import_module(module.name)  # which registers its formats
        if name not in cls._registered:
            known = ", ".join(sorted(cls._registered))
            hint = did_you_mean(str(name), cls._registered)
            raise ConfigError(f"prompt_format {name!r}: no such prompt format{hint}; known: {known}")
        return cls._registered[name]

    @classmethod
    def get_roles(cls) -> list[str]:
        """The roles that a turn may have."""
        return list(cls.TEMPLATE)

    @classmethod
    def get_template(cls, role: str) -> str:
        """The template of a role."""
        return cls.TEMPLATE[role]["template"]

    @classmethod
    def get_slots(cls, role: str) -> dict[str, Any]:
        """What each slot of a role's template may hold."""
        return dict(cls.TEMPLATE[role].get("slots", {}))

    def encode_dialog(self, turns: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Token ids of a dialog.

        Parameters
        ----------
        turns
            ``{"role": "user", "slots": {"message": "..."}}`` in their order.

        Returns
        -------
        dict
            ``input_ids`` (T,) of all; ``context_ids``, what stands before the answer; and, when the last turn is of the
            output role, ``answer_ids``, its ids, and ``mask`` (T,), true where the output role speaks. The first is the
            two next ones together.

        Raises
        ------
        DataError
            There is no turn, a role is unknown, or a slot is missing or holds something else than a text.
        """
        if not turns:
            raise DataError(f"prompt format {self.NAME!r}: a dialog of no turns has nothing to encode")
        answered = turns[-1]["role"] == self.OUTPUT_ROLE
        pieces = [([self.tokenizer.bos_id], False)] if self.INSERT_BOS else []
        for turn in turns:
            pieces += self._encode_role(turn)
        if not answered:
            if self.INFERENCE_PREFIX:
                pieces.append((self.encode_turn(self.INFERENCE_PREFIX, {}, {}), False))
            ids = _joined(pieces)
            return {"input_ids": ids, "context_ids": ids}
        if self.INSERT_EOS:
            pieces[-1] = ([*pieces[-1][0], self.tokenizer.eos_id], True)
        return _split_answer(pieces)

    def encode_turn(
        self, prompt_template: str, expected_slots: Mapping[str, Any], slot_values: Mapping[str, Any]
    ) -> list[int]:
        """Token ids of one template filled with texts: what a format overrides to change the values of its slots."""
        language = slot_values.get(self.PROMPT_LANGUAGE_SLOT)
        ids = []
        # bos and eos are looked up when asked for: a tokenizer without them serves formats without them.
        for part in re.split(r"(\|[be]os\|)", prompt_template):
            if part == BOS_SLOT:
                ids.append(self.tokenizer.bos_id)
            elif part == EOS_SLOT:
                ids.append(self.tokenizer.eos_id)
            elif part:
                ids += self._tokenize(_fill(part, expected_slots, slot_values), language)
        return ids

    def _encode_role(self, turn: Mapping[str, Any]) -> list[tuple[list[int], bool]]:
        """The ids of one turn, in pieces with whether the model learns to say them."""
        role, values = turn["role"], turn.get("slots") or {}
        if role not in self.TEMPLATE:
            hint = did_you_mean(str(role), self.TEMPLATE)
            known = ", ".join(self.TEMPLATE)
            raise DataError(f"prompt format {self.NAME!r}: no role {role!r}{hint}; its roles: {known}")
        template, slots = self.get_template(role), self.get_slots(role)
        self._check_slots(role, slots, values)
        if role != self.OUTPUT_ROLE:
            return [(self.encode_turn(template, slots, values), False)]
        answer = (self.encode_turn(template.removeprefix(self.INFERENCE_PREFIX), slots, values), True)
        if not self.INFERENCE_PREFIX:
            return [answer]
        return [(self.encode_turn(self.INFERENCE_PREFIX, {}, {}), False), answer]

    def _check_slots(self, role: str, slots: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        where = f"prompt format {self.NAME!r}, role {role!r}"
        for slot, kind in slots.items():
            if values.get(slot) is None:
                raise DataError(f"{where}: slot {slot!r} is missing; the turn has {', '.join(values) or 'none'}")
            if not kind.matches(values[slot]):
                raise DataError(f"{where}: slot {slot!r} is {values[slot]!r}; expected {kind}")
        if unknown := sorted(set(values) - set(slots) - {self.PROMPT_LANGUAGE_SLOT}):
            raise DataError(f"{where}: no slot {unknown[0]!r}{did_you_mean(unknown[0], slots)}; has {', '.join(slots)}")


def _fill(template: str, slots: Iterable[str], values: Mapping[str, str]) -> str:
    """The template with its slots filled, in one pass: a text that holds ``|slot|`` itself is left alone."""
    names = "|".join(map(re.escape, slots))
    return re.sub(rf"\|({names})\|", lambda match: values[match[1]], template) if names else template


def _joined(pieces: list[tuple[list[int], bool]]) -> Tensor:
    """The ids of all pieces; by way of NumPy, as torch takes a list number by number."""
    return torch.from_numpy(np.array([token for tokens, _ in pieces for token in tokens], np.int64))


def _split_answer(pieces: list[tuple[list[int], bool]]) -> dict[str, Tensor]:
    """Ids and mask of all pieces, parted before the last one, the answer."""
    ids = _joined(pieces)
    start = len(ids) - len(pieces[-1][0])
    mask = np.repeat([learned for _, learned in pieces], [len(tokens) for tokens, _ in pieces])
    answer = {"answer_ids": ids[start:], "mask": torch.from_numpy(mask)}
    return {"input_ids": ids, "context_ids": ids[:start], **answer}


def _check_templates(cls: type[PromptFormatter]) -> None:
    """What a subclass declares fits together."""
    where = f"prompt format {cls.__name__}"
    if cls.OUTPUT_ROLE not in cls.TEMPLATE:
        raise ConfigError(f"{where}: TEMPLATE has no role {cls.OUTPUT_ROLE!r}, its OUTPUT_ROLE")
    if not cls.get_template(cls.OUTPUT_ROLE).startswith(cls.INFERENCE_PREFIX):
        raise ConfigError(f"{where}: the template of {cls.OUTPUT_ROLE!r} does not begin with INFERENCE_PREFIX")
    for role in cls.TEMPLATE:
        for slot in cls.get_slots(role):
            if f"|{slot}|" not in cls.get_template(role):
                raise ConfigError(f"{where}: the template of {role!r} has no |{slot}|, which its slots declare")
