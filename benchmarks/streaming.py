"""What a short chunk costs: WER, CER, milliseconds of work a chunk and real-time factor of a model that streams.

    cd recipes/AN4
    OMP_NUM_THREADS=1 python ../../benchmarks/streaming.py results/streaming manifests/valid.json
    OMP_NUM_THREADS=1 python ../../benchmarks/streaming.py results/streaming manifests/test.json

Every utterance is streamed chunk by chunk, and its words are those of the end. A chunk's work is everything from its
last sample to the partial transcript, in CPU time of one thread: the median, and what 95 % of the chunks stay below.
The first row is of utterances heard as a whole, in batches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from toolkit.dataio.manifests import read_manifest
from toolkit.inference.streaming import StreamingASR
from toolkit.inference.transcript import Transcript
from toolkit.metrics.error_rate import ErrorRateTracker
from toolkit.models.chunks import EVERYTHING, Context

CHUNKS_MS = (1280, 640, 320)
LEFT_MS = 2560  # heard before a chunk and still in mind, whatever the chunk


def main(arguments: list[str] | None = None) -> None:
    """Print a row as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model that was trained in chunks")
    parser.add_argument("manifest", type=Path, help="what is recognised")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asr = StreamingASR.from_hparams(options.model, device="cpu")
    cuts = [cut.resample(asr.sample_rate) for cut in read_manifest(options.manifest)]
    wavs = [torch.from_numpy(cut.load_audio()[0]) for cut in cuts]
    said = [(cut.id, cut.supervisions[0].text) for cut in cuts]
    seconds = sum(map(len, wavs)) / asr.sample_rate
    print("| chunk | WER (%) | sub, ins, del | CER (%) | a chunk's work (ms) | 95 % (ms) | real-time factor |")
    print("|---|--:|---|--:|--:|--:|--:|")
    stream_one(asr, wavs[0])  # code is compiled or read from its cache
    for name, context in contexts(asr.frame_seconds):
        asr.context, began = context, time.process_time()
        streamed = [stream_one(asr, wav) for wav in wavs] if context.chunk_frames else []
        found = [transcript for transcript, _ in streamed] or asr.transcribe(wavs)
        factor = (time.process_time() - began) / seconds
        chunks = sorted(1000 * one for _, work in streamed for one in work)
        latency = f"{statistics.median(chunks):.1f} | {chunks[int(0.95 * len(chunks))]:.1f}" if chunks else "|"
        print(f"| {name} | {errors(said, found)} | {latency} | {factor:.4f} |", flush=True)


def contexts(frame_seconds: float) -> Iterator[tuple[str, Context]]:
    """What a frame sees, by name: everything first."""
    yield "the whole utterance", EVERYTHING
    for ms in CHUNKS_MS:
        yield f"{ms} ms", Context(round(ms / 1000 / frame_seconds), LEFT_MS // ms)


def stream_one(asr: StreamingASR, wav: Tensor) -> tuple[Transcript, list[float]]:
    """The transcript of a waveform (S,) that arrives chunk by chunk, and the seconds of work at each whole chunk."""
    stream, work = asr.stream(), []
    for chunk in wav.split(stream.chunk_samples):
        began = time.process_time()
        stream.feed(chunk)
        if len(chunk) == stream.chunk_samples:
            work.append(time.process_time() - began)
    return stream.finish(), work


def errors(said: list[tuple[str, str]], found: Iterable[Transcript]) -> str:
    """``7.0 | 41, 4, 9 | 3.7``."""
    scored = ErrorRateTracker()
    for (name, words), transcript in zip(said, found, strict=True):
        scored.add(name, words, transcript.text)
    counts = scored.words
    edits = f"{counts.substitutions}, {counts.insertions}, {counts.deletions}"
    return f"{scored.wer:.1f} | {edits} | {scored.cer:.1f}"


if __name__ == "__main__":
    main()
