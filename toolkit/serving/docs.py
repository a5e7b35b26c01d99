"""``GET /docs``: the routes as a page for people, made of ``/openapi.json`` without any script, font or network."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
section { border-top: 1px solid #8886; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
td { border-bottom: 1px solid #8883; padding: .3rem 1rem .3rem 0; vertical-align: top }
pre { background: #8882; padding: 1rem; overflow: auto; max-height: 24rem }
"""
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


@router.head("/docs")
@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request) -> HTMLResponse:
    """The page."""
    return HTMLResponse(page_of(request.app.openapi()), headers=HEADERS)


def page_of(api: Mapping[str, Any]) -> str:
    """All routes of an OpenAPI document, as HTML."""
    title = html.escape(f"{api['info']['title']}, {api['info']['version']}")
    routes = [
        "".join(_route(api, f"{method.upper()} {path}", route))
        for path, methods in api["paths"].items()
        for method, route in methods.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        f'<p>For programs: <a href="openapi.json">openapi.json</a>.</p>{"".join(routes)}</html>'
    )


def _route(api: Mapping[str, Any], name: str, route: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2><code>{html.escape(name)}</code></h2>"
    yield from (f"<p>{_text(part)}</p>" for part in route.get("description", "").split("\n\n"))
    yield from _table("Parameters", {found["name"]: found for found in route.get("parameters", ())})
    for kind, body in route.get("requestBody", {}).get("content", {}).items():
        yield from _table(f"Fields ({kind})", _resolved(api, body["schema"]).get("properties", {}))
    yield from _table("Answers", route["responses"])
    for kind, body in route["responses"].get("200", {}).get("content", {}).items():
        yield from (f"<h3>Example ({html.escape(kind)})</h3><pre>{_shown(one)}</pre>" for one in _examples(api, body))
    yield "</section>"


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        yield f"<h3>{html.escape(title)}</h3><table>"
        for name, row in rows.items():
            yield f"<tr><td><code>{html.escape(name)}</code><td>{_text(row.get('description', ''))}"
        yield "</table>"


def _examples(api: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[Any]:
    if "example" in body:
        yield body["example"]
    yield from (one["value"] for one in body.get("examples", {}).values())
    yield from _resolved(api, body.get("schema", {})).get("examples", ())


def _resolved(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A schema, or what ``{"$ref": "#/components/schemas/Transcription"}`` is."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return api["components"]["schemas"][name] if name else schema


def _shown(example: Any) -> str:
    """JSON as a program would lay it out."""
    return html.escape(example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False))


def _text(text: str) -> str:
    """A sentence, with `code` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
