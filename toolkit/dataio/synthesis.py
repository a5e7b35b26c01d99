"""Speech from text: sentences of a small grammar, spoken by espeak-ng's many voices in slightly noisy rooms.

    GRAMMAR = {"sentence": "CALL {digit} {digit} | WAKE ME AT {digit}", "digit": "ONE | TWO"}
    words = draw_sentence(GRAMMAR, rng)                              # CALL TWO ONE
    utterance = draw_utterance("train/00000", words, "en-us+f3", rng)
    synthesise([utterance], "corpus")                                # corpus/train/00000.flac

espeak-ng comes with the package espeakng_loader (the extra ``[demo]``). It is GPL-3.0 software, therefore loaded only
by programs of its own: this module run as ``python -m toolkit.dataio.synthesis FOLDER``, which reads utterances as JSON
lines and writes FLAC files. Nothing of it enters the process that calls `synthesise`.

The audio depends on the utterances alone. espeak-ng keeps state from one utterance to the next (the phase of its
flutter), so that a program always speaks the same share of the list, whatever the number of jobs.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from toolkit.errors import ConfigError, DataError, MissingDependencyError
from toolkit.files import write_atomically

SAMPLE_RATE = 16000
PLAN_FILE = "plan.jsonl"

# Utterances that one run of espeak-ng speaks: two seconds of work against two tenths for its start.
SHARE = 150

# Tails of rooms are this much weaker than the direct sound, noise this much weaker than the speech.
REVERBERATION_DB = (8.0, 20.0)
NOISE_DB = (15.0, 35.0)
# Power falls with frequency as 1/f^tilt: 0 is white noise, 1 pink, 2 brown.
NOISE_TILT = (0.0, 2.0)
SPEECH_LEVEL_DB = (-30.0, -18.0)
SILENCE_S = (0.05, 0.2)

# Of speak_lib.h.
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _CHARACTER_POSITION = 2, 0x8000, 1, 1
_RATE, _VOLUME, _PITCH, _PITCH_RANGE = 1, 2, 3, 4


@dataclass(frozen=True)
class SpokenUtterance:
    """What is said and how: all that the audio depends on."""

    name: str  # also its file below the corpus folder, without .flac: train/00000
    words: str
    voice: str  # accent+variant: en-gb-scotland+f3
    rate: int  # words a minute
    pitch: int  # 0 to 99, around the voice's own at 50
    pitch_range: int  # 0 monotonous, 99 singing
    reverberation_s: float  # until the tail has fallen by 60 dB; 0 outdoors
    seed: int  # of noise, room, level and silence


def draw_sentence(grammar: Mapping[str, str], rng: Random, rule: str = "sentence") -> str:
    """A sentence of the grammar, each alternative of a rule as likely as the others.

    A rule is ``"ALTERNATIVE | ANOTHER WITH {rule}"``.
    """
    alternative = rng.choice(grammar[rule].split(" | "))
    return re.sub(r"\{(\w+)\}", lambda inner: draw_sentence(grammar, rng, inner[1]), alternative)


def draw_utterance(name: str, words: str, voice: str, rng: Random) -> SpokenUtterance:
    """The words at a random speed and pitch, every second time in a room."""
    return SpokenUtterance(
        name=name,
        words=words,
        voice=voice,
        rate=rng.randint(145, 195),
        pitch=rng.randint(30, 70),
        pitch_range=rng.randint(30, 70),
        reverberation_s=rng.choice([0.0, rng.uniform(0.1, 0.4)]),
        seed=rng.getrandbits(32),
    )


def synthesise(
    utterances: Sequence[SpokenUtterance],
    folder: str | Path,
    *,
    jobs: int = 2,
    progress: Callable[[int], object] = int,
) -> None:
    """``folder/<name>.flac`` (16 kHz, 16 bit) of every utterance.

    Every file appears whole or not at all. ``folder/plan.jsonl`` says how each was spoken: with the same plan what is
    there is kept, with another one it is removed first. ``progress`` is told how many utterances were done each time.

    Raises
    ------
    MissingDependencyError
        espeak-ng is not installed.
    DataError
        It failed, or the folder holds something else.
    """
    if importlib.util.find_spec("espeakng_loader") is None:
        raise MissingDependencyError("speech synthesis needs espeak-ng: pip install 'asr-recipes[demo]'")
    folder = Path(folder).resolve()
    _claim(folder, utterances)
    shares = [utterances[start : start + SHARE] for start in range(0, len(utterances), SHARE)]
    with ThreadPool(jobs) as pool:  # threads that wait for programs; leaving on Ctrl-C drops the shares to come
        for spoken in pool.imap_unordered(functools.partial(_speak_share, folder), shares):
            progress(spoken)


def is_synthesised(utterances: Sequence[SpokenUtterance], folder: str | Path) -> bool:
    """Whether ``folder`` holds these utterances, all of them and spoken in this way."""
    plan = Path(folder) / PLAN_FILE
    return (
        plan.is_file()
        and plan.read_text(encoding="utf-8") == _to_lines(utterances)
        and all(_file(Path(folder), one.name).is_file() for one in utterances)
    )


def _claim(folder: Path, utterances: Sequence[SpokenUtterance]) -> None:
    """Write the plan to the folder, freed from the audio of another plan."""
    plan, lines = folder / PLAN_FILE, _to_lines(utterances)
    if not plan.is_file() and folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} holds files that are not of a synthesised corpus; name a new or an empty folder")
    if plan.is_file() and (old := plan.read_text(encoding="utf-8")) != lines:
        for line in old.splitlines():
            _file(folder, json.loads(line)["name"]).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(plan, lines)


def _to_lines(utterances: Sequence[SpokenUtterance]) -> str:
    return "".join(f"{json.dumps(asdict(one))}\n" for one in utterances)


def _speak_share(folder: Path, share: Sequence[SpokenUtterance]) -> int:
    """The number of utterances, once all of them are in ``folder``, spoken by a program of their own."""
    if all(_file(folder, one.name).is_file() for one in share):
        return len(share)
    command = [sys.executable, "-m", "toolkit.dataio.synthesis", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, input=_to_lines(share), env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise DataError(f"{folder}: espeak-ng could not speak {share[0].name} and following: {reason}")
    return len(share)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.flac"


class EspeakNG:
    """The synthesiser: text to samples. One a process; for programs of its own (see above)."""

    def __init__(self) -> None:
        import espeakng_loader

        data = Path(espeakng_loader.get_data_path())
        self._variants = {path.name for path in (data / "voices" / "!v").iterdir()}
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_Synth.argtypes = _SYNTH_ARGUMENTS
        # It keeps 160 bytes for the path of its data, too few for many a home folder: a relative one always fits.
        os.chdir(data.parent)
        self.sample_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data.name.encode(), _DONT_EXIT)
        if self.sample_rate <= 0:
            raise ConfigError(f"{data}: espeak-ng cannot read its data; install espeakng-loader again")
        self._blocks: list[np.ndarray] = []
        self._callback = _CALLBACK(self._receive)  # kept alive as long as the library may call it
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes._Pointer, count: int, _events: int | None) -> int:
        if samples and count:
            self._blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on

    def speak(self, utterance: SpokenUtterance) -> np.ndarray:
        """Samples (S,) int16 at ``sample_rate``.

        Raises
        ------
        ConfigError
            espeak-ng knows no such accent or variant.
        """
        self._choose_voice(utterance.voice)
        # Half of its usual volume: at 100 the louder voices are clipped.
        settings = {_RATE: utterance.rate, _VOLUME: 50, _PITCH: utterance.pitch, _PITCH_RANGE: utterance.pitch_range}
        for parameter, value in settings.items():
            self._library.espeak_SetParameter(parameter, value, 0)
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(utterance.seed & 0x7FFFFFFF))  # the breath of some voices
        self._blocks.clear()
        text = utterance.words.lower().encode()  # in capitals A is spelled, not said
        self._library.espeak_Synth(text, len(text) + 1, 0, _CHARACTER_POSITION, 0, _UTF8, None, None)
        return np.concatenate(self._blocks)

    def _choose_voice(self, voice: str) -> None:
        accent, _, variant = voice.partition("+")
        if variant and variant not in self._variants:  # which espeak-ng itself passes over in silence
            raise ConfigError(f"voice {voice!r}: no variant {variant!r}; one of {', '.join(sorted(self._variants))}")
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ConfigError(f"voice {voice!r}: no accent {accent!r}; it is a file of espeak-ng-data/lang, as en-us")


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
_SYNTH_ARGUMENTS = [ctypes.c_char_p, ctypes.c_size_t, *[ctypes.c_uint] * 4, ctypes.c_void_p, ctypes.c_void_p]


def record(speech: np.ndarray, sample_rate: int, utterance: SpokenUtterance) -> np.ndarray:
    """The utterance as a microphone hears it: samples (S,) int16 at 16 kHz of ``speech``, which has any rate."""
    rng = np.random.default_rng(utterance.seed)
    speech = resample(speech.astype(np.float64), sample_rate, SAMPLE_RATE)
    speech *= _from_db(rng.uniform(*SPEECH_LEVEL_DB)) / np.sqrt(np.mean(speech**2))
    before, after = (round(rng.uniform(*SILENCE_S) * SAMPLE_RATE) for _ in range(2))
    heard = np.pad(reverberate(speech, utterance.reverberation_s, rng), (before, after))
    noise = draw_noise(len(heard), rng) * np.sqrt(np.mean(speech**2)) * _from_db(-rng.uniform(*NOISE_DB))
    heard += noise
    heard *= min(1.0, 0.95 / np.abs(heard).max())
    return np.round(heard * 32767).astype(np.int16)


def resample(signal: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """``signal`` (S,) at another rate, its band cut off at half the lower one: its spectrum, shortened or padded."""
    # 22050 to 16000 Hz is 441 samples to 320: whole blocks of them, one more against wrapping round.
    common = int(np.gcd(source_rate, target_rate))
    source_block, target_block = source_rate // common, target_rate // common
    blocks = _fast_size(len(signal) // source_block + 2)
    spectrum = np.fft.rfft(signal, blocks * source_block)
    resampled = np.fft.irfft(spectrum, blocks * target_block) * (target_block / source_block)
    return resampled[: -(-len(signal) * target_block // source_block)]


def reverberate(speech: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """``speech`` (S,) followed by its own tail: noise that decays by 60 dB in ``seconds`` is the room's response."""
    if not seconds:
        return speech
    decay = np.arange(1, round(seconds * SAMPLE_RATE)) / (seconds * SAMPLE_RATE)
    tail = rng.standard_normal(len(decay)) * _from_db(-60 * decay)
    tail *= _from_db(-rng.uniform(*REVERBERATION_DB)) / np.sqrt(np.sum(tail**2))
    response = np.concatenate([[1.0], tail])
    heard = len(speech) + len(tail)
    size = _fast_size(heard)
    return np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(response, size))[:heard]


