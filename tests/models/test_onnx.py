"""Encoders as ONNX graphs: what they give equals what torch gives, for batches and recordings of other sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.models.chunks import Chunks
from toolkit.models.conformer import Conformer
from toolkit.models.onnx import OnnxEncoder, export_encoder
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN

pytest.importorskip("onnxruntime")

ENCODERS = {
    "LSTM": lambda: CRDNN(16, cnn_channels=[4, 4], rnn_neurons=12, rnn_layers=2, dnn_blocks=1, dnn_neurons=20),
    "GRU": lambda: CRDNN(16, cnn_channels=[4], cnn_strides=[3], rnn_neurons=12, rnn_layers=1, rnn_type="gru"),
    "Conformer": lambda: Conformer(
        16, output_size=24, cnn_channels=[4, 4], layers=2, heads=2, hidden=48, kernel_size=5
    ),
}


class NoFeatures(nn.Module):
    """What the features are, the waveforms are."""

    def forward(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        return wavs, samples


@pytest.mark.parametrize("name", ENCODERS)
def test_a_graph_gives_what_the_encoder_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = CTCModel(NoFeatures(), ENCODERS[name](), vocab_size=7).eval()
    for weights in model.parameters():
        nn.init.normal_(weights, std=0.3)
    export_encoder(model, torch.randn(3, 61, 16), torch.tensor([61, 50, 9]), tmp_path / "e.onnx")
    assert not any(part.training for part in model.modules())  # dropout would be heard
    graph = OnnxEncoder(tmp_path / "e.onnx")
    assert graph.output_size == model.encoder.output_size
    for lengths in ([61, 50, 9], [1], [200], [5, 333], [40, 40, 40, 39, 1]):
        features, frames = torch.randn(len(lengths), max(lengths), 16), torch.tensor(lengths)
        with torch.inference_mode():
            expected, left = model.encoder(features, frames)
            found, found_left = graph(features, frames)
        assert found_left.tolist() == left.tolist()
        for row, count in enumerate(left.tolist()):
            torch.testing.assert_close(found[row, :count], expected[row, :count], atol=1e-4, rtol=1e-4)


def test_what_cannot_be_a_graph_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = Conformer(16, output_size=24, layers=1, heads=2, hidden=48, kernel_size=5, chunks=Chunks(4, 2))
    model = CTCModel(NoFeatures(), encoder, vocab_size=7).eval()
    with pytest.raises(ModelError, match=r"Conformer: cannot be written as ONNX: .*Unfold.*; export without --onnx"):
        export_encoder(model, torch.randn(2, 80, 16), torch.tensor([80, 50]), tmp_path / "e.onnx")
    assert capsys.readouterr().out == ""
