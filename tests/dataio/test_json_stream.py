"""Lists in JSON files that are too large to be read as one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import toolkit.dataio.json_stream
from toolkit.dataio.json_stream import read_items
from toolkit.errors import DataError

ITEMS = [{"name": 'ü"]\\', "parts": [{"n": 1.5e-3, "b": True}, None]}, {}, {"long": "x" * 300}, {"last": -12}]


@pytest.mark.parametrize("block", [40, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_items_are_whole_wherever_blocks_end(
    block: int, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolkit.dataio.json_stream, "_BLOCK", block)
    path = tmp_path / "a.json"
    for ensure_ascii in (True, False):
        document = {"v": 1, "items": ITEMS, "more": [1]}
        path.write_text(json.dumps(document, indent=indent, ensure_ascii=ensure_ascii), encoding="utf-8")
        assert list(read_items(path, "items")) == ITEMS


def test_an_empty_list_has_no_items(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"items": [ ]}')
    assert list(read_items(tmp_path / "a.json", "items")) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"items": [{"a": 1}, {"b"', "ends within its list, at character 25"),
        ('{"items": [{"a": 1}, ', "ends within its list"),
        ('{"items": [{"a": oops, "b": "it goes on for long"}]}', r"damaged at character 17 .*'oops"),
        ('{"others": []}', "has no list 'items'"),
    ],
)
def test_damage_is_placed(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_items(tmp_path / "a.json", "items"))


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"items": ["\xff"]}')
    with pytest.raises(DataError, match=r"a\.json: not a text in UTF-8"):
        list(read_items(tmp_path / "a.json", "items"))
    with pytest.raises(DataError, match=r"b\.json: cannot be read"):
        list(read_items(tmp_path / "b.json", "items"))
