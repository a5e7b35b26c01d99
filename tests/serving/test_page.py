"""The page as the service sends it: what browsers are told of it, and that all of it is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import client_of
from starlette.testclient import TestClient

from toolkit.serving.page import FOLDER

ROOT = Path(__file__).parents[2]
FILES = sorted(file.name for file in FOLDER.iterdir())
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    # the page asks for a key: it needs none itself
    with client_of(tmp_path_factory.mktemp("uploads"), api_key_hashes=("0" * 64,)) as client:
        yield client


def test_the_page_is_at_the_root(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<title>Transcribe</title>" in answer.text
    assert client.head("/").status_code == 200


@pytest.mark.parametrize("name", FILES)
def test_files_have_their_types_and_are_kept_until_they_change(client: TestClient, name: str) -> None:
    answer = client.get(f"/static/{name}")
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"].startswith(TYPES[Path(name).suffix])
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(f"/static/{name}", headers={"If-None-Match": f'"other", W/{answer.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert client.get(f"/static/{name}", headers={"If-None-Match": '"other"'}).status_code == 200


def test_nothing_is_loaded_from_elsewhere_and_nothing_inline(client: TestClient) -> None:
    headers = client.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy.pop("media-src") == "blob:"
    assert set(policy.values()) == {"'none'", "'self'"}
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["nothing.js", "..%2Fpage.py", "%2e%2e/page.py", "page/../../page.py"])
def test_there_is_nothing_else(client: TestClient, path: str) -> None:
    answer = client.get(f"/static/{path}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_all_addresses_are_relative_and_lead_somewhere() -> None:
    """Behind a proxy the page lies under any path, and asks for everything beside itself."""
    page = (FOLDER / "index.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert {"static/style.css", "static/main.js", "static/theme.js", "static/icon.svg"} == set(addresses)
    scripts = [file for file in FILES if file.endswith(".js")]
    imported = set()
    for script in scripts:
        text = (FOLDER / script).read_text()
        assert not re.findall(r"""["'`](?:https?:)?//?\w""", text), script
        imported |= set(re.findall(r'(?:from|URL\() ?"(?:\./)?([\w-]+\.js)"', text))
    assert imported | {"main.js", "theme.js"} == set(scripts)


def test_the_page_is_installed_with_the_package() -> None:
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "setup"
    )
    data = next(ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg == "package_data")
    assert {file.name for pattern in data["toolkit.serving"] for file in FOLDER.parent.glob(pattern)} == set(FILES)
