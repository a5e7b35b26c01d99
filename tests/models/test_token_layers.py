"""What a model says of its layers that have a row for each token, which fine-tuning with other tokens begins anew."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest
from torch import nn

import toolkit.models
from toolkit.models.features import LogMel
from toolkit.models.recurrent import CRDNN
from toolkit.models.transducer import RNNPredictor
from toolkit.models.transformer import TransformerDecoder

SMALL = {"size": 12, "layers": 1, "heads": 2, "hidden": 12, "memory_size": 12, "encoder_size": 12, "predictor_size": 12}
PARTS = {
    "features": lambda _: LogMel(16000, 16),
    "encoder": lambda _: CRDNN(16, cnn_channels=[4, 4], rnn_neurons=8, rnn_layers=1, dnn_blocks=0),
    "decoder": lambda tokens: TransformerDecoder(tokens, 12, layers=1, heads=2, hidden=12, memory_size=16),
    "predictor": lambda tokens: RNNPredictor(tokens, embedding_size=12, neurons=12),
}


def with_tokens() -> Iterator[type[nn.Module]]:
    """The classes of models that are told how many tokens there are."""
    for module in pkgutil.iter_modules(toolkit.models.__path__, "toolkit.models."):
        for _, one in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if one.__module__ == module.name and "vocab_size" in inspect.signature(one).parameters:
                yield one


def made(kind: type[nn.Module], tokens: int) -> nn.Module:
    wanted = inspect.signature(kind).parameters
    options = {name: make(tokens) for name, make in PARTS.items() if name in wanted}
    options |= {name: value for name, value in SMALL.items() if name in wanted}
    return kind(vocab_size=tokens, **options)


@pytest.mark.parametrize("kind", list(with_tokens()))
def test_the_layers_that_grow_with_the_tokens_are_named(kind: type[nn.Module]):
    few, more = made(kind, 7), made(kind, 9)
    weights = more.state_dict()
    growing = {name for name, tensor in few.state_dict().items() if tensor.shape != weights[name].shape}
    layers = [f"{name}.{one}.".lstrip(".") for name, part in few.named_modules() for one in layers_of(part)]
    assert growing == {name for name in weights if name.startswith(tuple(layers))} != set()


def layers_of(part: nn.Module) -> tuple[str, ...]:
    return getattr(part, "token_layers", ())


def test_they_are_found():
    assert len(list(with_tokens())) >= 8
