"""Who may import whom."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest
from disk import ROOT, files, parse, setup_argument

# Everybody may import errors; a part may import itself and what stands here. inference never imports brains: a model is
# used without what trained it. An import that is missing here is a decision; an entry that nothing uses is struck out.
MAY_IMPORT = {
    "scripts": "experiment dataio tokenizer inference files",  # of recipes and templates
    "__main__": "cli",
    "cli": "serving inference experiment brains rehearsal results_table run_results collection dataio metrics"
    " run_options pretrained tokenizer hparams files shipped",
    "rehearsal": "brains collection declarations experiment run_folder run_options dataio hparams",
    "results_table": "run_results files",
    "run_results": "inference pretrained hparams files run_facts",
    "serving": "inference dataio",
    "inference": "pretrained checkpoints tensor_file dataio tokenizer decoders models metrics hparams files shipped"
    " class_names hub",
    "collection": "hparams shipped",
    "brains": "init_from pretrained checkpoints declarations hparams dataio metrics models files run_facts",
    "experiment": "run_folder run_options declarations hparams dataio",
    "declarations": "hparams",
    "run_folder": "pretrained hparams files run_facts",
    "run_facts": "files",
    "run_options": "hparams",
    "init_from": "pretrained tokenizer",
    "pretrained": "checkpoints hparams tokenizer models files",
    "checkpoints": "tensor_file",
    "compiled": "",
    "hparams": "safety class_names",
    "class_names": "",
    "safety": "files",
    "dataio": "files",
    "sentencepiece_tokenizer": "tokenizer files",
    "multilingual_tokenizer": "aggregate_tokenizer tokenizer",
    "aggregate_tokenizer": "",
    "tokenizer": "files",
    "metrics": "files",
    "decoders": "models compiled",
    "models": "files compiled tensor_file hub",
    "hub": "",
    "tensor_file": "files",
    "shipped": "",
    "files": "",
    "errors": "",
}

# All other modules test in milliseconds.
IMPORT_SPEECHBRAIN = {
    "toolkit.experiment",
    "toolkit.run_options",
    "toolkit.models.speechbrain_encoders",
    *(
        f"toolkit.brains.{name}"
        for name in (
            "asr",
            "attention",
            "base",
            "checkpointer",
            "ctc",
            "language",
            "speech_language",
            "step_memory",
            "train_log",
            "transducer",
        )
    ),
}

# By extra: what of it is imported, and the one module that does. torch.utils.tensorboard imports tensorboard.
OPTIONAL = {
    "scale": ("ray", "toolkit.inference.ray_engine"),
    "demo": ("espeakng_loader", "toolkit.dataio.synthesis"),
    "onnx": ("onnxruntime", "toolkit.models.onnx"),
    "vad": ("silero_vad", "toolkit.inference.silero"),
    "hf": ("transformers", "toolkit.models.wav2vec2"),
    "text": ("num2words", "toolkit.dataio.number_words"),
    "tensorboard": ("torch.utils.tensorboard", "toolkit.brains.tensorboard"),
    "tune": ("optuna", "toolkit.cli.tune"),
    "wandb": ("wandb", "toolkit.brains.wandb"),
    "mlflow": ("mlflow", "toolkit.brains.mlflow"),
}

# The extra of a whole part of the toolkit, which imports it wherever it needs to; the commands that begin it, and the
# client, say when it is missing.
SERVE = ("toolkit.serving.", "toolkit.cli.serve", "toolkit.cli.client")

# Imported below `if TYPE_CHECKING`, by type checkers, which bring it.
TYPING_ONLY = {"typing_extensions"}

# Modules that import the package's root, which holds the version.
IMPORT_ROOT = {"toolkit.cli.main"}


class Import(NamedTuple):
    """``from target import name`` in a module; name is "" in ``import target``."""

    module: str
    target: str
    name: str
    in_function: bool


def imports_of(path: Path) -> Iterator[Import]:
    """Every import of a file, wherever it stands."""
    tree, module = parse(path), module_name(path)
    functions = (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
    inner = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            target = "." * node.level + (node.module or "")
            yield from (Import(module, target, alias.name, id(node) in inner) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (Import(module, alias.name, "", id(node) in inner) for alias in node.names)


def module_name(path: Path) -> str:
    """``toolkit.models.state`` for ``ROOT/toolkit/models/state.py``; a package is its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """The row of the table that a module belongs to."""
    names = module.split(".")
    return names[min(1, len(names) - 1)] if names[0] == "toolkit" else "scripts"


