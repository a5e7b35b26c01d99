"""Classes by the names that a YAML gives them: whether they exist, and what is near to one that does not."""

from __future__ import annotations

import pkgutil
import pydoc
from collections.abc import Iterable

from toolkit.errors import did_you_mean


def exists(name: str) -> bool:
    """Whether there is something of this name; what needs a package that is not installed, there is, too."""
    try:
        return pydoc.locate(name) is not None
    except pydoc.ErrorDuringImport:
        return True


def nearest(name: str, others: Iterable[str] = ()) -> str:
    """The hint that ends the message about a name that does not exist, ``""`` where nothing is near.

    Looked at are the package that exists of it, and other names; one of the same class elsewhere goes first.
    """
    package, _, rest = name.rpartition(".")
    while package and not exists(package):
        package, _, rest = package.rpartition(".")
    known = {*others, *(f"{package}.{one}" for one in _names_in(package))}
    elsewhere = [one for one in sorted(known) if one.endswith(f".{name.rpartition('.')[2]}")]
    if elsewhere:
        return f" (did you mean {elsewhere[0]!r}?)"
    return did_you_mean(name, known) or did_you_mean(f"{package}.{rest}", known)


def _names_in(package: str) -> Iterable[str]:
    """What can be asked of a package, its modules included."""
    try:
        found = pydoc.locate(package) if package else None
    except pydoc.ErrorDuringImport:
        return ()
    names = {*dir(found), *(module.name for module in pkgutil.iter_modules(getattr(found, "__path__", ())))}
    return [name for name in names if not name.startswith("_")]
