"""Audio files with exactly the samples of a cut."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from lhotse import AudioSource
from lhotse.cut import Cut, MixedCut

from toolkit.dataio.containers import AudioInfo
from toolkit.dataio.cut_audio import load_channels
from toolkit.dataio.tar_members import TarMember
from toolkit.errors import AudioError

# Of what libsndfile calls the containers that are passed on as they are.
_SUFFIXES = {"FLAC": ".flac", "WAV": ".wav", "WAVEX": ".wav", "OGG": ".ogg", "MP3": ".mp3"}

# Manifests round durations to a hundredth of a second: what is missing at the end was not cut off.
ROUNDING_S = 0.0051

_FLAC_CHANNELS = 8  # at most


@dataclass(frozen=True)
class AudioFile:
    """A file in memory, the suffix that its name should have, and what it holds."""

    content: bytes
    suffix: str
    info: AudioInfo


def audio_file(cut: Cut) -> AudioFile:
    """A file with the samples of a cut: its own where it is the whole of one, else one without loss.

    Raises
    ------
    AudioError
        Names the utterance, the file and the reason.
    """
    return _own_file(cut) or encode(load_channels(cut), cut.sampling_rate)


def encode(samples: np.ndarray, rate: int) -> AudioFile:
    """FLAC where 16 or 24 bits hold the samples (C, S) float32 exactly, else WAV of floating-point numbers."""
    info = AudioInfo(rate, samples.shape[1], samples.shape[0])
    for bits in (16, 24):
        scaled = samples * np.float32(2 ** (bits - 1))  # exact, as a power of two
        whole = np.array_equal(scaled, np.rint(scaled)) and scaled.max(initial=0) < 2 ** (bits - 1)
        if whole and scaled.min(initial=0) >= -(2 ** (bits - 1)) and len(samples) <= _FLAC_CHANNELS:
            numbers = scaled.astype(np.int32) << (32 - bits)  # soundfile takes the upper bits
            return AudioFile(_written(numbers, rate, "FLAC", f"PCM_{bits}"), ".flac", info)
    return AudioFile(_written(samples, rate, "WAV", "FLOAT"), ".wav", info)


def _written(samples: np.ndarray, rate: int, container: str, subtype: str) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples.T, rate, format=container, subtype=subtype)
    return stream.getvalue()


def is_whole(cut: Cut) -> bool:
    """Whether the audio of a cut is all of a single file, as it is there."""
    if isinstance(cut, MixedCut) or cut.recording.transforms or len(cut.recording.sources) != 1 or cut.start:
        return False
    channels = [cut.channel] if isinstance(cut.channel, int) else cut.channel
    return channels == cut.recording.channel_ids and cut.recording.duration - cut.duration <= ROUNDING_S


def _own_file(cut: Cut) -> AudioFile | None:
    """The file that the cut is the whole of, if it is, and in a container that everybody reads."""
    content = _bytes(cut.recording.sources[0]) if is_whole(cut) else None
    if content is None:
        return None
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as audio:
            info, suffix = AudioInfo(audio.samplerate, audio.frames, audio.channels), _SUFFIXES.get(audio.format)
            if suffix is None or not _agree(info, cut):
                return None
            audio.seek(audio.frames - 1)  # a file that is cut off shows it here
            there = len(audio.read(1))
    except soundfile.LibsndfileError:  # decoding it says what is wrong, or reads it by other means
        return None
    if not there:
        raise AudioError(f"utterance {cut.id!r}: {cut.recording.sources[0].source}: cut off; copy the file again")
    return AudioFile(content, suffix, info)


def _agree(info: AudioInfo, cut: Cut) -> bool:
    same = (info.sample_rate, info.channels) == (cut.sampling_rate, cut.recording.num_channels)
    return same and abs(info.length - cut.duration) <= ROUNDING_S


def _bytes(source: AudioSource) -> bytes | None:
    if isinstance(source, TarMember):
        return source.read()
    if source.type == "memory":
        return source.source
    try:
        return Path(source.source).read_bytes() if source.type == "file" else None
    except OSError:  # decoding it says why
        return None
