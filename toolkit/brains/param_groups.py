"""Which parameters are trained, and with what options: chosen by the beginning of their names.

::

    freeze: [encoder.wav2vec2.feature_extractor]
    param_groups:
      encoder.wav2vec2: {lr: 0.0001}      # all others have the lr of opt_class

A beginning is whole: ``encoder.layers.1`` is the beginning of ``encoder.layers.1.norm.weight``, and not of
``encoder.layers.10.norm.weight``.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from toolkit.errors import ConfigError, did_you_mean

logger = logging.getLogger(__name__)

Groups = Mapping[str, Mapping[str, Any]]


def freeze(model: nn.Module, beginnings: Sequence[str]) -> list[str]:
    """Let parameters stay as they are; the names that are of modules, which are to be in evaluation mode.

    Raises
    ------
    ConfigError
        It is no list of names, one is of no parameter, or none is left to train.
    """
    if not isinstance(beginnings, Sequence) or isinstance(beginnings, str):
        raise ConfigError(f"freeze: expected a list, such as [{beginnings}], not {beginnings!r}")
    _check_names("freeze", model, beginnings)
    for name, parameter in model.named_parameters():
        if _beginning(name, beginnings) is not None:
            parameter.requires_grad_(False)
    if beginnings and not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(f"freeze: {list(beginnings)} leaves no parameter to train; name fewer")
    modules = dict(model.named_modules())
    return [name for name in beginnings if name in modules]


def make_optimizer(
    opt_class: Callable[[Iterable[Any]], Optimizer], model: nn.Module, groups: Groups, parameters: Iterable[Any]
) -> Optimizer:
    """The optimizer of parameters, or of groups of them, where those that ``groups`` name have options of their own.

    Of two names that fit a parameter the longer decides.

    Raises
    ------
    ConfigError
        ``groups`` is no mapping of options by name, a name is of no parameter, or the optimizer has no such option.
    """
    if not isinstance(groups, Mapping) or not all(isinstance(options, Mapping) for options in groups.values()):
        raise ConfigError(f"param_groups: expected options by name, such as encoder: {{lr: 0.001}}, not {groups!r}")
    _check_names("param_groups", model, groups)
    owners = {parameter: _beginning(name, groups) for name, parameter in model.named_parameters()}
    parameters = list(parameters)
    given = parameters if isinstance(parameters[0], Mapping) else [{"params": parameters}]
    split = [
        {**group, "params": members, **groups.get(owner, {})}
        for group in given
        for owner in (None, *groups)
        if (members := [one for one in group["params"] if owners[one] == owner])
    ]
    optimizer = opt_class(split)
    for name, options in groups.items():
        _check_options(f"param_groups.{name}", options, optimizer.defaults)
    return optimizer


class GroupOptions:
    """The options that the YAML has for each group of an optimizer, beside those that a checkpoint brings.

    Each group has its share of one learning rate, which the optimizer's state remembers as ``base_lr``, and the rate of
    ``opt_class`` as ``initial_lr``.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, own = optimizer, optimizer.defaults["lr"]
        rates = [group["lr"] for group in optimizer.param_groups]
        if any(rate != own for rate in rates) and not own:
            raise ConfigError(
                "opt_class: an lr of 0 cannot be scaled for param_groups; freeze what is not to be trained"
            )
        self.shares = [rate / own if rate != own else 1.0 for rate in rates]
        for group in optimizer.param_groups:
            group["initial_lr"] = own
        self.set_rate(own)
        self.options = [
            {key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups
        ]

    @property
    def rate(self) -> float:
        """The learning rate of which each group has its share."""
        group = self.optimizer.param_groups[0]
        return group.get("base_lr", group["lr"])

    def set_rate(self, rate: float) -> None:
        """Give each group its share of a learning rate."""
        for group, share in zip(self.optimizer.param_groups, self.shares, strict=True):
            group.update(lr=rate * share, base_lr=rate)

    def renew(self, *, is_annealed: bool) -> None:
        """Give an optimizer that was loaded the options of the YAML, but for a rate that goes on from where it was."""
        rate = self.rate
        before = self.optimizer.param_groups[0].get("initial_lr", self.optimizer.defaults["lr"])
        for group, options in zip(self.optimizer.param_groups, self.options, strict=True):
            group.update(options)
        if is_annealed:
            self.set_rate(rate)
            if before != self.optimizer.defaults["lr"]:
                logger.warning(
                    "opt_class: an lr of %g, which was %g, has no effect: lr_annealing goes on with %g; "
                    "begin another run, with init_from, to train with it",
                    *(self.optimizer.defaults["lr"], before, rate),
                )


def _beginning(name: str, beginnings: Iterable[str]) -> str | None:
    """The longest of the beginnings of a name; None where none is."""
    fitting = (one for one in beginnings if name == one or name.startswith(f"{one}."))
    return max(fitting, key=len, default=None)


def _check_names(key: str, model: nn.Module, beginnings: Iterable[str]) -> None:
    parts = [name.split(".") for name, _ in model.named_parameters()]
    known = dict.fromkeys(".".join(part[:end]) for part in parts for end in range(1, len(part) + 1))
    for name in beginnings:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=3) or [one for one in known if "." not in one]
            raise ConfigError(f"{key}: no parameter's name begins with {name!r}; near it: {', '.join(near)}")


def _check_options(place: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    for option, value in options.items():
        if option not in defaults:
            hint = did_you_mean(option, defaults) or f"; it has {', '.join(defaults)}"
            raise ConfigError(f"{place}: the optimizer has no option {option!r}{hint}")
        if isinstance(defaults[option], float) and not isinstance(value, (int, float)):
            raise ConfigError(f"{place}.{option}: expected a number, not {value!r}")
