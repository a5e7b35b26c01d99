"""A HuggingFace CTC model of waveforms (wav2vec 2.0 and its kin) as a recogniser of this toolkit.

In transformers a batch answers otherwise than its files alone, where the model was trained without an attention mask:
its first layer is normalised over time, padding included. Here lengths are known everywhere, so that neighbours never
change an answer, and an answer is what transformers gives for the file alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Their layers look at their neighbours through attention alone, which takes a mask; all others hear files one by one.
MASKABLE = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
NORM_EPSILON = 1e-7  # of transformers' Wav2Vec2FeatureExtractor


class HuggingFaceModel(nn.Module):
    """A ``...ForCTC`` model of transformers: encoder frames, and CTC output whose first column is the blank.

    Parameters
    ----------
    network : Module
        What ``AutoModelForCTC.from_pretrained`` gives, for waveforms.
    order : sequence of int
        The column of its output for each of our tokens, blank first.
    normalise : bool
        Whether a waveform has mean 0 and variance 1 (``do_normalize`` of its feature extractor).
    """

    def __init__(self, network: nn.Module, order: Sequence[int], *, normalise: bool) -> None:
        super().__init__()
        config = network.config
        self.network, self.normalise, self.vocab_size = network, normalise, len(order)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.layers = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.shortest = _samples_for_one_frame(self.layers)
        self.maskable = config.model_type in MASKABLE and not getattr(config, "add_adapter", False)
        self.norm = None
        if self.maskable and config.feat_extract_norm == "group":
            first = network.base_model.feature_extractor.conv_layers[0]
            self.norm = first.layer_norm = NormOverTime(first.layer_norm)

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> encoded (B, T, D) with (B,) frames; a frame at least."""
        inside = torch.arange(wavs.shape[1], device=wavs.device) < samples[:, None]
        wavs = normalised(wavs, inside) if self.normalise else wavs.masked_fill(~inside, 0.0)
        samples = samples.clamp_min(self.shortest)
        wavs = nn.functional.pad(wavs, (0, max(0, self.shortest - wavs.shape[1])))
        if self.maskable:
            return self._encode_batch(wavs, samples)
        alone = [self.network.base_model(wav[None, :count])[0][0] for wav, count in zip(wavs, samples, strict=True)]
        frames = torch.tensor([len(one) for one in alone], device=wavs.device)
        return nn.utils.rnn.pad_sequence(alone, batch_first=True), frames

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """Encoded (B, T, D) -> log-probabilities (B, T, V); column 0 is the blank."""
        return self.network.lm_head(encoded).float().log_softmax(dim=-1)[..., self.order]

    def _encode_batch(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        frames = [samples]
        for kernel, stride in self.layers:
            frames.append((frames[-1] - kernel) // stride + 1)
        if self.norm is not None:
            self.norm.frames = frames[1]
        mask = None  # which a batch of one length needs not
        if (samples < wavs.shape[1]).any():
            mask = (torch.arange(wavs.shape[1], device=wavs.device) < samples[:, None]).long()
        with warnings.catch_warnings():  # of torch, at what transformers' WavLM does with a mask
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            return self.network.base_model(wavs, attention_mask=mask)[0], frames[-1]


class NormOverTime(nn.Module):
    """A group norm of one channel a group, over the frames of each utterance instead of all there are.

    Set ``frames`` (B,) before each call.
    """

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.frames: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, T) -> the same, each channel of an utterance with mean 0 and variance 1 before scale and shift."""
        frames = self.frames[:, None, None]
        inside = torch.arange(hidden.shape[2], device=hidden.device) < frames
        mean = hidden.masked_fill(~inside, 0.0).sum(dim=2, keepdim=True) / frames
        variance = (hidden - mean).masked_fill(~inside, 0.0).square().sum(dim=2, keepdim=True) / frames
        scale = self.weight[:, None] * (variance + self.eps).rsqrt()
        return (hidden - mean) * scale + self.bias[:, None]


def normalised(wavs: Tensor, inside: Tensor) -> Tensor:
    """Waveforms (B, S) with mean 0 and variance 1 over the samples ``inside`` (B, S) of each; zeros elsewhere."""
    count = inside.sum(dim=1, keepdim=True).clamp_min(1)
    mean = wavs.masked_fill(~inside, 0.0).sum(dim=1, keepdim=True) / count
    centred = (wavs - mean).masked_fill(~inside, 0.0)
    return centred / (centred.square().sum(dim=1, keepdim=True) / count + NORM_EPSILON).sqrt()


def _samples_for_one_frame(layers: Sequence[tuple[int, int]]) -> int:
    """The fewest samples of which convolutions of these kernels and strides make a frame: 400 in wav2vec 2.0."""
    samples = 1
    for kernel, stride in reversed(layers):
        samples = (samples - 1) * stride + kernel
    return samples
