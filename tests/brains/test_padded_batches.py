"""Brains trained and tested on a user's own DynamicItemDataset, as SpeechBrain's recipes have them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataio import read_audio
from speechbrain.dataio.dataloader import SaveableDataLoader
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.utils.data_pipeline import provides, takes
from speechbrain.utils.epoch_loop import EpochCounter
from tiny_experiment import Experiment, make_experiment
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import toolkit.brains.base
from toolkit.brains.ctc import CTCBrain
from toolkit.brains.language import LanguageModelBrain
from toolkit.brains.learning_curve import read_train_log
from toolkit.checkpoints import best_checkpoints, read_weights
from toolkit.dataio.batches import TextBatch
from toolkit.dataio.epochs import EpochLoader
from toolkit.dataio.loaders import load_splits
from toolkit.errors import ConfigError, DataError
from toolkit.experiment import load_experiment
from toolkit.models.language import RNNLM

pytestmark = pytest.mark.usefixtures("logging_put_back")

# What differs from the experiment's CTC.
METHODS = {
    "ctc": ("", "toolkit.brains.ctc.CTCBrain", "toolkit.models.recogniser.CTCModel"),
    "attention": (
        "ctc_weight: 0.5\nlabel_smoothing: 0.1\n",
        "toolkit.brains.attention.AttentionBrain",
        """toolkit.models.recogniser.AttentionModel
  decoder: !new:toolkit.models.location_attention.AttentionalGRUDecoder
    vocab_size: !apply:len [!ref <tokenizer>]
    memory_size: 32
    neurons: 8
    attention_size: 8""",
    ),
    "transducer": (
        "",
        "toolkit.brains.transducer.TransducerBrain",
        """toolkit.models.transducer.TransducerModel
  joint_size: 8
  predictor: !new:toolkit.models.transducer.StatelessPredictor
    vocab_size: !apply:len [!ref <tokenizer>]
    size: 8""",
    ),
}


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these epochs."""
    monkeypatch.setattr(toolkit.brains.base, "plot_learning_curve", lambda *_: None)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return make_experiment(tmp_path_factory.mktemp("tones"))


