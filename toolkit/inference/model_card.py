"""The README.md of an exported model: what it is, how well it does, where it comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

WIDTH = 120
FORMS = {
    "float32": "in float32, as they were trained",
    "int8": "as int8, with a scale for each row of a matrix",
    "onnx": "in float32, those of the encoder and the CTC output as an ONNX graph (`asr-recipes[onnx]` runs it)",
}
NO_LICENCE = "None was named. Ask who made the model, and mind the licences of the data that it was trained on."


def model_card(name: str, facts: Mapping[str, Any], notes: str) -> str:
    """The card of a model as Markdown: of what provenance.json says, and of what its maker adds."""
    blocks = [*_opening(name, facts), *_rates(facts), *_data(facts["training"]["data"]), *([notes] if notes else [])]
    blocks += ["## Licence", _filled(facts["license"] or NO_LICENCE), *_making(facts)]
    return "\n\n".join(blocks) + "\n"


def _opening(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    model, exported = facts["model"], facts["exported"]
    averaged = exported["checkpoints averaged"] or 1
    mean = f"the mean of {averaged} checkpoints, " if averaged > 1 else ""
    yield f"# {name}"
    yield _filled(
        f"A speech recogniser: {model['class']} with the encoder {model['encoder']}, searched by {model['search']}; "
        f"{model['parameters']:,} parameters, {model['tokens']} tokens, {model['sample_rate']} Hz (other audio is "
        f"resampled). The weights are {mean}{FORMS[exported['weights']]}."
    )
    yield f"```bash\nasr transcribe path/to/{name} recording.wav\n```"


def _rates(facts: Mapping[str, Any]) -> Iterator[str]:
    tests, compared = facts["training"]["tests"], facts["comparison"]
    rows = [("the run, when trained", test, rates["WER"], rates["CER"]) for test, rates in tests.items()]
    for who, key in (("the run, now", "before"), ("this folder", "after")) if compared["test"] else ():
        rates = compared[key]
        rows.append((who, f"{compared['test']} ({compared['utterances']} utterances)", rates["wer"], rates["cer"]))
    yield "## How well it does"
    yield _table("what | test set | WER (%) | CER (%)", rows) if rows else "It was not tested."
    yield _filled(
        f"Beside the run, on {compared['audio']}: CTC log-probabilities differ by {compared['difference']:.2g} at "
        f"most, and the most likely token is the same in {compared['agreement']:.1%} of frames."
    )


def _data(sets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    counted = [
        (name, counts["utterances"], counts["hours"], counts.get("speakers", "not known"))
        for name, counts in sets.items()
        if "hours" in counts
    ]
    yield "## Data"
    if counted:
        yield _table("data set | utterances | hours | speakers", counted)
    for name, counts in sets.items():
        if "unknown" in counts:
            yield _filled(
                f"{name}: not counted, as where this was exported it could not be read ({counts['unknown']})."
            )
    if not sets:
        yield "Not known: the YAML names none."


def _making(facts: Mapping[str, Any]) -> Iterator[str]:
    yield "## How it was made"
    done = [
        f"{one['date']}: `{one['command']}`, commit {one.get('commit', 'unknown')}"
        for one in facts["training"]["commands"]
    ]
    done.append(f"{facts['exported']['date']}: `{facts['exported']['command']}`")
    yield "\n".join(f"- {one}" for one in done)
    yield "`provenance.json` has the YAML and the log of the training, and the versions of all packages."


def _table(heads: str, rows: list[tuple[Any, ...]]) -> str:
    lines = [[heads], ["---"] * len(rows[0]), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _filled(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)
