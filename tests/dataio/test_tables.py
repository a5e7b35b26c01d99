"""Tables of transcripts, as spreadsheets and corpora write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.dataio.prepare import Dropped
from toolkit.dataio.tables import read_table
from toolkit.errors import DataError

SAID = [("a.wav", 'HELLO, "YOU"'), ("b", "WORLD; HO")]


@pytest.mark.parametrize(
    "text",
    [
        'a.wav\tHELLO, "YOU"\nb\tWORLD; HO\n',
        'a.wav|HELLO, "YOU"|hello you\r\nb|WORLD; HO|world ho\r\n',
        '\ufefffile_name;Text\na.wav;"HELLO, ""YOU"""\n\nb;"WORLD; HO"\n',
        'client_id,sentence,path\n1,"HELLO, ""YOU""",a.wav\n2,WORLD; HO,b\n',
    ],
)
def test_whatever_parts_the_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "table").write_text(text, encoding="utf-8", newline="")
    dropped = Dropped()
    lines = list(read_table(tmp_path / "table", dropped))
    assert [(line["file"], line["words"]) for line in lines] == SAID
    assert [line.get("speaker") for line in lines] == (["1", "2"] if "client_id" in text else [None, None])
    assert len(dropped) == 0


def test_lines_that_are_too_short_are_counted(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("a\tA\nlonely\nb\tB\n")
    dropped = Dropped()
    assert [line["words"] for line in read_table(tmp_path / "table.tsv", dropped)] == ["A", "B"]
    assert dropped.reasons == {"lines with too few columns": [f"{tmp_path}/table.tsv, line 2: lonely"]}


def test_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").touch()
    assert list(read_table(tmp_path / "table.tsv", Dropped())) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"who,text\nanna,A\n", r"table\.csv: no column of files \(file, .*\) among who, text"),
        (b"a,\xe4\n", r"table\.csv: not UTF-8 \(.* at byte 2\); save it as UTF-8"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_table(tmp_path / "table.csv", Dropped()))
