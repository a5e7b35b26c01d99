from __future__ import annotations

import logging
import pickle
import re

import pytest
import sentencepiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.errors import TokenizerError
from toolkit.tokenizer import PromptTokenizer, Tokenizer, WordTokenizer, train_tokenizer

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Upper and lower case, apostrophes, letters outside ASCII, and characters that NFKC would replace: ﬁ, ½, ①, e + accent.
TEXTS = [
    "HELLO world it's",
    "Élan ñandú straße Привет",
    "ﬁve ½ ① cafe\u0301",
    "one two three four five",
    "the one and the other one",
]
CHARACTERS = sorted(set("".join(TEXTS)) - {" "})
MODEL_TYPES = ["char", "bpe", "unigram"]


@pytest.fixture(scope="module", params=MODEL_TYPES)
def tokenizer(request, tmp_path_factory):
    file = tmp_path_factory.mktemp(request.param) / "test.model"
    size = None if request.param == "char" else len(CHARACTERS) + 5
    train_tokenizer(TEXTS, file, model_type=request.param, vocab_size=size)
    return Tokenizer(file)


@patient
@given(words=st.lists(st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=8), max_size=8))
def test_any_text_of_known_characters_comes_back(tokenizer, words):
    text = " ".join(words)
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert tokenizer.blank not in tokens
    assert all(0 < token < len(tokenizer) for token in tokens)


def test_empty_text_has_no_tokens(tokenizer):
    assert tokenizer.encode("") == []
    assert tokenizer.encode(" \t") == []
    assert tokenizer.decode([]) == ""


def test_white_space_counts_as_one_space(tokenizer, caplog):
    assert tokenizer.encode(" one\t two\u00a0\n three ") == tokenizer.encode("one two three")
    assert not caplog.records


def test_zero_is_every_special_token_and_decodes_to_nothing(tokenizer):
    assert {tokenizer.blank, tokenizer.pad, tokenizer.bos, tokenizer.eos, tokenizer.unk} == {0}
    assert tokenizer.decode([0, 0]) == ""
    tokens = tokenizer.encode("one two")
    assert tokenizer.decode([0, *tokens[:2], 0, 0, *tokens[2:], 0]) == "one two"
    # SentencePiece itself, as SpeechBrain would use the file, agrees
    assert sentencepiece.SentencePieceProcessor(model_file=str(tokenizer.model_file)).decode([0, 0]) == ""


def test_repeated_spaces_of_a_model_are_one(tokenizer):
    space = tokenizer.pieces().index("▁")
    letter = tokenizer.pieces().index("H")
    assert tokenizer.decode([space, letter, space, space, letter, space]) == "H H"


def test_vocab_file_lists_the_pieces(tokenizer):
    lines = tokenizer.model_file.with_suffix(".vocab").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == tokenizer.pieces()
    assert len(tokenizer) == len(lines)
    assert all(float(line.split("\t")[1]) <= 0 for line in lines)


def test_char_pieces_are_the_characters(tmp_path):
    train_tokenizer(["ab", "ba c"], tmp_path / "char.model", model_type="char")
    pieces = Tokenizer(tmp_path / "char.model").pieces()
    assert pieces[0] == "<unk>"
    assert sorted(pieces[1:]) == ["a", "b", "c", "▁"]


def test_the_mark_of_audio_is_the_number_after_the_pieces(tmp_path):
    train_tokenizer(["ab", "ba c"], tmp_path / "char.model", model_type="char")
    tokenizer, plain = PromptTokenizer(tmp_path / "char.model", "[audio]"), Tokenizer(tmp_path / "char.model")
    assert len(tokenizer) == len(plain) == tokenizer.token_to_id("[audio]")
    assert tokenizer.text_to_ids("ab [audio]ba") == [*plain.encode("ab"), len(plain), *plain.encode("ba")]
    assert tokenizer.text_to_ids("[audio]") == [len(plain)]
    assert tokenizer.text_to_ids("a b") == plain.encode("a b")
    assert tokenizer.token_to_id("a") == plain.pieces().index("a")
    assert tokenizer.token_to_id("audio") == tokenizer.unk_id


