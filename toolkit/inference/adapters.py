"""SpeechBrain's modules under the contract that a Transcriber works with, so that they can all that its own models can.

    model.encode(wavs (B, S), samples (B,)) -> encoded (B, T, D), frames (B,)
    model.ctc_log_probs(encoded) -> (B, T, V)          where there is a CTC output
    search(model, encoded, frames) -> hypotheses       one of toolkit.decoders
    tokenizer.decode(tokens), .pieces(), len(tokenizer)

Utterances are encoded with those of their own length: SpeechBrain's encoders hear padding, and no transcript may depend
on its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import sentencepiece
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from toolkit.decoders.ctc import CTCGreedySearcher, CTCPrefixSearcher
from toolkit.decoders.ctc_fusion import CTCFusion
from toolkit.decoders.spelling import MARK, tokens_of
from toolkit.errors import ConfigError, ModelError, TokenizerError
from toolkit.inference.long_audio import LongAudio

LEAST_S = 0.1  # seconds that an encoder hears at least: a CRDNN pools 40 ms to a frame, and has to have one
# SpeechBrain's names for the output that CTC reads, beside a decoder or a transducer.
CTC_OUTPUTS = ("ctc_lin", "proj_ctc")
# Its names for transducer searchers in YAMLs for streaming, the better one first.
SEARCHERS = ("decoder", "Beamsearcher", "Greedysearcher")


class Recogniser(NamedTuple):
    """What a Transcriber is made of."""

    model: nn.Module
    tokenizer: Any
    search: Any
    sample_rate: int
    long_audio: LongAudio = LongAudio()


class EncoderModel(nn.Module):
    """An encoder of SpeechBrain, and what reads it.

    Parameters
    ----------
    encoder : Module
        Waveforms (B, S) and lengths (B,) as shares of S, all of them 1 -> (B, T, D).
    vocab_size : int
        Number of tokens.
    least : int
        Samples of the shortest waveform; shorter ones are filled up with silence.
    parts : Module
        ``decoder``, or ``predictor`` and ``joint``, as `toolkit.decoders` asks for them.
    """

    def __init__(self, encoder: nn.Module, vocab_size: int, *, least: int = 1, **parts: nn.Module) -> None:
        super().__init__()
        self.encoder, self.vocab_size, self.least = encoder, vocab_size, least
        for name, part in parts.items():
            self.add_module(name, part)

    def encode(self, wavs: Tensor, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (B, S) with (B,) samples -> encoded (B, T, D) with (B,) frames."""
        of_row: dict[int, Tensor] = {}
        for count, rows in _equal(samples.tolist()).items():
            heard = nn.functional.pad(wavs[rows, :count], (0, max(0, self.least - count)))
            of_row.update(zip(rows, self.encoder(heard, heard.new_ones(len(rows))), strict=True))
        encoded = [of_row[row] for row in range(len(wavs))]
        frames = torch.tensor([len(one) for one in encoded], device=wavs.device)
        return pad_sequence(encoded, batch_first=True), frames.masked_fill(samples.to(wavs.device) == 0, 0)


def _equal(lengths: Sequence[int]) -> dict[int, list[int]]:
    """The places of each length."""
    places: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        places.setdefault(length, []).append(place)
    return places


class CTCEncoderModel(EncoderModel):
    """One that has a CTC output.

    Parameters
    ----------
    ctc_output : Module
        Encoded (B, T, D) -> logits or log-probabilities (B, T, V), blank first.
    """

    def __init__(self, encoder: nn.Module, vocab_size: int, *, ctc_output: nn.Module, **others: Any) -> None:
        super().__init__(encoder, vocab_size, **others)
        self.ctc_output = ctc_output

    def ctc_log_probs(self, encoded: Tensor) -> Tensor:
        """Encoded (B, T, D) -> log-probabilities (B, T, V); column 0 is the blank."""
        return self.ctc_output(encoded).float().log_softmax(dim=-1)


class Chain(nn.Module):
    """Encoders one after the other, each given the relative lengths if it takes them."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Waveforms (B, S) and lengths (B,) as shares of S -> (B, T, D)."""
        for part in self.parts:
            if hasattr(part, "encode"):  # a TransformerASR
                values = part.encode(values, lengths)
            else:
                values = part(values) if isinstance(getattr(part, "w", None), nn.Linear) else part(values, lengths)
        return values


class PieceTokenizer:
    """A SentencePiece model as a tokenizer; any of its pieces may be a token, also the unknown one.

    It has the methods of a ``SentencePieceProcessor``, too, which code for SpeechBrain calls: ``encode_as_ids``.
    """

    def __init__(self, processor: sentencepiece.SentencePieceProcessor, model_file: Path) -> None:
        self.processor, self.model_file = processor, model_file

    def __len__(self) -> int:
        return len(self.processor)

    def pieces(self) -> list[str]:
        """The pieces in the order of their numbers; a space is written as ``▁``."""
        return [self.processor.id_to_piece(number) for number in range(len(self))]

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token numbers."""
        return self.processor.decode(list(tokens))

    def __getattr__(self, name: str) -> Any:
        if name == "processor":  # while a copy is made, there is none yet
            raise AttributeError(name)
        return getattr(self.processor, name)


class LabelTokenizer:
    """A ``CTCTextEncoder`` as a tokenizer: its labels are letters, and one of them may be a space."""

    def __init__(self, encoder: Any, model_file: Path) -> None:
        numbered = range(len(encoder.ind2lab))
        if not all(isinstance(encoder.ind2lab.get(number), str) for number in numbered):
            raise TokenizerError(f"{model_file}: expected a text for each number from 0 to {len(encoder.ind2lab) - 1}")
        self.labels = [encoder.ind2lab[number] for number in numbered]
        self.model_file = model_file

    def __len__(self) -> int:
        return len(self.labels)

    def pieces(self) -> list[str]:
        """The labels in the order of their numbers; a space is written as ``▁``."""
        return [MARK if label == " " else label for label in self.labels]

    def encode(self, text: str) -> list[int]:
        """The token numbers of a text; letters that are unknown are left out."""
        return tokens_of(text, self.pieces())

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token numbers."""
        return "".join(self.labels[token] for token in tokens)


