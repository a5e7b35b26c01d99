"""What preparation scripts make of bad input and of Ctrl-C."""

from __future__ import annotations

import pytest

from toolkit.dataio.script import corpus_parser, run
from toolkit.errors import DataError


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