def test_unknown_characters_are_named_once(tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        assert 0 in tokenizer.encode("one zQz木 two")
        tokenizer.encode("木 Q")
        tokenizer.encode("q")
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "'Q' (U+0051) 'z' (U+007A) '木' (U+6728)" in messages[0]
    assert "'one zQz木 two'" in messages[0]
    assert "'q'" in messages[1]


def test_pickled_and_saved_copies_agree(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new/copy.model")
    copies = [pickle.loads(pickle.dumps(tokenizer)), Tokenizer(tmp_path / "new/copy.model")]
    for copy in copies:
        assert copy.pieces() == tokenizer.pieces()
        assert [copy.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert (tmp_path / "new/copy.model").read_bytes() == tokenizer.model_file.read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["copy.model", "copy.vocab"]


@pytest.mark.parametrize("token", [-1, 10_000])
def test_token_of_another_vocabulary(tokenizer, token):
    with pytest.raises(TokenizerError, match=f"{token}.* cannot be decoded with {len(tokenizer)} pieces"):
        tokenizer.decode([1, token])


@pytest.mark.parametrize("content", [b"", b"abc", b"\x7fELF\x02\x01\x01" + bytes(200), None])
def test_missing_or_damaged_file_names_it_and_the_command(tmp_path, content):
    file = tmp_path / "broken.model"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TokenizerError, match=r"broken\.model.*python train_tokenizer\.py hparams/tokenizer\.yaml"):
        Tokenizer(file)


def test_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(TokenizerError, match="cannot be read"):
        Tokenizer(tmp_path)


def test_model_with_text_at_zero_is_refused(tmp_path):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_prefix=str(tmp_path / "foreign"), model_type="char", vocab_size=50,
        pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    with pytest.raises(TokenizerError, match="unknown piece is number 1, expected 0"):
        Tokenizer(tmp_path / "foreign.model")


def test_training_twice_gives_the_same_bytes_and_prints_nothing(tmp_path, capfd):
    for name in ("a.model", "b.model"):
        train_tokenizer(iter(TEXTS), tmp_path / name, vocab_size=len(CHARACTERS) + 5)
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()
    assert capfd.readouterr() == ("", "")


def test_texts_longer_than_sentencepieces_own_limit_are_learnt(tmp_path):
    long = "a " * 3000 + "z"
    train_tokenizer(["b", long], tmp_path / "long.model", model_type="char")
    tokenizer = Tokenizer(tmp_path / "long.model")
    assert "z" in tokenizer.pieces()
    assert tokenizer.decode(tokenizer.encode(long)) == long


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_vocabulary_too_large_names_the_largest_that_works(tmp_path, model_type):
    with pytest.raises(TokenizerError, match=r"vocab_size 9999: the largest possible") as caught:
        train_tokenizer(TEXTS, tmp_path / "t.model", model_type=model_type, vocab_size=9999)
    assert not list(tmp_path.iterdir())
    largest = int(re.search(r"is (\d+)$", str(caught.value))[1])
    train_tokenizer(TEXTS, tmp_path / "t.model", model_type=model_type, vocab_size=largest)
    assert len(Tokenizer(tmp_path / "t.model")) == largest
    with pytest.raises(TokenizerError, match="largest possible"):
        train_tokenizer(TEXTS, tmp_path / "t.model", model_type=model_type, vocab_size=largest + 1)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_vocabulary_too_small_names_the_smallest(tmp_path, model_type):
    smallest = len(CHARACTERS) + 2
    with pytest.raises(TokenizerError, match=f"vocab_size 10: the smallest possible .* is {smallest}"):
        train_tokenizer(TEXTS, tmp_path / "t.model", model_type=model_type, vocab_size=10)


def test_char_vocabulary_too_large(tmp_path):
    with pytest.raises(TokenizerError, match=f"vocab_size 500: the largest possible .* is {len(CHARACTERS) + 2}"):
        train_tokenizer(TEXTS, tmp_path / "t.model", model_type="char", vocab_size=500)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {"vocab_size": 10}, "no text to train"),
        (["", "  "], {"model_type": "char"}, "no text to train"),
        (TEXTS, {}, "vocab_size None: a unigram tokenizer needs"),
        (TEXTS, {"vocab_size": "500"}, "vocab_size '500'"),
        (TEXTS, {"model_type": "unigramm", "vocab_size": 9}, "expected one of unigram, bpe, char .did you mean 'uni"),
    ],
)
def test_options_that_cannot_be_trained(tmp_path, texts, options, message):
    with pytest.raises(TokenizerError, match=message):
        train_tokenizer(texts, tmp_path / "t.model", **options)


@pytest.mark.parametrize("reserved", ["a▁b", "a▅b", "a<unk>b", "a\0b"])
def test_text_that_would_not_come_back_is_refused_and_the_old_model_stays(tmp_path, reserved):
    file = tmp_path / "t.model"
    train_tokenizer(["ab"], file, model_type="char")
    before = file.read_bytes()
    with pytest.raises(TokenizerError, match=re.escape(repr(reserved))):
        train_tokenizer(["ab", reserved], file, model_type="char")
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.model", "t.vocab"]


def test_words_are_numbered_as_they_come():
    tokenizer = WordTokenizer()
    assert tokenizer.encode(" THE CAT  THE <unk> ") == [1, 2, 1, 0]
    assert tokenizer.encode("A CAT") == [3, 2]
    assert tokenizer.pieces() == ["<unk>", "THE", "CAT", "A"]
    assert len(tokenizer) == 4
