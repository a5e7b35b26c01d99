"""A speech language model: a decoder-only Transformer that reads what was said among what was written.

As in SALM (Chen et al. 2024), a recogniser's encoder hears, and what it hears stands in the prompt where the mark of
audio stands in its text. The language model is small and has 40 minutes of speech to learn from, where SALM's is large
and has read the web. Two things make that enough:

- Audio comes as the letters that the encoder's CTC output takes it for, one vector each: their embeddings, weighted by
  their probabilities, and beside them what else the encoder knows, projected. To read speech is to read a text with
  doubtful letters, so that what is learned of texts holds for speech.
- Positions begin again with the answer, so that a letter of the answer stands where it stands in what was said. The
  model copies text after 100 steps; counting on, it does not after 200, and of speech has learned nothing after 300.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from toolkit.errors import ModelError
from toolkit.models.attention import rotary_angles
from toolkit.models.masking import attention_bias, valid_mask
from toolkit.models.recogniser import CTCModel
from toolkit.models.state import State
from toolkit.models.transformer import TransformerDecoder, causal_mask


class Tokenizer(Protocol):
    """The part of a tokenizer that is needed here."""

    def __len__(self) -> int:
        """The number of tokens, which is also the number of the mark of audio."""
        ...

    def text_to_ids(self, text: str) -> list[int]:
        """The tokens of a prompt."""
        ...


class PromptedDecoder(TransformerDecoder):
    """Decoder-only Transformer: a prompt of vectors is its memory, which it reads as it reads its tokens."""

    def read(self, values: Tensor, positions: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """Vectors (B, L, D) at positions (B, L) -> what the output layer reads, and each layer's keys and values."""
        values, kept = self.dropout(values), []
        angles = rotary_angles(positions, self.head_size).unsqueeze(1)
        causal = causal_mask(values.size(1), values.device)
        for layer in self.layers:
            queries, *keys_values = layer.rotated(values, angles)
            values = layer.attend_self(values, (queries, *keys_values), causal)
            values = values + layer.feed_forward(values)
            kept.append(keys_values)
        return self.norm(values), kept

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, whose position is 0, for prompts (A, P, D) of (A,) vectors."""
        positions = torch.arange(memory.size(1), device=memory.device).expand(memory.shape[:2])
        _, kept = self.read(memory, positions)
        tree = self._tree(len(memory), memory.device)
        keys_values = torch.stack([torch.stack(layer) for layer in kept])
        tree.begin(keys_values, attention_bias(frames, memory.size(1), like=memory)[:, 0])
        return {"tree": tree}


class SpeechLM(CTCModel):
    """Answers a prompt of text and audio.

    The encoder and its CTC output are a trained recogniser's, and are not trained on.

    Parameters
    ----------
    features, encoder, augment
        As in `CTCModel`.
    decoder : PromptedDecoder
        The language model.
    tokenizer : PromptTokenizer
        Of V tokens; number V, which is no token, is the mark of audio.
    prompt : str
        What a recording is transcribed with, as ``WRITE [audio]``: the user's turn in the conversations trained on.
    most_blank : float
        Frames whose probability of a blank is above are not heard.
    blindness : float
        Share of what is asked that is blotted out in training.
    """

    def __init__(
        self,
        features: nn.Module,
        encoder: nn.Module,
        *,
        decoder: PromptedDecoder,
        tokenizer: Tokenizer,
        prompt: str,
        augment: nn.Module | None = None,
        most_blank: float = 0.9,
        blindness: float = 0.1,
    ) -> None:
        super().__init__(features, encoder, len(tokenizer), augment)
        self.encoder.requires_grad_(False)
        self.ctc_output.requires_grad_(False)
        self.decoder, self.most_blank, self.blindness = decoder, most_blank, blindness
        self.projection = nn.Linear(encoder.output_size, decoder.embedding.embedding_dim)
        self.register_buffer("prompt", torch.tensor(tokenizer.text_to_ids(prompt)), persistent=False)

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> prompts (B, P, D) that ask for their transcripts, of (B,) vectors."""
        return self.ask(self.prompt.expand(len(wavs), -1), torch.full_like(samples, len(self.prompt)), wavs, samples)

    def ask(self, ids: Tensor, counts: Tensor, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, U), of which (B,) count, and the audio in them -> prompts (B, P, D) of (B,) vectors.

        Of none, which a search answers with nothing, where there is audio and not a letter in it: the language model
        would make something up.
        """
        values, lengths, _ = self.embed(ids, counts, *self.hear(wavs, samples))
        marks = (ids == self.vocab_size) & valid_mask(counts, ids.size(1))
        silent = marks.any(dim=1) & (lengths == counts - marks.sum(1))
        return values, lengths.masked_fill(silent, 0)

    def hear(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (A, S) with (A,) samples -> (A, T, D) with (A,) letters for the language model to read."""
        if len(wavs):
            encoded, counts = self.letters(*super().encode(wavs, samples))
        else:
            encoded, counts = wavs.new_zeros(0, 0, self.projection.in_features), samples
        shares = self.ctc_output(encoded)[..., 1:].softmax(dim=2)
        return shares @ self.decoder.embedding.weight[1:] + self.projection(encoded), counts

    def letters(self, encoded: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Encoded (A, T, F) with (A,) frames -> (A, T', F) with (A,) letters, means of successive frames of one."""
        log_probs = super().ctc_log_probs(encoded)
        spoken = (log_probs[..., 0].exp() <= self.most_blank) & valid_mask(frames, encoded.size(1))
        letter = log_probs[..., 1:].argmax(dim=2).masked_fill(~spoken, -1)
        begins = spoken & (letter != pad(letter, (1, 0), value=-1)[:, :-1])
        counts, places = begins.sum(1), begins.cumsum(1) - 1
        rows, when = spoken.nonzero(as_tuple=True)
        sums = encoded.new_zeros(len(encoded), int(counts.max()), encoded.size(2) + 1)
        sums.index_put_((rows, places[rows, when]), pad(encoded[rows, when], (0, 1), value=1.0), accumulate=True)
        return sums[..., :-1] / sums[..., -1:].clamp_min(1), counts

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:  # noqa: ARG002
        """What a CTC search asks of a model: of prompts there is none.

        Raises
        ------
        ModelError
            Always.
        """
        raise ModelError(
            "SpeechLM has no CTC output of its prompts: search it with AttentionSearcher, without ctc_weight"
        )

    def embed(self, ids: Tensor, counts: Tensor, audio: Tensor, letters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens with audio in its place.

        Parameters
        ----------
        ids : (B, U)
            Of which ``counts`` (B,) count.
        audio : (A, T, D)
            With (A,) letters, one for each mark of audio in ``ids``, row after row.

        Returns
        -------
        values (B, L, D), how many count (B,), and where (B, U) each token, or the last letter in its place, is in them.
        """
        marks, inside = ids == self.vocab_size, valid_mask(counts, ids.size(1))
        letters = letters * inside[marks]
        widths = inside.long().masked_scatter(marks, letters)
        places = widths.cumsum(1) - 1
        lengths = places[:, -1] + 1
        values = audio.new_zeros(len(ids), int(lengths.max()), audio.size(2))
        rows, columns = (inside & ~marks).nonzero(as_tuple=True)
        values[rows, places[rows, columns]] = self.decoder.embedding(ids[rows, columns]).to(values.dtype)
        which, when = valid_mask(letters, audio.size(1)).nonzero(as_tuple=True)
        rows, columns = marks.nonzero(as_tuple=True)
        values[rows[which], (places[rows, columns] - letters + 1)[which] + when] = audio[which, when]
        return values, lengths, places

    def forward(self, ids: Tensor, counts: Tensor, learned: Tensor, wavs: Tensor, samples: Tensor) -> Tensor:
        """Logits (B, U - 1, V) of each token but the first of (B, U), given all before it and the audio among it.

        ``learned`` (B, U) is true for the tokens of an answer, which begins with the token before the first of them.
        Positions begin again with the last answer, to which those before are part of the prompt.
        """
        values, _, places = self.embed(ids, counts, *self.hear(wavs, samples))
        told = pad(learned[:, 1:], (0, 1)) & ~learned  # the token that an answer begins with
        last = (told * torch.arange(ids.size(1), device=ids.device)).argmax(dim=1, keepdim=True)
        begin, positions = places.gather(1, last), torch.arange(values.size(1), device=ids.device)
        positions = torch.where(positions < begin, positions, positions - begin)
        if self.training:
            seen = torch.rand(values.shape[:2], device=ids.device) >= self.blindness
            answers = learned | told
            seen[answers.nonzero(as_tuple=True)[0], places[answers]] = True
            values = values * seen.unsqueeze(2)
        before = places[:, :-1].clamp_min(0).unsqueeze(2).expand(-1, -1, values.size(2))
        return self.decoder.output(self.decoder.read(values, positions)[0].gather(1, before))
