"""Count the errors of what was recognised.

    asr score manifests/test.json transcripts.jsonl
    asr score manifests/test.json transcripts.jsonl --by speaker --html report.html
    asr score test.stm first.ctm second.ctm --lower --no-punctuation

Prints word, sentence and character error rates; of several HYP also how sure it is that they differ. REF and HYP are
txt (an id, a tab or a space, the words), jsonl of `asr transcribe`, trn, ctm, stm, or any manifest or folder of data.
Ids are the same in both, or, where none is, names of audio files.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from toolkit.dataio.transcripts import Spoken
    from toolkit.metrics.error_rate import ErrorRateTracker
    from toolkit.metrics.html_report import Extras

References = Mapping[str, "Spoken"]


def main(arguments: Sequence[str]) -> int:
    """Score as the command line says; the exit status."""
    options = parse(arguments)
    from toolkit.dataio.transcripts import read_transcripts

    references = read_transcripts(options.ref)
    trackers = [score(references, hyp, options) for hyp in options.hyp]
    for hyp, tracker in zip(options.hyp, trackers, strict=True):
        print(*([hyp] if len(trackers) > 1 else []), *report_of(tracker, references, options), sep="\n")
    for line in comparisons(options.hyp, trackers):
        print(line)
    if options.html:
        from toolkit.metrics.html_report import write_html

        extras = extras_of(references, options)
        write_html(trackers[0], options.html, f"{options.hyp[0]} against {options.ref}", extras)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr score", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ref", type=Path, metavar="REF", help="what was said")
    parser.add_argument("hyp", type=Path, nargs="+", metavar="HYP", help="what was recognised")
    parser.add_argument("--by", metavar="FIELD", help="the errors of each speaker, or of any field of REF")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a report of the (first) HYP, with audio players")
    parser.add_argument("--embed-audio", action="store_true", help="put the audio into the report, not links to it")
    parser.add_argument("--lower", action="store_true", help="ignore the case of letters")
    parser.add_argument("--no-punctuation", action="store_true", help="ignore all but letters, digits and apostrophes")
    parser.add_argument(
        "--missing", choices=["deletions"], help="count what has no transcript as not recognised (default: an error)"
    )
    return parser.parse_args(arguments)


def score(references: References, hyp: Path, options: argparse.Namespace) -> ErrorRateTracker:
    """The errors of one system."""
    from toolkit.dataio.transcripts import match, read_transcripts
    from toolkit.metrics.error_rate import ErrorRateTracker

    found = match(references, read_transcripts(hyp), where=str(hyp), missing=options.missing == "deletions")
    tracker = ErrorRateTracker()
    for name, text in found.items():
        tracker.add(name, normalised(references[name].text, options), normalised(text, options))
    return tracker


def normalised(text: str, options: argparse.Namespace) -> str:
    """The text without what is to be ignored."""
    if options.lower:
        text = text.lower()
    if options.no_punctuation:
        text = "".join(one if _is_of_a_word(one) else " " for one in unicodedata.normalize("NFC", text))
    return text


def _is_of_a_word(character: str) -> bool:
    """Whether it is a letter, a mark of one, a digit or an apostrophe."""
    return character in "'\u2019" or unicodedata.category(character)[0] in "LMN"


def report_of(tracker: ErrorRateTracker, references: References, options: argparse.Namespace) -> Iterator[str]:
    """What is printed of one system."""
    from toolkit.metrics.report import totals

    yield from totals(tracker)
    if options.by:
        yield ""
        yield from groups(tracker, references, options.by)


def groups(tracker: ErrorRateTracker, references: References, by: str) -> Iterator[str]:
    """A table of the errors of each value of a field, the worst first."""
    from toolkit.metrics.bootstrap import interval
    from toolkit.metrics.error_rate import ErrorRate

    values = field_of(references, by)
    parts: dict[str, list[ErrorRate]] = {}
    for name, utterance in tracker.utterances.items():
        parts.setdefault(values.get(name, "(none)"), []).append(utterance.words)
    sums = {value: sum(counts, ErrorRate()) for value, counts in parts.items()}
    width = max(map(len, [by, *parts]))
    yield f"{by:{width}}  utterances  words  errors    WER  95 % interval"
    for value, total in sorted(sums.items(), key=lambda pair: (-pair[1].rate, pair[0])):
        found = interval(parts[value])
        ends = f"{found[0]:.2f} to {found[1]:.2f}" if found else "too few utterances"
        counts = f"{len(parts[value]):10}  {total.reference_length:5}  {total.errors:6}"
        yield f"{value:{width}}  {counts}  {total.rate:5.2f}  {ends}"


def field_of(references: References, name: str) -> dict[str, str]:
    """A field's values, by the ids of those that have it.

    Raises
    ------
    DataError
        None has; names the fields that there are.
    """
    values = {key: str(one.fields[name]) for key, one in references.items() if name in one.fields}
    if not values:
        known = sorted({field for one in references.values() for field in one.fields})
        hint = f"{did_you_mean(name, known)}; they have: {', '.join(known) or 'none'}"
        raise DataError(f"--by {name}: no reference has this field{hint}")
    return values


def comparisons(names: Sequence[Path], trackers: Sequence[ErrorRateTracker]) -> Iterator[str]:
    """How each further system differs from the first."""
    from toolkit.metrics.bootstrap import difference

    first, *others = ([utterance.words for utterance in tracker.utterances.values()] for tracker in trackers)
    for name, other in zip(names[1:], others, strict=True):
        found = difference(first, other)
        change = f"{name}: WER {found.rate:+.2f} against {names[0]}"
        if found.interval is None:
            yield f"{change}; too few utterances for a confidence interval"
            continue
        low, high = found.interval
        yield (
            f"{change}, 95 % confidence interval {low:+.2f} to {high:+.2f}; better in {100 * found.better:.1f} % of "
            "resamples (paired bootstrap over utterances)"
        )


def extras_of(references: References, options: argparse.Namespace) -> Extras:
    """What the HTML report shows beside the texts."""
    from toolkit.metrics.html_report import Extras

    columns = {options.by: field_of(references, options.by)} if options.by else {}
    named = {name: one for name, one in references.items() if one.audio and Path(one.audio).is_file()}
    if options.embed_audio:
        return Extras({name: embedded(one) for name, one in named.items()}, columns)
    return Extras({name: link(one, options.html) for name, one in named.items()}, columns)


def link(spoken: Spoken, page: Path) -> str:
    """The address of a recording, or a part of it, as seen from a page."""
    from os.path import relpath
    from urllib.parse import quote

    address = quote(relpath(spoken.audio, page.parent))
    return address if spoken.seconds is None else f"{address}#t={spoken.start:.2f},{spoken.start + spoken.seconds:.2f}"


def embedded(spoken: Spoken) -> str:
    """The recording itself as an address."""
    import base64
    import io

    import soundfile

    from toolkit.dataio.containers import decode_audio

    samples, rate = decode_audio(spoken.audio, spoken.start, spoken.seconds)
    stream = io.BytesIO()
    soundfile.write(stream, samples.T, rate, format="FLAC")
    return f"data:audio/flac;base64,{base64.b64encode(stream.getvalue()).decode()}"
