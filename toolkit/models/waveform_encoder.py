"""wav2vec 2.0 and its kin (HuBERT, WavLM ...) of transformers as encoders, which padding does not change.

In transformers a batch answers otherwise than its files alone, where the model was trained without an attention mask:
its first layer is normalised over time, padding included. Here lengths are known everywhere, so that neighbours never
change an answer, and an answer is what transformers gives for the file alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.models.masking import valid_mask, zero_padding

# Their layers look at their neighbours through attention alone, which takes a mask; all others hear files one by one.
MASKABLE = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat")
NORM_EPSILON = 1e-7  # of transformers' Wav2Vec2FeatureExtractor


class WaveformEncoder(nn.Module):
    """Waveforms (B, S) -> (B, T, output_size), by a network of transformers.

    Parameters
    ----------
    wav2vec2 : Module
        A model of transformers that hears waveforms, without a head.
    normalise : bool
        Whether a waveform has mean 0 and variance 1 (``do_normalize`` of its feature extractor).
    """

    def __init__(self, wav2vec2: nn.Module, *, normalise: bool) -> None:
        super().__init__()
        config = wav2vec2.config
        self.wav2vec2, self.normalise, self.output_size = wav2vec2, normalise, config.hidden_size
        self.dropout = nn.Dropout(getattr(config, "final_dropout", 0.0))
        self.layers = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self.shortest = _samples_for_one_frame(self.layers)
        self.maskable = config.model_type in MASKABLE and not getattr(config, "add_adapter", False)
        # of SpecAugment, which transformers refuses where all utterances are shorter than a mask
        self.mask_frames = config.mask_time_length if getattr(config, "apply_spec_augment", False) else None
        if self.maskable and config.feat_extract_norm == "group":
            first = wav2vec2.feature_extractor.conv_layers[0]
            first.layer_norm = NormOverTime(first.layer_norm)

    def forward(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> encoded (B, T, output_size) with (B,) frames; a frame at least."""
        with torch.autocast(wavs.device.type, enabled=False):
            wavs = normalised(wavs, samples) if self.normalise else zero_padding(wavs, samples)
        samples = samples.clamp_min(self.shortest)
        wavs = nn.functional.pad(wavs, (0, max(0, self.shortest - wavs.shape[1])))
        frames = self.frames_of(samples)
        if self.training and self.mask_frames is not None:
            heard_at_once = frames[-1].max() if self.maskable else frames[-1].min()
            self.wav2vec2.config.apply_spec_augment = int(heard_at_once) >= self.mask_frames
        encoded, left = self._encode_batch(wavs, samples, frames) if self.maskable else self._encode_each(wavs, samples)
        return self.dropout(encoded), left

    def frames_of(self, samples: Tensor) -> list[Tensor]:
        """Whole frames (B,) that (B,) samples give after each of the convolutions."""
        frames = [samples]
        for kernel, stride in self.layers:
            frames.append(torch.div(frames[-1] - kernel, stride, rounding_mode="floor") + 1)
        return frames[1:]

    def _encode_batch(self, wavs: Tensor, samples: Tensor, frames: list[Tensor]) -> tuple[Tensor, Tensor]:
        norm = getattr(self.wav2vec2.feature_extractor.conv_layers[0], "layer_norm", None)
        if isinstance(norm, NormOverTime):
            norm.frames = frames[0]
        mask = None  # which a batch of one length needs not
        if (samples < wavs.shape[1]).any():
            mask = valid_mask(samples, wavs.shape[1]).long()
        with warnings.catch_warnings():  # of torch, at what transformers' WavLM does with a mask
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            return self.wav2vec2(wavs, attention_mask=mask)[0], frames[-1]

    def _encode_each(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        alone = [self.wav2vec2(wav[None, :count])[0][0] for wav, count in zip(wavs, samples, strict=True)]
        frames = torch.tensor([len(one) for one in alone], device=wavs.device)
        return nn.utils.rnn.pad_sequence(alone, batch_first=True), frames


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


def normalised(wavs: Tensor, samples: Tensor) -> Tensor:
    """Waveforms (B, S) with mean 0 and variance 1 over the (B,) samples of each; zeros elsewhere."""
    count = samples.clamp_min(1).unsqueeze(1)
    mean = zero_padding(wavs.float(), samples).sum(dim=1, keepdim=True) / count
    centred = zero_padding(wavs - mean, samples)
    return centred / (centred.square().sum(dim=1, keepdim=True) / count + NORM_EPSILON).sqrt()


def _samples_for_one_frame(layers: Sequence[tuple[int, int]]) -> int:
    """The fewest samples of which convolutions of these kernels and strides make a frame: 400 in wav2vec 2.0."""
    samples = 1
    for kernel, stride in reversed(layers):
        samples = (samples - 1) * stride + kernel
    return samples
