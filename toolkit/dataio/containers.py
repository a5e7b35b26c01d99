"""Audio files as numbers: what a container holds, and its samples, at its own rate and channels.

wav, flac, ogg, mp3, NIST SPHERE and the like are read by libsndfile; what it does not know (m4a, webm, amr...) by
FFmpeg through PyAV. Nothing here needs torch, so that preparing a corpus starts at once.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from toolkit.errors import AudioError, NotAudioError

if TYPE_CHECKING:
    import av

# What libsndfile says of a FLAC that was written to a pipe, and so has no length in its header, is beyond this.
UNKNOWN_FRAMES = 2**62

# What libsndfile says of samples that end before their size: `data : 32000 (should be 15978)` of WAV, SSND of AIFF,
# Data Size of AU. FFmpeg and SoX give a size of 2 GiB or more to what they write to a pipe.
CUT_CHUNK = re.compile(r"^ *(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_BYTES = 0x7FFFF000

OGG_PAGE_BYTES = 65307  # at most
CUT_TOLERANCE_S = 1.0  # a container's length counts the silence that coders add, and rounds
MALFORMED = 3  # libsndfile's code of a file that it knows and cannot make sense of

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".sph", ".m4a")

# Between a manifest's length of an utterance and the samples there are: manifests round to a hundredth of a second.
LENGTH_TOLERANCE_S = 0.05

# What FFmpeg may take a file for: what holds audio itself. A playlist (HLS, DASH, ffconcat) would have it read others.
FFMPEG_OPTIONS = {
    "format_whitelist": "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,dv,eac3,flac,flv,gsm,iff,ilbc,"
    "loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,tak,tta,voc,w64,wav,webm,"
    "wtv,wv",
    "protocol_whitelist": "file",
}

_BLOCK = 1 << 20  # samples

# Other encodings cannot hold what is not a number.
_FLOATING = ("FLOAT", "DOUBLE")


@dataclass(frozen=True)
class AudioInfo:
    """What a manifest needs to know of an audio file, so that loading need not open it again."""

    sample_rate: int
    num_samples: int
    channels: int = 1

    @property
    def length(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


def probe_audio(path: str | Path) -> AudioInfo:
    """Rate, samples and channels of a file, whose last sample was decoded to show that the file is whole.

    Raises
    ------
    AudioError
        Names the file and why: missing, empty, not audio, zero samples, or cut off.
    """
    audio = _open(path)
    if audio is None:
        samples, rate = _decode_with_ffmpeg(path)
        return AudioInfo(rate, samples.shape[1], samples.shape[0])
    with audio:
        _check_whole(audio, Path(path))
        _check_samples(path, audio.frames)
        _read_last(audio, path)
        return AudioInfo(audio.samplerate, audio.frames, audio.channels)


def header_seconds(path: str | Path) -> float:
    """How long a file says that it is, found without decoding; 0.0 where it does not say. Archives are sorted by it.

    Raises
    ------
    AudioError
        Names the file and why: missing, empty, or not audio.
    """
    audio = _open(path)
    if audio is not None:
        with audio:
            return audio.frames / audio.samplerate
    with _ffmpeg(path) as container:
        return (container.duration or 0) / 1e6  # microseconds


def read_header(path: str | Path) -> AudioInfo:
    """Rate, samples and channels of a file, as its header says; nothing is decoded where that tells.

    Raises
    ------
    AudioError
        Names the file and why: missing, empty, not audio, or zero samples.
    """
    audio = _open(path)
    if audio is None:
        return probe_audio(path)
    with audio:
        _check_samples(path, audio.frames)
        return AudioInfo(audio.samplerate, audio.frames, audio.channels)


def read_header_of_bytes(content: bytes, where: str) -> AudioInfo:
    """Rate, samples and channels of a file that libsndfile knows, in memory; ``where`` it is from is for messages.

    Raises
    ------
    AudioError
        It is not audio, or holds zero samples.
    """
    try:
        info = soundfile.info(io.BytesIO(content))
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{where}: not audio ({error.error_string})") from error
    _check_samples(where, info.frames)
    return AudioInfo(info.samplerate, info.frames, info.channels)


def decode_audio(path: str | Path, start: float = 0.0, length: float | None = None) -> tuple[np.ndarray, int]:
    """Samples (C, S) float32 in [-1, 1] of a file from second ``start`` on, ``length`` seconds or all, and its rate.

    Raises
    ------
    AudioError
        Names the file and why: missing, empty, not audio, zero samples, cut off, or not numbers.
    """
    audio = _open(path)
    if audio is None:
        samples, rate = _decode_with_ffmpeg(path)
        first = round(start * rate)
        samples = samples[:, first : None if length is None else first + round(length * rate)]
    else:
        with audio:
            _check_whole(audio, Path(path))
            rate = audio.samplerate
            count = -1 if length is None else round(length * rate)
            samples = _read(audio, path, start=round(start * rate), count=count).T
    _check_samples(path, samples.shape[1])
    _check_finite(path, samples)
    return samples, rate


def decode_blocks(path: str | Path, seconds: float = 10.0) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (C, S) float32 in [-1, 1] of a file, about so many seconds at a time, and its rate; however long it is.

    Raises
    ------
    AudioError
        As of :func:`decode_audio`; where a file is cut off or damaged within, after the blocks before.
    """
    audio = _open(path)
    total = 0
    for samples, rate in _ffmpeg_blocks(path, seconds) if audio is None else _sound_blocks(audio, path, seconds):
        _check_finite(path, samples)
        total += samples.shape[1]
        yield samples, rate
    _check_samples(path, total)


