"""SpeechBrain's transducer searcher by its name: the same arguments, with our search underneath."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from toolkit.decoders.transducer import TransducerBeamSearcher as BeamSearcher
from toolkit.decoders.transducer_greedy import TransducerGreedySearcher
from toolkit.errors import ConfigError
from toolkit.models.speechbrain_decoders import as_step_module
from toolkit.models.speechbrain_transducer import SpeechBrainJoint, SpeechBrainPredictor


class TransducerBeamSearcher(nn.Module):
    """Prediction and joint network with the search for them; a beam of 1 is greedy.

    Scores sum up all alignments of a transcript, where SpeechBrain follows one, so a beam finds likelier transcripts.

    Parameters
    ----------
    decode_network_lst, classifier_network : list of Module
        Prediction network, ``[embedding, recurrent layers, projections ...]``, and output layers.
    tjoint : speechbrain.nnet.transducer.transducer_joint.Transducer_joint
        What combines frames and prefixes.
    blank_id : int
        Only 0.
    beam_size, nbest : int
        Prefixes kept after each frame, and hypotheses returned.
    lm_module, lm_weight : Module, float
        Language model and its weight.
    state_beam, expand_beam : float
        A prefix this much worse than the best one leaves the beam; a token this much less likely is not tried.
    """

    def __init__(
        self,
        decode_network_lst: Sequence[nn.Module],
        tjoint: nn.Module,
        classifier_network: Sequence[nn.Module],
        blank_id: int = 0,
        *,
        beam_size: int = 4,
        nbest: int = 5,
        lm_module: nn.Module | None = None,
        lm_weight: float = 0.0,
        state_beam: float = 2.3,
        expand_beam: float = 2.3,
    ) -> None:
        super().__init__()
        if blank_id != 0:
            raise ConfigError(f"blank_id must be 0, as in all of SpeechBrain's recipes, got {blank_id!r}")
        self.predictor = SpeechBrainPredictor(decode_network_lst)
        self.joint = SpeechBrainJoint(tjoint, classifier_network)
        if beam_size <= 1:
            self.search = TransducerGreedySearcher(max_symbols=6)  # as many as SpeechBrain takes in a frame
            return
        lm = None if lm_module is None or not lm_weight else as_step_module(lm_module)
        self.search = BeamSearcher(
            beam_size=beam_size,
            topk=min(nbest, beam_size),
            lm=lm,
            lm_weight=lm_weight if lm is not None else 0.0,
            expand_beam=expand_beam,
            beam_prune_logp=-state_beam,
        )

    def forward(self, tn_output: Tensor) -> tuple[list[list[int]], Tensor, None, None]:
        """Frames (B, T, J) -> tokens and scores (B,) of the best hypotheses, and two things that SpeechBrain has."""
        frames = tn_output.new_full((len(tn_output),), tn_output.shape[1]).long()
        best = [hypotheses[0] for hypotheses in self.search(self, tn_output, frames)]
        return [one.tokens for one in best], tn_output.new_tensor([one.score for one in best]), None, None
