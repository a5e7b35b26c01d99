"""Streaming beside time itself: how much faster than it is spoken a chunk of 640 ms is understood.

A model of the size of recipes/AN4/hparams/streaming.yaml, of random weights, hears a minute of noise. The peer's time
is that of the speech, so that a ratio is the inverse of a real-time factor.
"""

from __future__ import annotations

import statistics
import string
import tempfile
from collections.abc import Iterator

import torch
from side_by_side import Row
from streaming import stream_one

from toolkit.decoders.ctc import CTCPrefixSearcher
from toolkit.inference.streaming import StreamingASR
from toolkit.models.chunks import Chunks
from toolkit.models.conformer import Conformer
from toolkit.models.recogniser import CTCModel
from toolkit.models.streaming_features import StreamingLogMel
from toolkit.tokenizer import Tokenizer, train_tokenizer

CHUNK_S = 0.64
SECONDS = 60
BANDS = 64


def rows(quick: bool) -> Iterator[Row]:
    """The median of a chunk's work, and what 95 % of the chunks stay below, in CPU time of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer([string.ascii_uppercase], f"{folder}/tokenizer.model", model_type="char")
        asr = recogniser(Tokenizer(f"{folder}/tokenizer.model"))
    wav = 0.1 * torch.randn((20 if quick else SECONDS) * asr.sample_rate, generator=torch.Generator().manual_seed(0))
    stream_one(asr, wav[: asr.sample_rate])  # code is compiled or read from its cache
    work = sorted(stream_one(asr, wav)[1])
    for name, seconds in (("median", statistics.median(work)), ("95 %", work[int(0.95 * len(work))])):
        what = f"streaming, a chunk of 640 ms, {name}"
        yield Row(what, "the speech itself", seconds, CHUNK_S, None, None, f"{len(work)} chunks")


def recogniser(tokenizer: Tokenizer) -> StreamingASR:
    """The model of AN4's recipe."""
    torch.manual_seed(0)
    sizes = {"layers": 5, "hidden": 512, "cnn_channels": (16, 32, 32), "cnn_strides": (1, 2, 2)}
    encoder = Conformer(BANDS, 128, **sizes, chunks=Chunks(16, 4))
    model = CTCModel(StreamingLogMel(n_mels=BANDS), encoder, len(tokenizer))
    return StreamingASR(model, tokenizer, CTCPrefixSearcher(), sample_rate=16000, device="cpu")
