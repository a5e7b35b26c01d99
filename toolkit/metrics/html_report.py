"""What recognising a test set gave, as one HTML file: no network, no other file but the audio that it links to.

The utterances stand worst first, with their errors in colour and a player; a click on a column sorts by it, a text
above the table filters it. Colours follow the reader's setting, light or dark.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from toolkit.errors import DataError
from toolkit.files import write_atomically
from toolkit.metrics.alignment import DELETION, HIT, INSERTION, SUBSTITUTION, Edit, align
from toolkit.metrics.error_rate import ErrorRateTracker, ScoredUtterance
from toolkit.metrics.report import totals

# Rows that a browser still sorts at once; of more utterances, the worst.
MOST_ROWS = 10_000
LISTED = 20  # confusions of each kind

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1d2330; --soft: #667; --line: #dde; --wrong: #b3261e;
  --wrong-ground: #fde7e5; --right: #146c2e; --right-ground: #dff5e3; --lost-ground: #fff1cc; --lost: #7a5200; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171f; --ink: #e6e8ee; --soft: #99a; --line: #333a48;
  --wrong: #ffb4ab; --wrong-ground: #5c1a15; --right: #a6e7b4; --right-ground: #12401f; --lost-ground: #4a3800;
  --lost: #ffdf99; } }
body { background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto;
  max-width: 80rem; padding: 0 1rem; }
pre { font: 14px/1.5 ui-monospace, monospace; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .4rem .6rem; text-align: left; vertical-align: top; }
th { cursor: pointer; position: sticky; top: 0; background: var(--ground); white-space: nowrap; }
th[aria-sort=ascending]::after { content: " \\2191"; } th[aria-sort=descending]::after { content: " \\2193"; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.id { overflow-wrap: anywhere; min-width: 8rem; } td.words { min-width: 22rem; }
del { background: var(--wrong-ground); color: var(--wrong); } ins { background: var(--right-ground);
  color: var(--right); text-decoration: none; } .lost { background: var(--lost-ground); color: var(--lost);
  text-decoration: line-through; } .more { background: var(--wrong-ground); color: var(--wrong); }
del, ins, .lost, .more { border-radius: .25rem; padding: 0 .2rem; }
input { font: inherit; padding: .3rem .6rem; width: 20rem; max-width: 100%; }
audio { height: 2rem; width: 13rem; } .soft { color: var(--soft); }
.kinds { display: flex; flex-wrap: wrap; gap: 2rem; }
"""

SCRIPT = """
const table = document.querySelector("#utterances"), body = table.tBodies[0], rows = [...body.rows];
const value = (row, at) => { const cell = row.cells[at], number = cell.dataset.value;
  return number === undefined ? cell.textContent : Number(number); };
table.querySelectorAll("th").forEach((head, at) => head.addEventListener("click", () => {
  const up = head.getAttribute("aria-sort") === "descending";
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  rows.sort((a, b) => { const x = value(a, at), y = value(b, at);
    return (up ? 1 : -1) * (x < y ? -1 : x > y ? 1 : 0); });
  body.append(...rows);
}));
const filter = document.querySelector("#filter"), shown = document.querySelector("#shown");
filter.addEventListener("input", () => { const wanted = filter.value.toLowerCase(); let count = 0;
  for (const row of rows) { row.hidden = !row.textContent.toLowerCase().includes(wanted); count += !row.hidden; }
  shown.textContent = count + " shown";
});
"""


@dataclass(frozen=True)
class Extras:
    """What the report shows beside the texts.

    Attributes
    ----------
    audio : mapping of str to str
        By the utterance's id, the address of its recording.
    columns : mapping of str to mapping of str to str
        By their titles, columns that have something to say of some utterances, by their ids.
    """

    audio: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def write_html(tracker: ErrorRateTracker, file: str | Path, title: str, extras: Extras | None = None) -> None:
    """Write the report; the file is complete or absent.

    Raises
    ------
    DataError
        No utterance was scored.
    """
    if not tracker.utterances:
        raise DataError(f"{file}: no utterance was scored, so there is nothing to report")
    write_atomically(file, "\n".join(html_lines(tracker, title, extras or Extras())) + "\n")


