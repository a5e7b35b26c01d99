"""Train one recogniser on AN4, LibriSpeech and spoken digits, and test it on each.

    python train_tokenizer.py hparams/tokenizer.yaml
    python train_lm.py hparams/ngram.yaml
    python train.py hparams/ctc.yaml
    python train.py hparams/ctc.yaml --lr 0.001   # any key of the YAML can be set

The corpora are those of ../AN4, ../MiniLibriSpeech and ../Digits, which prepare them (README.md has the commands).
The YAML declares the model, the Brain that trains it, the data sets and their weights, and the search that decodes it.
README.md says what it reaches. A run that was stopped continues with the same command.
"""

from toolkit.dataio.loaders import load_splits
from toolkit.experiment import load_experiment, run


def main(arguments: list[str] | None = None) -> None:
    """Train, then test the checkpoints that were best on the validation set."""
    hparams, run_opts = load_experiment(arguments)
    train, valid, tests = load_splits(hparams)
    brain = hparams["brain"](hparams, run_opts)
    brain.train_on(train, valid)
    for name, test in tests.items():
        brain.test_on(test, name)


if __name__ == "__main__":
    run(main)
