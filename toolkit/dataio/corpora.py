"""From the manifests of ``lhotse.recipes``, which read many corpora, to ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.dataio.prepare import Dropped, Utterance, collect, describe_audio

if TYPE_CHECKING:
    from lhotse import RecordingSet, SupervisionSet
    from lhotse.supervision import SupervisionSegment


def utterances_of(
    recordings: RecordingSet,
    supervisions: SupervisionSet,
    data_root: Path,
    dropped: Dropped,
    *,
    words: Callable[[SupervisionSegment], str] = lambda supervision: supervision.text,
) -> dict[str, Utterance]:
    """Our utterances of a corpus in which each recording is one: by name, with speaker and language where given.

    ``words`` says what is spoken. Supervisions without audio or words, and audio that cannot be read, are counted in
    ``dropped``.
    """
    files = {recording.id: Path(recording.sources[0].source) for recording in recordings}
    spoken = {one.recording_id: one for one in supervisions}
    for name in sorted(files.keys() - spoken.keys()):
        dropped.add("without a transcript", str(files[name]))
    pairs = []
    for name, supervision in spoken.items():
        text = words(supervision) or ""
        if name not in files:
            dropped.add("without audio", name)
        elif not text.strip():
            dropped.add("with an empty transcript", name)
        else:
            pairs.append((name, text, files[name]))

    def make_utterance(text: str, path: Path) -> Utterance:
        return {**describe_audio(path, data_root), "words": text}

    utterances = collect(pairs, make_utterance, dropped)
    for name, utterance in utterances.items():
        utterance |= {field: value for field in ("speaker", "language") if (value := getattr(spoken[name], field))}
    return utterances
