"""A random wav2vec 2.0 in the layout of transformers, small enough to be trained in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

SIZES: dict[str, Any] = {
    **{"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
    **{"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
}
# Of XLS-R; wav2vec 2.0's base model has a norm over time instead.
LAYER = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
GROUP = {"feat_extract_norm": "group"}


def save_tiny_wav2vec2(folder: Path, *, normalise: bool = True, **settings: Any) -> Path:
    """Write configuration, weights and feature extractor to a folder, with what differs from XLS-R, but small."""
    import transformers
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    torch.manual_seed(1)
    network = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**(SIZES | LAYER | settings)))
    network.save_pretrained(folder)
    extractor = {"do_normalize": normalise, "sampling_rate": 16000, "return_attention_mask": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return folder
