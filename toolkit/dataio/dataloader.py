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
(:mod:`toolkit.dataio.streams`), in the workers. ``loader.state_dict()`` is where training stands, for both: on a loader
of the same data, batches and ranks, ``load_state_dict`` goes on with the next batch, and with seeds that were drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lhotse import CutSet
from omegaconf import DictConfig
from torch.utils.data import Dataset

from toolkit.dataio.config import DataConfig, multi_configs
from toolkit.dataio.config_values import as_mapping
from toolkit.dataio.epochs import EpochLoader
from toolkit.dataio.fault_tolerance import FaultTolerant
from toolkit.dataio.fusion import FusedSampler
from toolkit.dataio.parts import Part, PartSampler, load_part
from toolkit.dataio.seeds import WorkerSeeds, drawn_seeds, seeds_of, with_agreed_seeds, with_seeds
from toolkit.errors import ConfigError, DataError


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
        Names all unknown, missing and impossible keys; or there is no such rank.
    DataError
        A data set cannot be read, or no example is left after the filters.
    """
    if not 0 <= global_rank < world_size:
        raise ConfigError(f"global_rank: expected one of 0 to {world_size - 1}, not {global_rank}")
    values, place = as_mapping("config", config), {"rank": global_rank, "world_size": world_size}
    if not values.get("multi_config"):
        whole = DataConfig.from_hparams("config", values)
        return make_loader(load_part("config", whole, tokenizer, **place), dataset, whole, **place)
    whole, groups = multi_configs("config", values)
    return make_loader(load_parts("config", whole, groups, tokenizer=tokenizer, **place), dataset, whole, **place)


def load_parts(
    where: str, config: DataConfig, groups: Mapping[str, DataConfig], *, rank: int, world_size: int, tokenizer: Any
) -> Part:
    """The data sets of several configurations as one; ``config`` says how their batches alternate."""
    again = partial(
        _load_with, where=where, config=config, groups=groups, rank=rank, world_size=world_size, tokenizer=tokenizer
    )
    drawn, config = drawn_seeds(where, config), with_agreed_seeds(where, config, world_size)
    parts = {
        name: load_part(f"{where}.{name}", group, tokenizer, rank=rank, world_size=world_size)
        for name, group in groups.items()
    }
    samplers = {name: part.sampler for name, part in parts.items()}
    origin = seeds_of(where, config)
    origin |= {f"{where}.{key}": getattr(config, key) for key in ("sampler_fusion", "sampler_weights")}
    for part in parts.values():
        origin |= part.origin
        drawn += part.drawn
    return Part(
        FusedSampler(samplers, config.sampler_fusion, config.sampler_weights, config.seed),
        FusedExamples({name: part.examples for name, part in parts.items()}),
        origin,
        drawn,
        again,
        is_stream=any(part.is_stream for part in parts.values()),
    )


def _load_with(
    seeds: Mapping[str, int], *, where: str, config: DataConfig, groups: Mapping[str, DataConfig], **options: Any
) -> Part:
    groups = {name: with_seeds(f"{where}.{name}", group, seeds) for name, group in groups.items()}
    return load_parts(where, with_seeds(where, config, seeds), groups, **options)


def make_loader(part: Part, dataset: Dataset, config: DataConfig, *, rank: int = 0, world_size: int = 1) -> EpochLoader:
    """The loader of what ``dataset`` makes of the batches of a part, with the workers of the configuration."""
    order = PartSampler(part)
    return EpochLoader(
        BatchDataset(order, FaultTolerant(dataset) if config.fault_tolerant else dataset),
        order,
        in_workers=config.force_iterable_dataset or (part.is_stream and not config.force_map_dataset),
        num_workers=config.num_workers,
        persistent_workers=config.num_workers > 0,
        pin_memory=config.pin_memory,
        worker_init_fn=WorkerSeeds(order, rank, world_size),
    )


class BatchDataset(Dataset):
    """What a user's dataset makes of the CutSet of a batch; a DataError in its place when that cannot be read."""

    def __init__(self, order: PartSampler, dataset: Dataset) -> None:
        self.order, self.dataset = order, dataset

    def examples(self, drawn: Any) -> list[Any]:
        """The examples of what the sampler yields."""
        return self.order.part.examples(drawn)

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
