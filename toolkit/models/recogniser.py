"""The recognisers that a YAML composes: what the Brain trains and the Transcriber runs is this one object."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import pad


class CTCModel(nn.Module):
    """Features, encoder and a linear layer whose output is read by CTC (Graves et al. 2006).

    Parameters
    ----------
    features : Module
        Waveforms (B, S) with (B,) samples -> (B, T, F) with (B,) frames.
    encoder : Module
        (B, T, F) with (B,) frames -> (B, T', D) with (B,) frames; has ``output_size`` D.
    vocab_size : int
        Number of tokens V; token 0 is the blank.
    augment : Module, optional
        (B, T, F) -> (B, T, F) in training only, for instance ``lhotse.dataset.SpecAugment``; with
        ``time_warp_factor: 0``, as it is told no lengths and would warp words into the padding.
    """

    token_layers: ClassVar[tuple[str, ...]] = ("ctc_output",)  # with a row for each token

    def __init__(
        self, features: nn.Module, encoder: nn.Module, vocab_size: int, augment: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.features, self.encoder, self.augment = features, encoder, augment
        self.vocab_size = vocab_size
        self.ctc_output = nn.Linear(encoder.output_size, vocab_size)

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> encoded (B, T, D) with (B,) frames."""
        features, frames = self.features(wavs, samples)
        if self.training and self.augment is not None:
            features = self.augment(features)
        return self.encoder(features, frames)

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """Encoded (B, T, D) -> log-probabilities (B, T, V); column 0 is the blank."""
        return self.ctc_output(encoded).float().log_softmax(dim=-1)

    def forward(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> CTC log-probabilities (B, T, V) with (B,) frames."""
        encoded, frames = self.encode(wavs, samples)
        return self.ctc_log_probs(encoded), frames


class AttentionModel(CTCModel):
    """Joint CTC/attention model (Watanabe et al. 2017): one encoder, a CTC output and a decoder that attends.

    Parameters
    ----------
    features, encoder, vocab_size, augment
        As in `CTCModel`.
    decoder : Module
        (tokens (B, U), encoded (B, T, D), frames (B,)) -> logits (B, U, V), with ``start`` and ``step`` for searching.
    """

    def __init__(
        self,
        features: nn.Module,
        encoder: nn.Module,
        vocab_size: int,
        *,
        decoder: nn.Module,
        augment: nn.Module | None = None,
    ) -> None:
        super().__init__(features, encoder, vocab_size, augment)
        self.decoder = decoder

    def forward(self, wavs: Tensor, samples: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Waveforms (B, S), samples (B,), tokens (B, U) -> CTC (B, T, V), frames (B,), decoder logits (B, U + 1, V)."""
        encoded, frames = self.encode(wavs, samples)
        return self.ctc_log_probs(encoded), frames, self.decode_teacher_forced(encoded, frames, tokens)

    def decode_teacher_forced(self, encoded: Tensor, frames: Tensor, tokens: Tensor) -> Tensor:
        """Logits (B, U + 1, V) of each of the true tokens (B, U) and of the end, given those before it."""
        return self.decoder(pad(tokens, (1, 0), value=0), encoded, frames)
