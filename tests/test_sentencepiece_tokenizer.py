"""Tokenizers of language models, of one language and of several."""

from __future__ import annotations

import pickle
import string
from pathlib import Path

import pytest
import torch

from toolkit.aggregate_tokenizer import AggregateTokenizer
from toolkit.errors import TokenizerError
from toolkit.sentencepiece_tokenizer import SentencePieceTokenizer, create_spt_model


def make_tokenizer(folder: Path, text: str = string.ascii_letters, **options: object) -> SentencePieceTokenizer:
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(" ".join(text) + "\n")
    options = {"bos": True, "eos": True, "pad": True, **options}
    model, _ = create_spt_model(folder / "text.txt", 512, -1, False, output_dir=folder, **options)
    return SentencePieceTokenizer(model)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SentencePieceTokenizer:
    return make_tokenizer(tmp_path_factory.mktemp("spt"), user_defined_symbols=["[audio]"])


def test_ids_tokens_and_texts(tokenizer: SentencePieceTokenizer) -> None:
    ids = tokenizer.text_to_ids("see [audio]  now")
    assert tokenizer.text_to_tokens("see [audio]  now") == ["▁", "s", "e", "e", "▁", "[audio]", "▁", "n", "o", "w"]
    assert tokenizer.ids_to_tokens(ids) == tokenizer.text_to_tokens("see [audio]  now")
    assert tokenizer.tokens_to_ids(tokenizer.ids_to_tokens(ids)) == ids
    framed = torch.tensor([tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id])
    assert tokenizer.ids_to_text(framed) == "see [audio] now"
    assert tokenizer.token_to_id("[audio]") == 4
    assert tokenizer.token_to_id("[video]") == tokenizer.unk_id == 0
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.vocab) == 6 + 52
    assert pickle.loads(pickle.dumps(tokenizer)).text_to_ids("see") == tokenizer.text_to_ids("see")


@pytest.mark.parametrize(
    ("wanted", "vocab"),
    [
        ({}, ["<unk>"]),
        ({"bos": True, "eos": True, "pad": True}, ["<unk>", "<s>", "</s>", "<pad>"]),
        ({"eos": True}, ["<unk>", "</s>"]),
        ({"bos": True, "pad": True}, ["<unk>", "<s>", "<pad>"]),
    ],
)
def test_special_pieces_without_a_gap(tmp_path: Path, wanted: dict[str, bool], vocab: list[str]) -> None:
    tokenizer = make_tokenizer(tmp_path, **{"bos": False, "eos": False, "pad": False, **wanted})
    assert tokenizer.vocab[: len(vocab) + 1] == [*vocab, "▁"]
    for name in {"bos", "eos", "pad"} - set(wanted):
        with pytest.raises(TokenizerError, match=f"tokenizer.model: has no {name} piece; train it with {name}=True"):
            getattr(tokenizer, f"{name}_id")


def test_training_again_replaces_the_model(tmp_path: Path) -> None:
    assert make_tokenizer(tmp_path, user_defined_symbols=["[a]"]).token_to_id("[a]") == 4
    again = make_tokenizer(tmp_path, user_defined_symbols=["[b]"])
    assert (again.token_to_id("[a]"), again.token_to_id("[b]")) == (0, 4)
    assert (tmp_path / "vocab.txt").read_text().splitlines() == again.vocab


def test_lower_case_and_subword_types(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat\nThe hat\n" * 20)
    model, vocab = create_spt_model(tmp_path / "text.txt", 20, 101, True, tokenizer_type="bpe")
    assert Path(model).parent == Path(vocab).parent == tmp_path / "spt"
    assert SentencePieceTokenizer(model).text_to_ids("THE CAT") == SentencePieceTokenizer(model).text_to_ids("the cat")


def test_what_cannot_be_trained_or_read(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"none\.txt: no such text file"):
        create_spt_model(tmp_path / "none.txt", 9, -1, False)
    with pytest.raises(TokenizerError, match=r'text\.txt: vocab_size 512: .* unknown field name "vocabsize"'):
        make_tokenizer(tmp_path, vocabsize=3)
    with pytest.raises(TokenizerError, match='unknown enumeration value of "bpee"'):
        make_tokenizer(tmp_path, tokenizer_type="bpee")
    with pytest.raises(TokenizerError, match=r"text\.txt: vocab_size 9: the smallest possible .* is 57"):
        create_spt_model(tmp_path / "text.txt", 9, -1, False, bos=True, eos=True, pad=True)
    with pytest.raises(TokenizerError, match="sample_size 100: expected more than 100 lines, or -1 for all"):
        create_spt_model(tmp_path / "text.txt", 60, 100, False)
    with pytest.raises(TokenizerError, match=r"none\.model: cannot be read"):
        SentencePieceTokenizer(tmp_path / "none.model")


@pytest.fixture(scope="module")
def aggregate(tmp_path_factory: pytest.TempPathFactory, tokenizer: SentencePieceTokenizer) -> AggregateTokenizer:
    spanish = make_tokenizer(tmp_path_factory.mktemp("es"), "aeñlosú", bos=False, eos=False, pad=False)
    return AggregateTokenizer({"en": tokenizer, "es": spanish})


def test_each_language_has_its_range(aggregate: AggregateTokenizer, tokenizer: SentencePieceTokenizer) -> None:
    spanish = aggregate.tokenizers_dict["es"]
    assert aggregate.text_to_ids("see", "en") == tokenizer.text_to_ids("see")
    assert aggregate.text_to_ids("sé", "es") == [len(tokenizer) + token for token in spanish.text_to_ids("sé")]
    assert aggregate.vocab_size == len(aggregate) == len(aggregate.vocab) == len(tokenizer) + len(spanish)
    ids = aggregate.text_to_ids("see", "en") + aggregate.text_to_ids("los años", "es")
    assert [aggregate.vocab[token] for token in ids] == aggregate.ids_to_tokens(ids)
    assert aggregate.ids_to_lang(ids) == ["en"] * 4 + ["es"] * 9
    assert aggregate.ids_to_text(torch.tensor([aggregate.bos_id, *ids, aggregate.eos_id])) == "see los años"
    assert aggregate.token_to_id("ñ", "es") == aggregate.vocab.index("ñ")
    assert (aggregate.unk_id, aggregate.bos_id, aggregate.eos_id, aggregate.pad_id) == (0, 1, 2, 3)


def test_aggregate_names_the_language_that_is_missing(aggregate: AggregateTokenizer) -> None:
    with pytest.raises(TokenizerError, match=r"language 'ess': no such tokenizer \(did you mean 'es'\?\)"):
        aggregate.text_to_ids("a", "ess")
    with pytest.raises(TokenizerError, match="a tokenizer of en, es needs to know the language of each text"):
        aggregate.text_to_ids("a", None)
    for token in (-1, len(aggregate)):
        with pytest.raises(TokenizerError, match=f"token {token}: expected 0 to {len(aggregate) - 1}"):
            aggregate.ids_to_text([token])
    with pytest.raises(TokenizerError, match="at least one"):
        AggregateTokenizer({})
