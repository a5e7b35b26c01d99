"""The command line that preparations share."""

from __future__ import annotations

import pytest

from toolkit.dataio.script import add_spelling, corpus_parser, spelling_of
from toolkit.errors import ConfigError


@pytest.mark.parametrize(("options", "words"), [
    ([], "l'été ecossais a tout"),
    (["--case", "upper", "--keep", "'-", "--letters", "ș"], "L'ÉTÉ ECOSSAIS-A TOUT"),
    (["--replace", "é=e", "à=a"], "l'ete ecossais a tout"),
])  # fmt: skip
def test_options_say_how_transcripts_are_written(options: list[str], words: str):
    parser = corpus_parser("A story.", holds="nothing")
    add_spelling(parser)
    args = parser.parse_args(["data", "manifests", *options])
    assert spelling_of("fr", args)("L’été Ecossais-a tout !") == words


def test_an_option_with_an_impossible_value_is_named():
    parser = corpus_parser("A story.", holds="nothing")
    add_spelling(parser)
    with pytest.raises(ConfigError, match="--replace 'é': expected A=B"):
        spelling_of("fr", parser.parse_args(["data", "manifests", "--replace", "é"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["data", "manifests", "--case", "title"])
