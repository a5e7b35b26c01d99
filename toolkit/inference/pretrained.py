"""What all users of trained models share: where a model is found, what it has to have, and how it hears a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from ruamel.yaml.error import YAMLError
from torch import Tensor, nn

from toolkit.dataio.audio import load_audio
from toolkit.errors import ConfigError, ModelError, ToolkitError, did_you_mean
from toolkit.hparams import yaml_value
from toolkit.inference.published import load_published
from toolkit.inference.sources import Origin, check_links, find_folder
from toolkit.pretrained import HPARAMS_FILE, load_document, open_document

if TYPE_CHECKING:
    from typing_extensions import Self

SAMPLE_RATE = 16000  # of models that don't say


@dataclass(frozen=True)
class Options:
    """How a folder is to be loaded; see `Pretrained.from_hparams`."""

    hparams_file: str
    overrides: Mapping[str, Any]
    device: torch.device


class Pretrained(nn.Module):
    """Trained modules with what their YAML says of them; a subclass adds what it does with them.

    ::

        class Loudness(Pretrained):
            MODULES_NEEDED = ("features", "encoder")

            def loudness(self, path):
                wav = self.load_audio(path)
                features, frames = self.mods.features(wav[None], torch.tensor([len(wav)]))
                return self.mods.encoder(features, frames)[0].norm()

        Loudness.from_hparams("results/ctc").loudness("speech.wav")

    Parameters
    ----------
    modules : mapping of str to Module
        What computes; as ``mods.NAME``, on the device, in evaluation mode and frozen.
    hparams : mapping of str to anything
        What the YAML declares; as ``hparams.NAME``.
    device : str or torch.device, optional
        Where to compute; by default a GPU where there is one.

    Raises
    ------
    ConfigError
        A name of ``MODULES_NEEDED`` or ``HPARAMS_NEEDED`` is missing, or there is no such device.
    """

    HPARAMS_NEEDED: ClassVar[Sequence[str]] = ()
    MODULES_NEEDED: ClassVar[Sequence[str]] = ()

    def __init__(
        self,
        modules: Mapping[str, nn.Module] | None = None,
        hparams: Mapping[str, Any] | None = None,
        *,
        device: str | torch.device | None = None,
    ) -> None:
        super().__init__()
        modules, hparams = dict(modules or {}), dict(hparams or {})
        self._check_needed("module", self.MODULES_NEEDED, modules)
        self._check_needed("hyperparameter", self.HPARAMS_NEEDED, hparams)
        self.device = find_device(device)
        self.mods, self.hparams = nn.ModuleDict(), SimpleNamespace()
        self._keep(modules, hparams)

    def _keep(self, modules: Mapping[str, nn.Module], hparams: Mapping[str, Any]) -> None:
        """Let modules and hyperparameters be had by their names, in the place of others of the same names."""
        for name, module in modules.items():
            if name not in self.mods and hasattr(self.mods, name):
                raise ConfigError(f"modules: {name!r} cannot be the name of a module; name it otherwise")
            self.mods[name] = module
        self.mods.to(self.device).eval().requires_grad_(False)
        vars(self.hparams).update(hparams)

    def _check_needed(self, kind: str, needed: Sequence[str], given: Mapping[str, Any]) -> None:
        if missing := [name for name in needed if name not in given]:
            raise ConfigError(
                f"{type(self).__name__} needs the {kind}s {', '.join(needed)}; missing: {', '.join(missing)}"
                f"{did_you_mean(missing[0], given)}; there are: {', '.join(given) or 'none'}"
            )

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        hparams_file: str = HPARAMS_FILE,
        savedir: str | Path | None = None,
        overrides: Mapping[str, Any] | str | None = None,
        device: str | torch.device | None = None,
        *,
        revision: str | None = None,
        trust_source_code: bool = False,
        run_opts: Mapping[str, Any] | None = None,
    ) -> Self:
        """The object that a model's folder declares, with its trained weights.

        Parameters
        ----------
        source : str or Path
            Folder of a training run, of ``asr export``, of SpeechBrain or, for a `Transcriber`, of transformers or a
            `ServiceFolder`; or a hub name such as ``owner/name``.
        hparams_file : str
            The YAML in it.
        savedir : str or Path, optional
            Where to put what is downloaded, instead of the hub's own cache.
        overrides : mapping or str, optional
            Values of the YAML to replace, as a mapping or as YAML; a mapping replaces only the entries that it names.
        device : str or torch.device, optional
            Where to compute; by default a GPU where there is one.
        revision : str, optional
            Commit, tag or branch of the hub's repository; without it the newest.
        trust_source_code : bool
            Build whatever the YAML names, which may run any program. By default only what a model may use.
        run_opts : mapping, optional
            SpeechBrain's way to say the ``device``; other options are of training, and not used.

        Raises
        ------
        ExperimentError
            There is no such model, or it has no weights yet.
        ConfigError
            The YAML is damaged, asks for what a model may not use, or declares not what this class needs.
        ModelError
            The weights do not fit, or another file is damaged.
        """
        folder = find_folder(source, savedir, revision)
        options = Options(
            hparams_file=hparams_file,
            overrides=_mapping(overrides),
            device=find_device(device or (run_opts or {}).get("device")),
        )
        origin = Origin(folder, str(source), revision, trust_source_code)
        try:
            return cls._from_folder(origin, options)
        except ToolkitError:
            raise
        except Exception as error:  # whatever libraries raise at files that somebody else has made
            raise ModelError(
                f"{folder}: cannot be loaded; {type(error).__name__}: {' '.join(str(error).split())[:500]}"
            ) from error

    @classmethod
    def _from_folder(cls, origin: Origin, options: Options) -> Self:
        """The object that a folder of this machine declares."""
        document = open_document(origin.folder, options.hparams_file)
        document.override(options.overrides)
        if not origin.trusted:
            check_links(origin.folder, options.hparams_file)
        if "pretrainer" in document:
            loaded = load_published(document, origin)
        else:
            keys = ("model", *cls.MODULES_NEEDED, *cls.HPARAMS_NEEDED)  # the model's are the weights of all modules
            loaded = load_document(document, keys, trust_source_code=origin.trusted)
            loaded["modules"] = {name: loaded[name] for name in cls.MODULES_NEEDED}
        return cls._from_loaded(loaded, origin.folder, options.device)

    @classmethod
    def _from_loaded(cls, loaded: Mapping[str, Any], folder: Path, device: str | torch.device | None) -> Self:  # noqa: ARG003
        """The object with what was loaded from a folder."""
        return cls(loaded["modules"], loaded, device=device)

    def load_audio(self, path: str | Path, savedir: str | Path | None = None) -> Tensor:  # noqa: ARG002
        """Waveform (S,) of a file of any container, rate and channel count, as the model hears it, on its device.

        SpeechBrain downloads to ``savedir``; here nothing is.
        """
        return load_audio(path, getattr(self.hparams, "sample_rate", SAMPLE_RATE)).to(self.device)


def _mapping(overrides: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
    """Overrides as a mapping, which may be given as YAML; references in it are kept."""
    try:
        found = yaml_value(overrides) if isinstance(overrides, str) else overrides
    except YAMLError as error:
        raise ConfigError(f"overrides: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, Mapping | None):
        raise ConfigError(f"overrides: expected values by the names of keys, or YAML of such, got {overrides!r}")
    return found or {}


def find_device(name: str | torch.device | None) -> torch.device:
    """The device of this name, or a GPU where there is one."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ConfigError(f"device {name!r}: no such device; expected cpu, cuda or cuda:0") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r}: this machine has no GPU that torch can use; expected cpu")
    return device