def load(experiment: Experiment, run: Path, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return load_experiment(
        [str(experiment.yaml), "--device", "cpu", "--noprogressbar", "--output_folder", str(run), *options]
    )


def dataset(manifest: Path, hparams: dict[str, Any], *, keys: str = "id sig words tokens") -> DynamicItemDataset:
    """The pipelines of SpeechBrain's template for speech recognition."""

    @takes("wav")
    @provides("sig")
    def read(wav: str) -> Tensor:
        return read_audio(wav)

    @takes("words")
    @provides("words", "tokens_list", "tokens_bos", "tokens_eos", "tokens")
    def encode(words: str) -> Iterator[Any]:
        yield words
        tokens = hparams["tokenizer"].encode(words)
        yield tokens
        yield torch.LongTensor([0, *tokens])
        yield torch.LongTensor([*tokens, 0])
        yield torch.LongTensor(tokens)

    root = {"data_root": str(manifest.parents[1])}
    return DynamicItemDataset.from_json(
        manifest, replacements=root, dynamic_items=[read, encode], output_keys=keys.split()
    )


def same_batches(ours: EpochLoader, data: DynamicItemDataset, epoch: int = 0) -> SaveableDataLoader:
    """A loader of the batches that ours has in an epoch."""
    ours.seek(epoch)
    place = {name: number for number, name in enumerate(data.data_ids)}
    batches = [[place[name] for name in batch.id] for batch in ours]
    return SaveableDataLoader(data, batch_sampler=batches, collate_fn=PaddedBatch)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_utterances_give_the_same_losses_and_weights(experiment: Experiment, tmp_path: Path, method: str):
    keys, brain, model = METHODS[method]
    text = experiment.yaml.read_text().replace(METHODS["ctc"][1], brain).replace(METHODS["ctc"][2], model)
    if method == "transducer":
        text = text.replace("toolkit.decoders.ctc.CTCGreedy", "toolkit.decoders.transducer_greedy.TransducerGreedy")
    experiment = Experiment(experiment.folder, tmp_path / "tiny.yaml", experiment.script, experiment.run)
    experiment.yaml.write_text(text.replace("opt_class:", f"{keys}opt_class:"))
    for theirs in (False, True):
        hparams, run_opts = load(experiment, tmp_path / str(theirs), "--number_of_epochs", "1")
        train, valid, tests = load_splits(hparams)
        test = tests["tones"]
        if theirs:
            manifests = experiment.folder / "manifests"
            train, valid, test = (
                same_batches(loader, dataset(manifests / f"{split}.json", hparams), epoch=split == "train")
                for split, loader in (("train", train), ("valid", valid), ("test", test))
            )
        brain = hparams["brain"](hparams, run_opts)
        brain.train_on(train, valid)
        brain.test_on(test, "tones")
    check_same_weights(tmp_path / "True", tmp_path / "False")
    found, expected = (read_train_log(tmp_path / run / "train_log.txt") for run in ("True", "False"))
    assert found | {"train seconds": None} == expected | {"train seconds": None}
    found, expected = ((tmp_path / run / "wer_tones.txt").read_text() for run in ("True", "False"))
    assert found == expected


def test_a_language_model_takes_them_too(tmp_path: Path):
    torch.manual_seed(0)
    counter, optimizer = EpochCounter(1), partial(torch.optim.SGD, lr=0.1)
    hparams = {"model": RNNLM(6, embedding_size=4, neurons=8, layers=1), "epoch_counter": counter}
    brain = LanguageModelBrain(hparams | {"opt_class": optimizer, "output_folder": str(tmp_path)}, {"device": "cpu"})
    brain.on_stage_start(Stage.VALID)
    brain.modules.eval()
    sentences = {"A B": [1, 2, 3], "C": [5]}
    padded = PaddedBatch([{"words": words, "tokens": torch.tensor(tokens)} for words, tokens in sentences.items()])
    losses = [brain.evaluate_batch(batch, Stage.VALID) for batch in (padded, TextBatch.of(padded))]
    assert losses[0] == losses[1] > 0
    assert (brain.tokens, brain.words) == (2 * 6, 2 * 5)


def check_same_weights(run: Path, other: Path) -> None:
    found, expected = (read_weights(best_checkpoints(one / "save", 1)[0] / "model.ckpt") for one in (run, other))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


class Stopped(BaseException):
    """The end of a run."""


def train(experiment: Experiment, run: Path, *, workers: int = 0, stop_at: int = 0, loader: Any = SaveableDataLoader):
    """Two epochs in an order that torch draws; ids of the batches that were trained on, the last of them stopped."""
    hparams, run_opts = load(experiment, run, "--ckpt_interval_steps", "1")
    data = dataset(experiment.folder / "manifests/train.json", hparams)
    seen = []

    class Watching(CTCBrain):
        def compute_forward(self, batch: Any, stage: Any) -> Any:
            if stage.name == "TRAIN":
                seen.append(batch.id)
                if len(seen) == stop_at:
                    raise Stopped
            return super().compute_forward(batch, stage)

    options = {"batch_size": 2, "shuffle": True, "collate_fn": PaddedBatch, "num_workers": workers}
    Watching(hparams, run_opts).train_on(
        loader(data, **options), DataLoader(data, batch_size=4, collate_fn=PaddedBatch)
    )
    return seen


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_run_continues_to_the_same_weights(experiment: Experiment, tmp_path: Path, workers: int):
    whole = train(experiment, tmp_path / "whole")
    assert len(whole) == 12
    assert sorted(sum(whole[:6], [])) == sorted(sum(whole[6:], []))  # noqa: RUF017
    assert whole[:6] != whole[6:]
    with pytest.raises(Stopped):
        train(experiment, tmp_path / "stopped", stop_at=10)
    assert train(experiment, tmp_path / "stopped", workers=workers) == whole[9:]
    check_same_weights(tmp_path / "whole", tmp_path / "stopped")


def test_a_loader_that_cannot_continue_says_so(experiment: Experiment, tmp_path: Path):
    with pytest.raises(Stopped):
        train(experiment, tmp_path, stop_at=10, loader=DataLoader)
    with pytest.raises(
        ConfigError, match=r"stopped after batch 3 of epoch 2.* DataLoader begins .* SaveableDataLoader"
    ):
        train(experiment, tmp_path, loader=DataLoader)


def test_a_batch_without_tokens_is_refused(experiment: Experiment, tmp_path: Path):
    hparams, run_opts = load(experiment, tmp_path)
    data = dataset(experiment.folder / "manifests/train.json", hparams, keys="id sig words")
    loader = SaveableDataLoader(data, batch_size=2, collate_fn=PaddedBatch)
    with pytest.raises(DataError, match="a PaddedBatch without tokens"):
        hparams["brain"](hparams, run_opts).train_on(loader, loader)


# Loaders without a length


class Stream(IterableDataset):
    """The utterances of a dataset, one after the other."""

    def __init__(self, data: DynamicItemDataset) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        return (self.data[number] for number in range(len(self.data)))


def train_on_a_stream(
    experiment: Experiment, run: Path, *options: str, stream: bool = True, stop_at: int = 0
) -> CTCBrain:
    """One epoch of 6 batches, none of which is trained on from number ``stop_at`` on."""
    hparams, run_opts = load(experiment, run, "--number_of_epochs", "1", *options)
    data = dataset(experiment.folder / "manifests/train.json", hparams)

    class Stopping(CTCBrain):
        def on_fit_batch_start(self, batch: Any, should_step: bool) -> None:
            if self.step == stop_at:
                raise Stopped
            super().on_fit_batch_start(batch, should_step)

    brain = Stopping(hparams, run_opts)
    loader = SaveableDataLoader(Stream(data) if stream else data, batch_size=2, collate_fn=PaddedBatch)
    brain.train_on(loader, DataLoader(data, batch_size=4, collate_fn=PaddedBatch))
    return brain


@pytest.mark.parametrize("factor", [1, 4, 6])
def test_a_stream_trains_to_the_weights_of_the_same_batches_with_numbers(
    experiment: Experiment, tmp_path: Path, factor: int
):
    options = ["--grad_accumulation_factor", str(factor)]
    steps = [
        train_on_a_stream(experiment, tmp_path / str(stream), *options, stream=stream).optimizer_step
        for stream in (True, False)
    ]
    assert steps == [-(-6 // factor)] * 2
    check_same_weights(tmp_path / "True", tmp_path / "False")


def test_a_stream_that_cannot_continue_says_so(experiment: Experiment, tmp_path: Path):
    options = ["--ckpt_interval_steps", "1"]
    with pytest.raises(Stopped):
        train_on_a_stream(experiment, tmp_path, *options, stop_at=4)
    with pytest.raises(ConfigError, match=r"after batch 3 of epoch 1.* SaveableDataLoader of a stream begins at the"):
        train_on_a_stream(experiment, tmp_path, *options)