def html_lines(tracker: ErrorRateTracker, title: str, extras: Extras) -> Iterator[str]:
    """The lines of the report."""
    yield '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n<h1>{escape(title)}</h1>"
    yield f"<pre>{escape(chr(10).join(line for line in totals(tracker)))}</pre>"
    yield "<h2>Most frequent confusions</h2>\n<div class=kinds>"
    for heading, op in (("Substitutions", SUBSTITUTION), ("Insertions", INSERTION), ("Deletions", DELETION)):
        yield from _confusions(tracker, heading, op)
    yield "</div>\n<h2>Utterances</h2>"
    yield from _table(tracker, extras)
    yield f"<script>{SCRIPT}</script>\n</html>"


def _confusions(tracker: ErrorRateTracker, heading: str, op: str) -> Iterator[str]:
    counted = [(-count, _pair(edit)) for edit, count in tracker.confusions.items() if edit.op == op]
    yield f"<div><h3>{heading}: {-sum(count for count, _ in counted)}</h3>\n<table>"
    for count, words in heapq.nsmallest(LISTED, counted):
        yield f"<tr><td class=number>{-count}<td>{' &rarr; '.join(map(escape, words))}"
    yield "</table></div>"


def _pair(edit: Edit) -> list[str]:
    return [word for word in (edit.ref, edit.hyp) if word is not None]


def _table(tracker: ErrorRateTracker, extras: Extras) -> Iterator[str]:
    rows = sorted(tracker.utterances.values(), key=lambda one: (-one.words.rate, -one.words.errors, one.id))
    left_out = f", the worst {MOST_ROWS:,} of {len(rows):,}" if len(rows) > MOST_ROWS else ""
    yield '<p><input id=filter type=search placeholder="an id, a word, a speaker" aria-label="filter"> '
    yield f"<span id=shown class=soft>{min(len(rows), MOST_ROWS):,} shown</span>{left_out}. "
    yield "<del>said</del> <ins>recognised instead</ins>, <span class=lost>left out</span>, "
    yield "<span class=more>added</span></p>"
    heads = ["Utterance", *extras.columns, "WER", "Errors", "Words", "What was said and recognised"]
    heads += ["Recording"] if extras.audio else []
    yield f"<table id=utterances>\n<thead><tr>{''.join(f'<th>{escape(head)}' for head in heads)}</thead>\n<tbody>"
    for one in rows[:MOST_ROWS]:
        yield _row(one, extras)
    yield "</tbody></table>"


def _row(one: ScoredUtterance, extras: Extras) -> str:
    numbers = (one.words.rate, one.words.errors, one.words.reference_length)
    cells = [f"<td class=id>{escape(one.id)}"]
    cells += [f"<td>{escape(column.get(one.id, ''))}" for column in extras.columns.values()]
    cells += [f"<td class=number data-value={number}>{round(number)}" for number in numbers]
    cells += [f"<td class=words>{aligned(align(one.reference.split(), one.hypothesis.split()))}"]
    if extras.audio:
        source = extras.audio.get(one.id)
        cells.append(f'<td><audio controls preload=none src="{escape(source)}"></audio>' if source else "<td>")
    return f"<tr>{''.join(cells)}"


def aligned(edits: Sequence[Edit]) -> str:
    """The words as HTML, with the errors marked."""
    return " ".join(map(_marked, edits))


def _marked(edit: Edit) -> str:
    ref, hyp = escape(edit.ref or ""), escape(edit.hyp or "")
    if edit.op == HIT:
        return ref
    if edit.op == SUBSTITUTION:
        return f"<del>{ref}</del> <ins>{hyp}</ins>"
    return f"<span class=lost>{ref}</span>" if edit.op == DELETION else f"<span class=more>{hyp}</span>"
