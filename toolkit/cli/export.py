"""Make a folder that stands alone of a run's: a model to publish, to copy, or to use without what trained it.

    asr export results/transducer models/transducer
    asr export results/transducer models/small --quantize int8 --test manifests/test.json
    asr export results/ctc models/onnx --onnx

The folder has the YAML of what transcribing needs, weights as safetensors, tokenizer and language model, README.md (a
model card) and provenance.json. It is whole or absent, and is used as a run's is: `asr transcribe models/small
speech.wav`. Run it where the training ran, so that the hours of its data can be counted.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.cli.data_tools.arguments import positive

if TYPE_CHECKING:
    from toolkit.inference.comparison import Comparison


def main(arguments: Sequence[str]) -> int:
    """Export as the command line says, and print how near the export is to the run; the exit status."""
    options = parse(arguments)
    from toolkit.inference.export import Export, export_run  # torch takes seconds to load: not for --help

    export = Export(
        average=options.average,
        form=options.form,
        test=options.test,
        license=options.license,
        notes=options.notes,
        command=shlex.join(["asr", "export", *arguments]),
        force=options.force,
    )
    for line in summary(options.out, options.run_folder, export_run(options.run_folder, options.out, export)):
        print(line)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="output folder of a recogniser's training")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to make")
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--quantize",
        dest="form",
        choices=["int8"],
        default="float32",
        help="matrices as int8: a quarter of the size; linear layers of the encoder are computed in int8 on a CPU",
    )
    forms.add_argument(
        "--onnx",
        dest="form",
        action="store_const",
        const="onnx",
        help="encoder and CTC output as an ONNX graph, run by onnxruntime (extra [onnx])",
    )
    parser.add_argument(
        "--average", type=positive, metavar="N", help="mean of the N best checkpoints (default: as the YAML says)"
    )
    parser.add_argument("--test", type=Path, metavar="MANIFEST", help="print the WER of it before and after")
    parser.add_argument("--license", default="", metavar="TEXT", help="for the model card")
    parser.add_argument(
        "--notes", type=Path, metavar="FILE", help="Markdown for the model card: what users should know"
    )
    parser.add_argument("--force", action="store_true", help="replace an exported folder of this name")
    return parser.parse_args(arguments)


def summary(out: Path, run: Path, comparison: Comparison) -> list[str]:
    """What was made, and how near it is."""
    megabytes = sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e6
    lines = [
        f"{out}: {megabytes:.1f} MB, from {run}",
        f"log-probabilities differ by {comparison.difference:.2g} at most, the most likely token is the same in "
        f"{comparison.agreement:.1%} of frames ({comparison.audio})",
    ]
    if comparison.before and comparison.after:
        lines += [
            f"{name}: WER {tested.wer:.2f} %, CER {tested.cer:.2f} %, {tested.seconds:.1f} s of processor time"
            for name, tested in (("before", comparison.before), ("after ", comparison.after))
        ]
    return lines
