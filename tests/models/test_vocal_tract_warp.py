"""The warp of frequencies moves a tone's energy to where the warped tone has it."""

import torch

from toolkit.models.augment import VocalTractWarp
from toolkit.models.features import LogMel


def energies(hertz: float, log_mel: LogMel) -> torch.Tensor:
    """Log-mel energies (1, 1, F) of a tone, averaged over time."""
    wave = torch.sin(2 * torch.pi * hertz * torch.arange(16000) / 16000).unsqueeze(0)
    return log_mel.log_energies(wave, 90).mean(1, keepdim=True)


def test_a_warped_tone_looks_like_the_higher_tone(monkeypatch):
    log_mel = LogMel(n_mels=80)
    warp = VocalTractWarp(16000, 80, strength=0.1).train()
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.ones(size))  # the factor 1.1
    for hertz in (500.0, 1000.0, 3000.0):
        warped = warp(energies(hertz, log_mel))
        assert warped.argmax() == energies(1.1 * hertz, log_mel).argmax()


def test_no_warp_at_strength_zero_and_outside_training():
    features = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(VocalTractWarp(16000, 64, strength=0.0).train()(features), features, atol=1e-4, rtol=0)
    assert torch.equal(VocalTractWarp(16000, 64).eval()(features), features)


def test_each_utterance_has_its_own_factor():
    torch.manual_seed(0)
    features = torch.arange(64.0).expand(4, 2, 64)
    warped = VocalTractWarp(16000, 64).train()(features)
    assert torch.equal(warped[:, 0], warped[:, 1])
    assert len({row.sum().item() for row in warped[:, 0]}) == 4
