"""Look for all that would stop a training, or make it worthless, before it begins.

    cd recipes/AN4
    asr check hparams/ctc.yaml
    asr check hparams/ctc.yaml --lr 0.001 --device cpu
    asr check .

Of a YAML, or of all those of a recipe: keys and references, classes and their arguments; files that are missing, and
the command that makes each; whether the data sets can be read, and texts have characters that the tokenizer does not
know; utterances that are too short for CTC behind the encoder; a warm-up that is longer than the training; then a
training step on the longest and the shortest utterance, and the searches of validation and test. Any key of the YAML
can be set as for train.py. Nothing is written but the indexes of manifests, which training uses, too.

The exit status is 1 where there is a problem. `asr data check` opens every audio file.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.collection import Recipe, find_recipe
from toolkit.errors import ConfigError
from toolkit.files import working_in

if TYPE_CHECKING:
    from toolkit.rehearsal.findings import Findings


def main(arguments: Sequence[str]) -> int:
    """Check what the command line names; the exit status: 1 where something is wrong."""
    options, settings = parse(arguments)
    folder, experiments = experiments_of(options.what)
    if settings and len(experiments) > 1:
        raise ConfigError(f"{settings[0]}: of which of the {len(experiments)} YAML files? name one of them")
    logging.disable(logging.WARNING)  # SpeechBrain warns of optional packages as it is imported
    from toolkit.rehearsal.rehearse import rehearse

    logging.disable(logging.NOTSET)
    count = 0
    with working_in(folder):
        for experiment in experiments:
            findings = rehearse(experiment, settings)
            print(describe(experiment, findings), flush=True)
            count += len(findings.problems)
    print(f"{count or 'no'} problem{'s' * (count != 1)}")
    return 1 if count else 0


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Options of the command line, and the settings of the YAML."""
    parser = argparse.ArgumentParser(
        prog="asr check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("what", metavar="RECIPE|YAML", help="a recipe's folder or name, or one of its YAML files")
    return parser.parse_known_args(arguments)


def experiments_of(what: str) -> tuple[Path, list[Path]]:
    """The folder from which a recipe's paths are, and its YAML files, or the one that is named, from there.

    Raises
    ------
    ConfigError
        There is no such recipe, or it has none.
    """
    if what.endswith((".yaml", ".yml")):
        yaml = Path(what)
        folder = yaml.parent.parent if yaml.parent.name == "hparams" else Path()
        return folder, [yaml.relative_to(folder)]
    recipe = Recipe(Path(what)) if (Path(what) / "hparams").is_dir() else find_recipe(what)
    if not recipe.experiments:
        raise ConfigError(f"{recipe.folder}: has no hparams/*.yaml")
    return recipe.folder, [path.relative_to(recipe.folder) for path in recipe.experiments]


def describe(experiment: Path, findings: Findings) -> str:
    """What was found, a line each."""
    lines = [f"  {fact}" for fact in findings.facts]
    lines += [f"  note: {note}" for note in findings.notes]
    lines += [f"  problem: {problem}" for problem in findings.problems]
    return "\n".join([str(experiment), *lines])
