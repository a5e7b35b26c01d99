"""From the manifests of ``lhotse.recipes``, which read many corpora, to ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.dataio.prepare import Dropped, Utterance, collect, describe_audio, match_transcripts

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.supervision import SupervisionSegment


def utterances_of(
    recordings: Iterable[Recording],
    supervisions: Iterable[SupervisionSegment],
    data_root: Path,
    dropped: Dropped,
    *,
    words: Callable[[SupervisionSegment], str] = lambda supervision: supervision.text,
) -> dict[str, Utterance]:
    """Our utterances of a corpus in which each recording is one: by name, with speaker and language where given.

    ``words`` says what is spoken. Supervisions without audio or words, further ones of a recording, and audio that
    cannot be read, are counted in ``dropped``.
    """
    files = {recording.id: Path(recording.sources[0].source) for recording in recordings}
    spoken: dict[str, SupervisionSegment] = {}
    for supervision in supervisions:
        if spoken.setdefault(supervision.recording_id, supervision) is not supervision:
            dropped.add("of a recording with another transcript", supervision.id)

    def make_utterance(text: str, path: Path) -> Utterance:
        return {**describe_audio(path, data_root), "words": text}

    texts = {name: words(supervision) or "" for name, supervision in spoken.items()}
    utterances = collect(match_transcripts(texts, files, dropped), make_utterance, dropped)
    for name, utterance in utterances.items():
        utterance |= {field: value for field in ("speaker", "language") if (value := getattr(spoken[name], field))}
    return utterances
