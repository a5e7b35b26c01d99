"""Train a SentencePiece tokenizer on the training transcripts.

    python train_tokenizer.py hparams/tokenizer.yaml

The model is OUTPUT_FOLDER/tokenizer.model; language model and recogniser name it as their tokenizer_file.
"""

from pathlib import Path

from toolkit.dataio.text import read_sentences
from toolkit.experiment import load_experiment, run
from toolkit.tokenizer import train_tokenizer


def main(arguments: list[str] | None = None) -> None:
    """Train on the sentences of the training set."""
    hparams, _ = load_experiment(arguments)
    train_tokenizer(
        read_sentences("train_text", hparams),
        Path(hparams["output_folder"]) / "tokenizer.model",
        model_type=hparams["model_type"],
        vocab_size=hparams["vocab_size"],
    )


if __name__ == "__main__":
    run(main)
