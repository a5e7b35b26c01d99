"""Count which of the two words follows which; the recogniser's search asks it.

    python train_lm.py hparams/ngram.yaml   # less than a second

The log ends with the perplexity of the test transcripts, per token and per word: nobody can guess the next answer.
"""

from toolkit.dataio.text import load_text_splits
from toolkit.experiment import load_experiment, run


def main(arguments: list[str] | None = None) -> None:
    """Train, then report the perplexity of the checkpoints that were best on the validation set."""
    hparams, run_opts = load_experiment(arguments)
    train, valid, tests = load_text_splits(hparams)
    brain = hparams["brain"](hparams, run_opts)
    brain.train_on(train, valid)
    for name, test in tests.items():
        brain.test_on(test, name)


if __name__ == "__main__":
    run(main)
