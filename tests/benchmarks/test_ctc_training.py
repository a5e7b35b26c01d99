from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tiny_experiment import load_script, make_experiment

SCRIPT = Path(__file__).parents[2] / "benchmarks/ctc_training.py"


@pytest.mark.usefixtures("logging_put_back")
def test_shares_of_the_time_add_up_to_all_of_it(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(torch.Tensor, "backward", torch.Tensor.backward)  # put back at the end
    experiment = make_experiment(tmp_path)
    load_script(SCRIPT).main([str(experiment.yaml), "--batches", "2", "--train_data", "{batch_size: 1}"])
    shares = {
        part.strip(): float(share) for part, share in re.findall(r"^(.+?) +([\d.]+) %$", capsys.readouterr().out, re.M)
    }
    assert {"data (waiting)", "features", "encoder", "loss", "backward", "optimizer"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(100, abs=0.5)
