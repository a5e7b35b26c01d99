"""Chunks of 640 ms as they come, beside the clock: our Conformer in chunks, with random weights, and a beam of 16."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from inference_corpus import RATE, write_files, write_tokenizer
from side_by_side import Row
from torch import Tensor

from toolkit.dataio.audio import load_audio
from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.inference.long_audio import LongAudio
from toolkit.inference.streaming import StreamingASR
from toolkit.models.chunks import Chunks
from toolkit.models.conformer import Conformer
from toolkit.models.recogniser import CTCModel
from toolkit.models.streaming_features import StreamingLogMel
from toolkit.tokenizer import Tokenizer

CHUNK_S = 0.64
SIZES = {"AN4's, 5 x 128": (128, 4, 5, 512), "12 x 256": (256, 4, 12, 1024)}  # width, heads, layers, hidden


def rows(quick: bool) -> Iterator[Row]:
    """For models of two sizes, the time of a chunk, and of all audio."""
    seconds = 20.0 if quick else 120.0
    with tempfile.TemporaryDirectory() as folder:
        (path,) = write_files(Path(folder) / "audio", [seconds])
        write_tokenizer(Path(folder) / "tokenizer.model", 500)
        wav = load_audio(path, RATE)
        for name in SIZES:
            yield from rows_of(name, recogniser(name, Path(folder) / "tokenizer.model"), wav)


def rows_of(name: str, asr: StreamingASR, wav: Tensor) -> Iterator[Row]:
    """The time of a chunk, and that of all of them by the length of the audio; the text is that of the whole."""
    asr.stream().feed(wav[: 2 * RATE])  # code is compiled
    stream, times = asr.stream(), []
    for piece in wav.split(round(CHUNK_S * RATE)):
        began = time.process_time()
        stream.feed(piece)
        times.append(time.process_time() - began)
    asr.long_audio = LongAudio(whole_s=len(wav) / RATE)
    if stream.finish().text != asr.transcribe(wav).text:
        raise ValueError(f"{name}: the stream is heard otherwise than the whole")
    ordered = sorted(times[:-1])  # the last may be no whole chunk
    worst = ordered[int(0.99 * len(ordered))]
    note = f"median; 99 % take at most {worst * 1000:.0f} ms, of {len(times)} chunks"
    what = f"streaming, Conformer in chunks, {name}"
    yield Row(f"{what}: a chunk of 640 ms", "the clock", statistics.median(times), CHUNK_S, None, None, note)
    seconds = len(wav) / RATE
    note = f"real-time factor {sum(times) / seconds:.3f}; the text is that of the whole heard at once"
    yield Row(f"{what}: {seconds:.0f} s of speech", "the clock", sum(times), seconds, None, True, note)


def recogniser(name: str, tokenizer_file: Path) -> StreamingASR:
    """A recogniser of that size."""
    torch.manual_seed(0)
    tokenizer = Tokenizer(tokenizer_file)
    width, heads, layers, hidden = SIZES[name]
    encoder = Conformer(
        *(80, width),
        **{"cnn_channels": [16, 32, 32], "cnn_strides": [1, 2, 2], "layers": layers, "heads": heads},
        **{"hidden": hidden, "kernel_size": 15, "chunks": Chunks(frames=16, left=4)},
    )
    model = CTCModel(StreamingLogMel(sample_rate=RATE, n_mels=80), encoder, len(tokenizer))
    with torch.no_grad():
        model.ctc_output.bias[0] = 2.0  # mostly blank, as such outputs are
    return StreamingASR(model, tokenizer, CTCPrefixSearcher(beam_size=16), sample_rate=RATE, device="cpu")
