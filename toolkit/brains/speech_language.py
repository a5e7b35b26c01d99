"""Training a speech language model on conversations and texts."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import ClassVar

import speechbrain as sb
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from toolkit.brains.asr import ASRBrain
from toolkit.dataio.conversations import ConversationBatch
from toolkit.errors import ModelError
from toolkit.pretrained import COLLECTED, has_tokens_of, trained_weights

logger = logging.getLogger(__name__)


class SpeechLMBrain(ASRBrain):
    """Trains a `toolkit.models.speech_language.SpeechLM` to say what the assistant says.

    Its encoder and CTC output are those of another run, ``encoder_folder``, and stay as they are.
    """

    needs: ClassVar[set[str]] = ASRBrain.needs | {"label_smoothing", "encoder_folder"}
    reads: ClassVar[set[str]] = ASRBrain.reads - {"consistency_weight"}

    def on_fit_start(self) -> None:
        """Take over the encoder, unless there is a checkpoint to continue from."""
        if self.checkpointer.find_checkpoint() is None:
            self._take_encoder(self.hparams.encoder_folder)
        super().on_fit_start()

    def compute_forward(self, batch: ConversationBatch, stage: sb.Stage) -> Tensor:
        """Logits (B, U - 1, V) of each token but the first; in evaluation, answers are searched and scored, too."""
        model = self.modules.model if stage == sb.Stage.TRAIN else self.model
        if stage != sb.Stage.TRAIN:
            self._answer(batch, stage)
        return model(batch.input_ids, batch.token_counts, batch.learned, batch.wavs, batch.samples)

    def compute_objectives(self, predictions: Tensor, batch: ConversationBatch, stage: sb.Stage) -> Tensor:
        """Cross-entropy, the mean over the tokens of what the assistant writes, smoothed in training."""
        learned = batch.learned[:, 1:] & (batch.input_ids[:, 1:] < self.model.vocab_size)
        smoothing = self.hparams.label_smoothing if stage == sb.Stage.TRAIN else 0.0
        return cross_entropy(predictions[learned].float(), batch.input_ids[:, 1:][learned], label_smoothing=smoothing)

    @torch.no_grad()
    def _answer(self, batch: ConversationBatch, stage: sb.Stage) -> None:
        """Search the answers to prompts, whose last token is the one that the search begins with."""
        prompts, lengths = self.model.ask(batch.input_ids, batch.context_counts - 1, batch.wavs, batch.samples)
        self.decode(prompts, lengths, batch, stage)

    def _take_encoder(self, folder: str) -> None:
        """Put the encoder and the CTC output of a run into the model.

        Raises
        ------
        ModelError
            The run has others, or its CTC output is of another tokenizer.
        """
        tokenizer_file = getattr(self.hparams, "tokenizer_file", None)
        if not has_tokens_of(folder, tokenizer_file):
            raise ModelError(
                f"encoder_folder: {folder} was trained with another tokenizer than {tokenizer_file}; "
                f"set tokenizer_file to {Path(folder, COLLECTED['tokenizer_file'])}, or train the encoder again"
            )
        ours = self.model.state_dict()
        parts = {name for name in ours if name.startswith(("encoder.", "ctc_output."))}
        theirs = {name: tensor for name, tensor in trained_weights(folder).items() if name in parts}
        if {name: tensor.shape for name, tensor in theirs.items()} != {name: ours[name].shape for name in parts}:
            raise ModelError(f"encoder_folder: {folder} has another encoder; declare that of its YAML")
        self.model.load_state_dict(ours | theirs)
        logger.info("Encoder and CTC output of %s.", folder)
