"""What the forms of `asr export` cost on a CPU: encoders in float32, in int8, and as ONNX graphs.

    OMP_NUM_THREADS=1 python benchmarks/exported_encoders.py

Milliseconds of processor time for 10 s of audio (1000 frames of features), the best of five.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from toolkit.models.conformer import Conformer
from toolkit.models.features import LogMel
from toolkit.models.int8 import use_int8
from toolkit.models.onnx import OnnxEncoder, export_encoder
from toolkit.models.recogniser import CTCModel
from toolkit.models.recurrent import CRDNN

FRAMES, MELS, TIMES = 1000, 80, 5
ENCODERS: dict[str, Callable[[], nn.Module]] = {
    "CRDNN, 3 x 144": lambda: CRDNN(MELS, rnn_neurons=144, rnn_layers=3, dnn_blocks=0),
    "CRDNN, 4 x 512": lambda: CRDNN(MELS, rnn_neurons=512, rnn_layers=4, dnn_blocks=2),
    "Conformer, 5 x 96": lambda: Conformer(MELS, 96, layers=5, hidden=384),
    "Conformer, 12 x 256": lambda: Conformer(MELS, 256, layers=12, hidden=2048, kernel_size=31),
}


@torch.inference_mode()
def milliseconds(encoder: nn.Module) -> float:
    """Of processor time."""
    features, frames = torch.randn(1, FRAMES, MELS), torch.tensor([FRAMES])
    taken = []
    for _ in range(TIMES):
        began = time.process_time()
        encoder(features, frames)
        taken.append(time.process_time() - began)
    return 1000 * min(taken)


def forms(encoder: nn.Module, folder: Path) -> list[nn.Module]:
    """The encoder as float32, as int8 and as a graph."""
    small = deepcopy(encoder)
    use_int8(small)
    model = CTCModel(LogMel(16000, MELS), encoder, vocab_size=100).eval()
    export_encoder(model, torch.randn(2, 50, MELS), torch.tensor([50, 31]), folder / "encoder.onnx")
    return [encoder, small, OnnxEncoder(folder / "encoder.onnx")]


def main() -> None:
    """Print the table."""
    print("| encoder | float32 (ms) | int8 (ms) | ONNX (ms) |\n|---|--:|--:|--:|")
    for name, build in ENCODERS.items():
        with tempfile.TemporaryDirectory() as folder:
            taken = [milliseconds(form) for form in forms(build().eval(), Path(folder))]
        print(f"| {name} | {' | '.join(f'{one:.0f}' for one in taken)} |")


if __name__ == "__main__":
    main()
