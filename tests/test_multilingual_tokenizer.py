"""One tokenizer file for several languages: trained by language, read by recognisers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from lhotse import SupervisionSegment
from lhotse.testing.dummies import dummy_cut

from toolkit.dataio.cutset import attach_tags
from toolkit.dataio.tokenize import TokenizerWrapper, encode_cut
from toolkit.errors import TokenizerError
from toolkit.multilingual_tokenizer import MultilingualTokenizer
from toolkit.tokenizer import Tokenizer, read_pieces, train_tokenizer

TEXTS = {"de": ["guten tag", "gute nacht"], "fr": ["bonne nuit", "c'est la nuit"], "ru": ["добрый день"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    train_tokenizer(TEXTS, tmp_path / "tokenizer.model", model_type="char")
    return tmp_path / "tokenizer.model"


def test_each_language_has_tokens_of_its_own(file: Path) -> None:
    tokenizer = MultilingualTokenizer(file)
    seen: set[int] = set()
    for language, (text, *_) in TEXTS.items():
        tokens = tokenizer.encode(text, language)
        assert tokenizer.decode(tokens) == text
        assert set(tokenizer.ids_to_lang(tokens)) == {language}
        assert tokenizer.blank not in tokens
        assert seen.isdisjoint(tokens)
        seen |= set(tokens)
    assert max(seen) < len(tokenizer) == len(tokenizer.pieces()) == tokenizer.vocab_size
    assert read_pieces(file) == tokenizer.pieces()
    assert pickle.loads(pickle.dumps(tokenizer)).encode("nuit", "fr") == tokenizer.encode("nuit", "fr")


def test_blanks_part_no_words_and_a_change_of_language_does(file: Path) -> None:
    tokenizer = MultilingualTokenizer(file)
    night, day = tokenizer.encode("nuit", "fr"), tokenizer.encode("tag", "de")
    assert tokenizer.decode([0, *night[:2], 0, 0, *night[2:], *day, 0]) == "nuit tag"
    assert tokenizer.decode([]) == ""


def test_what_a_language_does_not_know_is_zero(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert MultilingualTokenizer(file).encode("ж", "fr").count(0) == 1
    assert "characters unknown to the tokenizer: 'ж' (U+0436)" in caplog.text


def test_the_first_language_has_the_numbers_it_has_alone(file: Path) -> None:
    assert MultilingualTokenizer(file).encode("gute nacht", "de") == Tokenizer(file, "de").encode("gute nacht")


def test_what_is_said_is_encoded_in_its_language(file: Path) -> None:
    tokenizer = MultilingualTokenizer(file)
    said = [
        SupervisionSegment("b", "r", 0.5, 0.5, text="gute nacht"),
        SupervisionSegment("a", "r", 0, 0.5, text="bonne nuit", language="fr"),
    ]
    cut = attach_tags(dummy_cut(0, supervisions=said), {"language": "de"})
    expected = [*tokenizer.encode("bonne nuit", "fr"), *tokenizer.encode("gute nacht", "de")]
    assert encode_cut(cut, TokenizerWrapper(tokenizer)) == expected


@pytest.mark.parametrize(("language", "message"), [
    (None, "a tokenizer of de, fr, ru needs to know the language of each text"),
    ("fra", "language 'fra': no such tokenizer"),
])  # fmt: skip
def test_a_language_that_is_missing_or_unknown_is_named(file: Path, language: str | None, message: str) -> None:
    with pytest.raises(TokenizerError) as error:
        MultilingualTokenizer(file).encode("nuit", language)
    assert str(error.value).startswith(message)


def test_files_of_one_and_of_several_languages_are_told_apart(file: Path) -> None:
    with pytest.raises(
        TokenizerError, match=r"holds tokenizers of de, fr, ru, not of one alone; .*MultilingualTokenizer"
    ):
        Tokenizer(file)
    with pytest.raises(TokenizerError, match="holds tokenizers of de, fr, ru, not of it"):
        Tokenizer(file, "it")
    train_tokenizer(TEXTS["de"], file, model_type="char")
    with pytest.raises(TokenizerError, match=r"holds one tokenizer, .*`train_text: \{de: ..., fr: ...\}`"):
        MultilingualTokenizer(file)


@pytest.mark.parametrize("content", ['{"de": "AAA"', '{"de": 3}', '{"de": "&"}', '{"de": "AAAA"}', '{"a":' * 99999])
def test_a_damaged_file_is_named(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(TokenizerError, match=r"tokenizer.model: (damaged|not a SentencePiece model)"):
        MultilingualTokenizer(file)


def test_sizes_by_language(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.model"
    train_tokenizer(TEXTS, file, vocab_size={"de": 11, "fr": 14, "ru": 11})
    assert [len(Tokenizer(file, language)) for language in TEXTS] == [11, 14, 11]
    with pytest.raises(TokenizerError, match="language 'de': vocab_size 500: the largest possible for these texts"):
        train_tokenizer(TEXTS, file, vocab_size=500)
    assert len(MultilingualTokenizer(file)) == 36  # the old file stays


def test_no_text_in_a_language_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer.model, fr: no text to train a tokenizer on"):
        train_tokenizer({**TEXTS, "fr": []}, tmp_path / "tokenizer.model", model_type="char")
    assert not list(tmp_path.iterdir())
