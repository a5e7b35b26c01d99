"""What preparation scripts make of their options, of bad input and of Ctrl-C."""

from __future__ import annotations

import pytest

from toolkit.dataio.script import add_spelling, corpus_parser, run, spelling_of
from toolkit.errors import ConfigError, DataError


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("/data is not AN4"), 2, "error: /data is not AN4\n"),
        (KeyboardInterrupt(), 130, "\nstopped; the same command goes on\n"),
    ],
)
def test_one_sentence_and_a_status(
    error: BaseException, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == message


def test_a_corpus_that_cannot_be_fetched_has_no_option_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert corpus_parser("story", holds="wav/", download="a.org (1 GB)").parse_args(["a", "b", "--download"]).download
    with pytest.raises(SystemExit):
        corpus_parser("story", holds="wav/").parse_args(["a", "b", "--download"])
    assert "unrecognized arguments: --download" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "words"), [
    ([], "l'été ecossais a tout"),
    (["--case", "upper", "--keep", "'-", "--letters", "ș"], "L'ÉTÉ ECOSSAIS-A TOUT"),
    (["--replace", "é=e", "à=a"], "l'ete ecossais a tout"),
])  # fmt: skip
def test_options_say_how_transcripts_are_written(options: list[str], words: str) -> None:
    parser = corpus_parser("A story.", holds="nothing")
    add_spelling(parser)
    args = parser.parse_args(["data", "manifests", *options])
    assert spelling_of("fr", args)("L’été Ecossais-a tout !") == words


def test_an_option_with_an_impossible_value_is_named() -> None:
    parser = corpus_parser("A story.", holds="nothing")
    add_spelling(parser)
    with pytest.raises(ConfigError, match="--replace 'é': expected A=B"):
        spelling_of("fr", parser.parse_args(["data", "manifests", "--replace", "é"]))
    with pytest.raises(SystemExit):
        parser.parse_args(["data", "manifests", "--case", "title"])
