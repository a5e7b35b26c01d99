"""A speech language model: a decoder-only Transformer that reads frames of audio among its tokens.

SALM (Chen et al. 2024) with a small language model of its own: an encoder hears, a projection turns what it hears into
vectors of the language model's kind, and these stand in the prompt where the mark of audio stands in its text.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from toolkit.models.attention import rotary_angles
from toolkit.models.masking import attention_bias, valid_mask
from toolkit.models.recogniser import CTCModel
from toolkit.models.state import State
from toolkit.models.transformer import TransformerDecoder, causal_mask


class PromptedDecoder(TransformerDecoder):
    """Decoder-only Transformer: its memory is a prompt of vectors, which it reads as it reads its tokens."""

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, for prompts (A, P, D) of (A,) vectors."""
        values, kept = memory, []
        # Rotary attention knows how far apart two positions are: the first token is number 0, the prompt ends at -1.
        positions = torch.arange(memory.size(1), device=memory.device) - frames.unsqueeze(1)
        angles, causal = rotary_angles(positions, self.head_size).unsqueeze(1), causal_mask(memory)
        for layer in self.layers:
            queries, keys, contents = layer.rotated(values, angles)
            values = layer.attend_self(values, (queries, keys, contents), causal)
            values = values + layer.feed_forward(values)
            kept.append(torch.stack([keys, contents]))
        tree = self._tree(len(memory), memory.device)
        tree.begin(torch.stack(kept), attention_bias(frames, memory.size(1), like=memory)[:, 0])
        return {"tree": tree}


class SpeechLM(CTCModel):
    """Writes what follows a prompt of text and audio.

    The encoder's frames that its CTC output takes for blanks are left out: what is left is about as many as the letters
    that are spoken.

    Parameters
    ----------
    features, encoder, vocab_size, augment
        As in `CTCModel`.
    decoder : PromptedDecoder
        The language model.
    prompt : sequence of int
        The tokens that a recording is transcribed with; ``vocab_size``, which is no token, stands for the audio.
    most_blank : float
        Frames are left out whose probability of a blank is above.
    blindness : float
        Share of the positions before an answer that are blotted out in training.
    """

    def __init__(
        self,
        features: nn.Module,
        encoder: nn.Module,
        vocab_size: int,
        *,
        decoder: PromptedDecoder,
        prompt: Sequence[int],
        augment: nn.Module | None = None,
        most_blank: float = 0.9,
        blindness: float = 0.1,
    ) -> None:
        super().__init__(features, encoder, vocab_size, augment)
        self.decoder, self.most_blank, self.blindness = decoder, most_blank, blindness
        self.projection = nn.Linear(encoder.output_size, decoder.embedding.embedding_dim)
        self.register_buffer("prompt", torch.tensor(prompt), persistent=False)

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> prompts (B, P, D) that ask for their transcripts, of (B,) vectors."""
        ids = self.prompt.expand(len(wavs), -1)
        return self.embed(ids, torch.full_like(samples, len(self.prompt)), *self.hear(wavs, samples))[:2]

    def hear(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (A, S) with (A,) samples -> (A, T, D) with (A,) frames for the language model to read."""
        encoded, frames = super().encode(wavs, samples)
        spoken = self.ctc_log_probs(encoded)[..., 0].exp() <= self.most_blank
        spoken &= valid_mask(frames, encoded.size(1))
        counts = spoken.sum(1)
        order = spoken.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]
        return self.projection(encoded.gather(1, order.unsqueeze(2).expand(-1, -1, encoded.size(2)))), counts

    def embed(self, ids: Tensor, counts: Tensor, audio: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens with audio in its place.

        Parameters
        ----------
        ids : (B, U)
            Of which ``counts`` (B,) count.
        audio : (A, T, D)
            With (A,) frames, one for each mark of audio in ``ids``, row after row.

        Returns
        -------
        values (B, L, D), how many count (B,), and where (B, U) each token, or the last frame in its place, is in them.
        """
        marks, inside = ids == self.vocab_size, valid_mask(counts, ids.size(1))
        frames = frames * inside[marks]
        widths = inside.long().masked_scatter(marks, frames)
        places = widths.cumsum(1) - 1
        lengths = places[:, -1] + 1
        values = audio.new_zeros(len(ids), int(lengths.max()), audio.size(2))
        rows, columns = (widths.bool() & ~marks).nonzero(as_tuple=True)
        values[rows, places[rows, columns]] = self.decoder.embedding(ids[rows, columns]).to(values.dtype)
        which, when = valid_mask(frames, audio.size(1)).nonzero(as_tuple=True)
        rows, columns = marks.nonzero(as_tuple=True)
        values[rows[which], (places[rows, columns] - frames + 1)[which] + when] = audio[which, when]
        return values, lengths, places

    def forward(self, ids: Tensor, counts: Tensor, learned: Tensor, wavs: Tensor, samples: Tensor) -> Tensor:
        """Logits (B, U - 1, V) of each token but the first of (B, U), given all before it and the audio among it.

        Where ``learned`` (B, U) is true, the token is part of an answer; all others may be blotted out in training.
        """
        audio, frames = self.hear(wavs, samples) if len(wavs) else self._silence(ids)
        values, _, places = self.embed(ids, counts, audio, frames)
        if self.training and self.blindness:
            seen = torch.rand(values.shape[:2], device=ids.device) >= self.blindness
            rows, columns = learned.nonzero(as_tuple=True)
            seen[rows, places[rows, columns]] = True
            values = values * seen.unsqueeze(2)
        before = places[:, :-1].clamp_min(0).unsqueeze(2).expand(-1, -1, values.size(2))
        return self.decoder.output(self.decoder.read(values).gather(1, before))

    def _silence(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The audio of a batch of texts."""
        return self.projection.weight.new_zeros(0, 0, len(self.projection.weight)), ids.new_zeros(0)
