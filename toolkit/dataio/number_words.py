"""Numbers in words, in the languages and of the numbers of which it is certain what is said."""

from __future__ import annotations

import importlib.util
import re

from toolkit.errors import MissingDependencyError

# Of each language, numbers that are said in several ways: with the gender or the case of what is counted (un livre, une
# page; doscientos, doscientas), as years are (nineteen eighty-four), or with less (one hundred, a hundred). A language
# that is not here declines most of its numbers, as Slavic ones do, counts in two ways (Korean), or isn't known well.
_ENDS_IN_1, _HUNDREDS_OR_YEARS = r"(\d*[^1])?1", r"1\d\d\d?|20\d\d"
_UNCERTAIN = {
    "az": "",
    "bn": r"\d{3,}",
    "ca": r"\d*[2-9]\d\d|2\d{3}|(\d*[^1])?[12]",
    "da": r"1|\d{3,}",
    "de": f"{_ENDS_IN_1}|{_HUNDREDS_OR_YEARS}",
    "en": _HUNDREDS_OR_YEARS,
    "eo": "",
    "es": rf"\d*[2-9]\d\d|{_ENDS_IN_1}",
    "fa": "",
    "fr": r"(\d*[^179])?1",
    "hu": r"\d*2",
    "id": "",
    "it": _ENDS_IN_1,
    "ja": "",
    "nl": r"(\d*0)?1|1[1-9]\d\d|20\d\d",
    "no": f"{_ENDS_IN_1}|{_HUNDREDS_OR_YEARS}",
    "pt": r"\d*[2-9]\d\d|2\d{3}|(\d*[^1])?[12]",
    "ro": rf"{_ENDS_IN_1}|\d*2",
    "sv": f"{_ENDS_IN_1}|{_HUNDREDS_OR_YEARS}",
    "th": "",
    "tr": r"\d{2,}",  # num2words writes them as one word, which nobody does
    "vi": r"\d*0[1-9]|\d{4,}",
}
# What is said of larger ones, num2words does not always know: veintiuno mil.
_LARGEST = 9999


def require_num2words() -> None:
    """Nothing, where numbers can be put into words.

    Raises
    ------
    MissingDependencyError
        They cannot.
    """
    if importlib.util.find_spec("num2words") is None:
        raise MissingDependencyError("digits: words needs num2words; pip install 'asr-recipes[text]'")


def in_words(number: int, language: str) -> str | None:
    """A number in the words of a language such as ``de`` or ``pt-BR``; None where they are uncertain or unknown."""
    code, language = re.split("[-_]", language)[0].lower(), language.replace("-", "_")
    if code not in _UNCERTAIN or number > _LARGEST or re.fullmatch(_UNCERTAIN[code], str(number)):
        return None
    import num2words

    return num2words.num2words(number, lang=language if language in num2words.CONVERTER_CLASSES else code)