def draw_noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise (samples,) of power 1, its tilt random."""
    size = _fast_size(samples)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequencies = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0)  # below, it would only be a rumble
    noise = np.fft.irfft(spectrum * frequencies ** (-rng.uniform(*NOISE_TILT) / 2))[:samples]
    return noise / np.sqrt(np.mean(noise**2))


def _fast_size(samples: int) -> int:
    """A size from ``samples`` on without large prime factors, with which a transform takes ten times as long."""
    power = 1 << (samples - 1).bit_length()
    return next(size for size in (power * 5 // 8, power * 3 // 4, power) if size >= samples)


def _from_db(level: float | np.ndarray) -> float | np.ndarray:
    return 10 ** (level / 20)


def _main() -> None:
    """Speak the utterances of standard input into the folder of the command line."""
    folder, espeak = Path(sys.argv[1]), EspeakNG()
    for line in sys.stdin:
        utterance = SpokenUtterance(**json.loads(line))
        samples = record(espeak.speak(utterance), espeak.sample_rate, utterance)
        _write_flac(_file(folder, utterance.name), samples)


def _write_flac(path: Path, samples: np.ndarray) -> None:
    flac = io.BytesIO()  # in memory: for a file, soundfile waits until the disk has it
    soundfile.write(flac, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    write_atomically(path, flac.getvalue())


if __name__ == "__main__":
    _main()
