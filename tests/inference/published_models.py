"""Model folders as SpeechBrain publishes them, with random weights, and the modules that the weights are of.

folder = make_folder(tmp_path, "crdnn_rnnlm", SIZES["crdnn_rnnlm"])     # hyperparams.yaml, asr.ckpt, ...
folder.modules["enc"]                                                   # SpeechBrain's own, built from the same YAML
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML
from torch import Tensor, nn

YAMLS = Path(__file__).parent / "published"
# What only SpeechBrain 0.5 can build, or only with files that are not there.
OLD = ("decoder", "modules", "pretrainer", "Greedysearcher", "decoding_function", "encoder", "wav2vec2")
OLD += ("make_tokenizer_streaming_context", "tokenizer_decode_streaming", "make_decoder_streaming_context")

_CRDNN = {
    "n_mels": 16,
    "cnn_channels": [4, 8],
    "rnn_layers": 1,
    "rnn_neurons": 16,
    "dnn_blocks": 1,
    "dnn_neurons": 24,
    "emb_size": 8,
    "dec_neurons": 20,
    "output_neurons": 24,
    "beam_size": 4,
    "dec": {"attn_dim": 16, "channels": 4, "kernel_size": 5},
}
_LM = {"d_model": 16, "nhead": 2, "num_encoder_layers": 2, "d_ffn": 32}
_ASR = {"d_model": 16, "nhead": 2, "num_encoder_layers": 2, "d_ffn": 32, "output_neurons": 24}
# Of the published YAMLs, what makes models that fit into a test.
SIZES: dict[str, dict[str, Any]] = {
    "crdnn_rnnlm": _CRDNN | {"lm_model": {"rnn_neurons": 24, "dnn_neurons": 16}},
    "crdnn_transformerlm": _CRDNN | {"lm_model": _LM, "bos_index": 1, "eos_index": 2},
    "transformer_transformerlm": _ASR
    | {"num_decoder_layers": 2, "vocab_size": 24, "test_beam_size": 4, "lm_model": _LM}
    | {"CNN": {"out_channels": [4, 4, 4]}, "Transformer": {"input_size": 80}},
    "conformer_streaming": _ASR
    | {"joint_dim": 20, "dec_dim": 12, "CNN": {"out_channels": [4, 4]}, "Transformer": {"input_size": 80}},
    "wav2vec2_commonvoice": {"wav2vec_output_dim": 32, "dnn_neurons": 24, "output_neurons": 24},
}

# Random weights that are not deaf: what is heard changes the words, and sentences end.
SEEDS = dict.fromkeys(SIZES, 5) | {"crdnn_rnnlm": 11, "crdnn_transformerlm": 7}


@dataclass(frozen=True)
class Published:
    """A model folder, and what its files were made of."""

    path: Path
    modules: Mapping[str, Any]
    overrides: Mapping[str, Any]


def noises(count: int = 6) -> list[Tensor]:
    """Waveforms of many lengths, each with a loudness that changes."""
    generator = torch.Generator().manual_seed(1)
    lengths = [12000 + 5000 * number for number in range(count)]
    steps = [torch.rand(length // 400 + 1, generator=generator).repeat_interleave(400) for length in lengths]
    return [torch.randn(n, generator=generator) * step[:n] for n, step in zip(lengths, steps, strict=True)]


def make_folder(path: Path, name: str, overrides: Mapping[str, Any], *, gain: float = 3.0) -> Published:
    """Write YAML and files; ``gain`` makes weights so large that what is heard changes the words."""
    yaml = YAML()
    text = (YAMLS / f"{name}.yaml").read_text()
    path.mkdir(parents=True, exist_ok=True)
    (path / "hyperparams.yaml").write_text(text)
    document = yaml.load(text)
    for key in OLD:
        document.pop(key, None)
    stream = io.StringIO()
    yaml.dump(document, stream)
    torch.manual_seed(SEEDS[name])
    modules = load_hyperpyyaml(stream.getvalue(), {key: overrides[key] for key in overrides if key in document})
    for module in (module for module in modules.values() if isinstance(module, nn.Module)):
        module.eval()
    _save(path, modules, gain)
    write_tokenizer(path / "tokenizer.ckpt", modules["output_neurons"])
    return Published(path, modules, overrides)


@torch.no_grad()
def _save(path: Path, modules: Mapping[str, Any], gain: float) -> None:
    """The files that the pretrainer loads, but for the tokenizer's."""
    for parameter in modules["asr_model"].parameters():
        if parameter.dim() > 1 and parameter.requires_grad:
            parameter *= gain
    if "seq_lin" in modules:
        bias = modules["seq_lin"].w.bias
        if modules["eos_index"] != 0:
            bias[0] -= 30.0  # SpeechBrain's TransformerLM takes token 0 for padding
        bias[modules["eos_index"]] += 1.0  # so that sentences end
    torch.save(modules["asr_model"].state_dict(), path / "asr.ckpt")
    if "lm_model" in modules:
        torch.save(modules["lm_model"].state_dict(), path / "lm.ckpt")
    normalizer = modules.get("normalize", modules.get("normalizer"))
    if normalizer is not None:
        heard = torch.cat([modules["compute_features"](wav[None])[0] for wav in noises(2)])
        normalizer.glob_mean, normalizer.glob_std, normalizer.count = heard.mean(dim=0), heard.std(dim=0), 7
        # as 0.5 saves them, with what there is a speaker
        speakers = {"spk_dict_mean": {}, "spk_dict_std": {}, "spk_dict_count": {}}
        torch.save(normalizer._statistics_dict() | speakers, path / "normalizer.ckpt")


def write_tokenizer(path: Path, size: int) -> None:
    """A SentencePiece model of so many pieces, for words made of syllables."""
    letters = random.Random(size)
    syllables = [a + b for a in "bcdfghklmnprstvz" for b in "aeiou"]
    texts = [" ".join("".join(letters.choices(syllables, k=3)) for _ in range(6)) for _ in range(40 + 2 * size)]
    if size < 40:
        texts = [text.translate(str.maketrans("vzst", "bcdf")) for text in texts]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        vocab_size=size,
        model_type="unigram",
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())
