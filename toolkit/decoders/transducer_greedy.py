"""Greedy transducer search for a batch of utterances, which are at different frames at the same time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from toolkit.decoders.hypothesis import Hypothesis, possible
from toolkit.decoders.options import check_count
from toolkit.decoders.transducer_prefixes import PrefixCache, next_token, project_frames

LOOK_AHEAD = 8  # frames: most of them are blank, and one product of matrices for all of them costs little more than one


@dataclass(kw_only=True, eq=False)
class TransducerGreedySearcher:
    """The most likely token at every step: one alignment, whose log-probability is a lower bound of the transcript's.

    Label-looping (Bataev et al. 2024): each step of the loop finds the next token of every utterance, wherever it is,
    so that the prediction network runs once a token, and not once a frame.

    Parameters
    ----------
    max_symbols
        Most tokens in one frame; after as many, it ends with a blank.
    """

    max_symbols: int = 10

    def __post_init__(self) -> None:
        check_count("max_symbols", self.max_symbols)

    @torch.no_grad()
    def __call__(self, model: nn.Module, encoded: Tensor, frames: Tensor) -> list[list[Hypothesis]]:
        """One hypothesis for each utterance of ``encoded`` (B, T, D), of which ``frames`` (B,) count."""
        search = _Search(self.max_symbols, model, encoded, frames.to(encoded.device))
        while len(rows := search.live()):
            search.step(rows)
        found = zip(search.tokens, search.scores.tolist(), frames.tolist(), strict=True)
        return [possible([(tokens, score)], count) for tokens, score, count in found]


class _Search:
    """One batch being searched; what is (B,) holds for every utterance what it has come to."""

    def __init__(self, max_symbols: int, model: nn.Module, encoded: Tensor, frames: Tensor) -> None:
        self.acoustic = project_frames(model, encoded)  # (B, T, J)
        self.max_symbols, self.joint, self.frames = max_symbols, model.joint, frames
        self.prefixes = PrefixCache(model, frames[:, None])
        self.position, self.emitted = torch.zeros_like(frames), torch.zeros_like(frames)  # frame; tokens in it so far
        self.scores = torch.zeros(len(frames), dtype=torch.float64, device=frames.device)
        self.tokens: list[list[int]] = [[] for _ in range(len(frames))]

    def live(self) -> Tensor:
        """The utterances (A,) that still have frames."""
        return (self.position < self.frames).nonzero().squeeze(1)

    def step(self, rows: Tensor) -> None:
        """Move the utterances ``rows`` (A,) to their next token, or past ``LOOK_AHEAD`` frames without one."""
        logp, token, inside = self._best(rows)
        speaks = (token != 0) & inside
        passed = (~speaks).cumprod(dim=1).sum(dim=1)  # frames before that of the first token
        path = torch.arange(LOOK_AHEAD, device=rows.device) <= passed[:, None]
        self.scores[rows] += torch.where(path & inside, logp, 0.0).sum(dim=1)

        found = speaks.any(dim=1)
        before = self.emitted[rows] * (passed == 0)
        self.emitted[rows] = torch.where(found, before + 1, 0)
        self.position[rows] += passed
        first = token.gather(1, passed.clamp_max(LOOK_AHEAD - 1)[:, None]).squeeze(1)
        self._append(rows[found], first[found])

    def _best(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability and token of the best in each of the next W frames, and which there are: each (A, W)."""
        ahead = torch.arange(LOOK_AHEAD, device=rows.device)
        frames = self.position[rows, None] + ahead
        inside = frames < self.frames[rows, None]
        acoustic = self.acoustic[rows[:, None], frames.clamp_max(self.acoustic.shape[1] - 1)]
        log_probs = next_token(self.joint, acoustic, self.prefixes.projected[rows, None])
        full = (self.emitted[rows] >= self.max_symbols)[:, None] & (ahead == 0)
        best, token = log_probs.max(dim=2)
        return torch.where(full, log_probs[..., 0], best), token.masked_fill(full, 0), inside

    def _append(self, rows: Tensor, tokens: Tensor) -> None:
        """Add one token to each of the utterances ``rows``."""
        if len(rows):
            self.prefixes.extend(rows, tokens)
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            self.tokens[row].append(token)