def recogniser_of(hparams: Mapping[str, Any]) -> Recogniser:
    """What a Transcriber needs, of what a SpeechBrain model folder declares.

    Raises
    ------
    ConfigError
        It declares no recogniser that is known; the message says what is missing.
    """
    rate, tokenizer, searcher = hparams.get("sample_rate", 16000), _tokenizer(hparams), _searcher(hparams)
    encoder, least = _encoder(hparams["modules"], hparams), round(LEAST_S * rate)
    if searcher is None:
        model = CTCEncoderModel(encoder, _outputs(encoder), ctc_output=nn.Identity(), least=least)
        return Recogniser(model, tokenizer, ctc_search(hparams, tokenizer), rate)
    parts = {name: getattr(searcher, name) for name in ("decoder", "predictor", "joint") if hasattr(searcher, name)}
    size = _outputs(searcher)
    if (ctc := _ctc_output(hparams, size)) is not None:
        model = CTCEncoderModel(encoder, size, ctc_output=ctc, least=least, **parts)
    else:
        model = EncoderModel(encoder, size, least=least, **parts)
    return Recogniser(model, tokenizer, searcher.search, rate)


def _searcher(hparams: Mapping[str, Any]) -> nn.Module | None:
    """The searcher of a decoder or a transducer; None where CTC alone is searched."""
    for name in SEARCHERS:
        found = hparams["modules"].get(name, hparams.get(name))
        if hasattr(found, "search"):
            return found
    if "decoding_function" not in hparams:
        raise ConfigError(
            "expected a searcher as modules.decoder (of EncoderDecoderASR) or decoding_function (EncoderASR)"
        )
    return None


def _encoder(modules: Mapping[str, nn.Module], hparams: Mapping[str, Any]) -> nn.Module:
    """What leads from waveforms to the frames that are searched."""
    if "encoder" in modules:
        transformer = [modules["transformer"]] if hparams.get("transformer_beam_search") else []
        return Chain(modules["encoder"], *transformer) if transformer else modules["encoder"]
    if "fea_streaming_extractor" in hparams and "enc" in modules:  # of StreamingASR
        return Chain(hparams["fea_streaming_extractor"].module, modules["enc"], modules["proj_enc"])
    raise ConfigError(f"modules has no encoder; it has {', '.join(modules)}")


def _tokenizer(hparams: Mapping[str, Any]) -> PieceTokenizer | LabelTokenizer:
    """The tokenizer, and the file that it was loaded from."""
    if "tokenizer" not in hparams:
        raise ConfigError("the YAML declares no tokenizer")
    pretrainer, tokenizer = hparams["pretrainer"], hparams["tokenizer"]
    names = [name for name, thing in pretrainer.loadables.items() if thing is tokenizer]
    if not names:
        raise ConfigError("the pretrainer does not load the tokenizer: name it among its loadables")
    kind = PieceTokenizer if isinstance(tokenizer, sentencepiece.SentencePieceProcessor) else LabelTokenizer
    return kind(tokenizer, pretrainer.files[names[0]])


def _outputs(module: nn.Module) -> int:
    """The number of outputs of the last linear layer."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ModelError(f"{type(module).__name__} ends in no linear layer over the tokens")
    return layers[-1].out_features


def _ctc_output(hparams: Mapping[str, Any], size: int) -> nn.Module | None:
    """The CTC output beside a decoder, where there is one, and the pretrainer loads it."""
    loaded = {
        id(module)
        for thing in hparams["pretrainer"].loadables.values()
        if isinstance(thing, nn.Module)
        for module in thing.modules()
    }
    for name in CTC_OUTPUTS:
        if id(hparams.get(name)) in loaded and _outputs(hparams[name]) == size:
            return hparams[name]
    return None


def ctc_search(hparams: Mapping[str, Any], tokenizer: Any) -> CTCGreedySearcher | CTCPrefixSearcher:
    """The search that ``decoding_function`` and ``test_beam_search`` describe."""
    function = hparams["decoding_function"]
    given = function.keywords if isinstance(function, partial) else hparams.get("test_beam_search") or {}
    blank = given.get("blank_id", given.get("blank_index", hparams.get("blank_index", 0)))
    if blank != 0:
        raise ConfigError(f"the blank must be token 0 to search the CTC output, got {blank!r}")
    if isinstance(function, partial):
        return CTCGreedySearcher()
    options = dict(given)
    names = ("beam_size", "beam_prune_logp", "topk")
    ours = {name: options[name] for name in names if name in options}
    ours |= {"token_min_logp": options["token_prune_min_logp"]} if "token_prune_min_logp" in options else {}
    if options.get("kenlm_model_path"):
        fusion = {name: options[name] for name in ("alpha", "beta", "unk_score_offset", "unigrams") if name in options}
        fusion |= {"word_ngram": options["kenlm_model_path"], "unk_by_length": False}
        ours["fusion"] = CTCFusion(tokenizer=tokenizer.pieces(), **fusion)
    return CTCPrefixSearcher(preset="pyctcdecode", **ours)
