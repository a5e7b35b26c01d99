"""Every model answers the same for an utterance alone and padded to double length beside a longer one."""

import pytest
import torch

from toolkit.models.chunks import Chunks
from toolkit.models.conformer import Conformer
from toolkit.models.features import LogMel
from toolkit.models.location_attention import AttentionalGRUDecoder
from toolkit.models.recogniser import AttentionModel, CTCModel
from toolkit.models.recurrent import CRDNN
from toolkit.models.streaming_features import StreamingLogMel
from toolkit.models.transducer import RNNPredictor, StatelessPredictor, TransducerModel
from toolkit.models.transformer import TransformerDecoder

LENGTHS = [1, 159, 161, 400, 5000, 7999, 8000]  # samples, around whole frames of 160 and windows of 400


def encoders():
    yield "crdnn_lstm", lambda: CRDNN(20, cnn_channels=(4, 4), rnn_neurons=8, rnn_layers=2, dnn_neurons=8)
    yield "crdnn_gru", lambda: CRDNN(20, cnn_channels=(4, 4), rnn_neurons=8, rnn_layers=2, rnn_type="gru", dnn_blocks=0)
    yield "crdnn_stride_6", lambda: CRDNN(20, cnn_channels=(4, 4), cnn_strides=(3, 2), rnn_neurons=8, rnn_layers=1)
    sizes = {"layers": 2, "heads": 2, "hidden": 32, "kernel_size": 5, "cnn_channels": (4, 4)}
    yield "conformer", lambda: Conformer(20, 16, **sizes)
    yield "conformer_in_chunks", lambda: Conformer(20, 16, **sizes, chunks=Chunks(3, 1))


ENCODERS = dict(encoders())


def padded_batch(samples: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An utterance alone, and a batch of it, padded with noise to double length, and of a longer one."""
    generator = torch.Generator().manual_seed(samples)
    wav = torch.randn(samples, generator=generator)
    batch = torch.randn(2, 2 * samples, generator=generator)
    batch[0, :samples] = wav
    return wav.unsqueeze(0), batch, torch.tensor([samples, 2 * samples])


@pytest.mark.parametrize(
    ("name", "log_mel"), [*((name, LogMel) for name in ENCODERS), ("conformer_in_chunks", StreamingLogMel)]
)
@pytest.mark.parametrize("samples", LENGTHS)
def test_ctc_model_alone_and_padded_agree(name, log_mel, samples):
    torch.manual_seed(0)
    model = CTCModel(log_mel(n_mels=20), ENCODERS[name](), 11).eval()
    alone, batch, counts = padded_batch(samples)
    expected, frames = model(alone, counts[:1])
    found, batch_frames = model(batch, counts)
    assert batch_frames[0] == frames[0] == expected.size(1)
    torch.testing.assert_close(found[0, : frames[0]], expected[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "decoder",
    [
        lambda size: TransformerDecoder(11, 16, layers=2, heads=2, hidden=32, memory_size=size),
        lambda size: AttentionalGRUDecoder(11, size, embedding_size=8, neurons=8, attention_size=8),
    ],
)
@pytest.mark.parametrize("name", ENCODERS)
def test_attention_model_alone_and_padded_agree(name, decoder):
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    model = AttentionModel(LogMel(n_mels=20), encoder, 11, decoder=decoder(encoder.output_size)).eval()
    alone, batch, counts = padded_batch(8000)
    tokens = torch.tensor([[3, 1, 4], [1, 5, 9]])
    _, _, expected = model(alone, counts[:1], tokens[:1])
    _, _, found = model(batch, counts, tokens)
    torch.testing.assert_close(found[0], expected[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("predictor", [lambda: RNNPredictor(11, neurons=8), lambda: StatelessPredictor(11, 8)])
@pytest.mark.parametrize("name", ENCODERS)
def test_transducer_model_alone_and_padded_agree(name, predictor):
    torch.manual_seed(0)
    model = TransducerModel(LogMel(n_mels=20), ENCODERS[name](), 11, predictor=predictor(), joint_size=8).eval()
    alone, batch, counts = padded_batch(5000)
    tokens = torch.tensor([[3, 1, 4, 0], [1, 5, 9, 2]])
    expected_ctc, frames, *expected = model(alone, counts[:1], tokens[:1, :3])
    found_ctc, batch_frames, *found = model(batch, counts, tokens)
    assert batch_frames[0] == frames[0] == expected_ctc.size(1)
    torch.testing.assert_close(found_ctc[0, : frames[0]], expected_ctc[0], atol=1e-5, rtol=1e-4)
    expected = model.joint(expected[0][:, :, None], expected[1][:, None])
    found = model.joint(found[0][:, :, None], found[1][:, None])
    torch.testing.assert_close(found[0, : frames[0], :4], expected[0], atol=1e-5, rtol=1e-4)


def test_bidirectional_rnn_equals_packed_sequences():
    """The reversed rows give what torch's packed bidirectional LSTM gives with the same weights."""
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    from toolkit.models.recurrent import BidirectionalRNN

    torch.manual_seed(0)
    ours, reference = BidirectionalRNN(7, 1).eval(), nn.LSTM(14, 7, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for name, value in ours.forwards[0].named_parameters():
            getattr(reference, name).copy_(value)
        for name, value in ours.backwards[0].named_parameters():
            getattr(reference, f"{name}_reverse").copy_(value)
    values, frames = torch.randn(3, 9, 14), torch.tensor([9, 1, 4])
    packed = pack_padded_sequence(ours.norms[0](values), frames, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    found, expected = ours(values, frames), ours.last_norm(values + expected)
    for row, count in enumerate(frames):
        torch.testing.assert_close(found[row, :count], expected[row, :count])
