"""What is left out of a batch, and what is an error nevertheless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording
from torch.utils.data import Dataset

from toolkit.dataio.fault_tolerance import FaultTolerant
from toolkit.dataio.text_adapters import AudioTurn, NeMoMultimodalConversation


@pytest.fixture
def cuts(tmp_path: Path) -> list[MonoCut]:
    """Three utterances, of which the file of the second is gone."""
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path in paths:
        soundfile.write(path, np.zeros(1600), 16000)
    cuts = [Recording.from_file(path).to_cut() for path in paths]
    paths[1].unlink()
    return cuts


class ByLhotse(Dataset):
    """Reads as Lhotse does, whose errors are not ours; and has a bug."""

    def __getitem__(self, examples: CutSet) -> list[str]:
        for example in examples:
            for cut in example.list_cuts() if isinstance(example, NeMoMultimodalConversation) else [example]:
                cut.load_audio()
        return [f"{1 / (example.id != 'bug')} {example.id[0]}" for example in examples]


def test_audio_that_a_dataset_reads_by_itself(cuts: list[MonoCut]) -> None:
    assert FaultTolerant(ByLhotse())[CutSet.from_cuts(cuts)] == ["1.0 0", "1.0 2"]
    talks = [NeMoMultimodalConversation(cut.id, [AudioTurn(cut, "user", "|audio|")]) for cut in cuts]
    assert FaultTolerant(ByLhotse())[CutSet(talks)] == ["1.0 0", "1.0 2"]


def test_an_error_of_the_dataset_stays_one(cuts: list[MonoCut]) -> None:
    with pytest.raises(ZeroDivisionError):
        FaultTolerant(ByLhotse())[CutSet.from_cuts([cuts[0].with_id("bug"), cuts[2]])]
