"""The whole recipe in one command: corpus, tokenizer, language model, recogniser, test, three transcripts.

    python demo.py

Each step is the command that it prints. A demo that was stopped goes on with the same command; to see it from the start
again, delete corpus/, manifests/ and results/. The last line looks like

    demo: WER 3.8 % on 300 unseen utterances in 5.1 min
"""

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from toolkit.experiment import run
from toolkit.inference.transcriber import Transcriber

STEPS = [
    ["synthetic_prepare.py", "corpus", "manifests"],
    ["train_tokenizer.py", "hparams/tokenizer.yaml"],
    ["train_lm.py", "hparams/lm.yaml"],
    ["train.py", "hparams/ctc.yaml"],
]
RUN = Path("results/ctc")
# %WER 3.80 [ 60 / 1580, 10 ins, 10 del, 40 sub ]
TOTAL = re.compile(r"%WER ([\d.]+)")


def main() -> None:
    """Run every step, transcribe three test files, print the summary."""
    began, continued = time.perf_counter(), RUN.exists()
    for step in STEPS:
        print(f"\n$ python {' '.join(step)}", flush=True)
        take(step)
    test = json.loads(Path("manifests/test.json").read_text(encoding="utf-8"))
    transcribe(list(test.values())[:3])
    minutes = (time.perf_counter() - began) / 60
    gigabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    wer = float(TOTAL.search((RUN / "wer_test.txt").read_text(encoding="utf-8"))[1])
    print(
        f"\nlearning curve: {RUN}/learning_curve.png, errors: {RUN}/wer_test.txt, largest process: {gigabytes:.1f} GB"
    )
    note = " (continued)" if continued else ""
    print(f"demo: WER {wer:.1f} % on {len(test)} unseen utterances in {minutes:.1f} min{note}")


def take(step: list[str]) -> None:
    """Run one step; after Ctrl-C it has the time to save a checkpoint."""
    process = subprocess.Popen([sys.executable, *step])
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if status:
        raise SystemExit(f"demo: `python {' '.join(step)}` failed; its message is above")


def transcribe(utterances: list[dict]) -> None:
    """Print what three unseen files say and what is recognised, as `asr transcribe results/ctc FILES` would."""
    print(f"\n$ asr transcribe {RUN} FILES")
    root = Path("manifests/data_root.txt").read_text(encoding="utf-8").strip()
    files = [utterance["wav"].replace("{data_root}", root) for utterance in utterances]
    for utterance, transcript in zip(utterances, Transcriber.from_hparams(RUN).transcribe_files(files), strict=True):
        print(f"reference:  {utterance['words']}\nrecognised: {transcript.text}")


if __name__ == "__main__":
    run(main)
