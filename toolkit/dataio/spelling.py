"""Transcripts as a recogniser learns them: one case, one kind of apostrophe, no punctuation, the language's letters.

    spelling = Spelling("fr")
    spelling("« L’été à Łódź…»")     # "l'été à lodz"
    spelling("?!")                   # "": nothing is spoken
    spelling("Les 3 γ")              # None: what is spoken there, French letters do not say
    print(spelling.report())         # which characters were removed and replaced, how often, and where first

What marks pauses and quotes becomes a space. A letter with marks that the language doesn't write loses them; a letter
of another script, a digit and a sign that is spoken (%, €, &) make the text None: whatever was removed there, the audio
would still say it. Digits become words where that is asked for and can be known.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from toolkit.dataio.alphabets import LETTERS, SCRIPTS
from toolkit.dataio.census import Census
from toolkit.dataio.number_words import in_words, require_num2words
from toolkit.errors import ConfigError

CASES = ("lower", "upper", "keep")
DIGITS = ("leave_out", "words")

# One sign of each kind for what keyboards and typesetters write in many ways; "" for what is not seen.
_UNIFIED = dict.fromkeys("’‘‛ʼʻʹ′´`＇׳ꞌ", "'") | dict.fromkeys("‐‑⁃−﹣－", "-") | dict.fromkeys("ـ™℠", "")
# Spaces that are not seen; elsewhere these only say how letters join.
_HIDDEN_SPACES = {"fa": "\u200c", "km": "\u200b", "lo": "\u200b", "my": "\u200b", "th": "\u200b"}
# Read out, though punctuation to Unicode; so are all currencies (Sc) and operators (Sm), but for the silent ones.
_SPOKEN, _SILENT = "&＆%％‰@＠#＃§°", "|~"
# Letters that are no other letter with a mark.
_PLAIN = {"æ": "ae", "œ": "oe", "ø": "o", "ß": "ss", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "ħ": "h"}
_PLAIN |= {"ŋ": "ng", "ə": "e"}

# Of the keyboards of others, and of former encodings.
_REPLACED = {
    "fa": {"ك": "ک", "ي": "ی", "ى": "ی", "ة": "ه"},
    "kab": {"ε": "ɛ", "γ": "ɣ"},
    "ro": {"ş": "ș", "ţ": "ț"},
    "ur": {"ك": "ک", "ي": "ی", "ى": "ی", "ه": "ہ"},
}
# What stands inside words of a language besides apostrophes: col·lecció, often typed col.lecció.
_INSIDE = {"ca": "·"}
_POINTS = re.compile(r"(?<=l)[.•‧∙⋅](?=l)", re.IGNORECASE)
# Words that an apostrophe begins or ends; anywhere else it is a quotation mark there.
_SHORTENED = {
    "af": {"'n"},
    "en": {"'bout", "'cause", "'em", "'til", "'tis", "'twas"},
    "fy": {"'e", "'k", "'t"},
    "it": {"be'", "ca'", "da'", "de'", "di'", "fa'", "mo'", "po'", "sta'", "va'", "'sta", "'sto", "'ndrangheta"},
    "mt": {"'il", "'l"},
    "nl": {"'k", "'m", "'n", "'r", "'s", "'t"},
}
# Where an apostrophe is a letter, which may begin or end a word: ħa', tog', 'yanci. Around a word it quotes there, too.
_BEGINS, _ENDS = ("ha",), ("mt", "so", "uz")
_DOTTED = ("az", "crh", "gag", "tr")  # i and ı are two letters, as are their capitals İ and I
_UNSPACED = ("ja", "yue", "zh")

# 12 in: (12), 12 in: "12?". Not 1.5, 3rd, 007, and 12. only where the text ends: elsewhere that is twelfth.
_NUMBER = re.compile(r"""(["'“„«(\[¿¡]*)(0|[1-9]\d{0,5})(["'”“»)\],;:!?]*)(\.?)(["'”“»)\]]*)""")


@dataclass(frozen=True)
class Spelling:
    """How the texts of a language are written; called with a text, it gives its words.

    Parameters
    ----------
    language
        A code such as ``de``, ``pt-BR`` or ``zh-CN``. Of a language that `toolkit.dataio.alphabets` doesn't know, all
        letters are kept.
    case
        ``lower``, ``upper`` or ``keep``; a Turkish I is ı.
    keep
        What stays where it stands inside words: apostrophes; ``'-`` for hyphens, too.
    digits
        ``leave_out``: a text with digits is None. ``words``: whole numbers that stand alone become words, where it is
        certain which.
    letters
        More letters that stay as they are, such as ``é`` in German.
    replace
        Letters to write in another way, such as ``{"ё": "е"}``.

    Raises
    ------
    ConfigError
        A value is none of those above.
    MissingDependencyError
        num2words is needed.
    """

    language: str
    case: str = "lower"
    keep: str = "'"
    digits: str = "leave_out"
    letters: str = ""
    replace: Mapping[str, str] = field(default_factory=dict)
    census: Census = field(default_factory=Census, init=False, repr=False, compare=False)
    _memory: dict[str, str | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, value, known in (("case", self.case, CASES), ("digits", self.digits, DIGITS)):
            if value not in known:
                raise ConfigError(f"{name} {value!r}: expected one of {', '.join(known)}")
        for sign in self.keep:
            if unicodedata.category(sign)[0] not in "PS":
                raise ConfigError(f"keep {self.keep!r}: {sign!r} is no punctuation; letters belong in `letters`")
            if _unify(sign) != sign:
                raise ConfigError(f"keep {self.keep!r}: {sign!r} is written {_unify(sign) or 'as nothing'} here")
        for old, new in self.replace.items():
            if len(list(_signs(old))) != 1 or any(self._letter(sign) != sign for sign in _signs(new)):
                raise ConfigError(f"replace {old!r} by {new!r}: expected a letter and letters of {self.language!r}")
        if self.digits == "words":
            require_num2words()

    def __call__(self, text: str) -> str | None:
        """The words of a text, one space apart; "" when there are none, None when letters cannot say what is spoken."""
        changes: list[tuple[str, str]] = []
        signs = list(_signs(self._numbers_in_words(self._unified(text, changes), changes)))
        for sign in set(signs) - self._memory.keys():
            self._memory[sign] = self._written(sign)
        written = [self._memory[sign] for sign in signs]
        if foreign := [sign for sign, new in zip(signs, written, strict=True) if new is None]:
            self.census.leave_out(text, foreign)
            return None
        changes += [change for sign, new in zip(signs, written, strict=True) for change in _changes(sign, new)]
        words = [self._trimmed(word, changes) for word in "".join(written).split()]
        self.census.keep(text, changes)
        return self._cased(self._joined(filter(None, words)))

    def report(self) -> str:
        """A table of the characters that were removed, replaced, or cost texts: count, Unicode name, first example."""
        unknown = " (letters unknown, all are kept)" if self._known is None else ""
        return f"spelling of {self.language!r}{unknown}: {self.census.report()}"

    @functools.cached_property
    def _code(self) -> str:
        """``pt`` of pt-BR."""
        return re.split("[-_]", self.language)[0].lower()

    @functools.cached_property
    def _known(self) -> frozenset[str] | None:
        """All letters that are listed; None of a language that is not."""
        if self._code in LETTERS.keys() | SCRIPTS.keys():
            return frozenset(_signs((LETTERS.get(self._code, "") + self.letters).lower()))
        return None

    @functools.cached_property
    def _kept(self) -> str:
        return self.keep + _INSIDE.get(self._code, "")

    @functools.cached_property
    def _replaced(self) -> Mapping[str, str]:
        return {**_REPLACED.get(self._code, {}), **self.replace}

    def _unified(self, text: str, changes: list[tuple[str, str]]) -> str:
        """The text in Unicode's form NFC, without variants of letters and signs."""
        new = {sign: _unify(sign) for sign in set(text)} | dict.fromkeys(_HIDDEN_SPACES.get(self._code, ""), " ")
        changes += [(sign, new[sign]) for sign in text if new[sign] not in (sign, unicodedata.normalize("NFC", sign))]
        text = unicodedata.normalize("NFC", "".join(map(new.get, text)))
        return _POINTS.sub("·", text) if self._code == "ca" else text

    def _numbers_in_words(self, text: str, changes: list[tuple[str, str]]) -> str:
        if self.digits == "leave_out" or not any(map(str.isdigit, text)):
            return text
        *tokens, last = text.split()
        words = [*(self._in_words(token, changes) for token in tokens), self._in_words(last, changes, last=True)]
        return " ".join(words)

    def _in_words(self, token: str, changes: list[tuple[str, str]], last: bool = False) -> str:
        """The words for a number with punctuation around it; any other token as it is."""
        match = _NUMBER.fullmatch(token)
        words = None if match is None or (match[4] and not last) else in_words(int(match[2]), self.language)
        if words is None:
            return token
        changes.append((match[2], words))
        return f"{match[1]}{words}{match[3]}{match[4]}{match[5]}"

    def _written(self, sign: str) -> str | None:
        """What becomes of a character and the marks on it: None for what is spoken and cannot be written."""
        category = unicodedata.category(sign[0])
        if category[0] == "L" or sign == "〇":
            lower = self._lower(sign)
            new = self._letter(lower)
            return sign if new == lower else self._upper(new) if new and sign.isupper() else new
        if sign[0] in self._kept:
            return sign[0]
        if _is_spoken(sign[0], category):
            return None
        return "" if category[0] == "M" else " "

    def _letter(self, sign: str) -> str | None:
        """A letter as the language writes it, both in lower case; None for a foreign one."""
        if sign in self._replaced:
            return self._replaced[sign]
        if self._known is None or sign in self._known:
            return sign
        if unicodedata.name(sign[0], "").split(" ")[0] in SCRIPTS.get(self._code, ()):
            return sign
        marked = unicodedata.normalize("NFD", sign)
        if len(marked) > 1:
            return self._letter(unicodedata.normalize("NFC", marked[:-1]))
        plain = _PLAIN.get(sign)
        return plain if plain and self._known.issuperset(plain) else None

    def _trimmed(self, word: str, changes: list[tuple[str, str]]) -> str:
        """A word whose apostrophes and hyphens stand one at a time, and between letters."""
        once = re.sub(rf"([{re.escape(self._kept)}])\1+", r"\1", word) if self._kept else word
        if self._lower(once) in _SHORTENED.get(self._code, ()):
            return once
        trimmed = self._with_edge(once, once.strip(self._kept))
        changes += [(sign, "") for sign in self._kept for _ in range(word.count(sign) - trimmed.count(sign))]
        return trimmed

    def _with_edge(self, word: str, trimmed: str) -> str:
        """The trimmed word with the apostrophe that begins or ends it, where that is a letter."""
        before, _, after = word.partition(trimmed) if trimmed else ("", "", "")
        begins, ends = before.endswith("'"), after.startswith("'")
        if self._code in _BEGINS and begins and not ends:
            return f"'{trimmed}"
        return f"{trimmed}'" if self._code in _ENDS and ends and not begins else trimmed

    def _joined(self, words: Iterable[str]) -> str:
        """The words one space apart; Chinese and Japanese ones without, unless both are of Latin letters."""
        text = unicodedata.normalize("NFC", " ".join(words))
        return re.sub(r"(?<![a-z]) | (?![a-z])", "", text, flags=re.IGNORECASE) if self._code in _UNSPACED else text

    def _cased(self, text: str) -> str:
        return self._lower(text) if self.case == "lower" else self._upper(text) if self.case == "upper" else text

    def _lower(self, text: str) -> str:
        """As str.lower, for which the small I is always i."""
        text = text.replace("I", "ı").replace("İ", "i") if self._code in _DOTTED else text
        return unicodedata.normalize("NFC", text.lower())

    def _upper(self, text: str) -> str:
        """As str.upper, for which the capital i is always I, and that of ß is SS."""
        text = text.replace("i", "İ") if self._code in _DOTTED else text
        return unicodedata.normalize("NFC", text.replace("ß", "ẞ").upper())


