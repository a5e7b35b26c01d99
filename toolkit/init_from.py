"""Training that begins with the weights of another model: a run's folder or an exported one.

What has the name and the shape of one of the model's own tensors is taken, the rest begins anew; the log says::

    weights of results/ctc: 36 of 38 tensors are taken
      encoder                      36  taken
      ctc_output.weight             1  begins anew: (31, 288) there, (28, 288) here
      ctc_output.bias               1  begins anew: (31,) there, (28,) here
      decoder                      14  not used: the model has no such tensors
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from toolkit.errors import ModelError
from toolkit.pretrained import has_tokens_of, trained_weights
from toolkit.tokenizer import read_pieces

logger = logging.getLogger(__name__)

TAKEN, MISSING = "taken", "begins anew: not there"
OTHER_SHAPE, OTHER_TOKENS = "begins anew: of another shape there", "begins anew: another tokenizer"
UNUSED = "not used: the model has no such tensors"


def take_weights(model: nn.Module, folder: str | Path, tokenizer_file: str | Path | None = None) -> None:
    """Put those weights of a run into a model that are of the name and shape of the model's own; the log says which.

    With another tokenizer than the run's, what has a row for each token begins anew: row 7 is of another text. Modules
    name these layers in ``token_layers``; of a model in which none does, that is whatever has as many rows.

    Raises
    ------
    ExperimentError
        The folder is not a run's, or no epoch was finished.
    ModelError
        None of the weights fits.
    """
    ours, theirs = model.state_dict(), trained_weights(folder)
    of_tokens = set() if has_tokens_of(folder, tokenizer_file) else _of_tokens(model, len(read_pieces(tokenizer_file)))
    fates = {name: _fate(name, tensor, theirs, of_tokens) for name, tensor in ours.items()}
    taken = [name for name, fate in fates.items() if fate == TAKEN]
    if not {TAKEN, OTHER_TOKENS} & set(fates.values()):
        raise ModelError(f"{folder}: none of its weights has the name and the shape of one of {type(model).__name__}")
    model.load_state_dict(ours | {name: theirs[name] for name in taken})
    table = "".join(
        f"\n  {row}" for row in _table(fates | dict.fromkeys(theirs.keys() - ours.keys(), UNUSED), ours, theirs)
    )
    level = logging.WARNING if 2 * len(taken) < len(ours) else logging.INFO
    logger.log(level, "weights of %s: %d of %d tensors are taken%s", folder, len(taken), len(ours), table)


def _of_tokens(model: nn.Module, rows: int) -> set[str]:
    """The names of the tensors that have a row for each of so many tokens."""
    state = model.state_dict()
    layers = tuple(
        f"{name}.{layer}.".lstrip(".")
        for name, module in model.named_modules()
        for layer in getattr(module, "token_layers", ())
    )
    return {
        name for name, tensor in state.items() if (name.startswith(layers) if layers else tensor.shape[:1] == (rows,))
    }


def _fate(name: str, tensor: Tensor, theirs: Mapping[str, Tensor], of_tokens: Collection[str]) -> str:
    """What becomes of one of the model's tensors; ``of_tokens`` are those of other tokens than theirs."""
    if name not in theirs:
        return MISSING
    if theirs[name].shape != tensor.shape:
        return OTHER_SHAPE
    return OTHER_TOKENS if name in of_tokens else TAKEN


def _table(fates: Mapping[str, str], ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Iterator[str]:
    """A line for each module of which all tensors have the same fate."""
    groups = list(_groups(fates, sorted(fates)))
    width = max(len(name) for name, _ in groups)
    for name, members in groups:
        fate = fates[members[0]]
        if fate == OTHER_SHAPE and len(members) == 1:
            there, here = (tuple(one[name].shape) for one in (theirs, ours))
            fate = f"begins anew: {there} there, {here} here"
        yield f"{name:{width}}  {len(members):5}  {fate}"


def _groups(fates: Mapping[str, str], names: list[str], depth: int = 1) -> Iterator[tuple[str, list[str]]]:
    """The outermost modules whose tensors share a fate, and the names of these."""
    heads = dict.fromkeys(".".join(name.split(".")[:depth]) for name in names)
    for head in heads:
        members = [name for name in names if name == head or name.startswith(f"{head}.")]
        if len({fates[name] for name in members}) == 1:
            yield (head if len(members) > 1 else members[0]), members
        else:
            yield from _groups(fates, members, depth + 1)