def decode_into(path: str | Path, promised: AudioInfo, start: int, samples: np.ndarray) -> bool:
    """Fill ``samples`` (S,) float32 from sample ``start`` of a file on; False when the file is not as promised.

    Saves the copies on the way to a batch: with them, a .wav file takes twice as long. Only files of one channel that
    libsndfile reads are read so.

    Raises
    ------
    AudioError
        As of :func:`decode_audio`.
    """
    audio = _open(path)
    if audio is None:
        return False
    with audio:
        if promised.channels > 1 or AudioInfo(audio.samplerate, audio.frames, audio.channels) != promised:
            return False
        _read(audio, path, start=start, count=len(samples), out=samples)
        if audio.subtype in _FLOATING:
            _check_finite(path, samples)
    return True


def _open(path: str | Path) -> soundfile.SoundFile | None:
    """The file opened by libsndfile; None when libsndfile does not know its container, or how long it is."""
    try:
        audio = soundfile.SoundFile(str(path))
    except UnicodeError:
        raise AudioError(f"{str(path)!r}: its name is not in UTF-8; give it another") from None
    except TypeError:  # of soundfile, at names that end in .raw
        _check_file(Path(path))
        raise NotAudioError(
            f"{path}: samples without a header, of no known rate and kind; make a WAV file of it"
        ) from None
    except soundfile.LibsndfileError as error:
        _check_file(Path(path))
        if error.code == MALFORMED:
            raise _damaged(path, error) from error
        return None
    if audio.frames > UNKNOWN_FRAMES:
        audio.close()
        return None
    return audio


def _check_file(path: Path) -> None:
    if not path.exists():
        raise AudioError(f"{path}: no such audio file")
    if not path.is_file():
        raise AudioError(f"{path}: not an audio file but a folder")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes)")


def _damaged(path: str | Path, error: soundfile.LibsndfileError) -> AudioError:
    return AudioError(f"{path}: damaged or cut off ({error.error_string}); copy the file again")


def _check_whole(audio: soundfile.SoundFile, path: Path) -> None:
    """Refuse a file that ends before it should; libsndfile reads it to where it ends."""
    promised, there, unit = _extent(audio, path)
    if there < promised < UNKNOWN_BYTES:
        raise AudioError(f"{path}: cut off: {there} of {promised} {unit} are there; copy the file again")


def _extent(audio: soundfile.SoundFile, path: Path) -> tuple[int, int, str]:
    """How much a file says that it holds, how much it does, and of what; of a FLAC or MP3, which reading shows, 0."""
    if audio.format == "NIST":
        with path.open("rb") as file:
            counted = re.search(rb"sample_count -i (\d+)", file.read(1024))
        return int(counted[1]) if counted else 0, audio.frames, "samples"
    if audio.format == "OGG":
        return *_last_ogg_page(path), "bytes of its last page"
    sizes = CUT_CHUNK.search(audio.extra_info)
    return (int(sizes[1]), int(sizes[2]), "bytes of audio") if sizes else (0, 0, "bytes of audio")