@functools.cache
def _unify(sign: str) -> str:
    """What stands for a character: 'fi' for a ligature, 2 for a small one, "" for one that is not seen."""
    category = unicodedata.category(sign)
    if category == "Cf":
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(sign))
    if category[0] != "P" and category != "So" and sign not in _UNIFIED:
        sign = unicodedata.normalize("NFKC", sign)
    return "".join(_UNIFIED.get(one, one) for one in sign)


def _is_spoken(sign: str, category: str) -> bool:
    """Whether what is no letter is read out: digits, currencies, operators, and symbols that stand for words, as ℃."""
    if category == "So":
        return sign in _SPOKEN or unicodedata.normalize("NFKC", sign) != sign
    return category[0] == "N" or sign in _SPOKEN or (category in ("Sc", "Sm") and sign not in _SILENT)


def _signs(text: str) -> Iterator[str]:
    """Each character with the marks that follow it."""
    sign = ""
    for character in text:
        if sign and unicodedata.category(character)[0] != "M":
            yield sign
            sign = ""
        sign += character
    if sign:
        yield sign


def _changes(sign: str, new: str) -> Iterator[tuple[str, str]]:
    """(character, what it became) of a character that was changed: itself, or the marks on it."""
    if sign == new or sign.isspace():
        return
    if len(sign) > 1 and sign[0] == new:
        yield from ((mark, "") for mark in sign[1:])
    else:
        yield sign, new.strip()
