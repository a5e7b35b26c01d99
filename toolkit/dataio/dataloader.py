"""From a configuration to batches: NeMo's function, for any dataset that makes a batch of a CutSet.

``train_data.yaml``::

    input_cfg:
      - type: nemo_tarred
        manifest_filepath: m_{0..31}.json
        tarred_audio_filepaths: a_{0..31}.tar
        weight: 0.7
      - {type: kaldi, data_dir: digits, weight: 0.3}
    batch_duration: 300     # seconds, padding included
    num_buckets: 30
    shuffle: true
    num_workers: 2

Batches of it, without end, as a blend has none where ``force_finite`` is not set::

    class Speech(torch.utils.data.Dataset):
        def __getitem__(self, cuts: CutSet) -> tuple[Tensor, Tensor]:
            return load_cuts(list(cuts))

    loader = get_lhotse_dataloader_from_config("train_data.yaml", global_rank=0, world_size=1, dataset=Speech())
    for wavs, samples in loader:
        ...

What has an index is planned (:mod:`toolkit.dataio.plan`), in the main process; what has none is read from its beginning
(:mod:`toolkit.dataio.streams`), in the workers. ``loader.state_dict()`` is where training stands, for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lhotse import CutSet
from lhotse.dataset.dataloading import make_worker_init_fn
from omegaconf import DictConfig
from torch.utils.data import Dataset

from toolkit.dataio.config import DataConfig, multi_configs
from toolkit.dataio.config_values import as_mapping
from toolkit.dataio.epochs import EpochLoader, agreed_seed
from toolkit.dataio.fault_tolerance import FaultTolerant
from toolkit.dataio.fusion import FusedSampler
from toolkit.dataio.parts import Part, load_part, with_agreed_seeds
from toolkit.errors import DataError


def get_lhotse_dataloader_from_config(
    config: DictConfig | Mapping[str, Any] | str | Path,
    global_rank: int,
    world_size: int,
    dataset: Dataset,
    tokenizer: Any = None,
) -> EpochLoader:
    """The loader of what ``dataset`` makes of each batch.

    Parameters
    ----------
    config
        The keys of :class:`~toolkit.dataio.config.DataConfig`; with ``multi_config: true``, several of such by name,
        which inherit the keys beside them.
    global_rank, world_size
        The place of this process among those that share the data: each gets other batches, and as many.
    dataset
        Its ``__getitem__`` takes the CutSet of a batch. A DataError that it raises is raised to the user as it is.
    tokenizer
        Gives each example its tokens before batches are made, in the ``prompt_format`` where one is given.

    Raises
    ------
    ConfigError
        Names all unknown, missing and impossible keys.
    DataError
        A data set cannot be read, or no example is left after the filters.
    """
    values = as_mapping("config", config)
    if not values.get("multi_config"):
        whole = DataConfig.from_hparams("config", values)
        part = load_part("config", whole, tokenizer, rank=global_rank, world_size=world_size)
        return make_loader(part, dataset, whole, rank=global_rank, world_size=world_size)
    whole, groups = multi_configs("config", values)
    whole = with_agreed_seeds("config", whole, world_size)
    parts = {
        name: load_part(f"config.{name}", group, tokenizer, rank=global_rank, world_size=world_size)
        for name, group in groups.items()
    }
    samplers = {name: part.sampler for name, part in parts.items()}
    sampler = FusedSampler(samplers, whole.sampler_fusion, whole.sampler_weights, whole.seed)
    examples = FusedExamples({name: part.examples for name, part in parts.items()})
    is_stream = any(part.is_stream for part in parts.values())
    part = Part(sampler, examples, is_stream=is_stream)
    return make_loader(part, dataset, whole, rank=global_rank, world_size=world_size)


def make_loader(part: Part, dataset: Dataset, config: DataConfig, *, rank: int = 0, world_size: int = 1) -> EpochLoader:
    """The loader of what ``dataset`` makes of the batches of a part, with the workers of the configuration."""
    return EpochLoader(
        BatchDataset(part.examples, FaultTolerant(dataset) if config.fault_tolerant else dataset),
        part.sampler,
        in_workers=config.force_iterable_dataset or (part.is_stream and not config.force_map_dataset),
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        pin_memory=config.pin_memory,
        worker_init_fn=make_worker_init_fn(rank, world_size, seed=agreed_seed(config.seed) % 2**31),
    )


class BatchDataset(Dataset):
    """What a user's dataset makes of the CutSet of a batch; a DataError in its place when that cannot be read."""

    def __init__(self, examples: Callable[[Any], list[Any]], dataset: Dataset) -> None:
        self.examples, self.dataset = examples, dataset

    def __getitem__(self, drawn: Any) -> Any:
        try:
            return self.dataset[CutSet(self.examples(drawn))]
        except DataError as error:
            return error


@dataclass(frozen=True)
class FusedExamples:
    """The examples of a batch of several parts, of [(name, what its sampler yields), ...]."""

    parts: Mapping[str, Callable[[Any], list[Any]]]

    def __call__(self, drawn: list[tuple[str, Any]]) -> list[Any]:
        """The examples of what a FusedSampler yields."""
        return [example for name, one in drawn for example in self.parts[name](one)]
