from __future__ import annotations

from pathlib import Path

import pytest
from lhotse import SupervisionSegment
from lhotse.testing.dummies import dummy_cut

from toolkit.aggregate_tokenizer import AggregateTokenizer
from toolkit.dataio.prompt_fn import tokenize_with_prompt
from toolkit.dataio.prompts.formatter import PromptFormatter
from toolkit.dataio.text_adapters import SourceTargetTextExample, TextExample
from toolkit.dataio.tokenize import TokenizerWrapper, tokenize
from toolkit.errors import DataError, TokenizerError
from toolkit.sentencepiece_tokenizer import SentencePieceTokenizer, create_spt_model
from toolkit.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def aggregate(tmp_path_factory: pytest.TempPathFactory) -> AggregateTokenizer:
    folder: Path = tmp_path_factory.mktemp("spt")
    (folder / "text.txt").write_text("A B C\n")
    part = SentencePieceTokenizer(create_spt_model(folder / "text.txt", 50, -1, False, bos=True, eos=True)[0])
    return AggregateTokenizer({"en": part, "es": part})


def test_tokens_of_any_tokenizer(tokenizer: Tokenizer, aggregate: AggregateTokenizer) -> None:
    english, spanish = SupervisionSegment("1", "r", 0, 1, text="A B"), SupervisionSegment("2", "r", 0, 1)
    cut = tokenize(dummy_cut(0, supervisions=[english, spanish]), TokenizerWrapper(tokenizer))
    assert cut.supervisions[0].tokens.tolist() == tokenizer.encode("A B")
    assert not cut.supervisions[1].has_custom("tokens")
    pair = SourceTargetTextExample(TextExample("A", "en"), TextExample("A", "es"), TextExample("B", "en"))
    tokenize(pair, TokenizerWrapper(aggregate))
    assert pair.source.tokens.tolist() == aggregate.text_to_ids("A", "en")
    assert pair.target.tokens.tolist() == aggregate.text_to_ids("A", "es")
    assert pair.question.tokens.tolist() == aggregate.text_to_ids("B", "en")
    with pytest.raises(DataError, match="int cannot be tokenized"):
        tokenize(3, TokenizerWrapper(tokenizer))


def test_a_prompt_of_two_languages(aggregate: AggregateTokenizer) -> None:
    prompt = PromptFormatter.resolve("plain")(aggregate)
    pair = SourceTargetTextExample(TextExample("A", "en"), TextExample("A", "es")).apply_prompt_format(prompt)
    assert aggregate.ids_to_lang(pair.input_ids) == ["en"] * 3 + ["es"] * 2 + ["en"]
    with pytest.raises(TokenizerError, match="needs to know the language"):
        TextExample("A").apply_prompt_format(prompt)


def test_canarys_marks_are_of_the_special_part(aggregate: AggregateTokenizer, tmp_path: Path) -> None:
    marks = ["<|startoftranscript|>", "<|en|>", "<|es|>", "<|transcribe|>", "<|translate|>", "<|pnc|>", "<|nopnc|>"]
    (tmp_path / "marks.txt").write_text("<|a|>\n")
    options = {"eos": True, "eos_piece": "<|endoftext|>", "user_defined_symbols": marks, "add_dummy_prefix": False}
    special = SentencePieceTokenizer(create_spt_model(tmp_path / "marks.txt", 50, -1, False, **options)[0])
    tokenizer = AggregateTokenizer({"spl_tokens": special, **aggregate.tokenizers_dict})
    supervision = SupervisionSegment("1", "r", 0, 1, text="A B", language="es")
    cut = dummy_cut(0, supervisions=[supervision])
    cut.custom = {"source_lang": "en", "target_lang": "es", "task": "ast", "pnc": "no"}
    prompt = PromptFormatter.resolve("canary")(tokenizer)
    ids = tokenize_with_prompt(cut, prompt).input_ids
    written = ["<|startoftranscript|>", "<|en|>", "<|translate|>", "<|es|>", "<|nopnc|>", "▁", "A", "▁", "B"]
    assert tokenizer.ids_to_tokens(ids) == [*written, "<|endoftext|>"]
    assert tokenizer.ids_to_lang(ids) == ["spl_tokens"] * 5 + ["es"] * 4 + ["spl_tokens"]
