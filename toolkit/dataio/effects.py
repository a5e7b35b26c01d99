"""Speech as it comes through other channels: played faster or higher, filtered, clipped, and coded to be sent.

What SoX is used for elsewhere FFmpeg's filters do here, in memory; codecs are those of libsndfile. All of it keeps the
number of samples, with which batches are planned: what is played faster ends in silence. (Slower copies, which need
room, are those of ``perturb_speed``.)
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from lhotse.augmentation import AudioTransform

Filter = tuple[str, str]  # of FFmpeg: name and arguments

_FASTEST = 1.15  # of speed and tempo: beyond, words of fast speakers are lost
_SEMITONES = 2.0  # of pitch, either way: another voice, and still a human one


def _faster(rate: int, rng: random.Random) -> list[Filter]:
    return [("asetrate", f"{rate * rng.uniform(1.0, _FASTEST):.0f}"), ("aresample", f"{rate}")]


def _at_tempo(rate: int, rng: random.Random) -> list[Filter]:  # noqa: ARG001
    return [("atempo", f"{rng.uniform(1.0, _FASTEST):.4f}")]


def _at_pitch(rate: int, rng: random.Random) -> list[Filter]:
    """Played at another speed, and back to its tempo."""
    played = round(rate * 2 ** (rng.uniform(-_SEMITONES, _SEMITONES) / 12))
    return [("asetrate", f"{played}"), ("aresample", f"{rate}"), ("atempo", f"{rate / played:.4f}")]


def _at_gain(rate: int, rng: random.Random) -> list[Filter]:  # noqa: ARG001
    return [("volume", f"{rng.uniform(-15.0, 0.0):.1f}dB")]


def _low_pass(rate: int, rng: random.Random) -> list[Filter]:
    return [("lowpass", f"f={rng.uniform(0.1, 0.4) * rate:.0f}")]  # 1.6 to 6.4 kHz of 16 kHz


def _band_pass(rate: int, rng: random.Random) -> list[Filter]:
    """About what a telephone leaves: 300 to 3400 Hz."""
    low, high = rng.uniform(200.0, 500.0), min(rng.uniform(2500.0, 3800.0), 0.45 * rate)
    return [("highpass", f"f={low:.0f}"), ("lowpass", f"f={high:.0f}")]


def _clipped(rate: int, rng: random.Random) -> list[Filter]:  # noqa: ARG001
    """Of a waveform whose peak is 1, what is above a part of it cut off."""
    over = rng.uniform(3.0, 15.0)
    return [("volume", f"{over:.1f}dB"), ("asoftclip", "type=hard"), ("volume", f"{-over:.1f}dB")]


def _with_echo(rate: int, rng: random.Random) -> list[Filter]:  # noqa: ARG001
    return [("aecho", f"1:0.7:{rng.uniform(20.0, 120.0):.0f}:{rng.uniform(0.1, 0.5):.2f}")]


EFFECTS: dict[str, Callable[[int, random.Random], list[Filter]]] = {
    "speed": _faster,
    "tempo": _at_tempo,
    "pitch": _at_pitch,
    "gain": _at_gain,
    "low_pass": _low_pass,
    "band_pass": _band_pass,
    "clipping": _clipped,
    "echo": _with_echo,
}


@dataclass(frozen=True)
class Codec:
    """A container and coding of libsndfile, and the sampling rate that speech is sent at with it."""

    container: str
    coding: str
    sample_rate: int
    levels: tuple[float, float] | None = None  # of compression, 0 to 1


# Telephones send 13 and 64 kbit/s; MP3 is of 38 to 19, what is on the web at its worst; Opus of 30 to 8, as in calls.
CODECS = {
    "gsm": Codec("WAV", "GSM610", 8000),
    "mulaw": Codec("WAV", "ULAW", 8000),
    "mp3": Codec("MP3", "MPEG_LAYER_III", 16000, (0.5, 0.99)),
    "opus": Codec("OGG", "OPUS", 16000, (0.9, 0.99)),
}


class InPlace(AudioTransform):
    """What changes samples, and not when they are heard."""

    def reverse_timestamps(
        self,
        offset: float,
        duration: float | None,
        sampling_rate: int,  # noqa: ARG002 (Lhotse's)
    ) -> tuple[float, float | None]:
        """Nothing moves."""
        return offset, duration


@dataclass
class Played(InPlace):
    """Audio through FFmpeg's filters, which hear it with a peak of 1."""

    filters: Sequence[Filter]

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """Samples (C, S) -> (C, S); silence stays."""
        peak = np.abs(samples).max(initial=0.0)
        if peak == 0:
            return samples
        return _of_length(play(samples / peak, sampling_rate, self.filters) * peak, samples)


@dataclass
class Coded(InPlace):
    """Audio as one of `CODECS` leaves it, by a share of its range of levels."""

    codec: str
    share: float = 0.5

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """Samples (C, S) -> (C, S), each channel by itself."""
        codec = CODECS[self.codec]
        options: dict[str, Any] = {"format": codec.container, "subtype": codec.coding}
        if codec.levels is not None:
            options["compression_level"] = codec.levels[0] + self.share * (codec.levels[1] - codec.levels[0])
        sent = soxr.resample(samples.T, sampling_rate, codec.sample_rate).clip(-1.0, 1.0).T
        received = np.stack([_sent(channel, codec.sample_rate, options) for channel in sent], axis=1)
        return _of_length(soxr.resample(received, codec.sample_rate, sampling_rate).T, samples)


def _sent(samples: np.ndarray, rate: int, options: Mapping[str, Any]) -> np.ndarray:
    """Samples (S,) written and read again, (S',)."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, **options)
    stream.seek(0)
    return soundfile.read(stream, dtype="float32")[0]


def _of_length(changed: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """(C, S') as (C, S), with silence at the end, or without what is beyond it."""
    missing = max(0, samples.shape[1] - changed.shape[1])
    return np.pad(changed, [(0, 0), (0, missing)])[:, : samples.shape[1]].astype(np.float32)


def play(samples: np.ndarray, sampling_rate: int, filters: Sequence[Filter]) -> np.ndarray:
    """Samples (C, S) through filters of FFmpeg -> (C, S'), as long as they make it."""
    layout = {1: "mono", 2: "stereo"}.get(len(samples), f"{len(samples)}c")
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="flt", sample_rate=sampling_rate, layout=layout)
    # filters of other formats may follow one another
    nodes = [graph.add(name, arguments) for name, arguments in [*filters, ("aformat", "sample_fmts=flt")]]
    graph.link_nodes(source, *nodes, graph.add("abuffersink")).configure()
    interleaved = np.ascontiguousarray(samples.T, dtype=np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
    frame.sample_rate = sampling_rate
    graph.push(frame)
    graph.push(None)
    played = np.concatenate([np.empty((1, 0), np.float32), *_pulled(graph)], axis=1)
    return played.reshape(-1, len(samples)).T


def _pulled(graph: av.filter.Graph) -> Iterator[np.ndarray]:
    while True:
        try:
            yield graph.pull().to_ndarray()
        except (av.BlockingIOError, av.EOFError):
            return
