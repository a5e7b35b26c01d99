"""Features of speech that is still being spoken."""

from __future__ import annotations

import pytest
import torch

from toolkit.models.streaming_features import StreamingLogMel


def speech(samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(samples)
    return (
        torch.randn(1, samples, generator=generator)
        * torch.rand(1, samples // 800 + 1).repeat_interleave(800)[:samples]
    )


def whole(features: StreamingLogMel, wavs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return features(wavs, torch.tensor([wavs.size(1)]))[0]


@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("samples", [1, 159, 160, 161, 5000, 16000])
def test_piece_by_piece_they_are_those_of_the_whole(samples: int, rate: int) -> None:
    features, wavs = StreamingLogMel(rate, 20), speech(samples)
    stream = features.stream()
    with torch.no_grad():
        parts = [stream.feed(part) for part in wavs.split(7 * features.hop_samples, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole(features, wavs), atol=1e-5, rtol=0)


def test_a_frame_needs_no_sample_after_its_step() -> None:
    features, wavs = StreamingLogMel(n_mels=20), speech(8000)
    before = whole(features, wavs)
    wavs[:, 4800:] += 0.1  # 30 steps
    changed = (whole(features, wavs) != before).any(dim=2)[0]
    assert changed.tolist() == [False] * 30 + [True] * 20


def test_the_mean_so_far_is_taken_away_counting_what_is_usual_as_a_hundred_frames() -> None:
    features, wavs = StreamingLogMel(n_mels=20), speech(8000)
    energies = features.log_energies(torch.nn.functional.pad(wavs, (features.past_samples, 0)), 50)[0].double()
    found = whole(features, wavs)[0].double()
    for frame in (0, 7, 49):
        mean = (100 * -6.1 + energies[: frame + 1].sum(0)) / (100 + frame + 1)
        torch.testing.assert_close(found[frame], (energies[frame] - mean) / 3.6, atol=1e-5, rtol=1e-4)


def test_the_longer_it_lasts_the_less_loudness_matters() -> None:
    features, wavs = StreamingLogMel(n_mels=20), speech(16000 * 20)
    difference = (whole(features, 0.5 * wavs) - whole(features, wavs)).abs().mean(dim=2)[0]
    assert difference[0] > 0.3  # of log 4, in deviations
    assert difference[-1] < 0.02
