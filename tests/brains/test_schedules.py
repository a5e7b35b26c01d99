import pytest

from toolkit.brains.schedules import WarmupCosine


def test_warm_up_is_linear_in_steps():
    schedule = WarmupCosine(0.1, warmup_steps=10, number_of_epochs=5)
    assert [schedule(step, 1) for step in (1, 5, 10, 50)] == pytest.approx([0.01, 0.05, 0.1, 0.1])


def test_cosine_falls_over_epochs_to_its_fraction():
    schedule = WarmupCosine(0.1, warmup_steps=0, number_of_epochs=4, final_fraction=0.1)
    rates = [schedule(1000, epoch) for epoch in (1, 2, 3, 4, 5, 9)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[2] == pytest.approx(0.1 * (0.1 + 0.9 * 0.5))
    assert rates[4] == rates[5] == pytest.approx(0.01)
    assert rates == sorted(rates, reverse=True)
