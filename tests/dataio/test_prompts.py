"""Prompt formats give the texts that the models' makers published, and say what does not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from lhotse import CutSet, MonoCut, SupervisionSegment
from lhotse.testing.dummies import dummy_cut

from toolkit.dataio.cutset import cut_to_conversation
from toolkit.dataio.prompt_fn import (
    Message,
    apply_prompt_format_fn,
    encode_messages,
    registered_prompt_format_fn,
    tokenize_with_prompt,
)
from toolkit.dataio.prompts.formatter import Modality, PromptFormatter
from toolkit.dataio.prompts.llama import Llama2PromptFormatter
from toolkit.dataio.text_adapters import (
    AudioTurn,
    Formattable,
    NeMoMultimodalConversation,
    NeMoSFTExample,
    SourceTargetTextExample,
    TextExample,
    TextTurn,
)
from toolkit.errors import ConfigError, DataError


class Spelling:
    """A token for every character; with ``prefix`` every text begins with a space, as SentencePiece has it."""

    unk_id = 0

    def __init__(
        self, bos: str = "<s>", eos: str = "</s>", *, prefix: bool = False, tags: tuple[str, ...] = ()
    ) -> None:
        self.bos_id, self.eos_id = 0x110000, 0x110001
        self.tags = {tag: 0x110002 + number for number, tag in enumerate(tags)}
        self._names = {self.bos_id: bos, self.eos_id: eos, **{number: tag for tag, number in self.tags.items()}}
        self._prefix = " " if prefix else ""

    def text_to_ids(self, text: str) -> list[int]:
        parts = re.split(f"({'|'.join(map(re.escape, self.tags))})", text) if self.tags else [text]
        spelled = ([self.tags[part]] if part in self.tags else list(map(ord, part)) for part in [self._prefix, *parts])
        return [token for part in spelled for token in part]

    def token_to_id(self, token: str) -> int:
        return self.tags.get(token, self.unk_id)

    def text(self, ids: torch.Tensor) -> str:
        return "".join(self._names.get(token) or chr(token) for token in ids.tolist())


SYSTEM, ASK, ANSWER, ASK_MORE = (
    Message("system", "Be kind."),
    Message("user", "Who are you?"),
    Message("assistant", "A friend."),
    Message("user", "Why?"),
)

# As published by the models' makers, the last turn left to the model.
LLAMA3 = """\
<|begin_of_text|><|start_header_id|>system<|end_header_id|>

Be kind.<|eot_id|><|start_header_id|>user<|end_header_id|>

Who are you?<|eot_id|><|start_header_id|>assistant<|end_header_id|>

A friend.<|eot_id|><|start_header_id|>user<|end_header_id|>

Why?<|eot_id|><|start_header_id|>assistant<|end_header_id|>

"""
LLAMA2 = """\
<s>[INST] <<SYS>>
Be kind.
<</SYS>>

Who are you? [/INST] A friend. </s><s>[INST] Why? [/INST]"""
GEMMA = """\
<bos><start_of_turn>user
Be kind.

