"""A HuggingFace CTC model of waveforms (wav2vec 2.0 and its kin) as a recogniser of this toolkit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.models.waveform_encoder import WaveformEncoder


class HuggingFaceModel(nn.Module):
    """A ``...ForCTC`` model of transformers: encoder frames, and CTC output whose first column is the blank.

    Parameters
    ----------
    network : Module
        What ``AutoModelForCTC.from_pretrained`` gives, for waveforms.
    order : sequence of int
        The column of its output for each of our tokens, blank first.
    normalise : bool
        As of a `WaveformEncoder`.
    """

    def __init__(self, network: nn.Module, order: Sequence[int], *, normalise: bool) -> None:
        super().__init__()
        self.encoder, self.ctc_output = WaveformEncoder(network.base_model, normalise=normalise), network.lm_head
        self.normalise, self.vocab_size = normalise, len(order)
        self.register_buffer("order", torch.tensor(order), persistent=False)

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> encoded (B, T, D) with (B,) frames; a frame at least."""
        return self.encoder(wavs, samples)

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """Encoded (B, T, D) -> log-probabilities (B, T, V); column 0 is the blank."""
        return self.ctc_output(encoded).float().log_softmax(dim=-1)[..., self.order]
