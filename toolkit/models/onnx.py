"""Encoders as ONNX graphs: written by torch, computed on the CPU by onnxruntime (extra [onnx])."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import MissingDependencyError, ModelError
from toolkit.models.recogniser import CTCModel

INPUTS = ("features", "frames")
OUTPUTS = ("encoded", "encoded_frames", "log_probs")
OPSET = 17  # the newest that torch's tracing exporter writes without a loss


class OnnxEncoder(nn.Module):
    """An encoder in a file: (B, T, F) with (B,) frames -> (B, T', D) with (B,) frames.

    The graph also gives the CTC log-probabilities (B, T', V), for other programs that run it.

    Parameters
    ----------
    file : str or Path
        As `export_encoder` writes it.

    Raises
    ------
    MissingDependencyError
        onnxruntime is not installed.
    ModelError
        The file is missing, damaged or another graph.
    """

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        self._session = _session(Path(file))
        self.output_size: int = self._session.get_outputs()[0].shape[-1]

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F) with (B,) frames -> (B, T', D) with (B,) frames, on the device of the features."""
        values = [value.detach().cpu().numpy() for value in (features.float(), frames)]
        found = self._session.run(OUTPUTS[:2], dict(zip(INPUTS, values, strict=True)))
        encoded, left = (torch.from_numpy(value).to(features.device) for value in found)
        return encoded, left


class _Graph(nn.Module):
    """Encoder and CTC output of a recogniser: features (B, T, F) with (B,) frames -> `OUTPUTS`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoded, left = self.model.encoder(features, frames)
        return encoded, left, CTCModel.ctc_log_probs(self.model, encoded)


def export_encoder(model: nn.Module, features: Tensor, frames: Tensor, file: str | Path) -> None:
    """Write encoder and CTC output of a recogniser as a graph for batches and recordings of any size.

    Parameters
    ----------
    model
        A recogniser of `toolkit.models.recogniser`, in evaluation mode.
    features, frames
        (B, T, F) and (B,) to trace it with: of several recordings of different lengths.

    Raises
    ------
    MissingDependencyError
        onnx is not installed.
    ModelError
        The encoder cannot be written as a graph.
    """
    if importlib.util.find_spec("onnx") is None:
        raise MissingDependencyError("--onnx needs onnx: pip install 'asr-recipes[onnx]'")
    batch, time = {0: "batch"}, {0: "batch", 1: "time"}
    axes = {"features": time, "frames": batch, "encoded": time, "encoded_frames": batch, "log_probs": time}
    names = {"input_names": list(INPUTS), "output_names": list(OUTPUTS), "dynamic_axes": axes, "opset_version": OPSET}
    graph = _Graph(model).eval()  # the exporter puts all of it back into the mode that it finds here
    shown = io.StringIO()  # the exporter prints the whole graph where it fails
    with warnings.catch_warnings(), contextlib.redirect_stdout(shown), torch.no_grad():
        warnings.simplefilter("ignore")  # tracing is deprecated; torch.export does not take LSTMs of any length yet
        try:
            torch.onnx.export(graph, (features, frames), str(file), dynamo=False, **names)
        except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
            reason = re.split(r"\.\s|\n", str(error).strip())[0]
            raise ModelError(
                f"{type(model.encoder).__name__}: cannot be written as ONNX: {reason}; export without --onnx"
            ) from error


def open_session(file: Path, *, threads: int) -> Any:
    """A graph in a file, to be computed on the CPU by so many threads.

    Raises
    ------
    MissingDependencyError
        onnxruntime is not installed.
    ModelError
        The file is missing or damaged.
    """
    # its wheels tell Microsoft of what they do otherwise, and leave a file beside uploads
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise MissingDependencyError(f"{file} needs onnxruntime: pip install 'asr-recipes[onnx]'") from None
    if not file.is_file():
        raise ModelError(f"{file}: no such file; export the model again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for each reason, and no common one
        raise ModelError(f"{file}: not an ONNX graph, or damaged: {' '.join(str(error).split())}") from error


def _session(file: Path) -> Any:
    session = open_session(file, threads=torch.get_num_threads())
    if tuple(one.name for one in session.get_outputs()) != OUTPUTS:
        raise ModelError(f"{file}: expected a graph that gives {', '.join(OUTPUTS)}, as `asr export --onnx` writes it")
    return session
