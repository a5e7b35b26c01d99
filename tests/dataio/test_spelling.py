"""Text normalisation by language: what is written is what is spoken, and nothing is changed without being reported."""

from __future__ import annotations

import importlib.util
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.dataio.alphabets import LETTERS, SCRIPTS
from toolkit.dataio.spelling import CASES, Spelling
from toolkit.errors import ConfigError

# Sentences as corpora have them, in the typography of their language, and their words.
SENTENCES = {
    "ar": ("السَّلامُ عَلَيْكُمْ، كيف حالـك؟", "السلام عليكم كيف حالك"),
    "br": ("C’hoazh n’eo ket deuet ar c'hazh.", "c'hoazh n'eo ket deuet ar c'hazh"),
    "ca": ("La col·lecció de l’àvia: «intel.ligent»!", "la col·lecció de l'àvia intel·ligent"),
    "de": ("„Größere Straßen“, sagte Jürgen – über Nacht.", "größere straßen sagte jürgen über nacht"),
    "el": ("Η ΟΔΟΣ της Άνοιξης;", "η οδος της άνοιξης"),
    "en": ("‘Don’t tell ’em,’ she said—well-known…", "don't tell 'em she said well known"),
    "es": ("¿Qué hace el niño? ¡Vámonos al cine!", "qué hace el niño vámonos al cine"),
    "fa": ("من كتاب می‌خوانم.", "من کتاب می خوانم"),
    "fr": ("« L’œuvre d'Éloïse, aujourd’hui ? » Ça va.", "l'œuvre d'éloïse aujourd'hui ça va"),
    "he": ("שָׁלוֹם, מה־זה?", "שלום מה זה"),
    "hi": ("हिन्दी में, क्या है?", "हिन्दी में क्या है"),
    "it": ("Perché l’amica dice 'un po’'? È così.", "perché l'amica dice un po' è così"),
    "ja": ("今日は、いい 天気ですね。", "今日はいい天気ですね"),
    "ko": ("안녕하세요, 여러분!", "안녕하세요 여러분"),
    "nl": ("’s Morgens eten de foto’s „ideeën”.", "'s morgens eten de foto's ideeën"),
    "pl": ("Zażółć gęślą jaźń… w Łodzi!", "zażółć gęślą jaźń w łodzi"),
    "pt-BR": ("Não, você é a avó do João; lembra-se?", "não você é a avó do joão lembra se"),
    "ro": ("Ştiinţa şi viaţa", "știința și viața"),
    "ru": ("Ёлка и за́мок — всё ещё здесь.", "ёлка и замок всё ещё здесь"),
    "sv-SE": ("Är åsnan på ön?", "är åsnan på ön"),
    "tr": ("İstanbul’da ILIK bir gün, Işıl!", "istanbul'da ılık bir gün ışıl"),
    "uk": ("Моє м’ясо й п'ять яблук.", "моє м'ясо й п'ять яблук"),
    "vi": ("Tiếng Việt, phải không?", "tiếng việt phải không"),
    "zh-CN": ("你好，世界！唱卡拉 OK 吧。", "你好世界唱卡拉ok吧"),
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences(language: str):
    text, words = SENTENCES[language]
    assert Spelling(language)(text) == words
    assert Spelling(language)(unicodedata.normalize("NFD", text)) == words


@pytest.mark.parametrize(("language", "text", "words"), [
    ("de", "Straße für Ärzte", "STRAẞE FÜR ÄRZTE"),
    ("tr", "iyi ışık", "İYİ IŞIK"),
    ("en", "iyi İstanbul", "IYI ISTANBUL"),
    ("fr", "l’été à Łódź", "L'ÉTÉ À LODZ"),
])  # fmt: skip
def test_upper_case(language: str, text: str, words: str):
    assert Spelling(language, case="upper")(text) == words


def test_case_is_kept_where_asked():
    assert Spelling("de", case="keep")("„Der Œuvre-Preis“, Ñandú") == "Der OEuvre Preis Nandu"


def test_hyphens_and_apostrophes_stay_between_letters_alone():
    spelling = Spelling("en", keep="'-")
    assert spelling("-a well‑known 'dog' -- it''s - rock-'n'-roll-") == "a well-known dog it's rock-'n'-roll"
    assert Spelling("fr", keep="")("l’été") == "l été"


@pytest.mark.parametrize(("language", "text", "words"), [
    ("mt", "Ta’ Malta, ma’ sa’ 'l hemm!", "ta' malta ma' sa' 'l hemm"),
    ("mt", "Qal 'iva' u 'le'.", "qal iva u le"),
    ("uz", "Togʻ, bogʻ, oʻzbek 'ha'", "tog' bog' o'zbek ha"),
    ("ha", "’yanci da 'ya'ya, 'gida'", "'yanci da 'ya'ya gida"),
    ("af", "Dis ’n hond, 'ja'", "dis 'n hond ja"),
    ("fy", "Yn ’e hûs is 't", "yn 'e hûs is 't"),
])  # fmt: skip
def test_apostrophes_that_are_letters_stay_at_the_edge(language: str, text: str, words: str):
    assert Spelling(language)(text) == words


@pytest.mark.parametrize("text", ["?!", "", " \n", "…—«»", "'", "\u200b\ufeff", "́"])
def test_nothing_is_left_of_a_text_without_letters(text: str):
    assert Spelling("de")(text) == ""


@pytest.mark.parametrize("text", [
    "das γ", "im 3. Stock", "50 %", "Müller & Söhne", "5€", "eine ½", "м", "你好", "20℃", "m²", "a@b.de", "１２",
    "<unk>",
])  # fmt: skip
def test_what_german_letters_do_not_say_leaves_the_text_out(text: str):
    assert Spelling("de")(text) is None


def test_unseen_characters_part_no_words():
    assert Spelling("de")("\ufeffWohl\u00adstand\u200e") == "wohlstand"


def test_of_an_unknown_language_all_letters_stay():
    spelling = Spelling("gn")
    assert spelling("Mba’éichapa, g̃uarani Ñe’ẽ γ!") == "mba'éichapa g̃uarani ñe'ẽ γ"
    assert spelling.report().startswith("spelling of 'gn' (letters unknown, all are kept): 1 texts, 0 of them left out")


def test_letters_can_be_added_and_replaced():
    assert Spelling("de", letters="éÉ")("Das Café à la carte") == "das café a la carte"
    assert Spelling("ru", replace={"ё": "е"})("Ёж и ещё") == "еж и еще"


@pytest.mark.parametrize(("options", "message"), [
    ({"case": "title"}, "case 'title': expected one of lower, upper, keep"),
    ({"digits": "yes"}, "digits 'yes': expected one of leave_out, words"),
    ({"keep": "'a"}, "keep \"'a\": 'a' is no punctuation; letters belong in `letters`"),
    ({"keep": "’"}, "keep '’': '’' is written ' here"),
    ({"replace": {"ё": "γ"}}, "replace 'ё' by 'γ': expected a letter and letters of 'ru'"),
    ({"replace": {"ещ": "е"}}, "replace 'ещ' by 'е': expected a letter"),
])  # fmt: skip
def test_options_that_cannot_be(options: dict, message: str):
    with pytest.raises(ConfigError) as error:
        Spelling("ru", **options)
    assert str(error.value).startswith(message)


def test_the_report_names_what_was_changed_with_an_example():
    spelling = Spelling("de")
    for text in ("„Łódź“ ist", "„Ja“, ja", "das γ-Teilchen", "drei 3", "4 3 2"):
        spelling(text)
    lines = spelling.report().splitlines()
    assert lines[0] == "spelling of 'de': 5 texts, 3 of them left out"
    assert [line.split() for line in lines[1:4]] == [
        ["left", "out", "for:"],
        ["2", "0-9:", "drei", "3"],
        ["1", "γ", "(U+03B3", "GREEK", "SMALL", "LETTER", "GAMMA):", "das", "γ-Teilchen"],
    ]
    assert "          1  Ł (U+0141 LATIN CAPITAL LETTER L WITH STROKE) -> L: „Łódź“ ist" in lines
    assert "          2  „ (U+201E DOUBLE LOW-9 QUOTATION MARK): „Łódź“ ist" in lines
    assert not [line for line in lines if "- (" in line]  # of a text that was left out, nothing else is counted


@pytest.mark.skipif(importlib.util.find_spec("num2words") is None, reason="needs the extra [text]")
@pytest.mark.parametrize(("language", "text", "words"), [
    ("de", "Es sind 12 Leute, (22) sagt er", "es sind zwölf leute zweiundzwanzig sagt er"),
    ("en", "He has 12.", "he has twelve"),
    ("fr", "«80» jours", "quatre vingts jours"),
    ("pt-BR", "16 dias", "dezesseis dias"),
    ("pt", "16 dias", "dezasseis dias"),
    ("fa", "٣ کتاب", "سه کتاب"),
    ("en", "12. May", None),       # an ordinal
    ("en", "in 1984", None),       # nineteen eighty-four
    ("fr", "en 1984", "en mille neuf cent quatre vingt quatre"),
    ("en", "1,000", None),
    ("en", "3rd at 10:30", None),
    ("en", "agent 007", None),
    ("kab", "12", None),           # nobody knows how
    ("de", "1 Hund", None),        # ein Hund, einen Hund
    ("de", "21 Hunde und 11", None),
    ("de", "11 Hunde", "elf hunde"),
    ("es", "21 años", None),       # veintiún años, veintiuna casas
    ("es", "200 casas", None),     # doscientas
    ("es", "100 casas", "cien casas"),
    ("it", "1 casa", None),
    ("fr", "71 pages", "soixante et onze pages"),
    ("fr", "81 pages", None),
    ("nl", "1 huis", None),        # één, een
    ("nl", "21 huizen", "eenentwintig huizen"),
    ("pt", "22 casas", None),      # vinte e duas
    ("hu", "2 ember", None),       # két
    ("en", "21 dogs", "twenty one dogs"),
    ("en", "100 dogs", None),      # a hundred
    ("pl", "z 5 kotami", None),    # z pięcioma
    ("ru", "5", None),
    ("ko", "3", None),             # 삼, 셋
    ("ar", "٣ كتب", None),         # ثلاثة, ثلاث
    ("zh-CN", "我有 3 个", None),
])  # fmt: skip
def test_numbers_in_words(language: str, text: str, words: str | None):
    assert Spelling(language, digits="words")(text) == words


@pytest.mark.skipif(importlib.util.find_spec("num2words") is None, reason="needs the extra [text]")
@pytest.mark.parametrize("language", sorted(LETTERS.keys() | SCRIPTS.keys()))
def test_numbers_never_stop_a_preparation(language: str):
    spelling = Spelling(language, digits="words")
    spoken = [spelling(f"{number}") for number in (0, 1, 17, 80, 101, 1000, 21345, 999999)]
    assert not [words for words in spoken if words is not None and (not words or set(words) & set("0123456789"))]


def test_alphabets_are_in_lower_case_and_composed():
    for language, letters in LETTERS.items():
        assert Spelling(language)(letters) == letters.replace("·", ""), language
        assert len(set(letters)) == len(letters), language


TEXTS = st.one_of(
    st.text(), st.lists(st.sampled_from("aIiİıßŁé'’-·.•lσΣς ́̇\u200dǰŉΐﬃـ你가１½²"), max_size=12).map("".join)
)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, language=st.sampled_from([*SENTENCES, "ca", "gn", "az", "ha", "mt"]), case=st.sampled_from(CASES))
def test_spelling_twice_is_spelling_once(text: str, language: str, case: str):
    spelling = Spelling(language, case=case, keep="'-")
    words = spelling(text)
    if words is not None:
        assert spelling(words) == words
        assert words == " ".join(words.split())
    spelling.report()
