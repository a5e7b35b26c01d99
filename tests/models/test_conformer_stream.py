"""A Conformer that was trained in chunks: what it may not see changes nothing, and chunk by chunk it says the same."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from toolkit.errors import ConfigError, ModelError
from toolkit.models.chunks import Chunks, Context
from toolkit.models.conformer import Conformer

FEATURES = 12
STRIDES = (1, 2, 2)  # a frame is made of four


def conformer(context: Context, layers: int = 3, **chunks: object) -> Conformer:
    """A small one in double precision, without dropout, so that training may be tested as well."""
    torch.manual_seed(0)
    encoder = Conformer(
        FEATURES,
        16,
        layers=layers,
        heads=2,
        hidden=24,
        kernel_size=5,
        cnn_channels=(3, 4, 4),
        cnn_strides=STRIDES,
        dropout=0.0,
        chunks=Chunks(context.chunk_frames, context.left_chunks, **chunks),
    )
    return encoder.double().eval()


def noise(frames: int, rows: int = 1) -> Tensor:
    return torch.randn(rows, frames, FEATURES, generator=torch.Generator().manual_seed(frames), dtype=torch.double)


def encode(encoder: Conformer, features: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(features, torch.full((len(features),), features.size(1)))[0]


@pytest.mark.parametrize("frames", [1, 4, 15, 16, 17, 47, 160])
@pytest.mark.parametrize("context", [Context(4, 2), Context(1, 5), Context(7, 0), Context(3, None), Context(99, 1)])
def test_chunk_by_chunk_is_the_whole_masked_alike(context: Context, frames: int) -> None:
    encoder, features = conformer(context), noise(frames, rows=2)
    stream = encoder.stream()
    assert stream.chunk_features == context.chunk_frames * 4
    with torch.no_grad():
        parts = [stream.feed(part) for part in features.split(stream.chunk_features, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), encode(encoder, features), atol=1e-6, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_what_comes_after_its_chunk_changes_no_frame(training: bool) -> None:
    context = Context(4, 2)
    encoder = conformer(context, training_frames=(4, 4), training_left=(2, 2), whole=0.0).train(training)
    features = noise(96)
    before = encode(encoder, features)
    features[:, 64:] += 1.0  # from the fifth chunk on
    changed = (encode(encoder, features) != before).any(dim=2)[0]
    assert changed.tolist() == [False] * 16 + [True] * 8


def test_what_came_before_the_chunks_in_mind_changes_no_frame() -> None:
    encoder = conformer(Context(4, 2), layers=1)
    features = noise(96)
    before = encode(encoder, features)
    features[:, :11] += 1.0  # within the first chunk; the front end sees five features before a frame's own
    changed = (encode(encoder, features) != before).any(dim=2)[0]
    # three chunks attend to the first, and the convolution reaches two frames back
    assert changed.tolist() == [True] * 14 + [False] * 10


def test_a_stream_keeps_as_many_bytes_however_long_it_is() -> None:
    stream, sizes = conformer(Context(4, 2)).stream(), []
    for _ in range(8):
        with torch.no_grad():
            stream.feed(noise(16))
        sizes.append(len(pickle.dumps(stream)))
    assert sizes[0] < sizes[1] < sizes[3]
    assert sizes[3:] == [sizes[3]] * 5


def test_without_chunks_there_is_no_stream() -> None:
    whole = Conformer(FEATURES, 16, layers=1, heads=2, hidden=24)
    for encoder in (whole, conformer(Context(None, None))):
        with pytest.raises(ModelError, match="this Conformer hears whole utterances"):
            encoder.stream()


def test_a_stride_that_would_look_ahead_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cnn_strides: \[4\]: strides of causal convolutions are 3 at most"):
        Conformer(FEATURES, 16, cnn_channels=[4], cnn_strides=[4], chunks=Chunks())