def _last_ogg_page(path: Path) -> tuple[int, int]:
    """Bytes that the last page of an Ogg file should have, and those it has at most (RFC 3533, section 6).

    Not its end-of-stream flag, which telephones leave out of their voice messages.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - OGG_PAGE_BYTES))
        end = file.read()
    page = end[end.rfind(b"OggS") :]
    segments = page[26] if len(page) > 26 else 0
    return 27 + segments + sum(page[27 : 27 + segments]), len(page)


def _read_last(audio: soundfile.SoundFile, path: str | Path) -> None:
    """Decode the last sample; of MP3 all (0.5 ms a second): where one is sought, libmpg123 prints errors."""
    if audio.format != "MP3":
        _read(audio, path, start=audio.frames - 1, count=1)
        return
    for start in range(0, audio.frames, _BLOCK):
        _read_on(audio, path, min(_BLOCK, audio.frames - start))


def _read(
    audio: soundfile.SoundFile, path: str | Path, *, start: int, count: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Samples (S, C) float32, or ``out``; fewer than ``count`` only beyond the end that the header promises."""
    try:
        if start:
            audio.seek(start)
    except soundfile.LibsndfileError as error:
        raise _damaged(path, error) from error
    there = audio.frames - start
    return _read_on(audio, path, there if count < 0 else min(count, there), out)


def _read_on(audio: soundfile.SoundFile, path: str | Path, count: int, out: np.ndarray | None = None) -> np.ndarray:
    """The next samples (S, C) float32, or ``out``, which the header promises."""
    try:
        samples = audio.read(max(count, 0), dtype="float32", always_2d=True, out=out)
    except soundfile.LibsndfileError as error:
        raise _damaged(path, error) from error
    if len(samples) < count:
        raise AudioError(f"{path}: cut off: its header promises {audio.frames} samples; copy the file again")
    return samples


def _check_finite(path: str | Path, samples: np.ndarray) -> None:
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: holds samples that are not finite numbers")


def _check_samples(path: str | Path, num_samples: int) -> None:
    if num_samples <= 0:
        raise AudioError(f"{path}: holds zero samples of audio")


def _sound_blocks(audio: soundfile.SoundFile, path: str | Path, seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (C, S) float32 and rate of a file opened by libsndfile, block by block."""
    with audio:
        _check_whole(audio, Path(path))
        size = max(1, round(seconds * audio.samplerate))
        for start in range(0, audio.frames, size):
            yield _read_on(audio, path, min(size, audio.frames - start)).T, audio.samplerate


def _decode_with_ffmpeg(path: str | Path) -> tuple[np.ndarray, int]:
    """Samples (C, S) float32 and rate of the first audio stream."""
    blocks = list(_ffmpeg_blocks(path, 10.0))
    _check_samples(path, len(blocks))
    return np.concatenate([samples for samples, _ in blocks], axis=1), blocks[0][1]


def _ffmpeg_blocks(path: str | Path, seconds: float) -> Iterator[tuple[np.ndarray, int]]:
    """Samples (C, S) float32 and rate of the first audio stream, block by block."""
    import av

    with _ffmpeg(path) as container:
        if not container.streams.audio:
            raise NotAudioError(f"{path}: holds no audio stream")
        stream, resampler = container.streams.audio[0], av.AudioResampler(format="fltp")
        held, count, total = [], 0, 0
        for frame in container.decode(audio=0):
            held += [out.to_ndarray() for out in resampler.resample(frame)]
            count += frame.samples
            if count >= seconds * stream.rate:
                yield np.concatenate(held, axis=1), stream.rate
                held, count, total = [], 0, total + count
        if held:
            yield np.concatenate(held, axis=1), stream.rate
        seconds, promised = (total + count) / stream.rate, _promised_seconds(container)
    if seconds < promised - CUT_TOLERANCE_S:
        raise AudioError(f"{path}: cut off: {seconds:.1f} of {promised:.1f} seconds are there; copy the file again")


def _promised_seconds(container: av.container.InputContainer) -> float:
    """How long the audio is as the header has it, where that is no estimate; FFmpeg reads what there is."""
    stream = container.streams.audio[0]
    if "mp4" in container.format.name and stream.duration:
        return float(stream.duration * stream.time_base)
    if "webm" in container.format.name and not container.streams.video:
        return (container.duration or 0) / 1e6  # microseconds
    return 0.0


@contextlib.contextmanager
def _ffmpeg(path: str | Path) -> Iterator[av.container.InputContainer]:
    """A file opened by FFmpeg, whose errors are AudioErrors."""
    import av  # 0.2 s to load, and rarely needed

    try:
        with av.open(str(path), options=FFMPEG_OPTIONS) as container:
            yield container
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error  # without the path, which may be that of a copy
        raise NotAudioError(f"{path}: not audio that libsndfile or FFmpeg can read ({reason})") from error
