"""Log-mel features against torchaudio's and against their definition."""

import torch
from torchaudio.transforms import MelSpectrogram

from toolkit.models.features import LogMel


def test_energies_equal_torchaudio_inside_the_signal():
    """Frames whose windows lie inside the audio, before normalisation, are torchaudio's mel energies."""
    ours = LogMel(n_mels=40)
    reference = MelSpectrogram(16000, n_fft=512, win_length=400, hop_length=160, f_min=20, n_mels=40, power=2.0)
    wavs = torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))
    energies = ours.log_energies(torch.nn.functional.pad(wavs, (256, 0)), 100)
    expected = reference(wavs).transpose(1, 2).log()
    torch.testing.assert_close(energies[:, 2:98], expected[:, 2:98], rtol=1e-4, atol=1e-4)


def test_each_utterance_has_zero_mean_and_unit_variance():
    samples = torch.tensor([16000, 4000])
    features, frames = LogMel(n_mels=12)(torch.randn(2, 16000, generator=torch.Generator().manual_seed(1)), samples)
    assert frames.tolist() == [100, 25]
    for row, count in zip(features, frames, strict=True):
        torch.testing.assert_close(row[:count].mean(0), torch.zeros(12), atol=1e-5, rtol=0)
        torch.testing.assert_close(row[:count].std(0, unbiased=False), torch.ones(12), atol=1e-3, rtol=0)
        assert not row[count:].any()


def test_one_mean_and_variance_for_all_bands_keep_the_spectrum():
    """Of a steady tone, the bands differ as its energies do; and padding changes nothing."""
    log_mel = LogMel(n_mels=12, per_band=False)
    wavs = torch.sin(torch.arange(8000) * 0.2).repeat(2, 1)
    features, frames = log_mel(wavs, torch.tensor([8000, 4000]))
    energies = log_mel.log_energies(torch.nn.functional.pad(wavs, (256, 0)), 50)[0]
    expected = (energies - energies.mean()) / energies.std(unbiased=False)
    torch.testing.assert_close(features[0], expected, atol=1e-3, rtol=1e-3)
    alone, _ = log_mel(wavs[1:, :4000], torch.tensor([4000]))
    torch.testing.assert_close(features[1, : frames[1]], alone[0])


def test_digital_silence_is_finite():
    features, _ = LogMel()(torch.zeros(1, 1600), torch.tensor([1600]))
    torch.testing.assert_close(features, torch.zeros_like(features), atol=1e-2, rtol=0)


def test_volume_does_not_matter():
    wavs, samples = torch.randn(1, 8000, generator=torch.Generator().manual_seed(2)), torch.tensor([8000])
    loud, quiet = LogMel()(wavs, samples)[0], LogMel()(0.1 * wavs, samples)[0]
    torch.testing.assert_close(loud, quiet, atol=1e-3, rtol=1e-3)