Who are you?<end_of_turn>
<start_of_turn>model
A friend.<end_of_turn>
<start_of_turn>user
Why?<end_of_turn>
<start_of_turn>model
"""
MISTRAL = "<s>[INST] Be kind.\n\nWho are you? [/INST] A friend.</s>[INST] Why? [/INST]"
QWEN = """\
<|im_start|>system
Be kind.<|im_end|>
<|im_start|>user
Who are you?<|im_end|>
<|im_start|>assistant
A friend.<|im_end|>
<|im_start|>user
Why?<|im_end|>
<|im_start|>assistant
"""
PHI3 = """\
<|system|>
Be kind.<|end|>
<|user|>
Who are you?<|end|>
<|assistant|>
A friend.<|end|>
<|user|>
Why?<|end|>
<|assistant|>
"""
PUBLISHED = {
    "llama3": (LLAMA3, Spelling("<|begin_of_text|>")),
    "gemma": (GEMMA, Spelling("<bos>")),
    "qwen": (QWEN, Spelling()),
    "phi3": (PHI3, Spelling()),
    # SentencePiece begins each text with a space; the published texts have theirs where it is not the first of a text.
    "llama2": (LLAMA2.replace("<s>", "<s> "), Spelling(prefix=True)),
    "mistral": (MISTRAL.replace("<s>", "<s> ").replace("</s>", "</s> "), Spelling(prefix=True)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_dialog_as_published(name: str) -> None:
    published, tokenizer = PUBLISHED[name]
    prompt = PromptFormatter.resolve(name)(tokenizer)
    asked = encode_messages(prompt, [SYSTEM, ASK, ANSWER, ASK_MORE])
    assert tokenizer.text(asked["input_ids"]) == published
    assert list(asked) == ["input_ids", "context_ids"]
    assert torch.equal(asked["context_ids"], asked["input_ids"])
    # With the answer the context is the same: the model is trained on what it is asked later.
    answered = encode_messages(prompt, [SYSTEM, ASK, ANSWER, ASK_MORE, Message("assistant", "Why not?")])
    assert torch.equal(answered["context_ids"], asked["input_ids"])
    assert torch.equal(torch.cat([answered["context_ids"], answered["answer_ids"]]), answered["input_ids"])
    assert "Why not?" in tokenizer.text(answered["answer_ids"])


@pytest.mark.parametrize(
    ("name", "learned"),
    [
        ("llama2", "A friend. </s>So. </s>"),
        ("llama3", "A friend.<|eot_id|>So.<|eot_id|>"),
        ("gemma", "A friend.<end_of_turn>\nSo.<end_of_turn>\n"),
        ("mistral", "A friend.</s>So.</s>"),
        ("qwen", "A friend.<|im_end|>\nSo.<|im_end|>\n"),
        ("phi2_qa", " A friend.</s> So.</s>"),
        ("phi3", "A friend.<|end|>\nSo.<|end|>\n</s>"),
        ("plain", "A friend.So.</s>"),
        ("prefix", "A friend.</s>So.</s>"),
    ],
)
def test_the_mask_is_what_the_model_says_and_how_it_ends(name: str, learned: str) -> None:
    tokenizer = Spelling()
    prompt = PromptFormatter.resolve(name)(tokenizer)
    encoded = encode_messages(prompt, [ASK, ANSWER, ASK_MORE, Message("assistant", "So.")])
    assert encoded["mask"].shape == encoded["input_ids"].shape
    assert encoded["mask"].dtype == torch.bool
    assert tokenizer.text(encoded["input_ids"][encoded["mask"]]) == learned
    assert learned.endswith(tokenizer.text(encoded["answer_ids"]))


def test_an_answer_in_the_format_prefix_is_a_sentence_of_its_own() -> None:
    tokenizer = Spelling()
    encoded = encode_messages(PromptFormatter.resolve("prefix")(tokenizer), [ASK, ANSWER])
    assert tokenizer.text(encoded["input_ids"]) == "Who are you?<s>A friend.</s>"
    assert tokenizer.text(encoded["context_ids"]) == "Who are you?<s>"


def test_phi2_and_plain_as_published() -> None:
    tokenizer = Spelling(eos="<|endoftext|>")
    asked = encode_messages(PromptFormatter.resolve("phi2_qa")(tokenizer), [ASK])
    assert tokenizer.text(asked["input_ids"]) == "Instruct: Who are you?\nOutput:"
    answered = encode_messages(PromptFormatter.resolve("phi2_qa")(tokenizer), [ASK, ANSWER])
    assert tokenizer.text(answered["input_ids"]) == "Instruct: Who are you?\nOutput: A friend.<|endoftext|>"
    plain = encode_messages(PromptFormatter.resolve("plain")(Spelling(prefix=True)), [ASK, ANSWER])
    assert Spelling().text(plain["input_ids"]) == "<s> Who are you? A friend.</s>"


CANARY = "<|startoftranscript|><|en|><|transcribe|><|en|><|pnc|>"


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"source_lang": "en", "target_lang": "en", "task": "asr", "pnc": "yes"}, CANARY),
        ({"source_lang": "<|en|>", "target_lang": "en", "taskname": "transcribe", "pnc": "<|pnc|>"}, CANARY),
        (
            {"source_lang": "de", "target_lang": "en", "task": "ast", "pnc": "no"},
            "<|startoftranscript|><|de|><|translate|><|en|><|nopnc|>",
        ),
    ],
)
def test_canary_as_published(fields: dict[str, str], asked: str) -> None:
    tokenizer = Spelling(eos="<|endoftext|>")
    prompt = PromptFormatter.resolve("canary")(tokenizer)
    cut = spoken("Hallo.", **fields)
    encoded = apply_prompt_format_fn(cut, prompt)
    assert tokenizer.text(encoded["context_ids"]) == asked
    assert tokenizer.text(encoded["answer_ids"]) == "Hallo.<|endoftext|>"


@pytest.mark.parametrize("name", ["plain", "canary"])
def test_an_answer_is_what_is_said_in_its_order_in_time(name: str) -> None:
    tokenizer = Spelling()
    prompt = PromptFormatter.resolve(name)(tokenizer)
    cut = spoken("second", source_lang="en", target_lang="en", task="asr", pnc="yes")
    cut.supervisions[0].start = 0.5
    cut.supervisions.append(SupervisionSegment("first", cut.recording_id, start=0.0, duration=0.5, text="first"))
    assert tokenizer.text(apply_prompt_format_fn(cut, prompt)["answer_ids"]).startswith("first second")
    conversation = cut_to_conversation(cut, audio_locator_tag="[audio]", token_equivalent_duration=0.08)
    assert conversation.turns[-1].value == "first second"


def test_canary_names_what_a_cut_lacks() -> None:
    prompt = PromptFormatter.resolve("canary")(Spelling())
    with pytest.raises(DataError, match="'canary', role 'user': slot 'pnc' is missing"):
        apply_prompt_format_fn(spoken("A", source_lang="en", target_lang="en", task="asr"), prompt)
    with pytest.raises(DataError, match="slot 'task' is 'sing'; expected 'transcribe' or 'asr'"):
        apply_prompt_format_fn(spoken("A", source_lang="en", target_lang="en", task="sing", pnc="no"), prompt)


def spoken(text: str | None, **custom: str) -> MonoCut:
    cut = dummy_cut(0, supervisions=[SupervisionSegment("s", "r", 0.0, 1.0, text=text)])
    cut.custom = dict(custom) or None
    return cut


def test_what_a_cut_asks_and_answers() -> None:
    tokenizer = Spelling()
    prompt = PromptFormatter.resolve("qwen")(tokenizer)
    asked = [
        ({"context": "A?", "question": "B?", "default_context": "C?"}, "A?"),
        ({"question": "B?", "default_context": "C?"}, "B?"),
        ({"default_context": "C?"}, "C?"),
        ({}, ""),
    ]
    for custom, expected in asked:
        context = tokenizer.text(apply_prompt_format_fn(spoken("D", **custom), prompt)["context_ids"])
        assert context == f"<|im_start|>user\n{expected}<|im_end|>\n<|im_start|>assistant\n"
    context = tokenizer.text(apply_prompt_format_fn(spoken("D", system_prompt="E"), prompt)["context_ids"])
    assert context.startswith("<|im_start|>system\nE<|im_end|>\n")
    assert "answer_ids" not in apply_prompt_format_fn(spoken(None), prompt)
    noisy = spoken("D", context="A?").mix(dummy_cut(1), snr=10)
    for cut in (noisy, spoken("D", context="A?")):
        formatted = tokenize_with_prompt(cut, prompt)
        assert tokenizer.text(formatted.answer_ids) == "D<|im_end|>\n"
        assert formatted.mask.sum() == len(formatted.answer_ids)
    formatted.supervisions = []
    assert not tokenize_with_prompt(formatted, prompt).has_custom("answer_ids")


def test_texts_pairs_and_chats() -> None:
    tokenizer = Spelling()
    prompt = PromptFormatter.resolve("llama2")(tokenizer)

    def text_of(example: Formattable) -> str:
        return tokenizer.text(example.apply_prompt_format(prompt).input_ids)

    assert text_of(TextExample("A")) == "A </s>"
    pair = SourceTargetTextExample(TextExample("A"), TextExample("B"), TextExample("In Spanish:"))
    assert text_of(pair) == "<s>[INST] In Spanish: A [/INST]B </s>"
    turns = [{"from": "User", "value": "A"}, {"from": "Assistant", "value": "B"}]
    chat = {"system": "S", "conversations": turns, "mask": "User"}
    assert text_of(NeMoSFTExample(chat)) == "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nA [/INST]B </s>"
    assert text_of(NeMoSFTExample({**chat, "system": ""})) == "<s>[INST] A [/INST]B </s>"


def test_formatting_again_leaves_nothing_of_the_first_time() -> None:
    chat = NeMoMultimodalConversation("c", [TextTurn("A", "user"), TextTurn("B", "assistant")])
    prompt = PromptFormatter.resolve("plain")(Spelling())
    assert chat.apply_prompt_format(prompt).output_length == 2
    chat.turns.pop()
    chat.apply_prompt_format(prompt)
    assert not chat.has_answer
    assert (chat.input_length, chat.output_length, chat.total_length) == (2, 0, 2)


def test_a_copy_keeps_its_ids_and_gives_away_none() -> None:
    prompt = PromptFormatter.resolve("plain")(Spelling())
    chat = NeMoMultimodalConversation("c", [TextTurn("A", "user"), TextTurn("B", "assistant")], custom={"kept": 1})
    first, second = CutSet([chat.apply_prompt_format(prompt)]).repeat(2)
    assert first.total_length == second.total_length == chat.total_length
    first.input_ids = torch.zeros(9)
    assert (first.total_length, second.total_length) == (9, 4)
    assert second.kept == 1


def audio(seconds: float, role: str, tag: str = "[audio]") -> AudioTurn:
    return AudioTurn(dummy_cut(0, duration=seconds), role, tag)


@pytest.mark.parametrize(
    ("answer", "tokens"),
    # The answer is all that the assistant says last, in whatever order it writes and speaks: 0.56 s are 7 tokens.
    [([("say", 0.56), ("write", "B")], 7 + 3), ([("write", "B"), ("say", 0.56)], 3 + 7), ([("say", 0.57)], 8 + 1)],
)
def test_audio_of_the_answer_counts_there(answer: list, tokens: int) -> None:
    turns = [audio(one[1], "assistant") if one[0] == "say" else TextTurn(one[1], "assistant") for one in answer]
    chat = NeMoMultimodalConversation("c", [audio(0.8, "user"), *turns], token_equivalent_duration=0.08)
    chat.apply_prompt_format(PromptFormatter.resolve("plain")(Spelling(tags=("[audio]",))))
    assert chat.output_length == tokens
    assert chat.input_length == 1 + 10
    assert chat.total_length == chat.input_length + chat.output_length


def test_audio_has_no_length_before_somebody_says_what_a_token_is_worth() -> None:
    chat = NeMoMultimodalConversation("c", [audio(0.8, "user"), TextTurn("B", "assistant")])
    chat.apply_prompt_format(PromptFormatter.resolve("plain")(Spelling(tags=("[audio]",))))
    with pytest.raises(DataError, match="token_equivalent_duration is not set"):
        _ = chat.input_length
    with pytest.raises(DataError, match=r"TextExample has no context_ids.*set prompt_format"):
        _ = TextExample("A").input_length


def test_a_locator_tag_is_one_token_of_its_own() -> None:
    chat = NeMoMultimodalConversation("c", [audio(0.8, "user"), TextTurn("B", "assistant")])
    with pytest.raises(DataError, match=r"audio_locator_tag '\[audio\]': the tokenizer makes 7 tokens of it \(91, 97"):
        chat.apply_prompt_format(PromptFormatter.resolve("plain")(Spelling()))
    chat.turns.append(TextTurn("an [audio] tag", "assistant"))
    with pytest.raises(DataError, match=r"'c': 1 turns of audio, but 2 tokens '\[audio\]'"):
        chat.apply_prompt_format(PromptFormatter.resolve("plain")(Spelling(tags=("[audio]",))))


@dataclass
class Special(TextExample):
    pass


class ShoutingLlama2(Llama2PromptFormatter):
    """Has no name of its own, and so takes none away."""


def test_the_most_specific_function_formats() -> None:
    tokenizer = Spelling()
    llama2, plain = PromptFormatter.resolve("llama2")(tokenizer), PromptFormatter.resolve("plain")(tokenizer)
    shouting = ShoutingLlama2(tokenizer)
    assert PromptFormatter.resolve("llama2") is Llama2PromptFormatter
    general = apply_prompt_format_fn(TextExample("A"), plain)["input_ids"]
    assert torch.equal(apply_prompt_format_fn(Special("A"), plain)["input_ids"], general)
    registered_prompt_format_fn(Special)(lambda *_: "special")
    assert apply_prompt_format_fn(Special("A"), plain) == "special"
    registered_prompt_format_fn(Special, Llama2PromptFormatter)(lambda *_: "special llama2")
    assert apply_prompt_format_fn(Special("A"), plain) == "special"
    assert apply_prompt_format_fn(Special("A"), llama2) == "special llama2"
    assert apply_prompt_format_fn(Special("A"), shouting) == "special llama2"
    # The example's own class counts before the format's.
    registered_prompt_format_fn(TextExample, ShoutingLlama2)(lambda *_: "any text shouted")
    assert apply_prompt_format_fn(TextExample("A"), shouting) == "any text shouted"
    assert apply_prompt_format_fn(Special("A"), shouting) == "special llama2"
    with pytest.raises(DataError, match=r"int cannot be put into prompt format 'plain'.*TextExample"):
        apply_prompt_format_fn(3, plain)


def test_an_unknown_format_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ConfigError, match=r"'lama2': no such prompt format \(did you mean 'llama2'\?\); known: canary,"
    ):
        PromptFormatter.resolve("lama2")


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "a dialog of no turns"),
        (
            [{"role": "usr", "slots": {"message": "A"}}],
            r"no role 'usr' \(did you mean 'user'\?\); its roles: ",
        ),
        ([{"role": "user"}], "slot 'message' is missing; the turn has none"),
        ([{"role": "system_and_user", "slots": {"message": "A"}}], "slot 'system' is missing; the turn has message"),
        ([{"role": "user", "slots": {"message": 3}}], "slot 'message' is 3; expected a text"),
        ([{"role": "user", "slots": {"message": "A", "system": "B"}}], "no slot 'system'"),
    ],
)
def test_turns_that_do_not_fit(turns: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        PromptFormatter.resolve("llama2")(Spelling()).encode_dialog(turns)


def test_a_system_prompt_without_a_place() -> None:
    with pytest.raises(DataError, match="'plain': no role 'system'; its roles: user, assistant"):
        encode_messages(PromptFormatter.resolve("plain")(Spelling()), [SYSTEM, ASK])


def test_texts_that_look_like_slots_are_texts() -> None:
    tokenizer = Spelling()
    prompt = PromptFormatter.resolve("llama2")(tokenizer)
    slots = {"system": "|message| |eos|", "message": "|system||bos|"}
    encoded = prompt.encode_dialog([{"role": "system_and_user", "slots": slots}])
    assert tokenizer.text(encoded["input_ids"]) == (
        "<s>[INST] <<SYS>>\n|message| |eos|\n<</SYS>>\n\n|system||bos| [/INST]"
    )


def test_formats_that_contradict_themselves() -> None:
    text = {"message": Modality.Text}
    with pytest.raises(ConfigError, match="TEMPLATE has no role 'assistant'"):
        type("Lacking", (PromptFormatter,), {"TEMPLATE": {"user": {"template": "|message|", "slots": text}}})
    with pytest.raises(ConfigError, match=r"'assistant' has no \|message\|"):
        type("Slotless", (PromptFormatter,), {"TEMPLATE": {"assistant": {"template": "", "slots": text}}})
    fields = {"NAME": "llama2", "TEMPLATE": {"assistant": {"template": "|message|", "slots": text}}}
    with pytest.raises(ConfigError, match="'llama2' of Second: Llama2PromptFormatter has that name"):
        type("Second", (PromptFormatter,), fields)
    with pytest.raises(ConfigError, match="does not begin with INFERENCE_PREFIX"):
        type("Unled", (PromptFormatter,), {**fields, "NAME": "unled", "INFERENCE_PREFIX": "Bot:"})


def test_a_format_of_ones_own() -> None:
    class ParrotPromptFormatter(PromptFormatter):
        NAME = "parrot"
        TEMPLATE: ClassVar = {
            "user": {"template": "|bos|Say: |message|\n", "slots": {"message": Modality.Text}},
            "assistant": {"template": "|message||eos|", "slots": {"message": Modality.TextLiteral("hi", "ho")}},
        }

    tokenizer = Spelling()
    prompt = PromptFormatter.resolve("parrot")(tokenizer)
    assert tokenizer.text(encode_messages(prompt, [ASK, Message("assistant", "hi")])["input_ids"]) == (
        "<s>Say: Who are you?\nhi</s>"
    )
    with pytest.raises(DataError, match=r"slot 'message' is 'A friend.'; expected 'hi' or 'ho'"):
        encode_messages(prompt, [ASK, ANSWER])
