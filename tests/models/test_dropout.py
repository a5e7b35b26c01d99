import torch

from toolkit.models.dropout import SharedDropout


def test_the_same_units_are_dropped_at_every_frame_of_a_row():
    torch.manual_seed(0)
    dropped = SharedDropout(0.5).train()(torch.ones(4, 7, 100))
    assert torch.equal(dropped, dropped[:, :1].expand(4, 7, 100))
    assert not torch.equal(dropped[0], dropped[1])
    assert set(dropped.unique().tolist()) == {0.0, 2.0}


def test_the_expected_value_stays():
    torch.manual_seed(0)
    mean = SharedDropout(0.3).train()(torch.ones(200, 1, 200)).mean()
    assert abs(mean - 1) < 0.02


def test_nothing_is_dropped_outside_training():
    values = torch.randn(2, 3, 4)
    assert torch.equal(SharedDropout(0.9).eval()(values), values)
