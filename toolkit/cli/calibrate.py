"""Make a model's confidence in its words the share of them that are right.

    asr calibrate results/ctc manifests/valid.json

transcribes a data set that the model was not trained on, compares, and writes confidence.json into the model's folder,
which everything that loads the model reads. Prints how far confidence and the share of right words are apart (expected
calibration error), before and after; of the data set that --test names, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.files import require_writable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from toolkit.inference.confidence import Calibration
    from toolkit.inference.transcriber import Transcriber

AT_ONCE = 200  # utterances in memory


def main(arguments: Sequence[str]) -> int:
    """Calibrate as the command line says; the exit status."""
    options = parse(arguments)
    require_writable(options.run_folder, "RUN_FOLDER")
    from toolkit.inference.confidence import Calibration, fit
    from toolkit.inference.transcriber import Transcriber

    transcriber = Transcriber.from_hparams(options.run_folder, device=options.device)
    transcriber.calibration = Calibration()
    words = {path: words_of(transcriber, path) for path in [options.manifest, *options.test]}
    calibration = fit(*words[options.manifest])
    calibration.write(options.run_folder)
    for path, (confidences, right) in words.items():
        fitted = " (the set that it was fitted to)" if path == options.manifest else ""
        print(report(path, confidences, right, calibration) + fitted)
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="asr calibrate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN_FOLDER", help="folder of a model")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="of the validation set")
    parser.add_argument("--test", type=Path, nargs="+", default=[], metavar="MANIFEST", help="only to be reported on")
    parser.add_argument("--device", help="cpu, cuda, cuda:0, ... (default: a GPU where there is one)")
    return parser.parse_args(arguments)


def words_of(transcriber: Transcriber, manifest: Path) -> tuple[NDArray, NDArray]:
    """The model's confidence (N,) in the words it recognises in a data set, and whether (N,) they are right."""
    from tqdm import tqdm

    from toolkit.dataio.cut_audio import load_cut
    from toolkit.dataio.manifests import read_manifest
    from toolkit.inference.confidence import judged_words

    cuts, transcripts, references = read_manifest(manifest), [], []
    with tqdm(total=len(cuts), unit="utterance", disable=None, leave=False) as bar:
        rest = iter(cuts)
        while some := list(islice(rest, AT_ONCE)):
            wavs = [load_cut(cut.resample(transcriber.sample_rate)) for cut in some]
            transcripts += transcriber.transcribe(wavs)
            references += [cut.supervisions[0].text for cut in some]
            bar.update(len(some))
    return judged_words(transcripts, references)


def report(manifest: Path, confidences: NDArray, right: NDArray, calibration: Calibration) -> str:
    """``manifests/valid.json: 586 words, 514 right; calibration error 0.049, calibrated 0.024``."""
    import numpy as np

    from toolkit.inference.confidence import calibration_error

    before, after = (calibration_error(x, right) for x in (confidences, np.vectorize(calibration)(confidences)))
    return (
        f"{manifest}: {len(right)} words, {right.sum()} right; calibration error {before:.3f}, calibrated {after:.3f}"
    )