MODULES = {module_name(path): path for top in ("toolkit", "recipes", "templates") for path in files(ROOT / top, "*.py")}
IMPORTS = [one for path in MODULES.values() for one in imports_of(path)]
DISTRIBUTIONS = packages_distributions()
PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def test_every_module_of_the_project_is_read():
    others = {"setup.py", *(str(path.relative_to(ROOT)) for path in files(ROOT / "tests", "*.py"))}
    others |= {str(path.relative_to(ROOT)) for top in ("benchmarks", "docker") for path in files(ROOT / top, "*.py")}
    assert len(MODULES) == len(files(ROOT, "*.py")) - len(others)
    assert {one.module for one in IMPORTS} == set(MODULES) - PACKAGES


def test_layers():
    assert {part_of(module) for module in MODULES} - {"toolkit"} == set(MAY_IMPORT)
    allowed = {(part, other) for part, others in MAY_IMPORT.items() for other in others.split()}
    found = {(part_of(one.module), part_of(one.target)) for one in IMPORTS if one.target in MODULES}
    found -= {(part, part) for part in MAY_IMPORT} | {(part, other) for part, other in found if other == "errors"}
    assert {pair for pair in found if pair[1] != "toolkit"} == allowed


def test_what_is_imported_of_the_project_is_a_module_by_its_full_name():
    inside = [one for one in IMPORTS if one.target.split(".")[0] in ("toolkit", "recipes", "templates", "")]
    assert [one for one in inside if one.target not in MODULES] == []
    assert [one for one in inside if one.target in PACKAGES - {"toolkit"}] == []
    assert {one.module for one in inside if one.target == "toolkit"} == IMPORT_ROOT
    assert {one.name for one in inside if one.target == "toolkit"} == {"__version__"}
    assert [name for name in PACKAGES - {"toolkit"} if MODULES[name].read_text().strip()] == []


def test_no_cycles():
    graph = {module: {one.target for one in IMPORTS if one.module == module} & set(MODULES) for module in MODULES}
    TopologicalSorter(graph).prepare()  # a CycleError names the modules of a cycle


def test_few_modules_know_speechbrain():
    assert {one.module for one in IMPORTS if one.target.split(".")[0] == "speechbrain"} == IMPORT_SPEECHBRAIN


@pytest.mark.parametrize("extra", sorted({*setup_argument("extras_require"), *OPTIONAL} - {"dev", "serve"}))
def test_an_optional_dependency_has_one_module_which_names_its_extra(extra: str):
    name, module = OPTIONAL[extra]
    users = [one for one in IMPORTS if f"{one.target}.{one.name}.".startswith(f"{name}.")]
    assert {one.module for one in users} == {module}
    assert all(one.in_function for one in users)
    assert f"asr-recipes[{extra}]" in MODULES[module].read_text(encoding="utf-8")


def test_only_the_service_imports_what_it_is_built_on():
    needed = {as_distribution(requirement) for requirement in setup_argument("extras_require")["serve"]}
    users = [one for one in IMPORTS if distribution_of(one) in needed]
    assert [one.module for one in users if not one.module.startswith(SERVE)] == []
    # uvicorn finds websockets and uvloop by itself
    assert {distribution_of(one) for one in users} == needed


def test_what_is_imported_is_what_setup_py_installs():
    not_needed = {name for name, _ in OPTIONAL.values()} | TYPING_ONLY
    others = [one for one in IMPORTS if not one.module.startswith(SERVE) and one.target.split(".")[0] not in not_needed]
    imported = {distribution_of(one) for one in others} - {None}
    assert imported == {as_distribution(requirement) for requirement in setup_argument("install_requires")}


def distribution_of(one: Import) -> str | None:
    """Of what an import is part; None of the standard library and of ourselves."""
    name = one.target.split(".")[0]
    if name in sys.stdlib_module_names or name == "toolkit":
        return None
    return as_distribution(DISTRIBUTIONS.get(name, [name])[0])  # an extra may be missing


def as_distribution(requirement: str) -> str:
    """``HyperPyYAML>=1.2`` and ``hyperpyyaml`` are one."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()
