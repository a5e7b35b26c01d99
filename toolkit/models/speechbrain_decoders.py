"""SpeechBrain's decoders and language models, with their own weights, as modules of the step protocol.

SpeechBrain's modules compute all tokens so far again at every step. These compute the last token only, from the same
weights: keys and values are kept in a tree, and what is projected of the encoder's frames is computed once for each
utterance. A module is taken as it is when a search starts, so weights may be loaded after it was wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

from toolkit.errors import ModelError
from toolkit.models.attention import attention_weights
from toolkit.models.key_values import TokenTree
from toolkit.models.location_attention import additive_energies, attend, location_features
from toolkit.models.masking import attention_bias, valid_mask
from toolkit.models.recurrent import rnn_start, rnn_step
from toolkit.models.state import Shared, State


class SpeechBrainTransformerDecoder(nn.Module):
    """The decoder of a ``TransformerASR`` and its output layer.

    Parameters
    ----------
    model : speechbrain.lobes.models.transformer.TransformerASR.TransformerASR
        With any encoder; the decoder is always a plain Transformer.
    output : speechbrain.nnet.linear.Linear
        From the decoder's size to the tokens.
    """

    def __init__(self, model: nn.Module, output: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, "decoder"):
            raise ModelError(f"{type(model).__name__} has no decoder layers: set num_decoder_layers to 1 or more")
        self.model, self.output = model, output
        self.memory_size = model.decoder.layers[0].multihead_attn.att.embed_dim

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, for memory (A, T, D) with (A,) frames."""
        layers = self.model.decoder.layers
        projected = [part for layer in layers for part in _keys_values(layer.multihead_attn.att, memory)]
        return {
            "tree": _tree(layers[0].self_attn.att, len(layers), rows=len(memory)),
            "memory": Shared((attention_bias(frames, memory.size(1), like=memory), *projected)),
            "weights": memory.new_zeros(memory.shape[:2]),
        }

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        tree, (memory_bias, *projected) = state["tree"], state["memory"].tensors
        values = self.model.custom_tgt_module(tokens.view(tree.rows, -1)) + self._position(tree.length)
        bias = tree.grow()
        looks: list[Tensor] = []
        for index, layer in enumerate(self.model.decoder.layers):
            add, memory = partial(_add, before=layer.normalize_before), (*projected[2 * index :][:2], memory_bias)
            attend = _attend_memory if layer is not self.model.decoder.layers[-1] else partial(_look, looks)
            values = add(values, partial(_attend_tree, layer.self_attn.att, tree, index, bias), norm=layer.norm1)
            values = add(values, partial(attend, layer.multihead_attn.att, memory), norm=layer.norm2)
            values = add(values, layer.pos_ffn.ffn, norm=layer.norm3)
        log_probs = self.output(self.model.decoder.norm(values)).log_softmax(dim=-1)
        return log_probs.flatten(0, 1), {**state, "weights": looks[0].mean(dim=1).flatten(0, 1)}

    def _position(self, position: int) -> Tensor | float:
        """What is added to the embedding of the token at this position: (D,)."""
        relative = self.model.attention_type in ("RelPosMHAXL", "RoPEMHA")  # these know positions in the encoder only
        name = "positional_encoding_decoder" if relative else "positional_encoding"
        return getattr(self.model, name).pe[0, position] if hasattr(self.model, name) else 0.0


class SpeechBrainRNNDecoder(nn.Module):
    """An ``AttentionalRNNDecoder`` with its embedding and its output layer.

    Parameters
    ----------
    embedding : speechbrain.nnet.embedding.Embedding
    decoder : speechbrain.nnet.RNN.AttentionalRNNDecoder
        Of any cell, with content, location or key-value attention.
    output : speechbrain.nnet.linear.Linear
        From the decoder's size to the tokens.
    """

    def __init__(self, embedding: nn.Module, decoder: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.embedding, self.decoder, self.output = embedding, decoder, output
        attention = decoder.attn
        self.memory_size = (attention.key_linear if decoder.attn_type == "keyvalue" else attention.mlp_enc).in_features

    def start(self, memory: Tensor, frames: Tensor) -> State:
        """The state before the first token, for memory (A, T, F) with (A,) frames."""
        decoder, A = self.decoder, len(memory)
        if decoder.attn_type == "keyvalue":
            keys, values = decoder.attn.key_linear(memory), decoder.attn.value_linear(memory)
        else:  # what is projected of a mean is the mean of what is projected
            keys, values = decoder.attn.mlp_enc(memory), decoder.attn.mlp_out(memory)
        bias = attention_bias(frames, memory.size(1), like=memory)[:, 0]
        hidden = memory.new_zeros(A, decoder.num_layers, decoder.hidden_size)
        return {
            "memory": Shared((values, keys, bias)),
            "weights": valid_mask(frames, memory.size(1)).to(memory.dtype) / frames.clamp_min(1).unsqueeze(1),
            "context": memory.new_zeros(A, decoder.attn_dim),
            "hidden": hidden,
        } | ({"cell": hidden} if decoder.rnn_type == "lstm" else {})

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        carried = tuple(state[name].transpose(0, 1) for name in ("hidden", "cell") if name in state)
        values = torch.cat([self.embedding(tokens), state["context"]], dim=1)
        output, new = self.decoder.rnn(values, carried if len(carried) > 1 else carried[0])
        context, weights = self._look(output, state)
        log_probs = self.output(self.decoder.proj(torch.cat([context, output], dim=1))).log_softmax(dim=-1)
        new = new if len(carried) > 1 else (new,)
        cells = {name: part.transpose(0, 1) for name, part in zip(("hidden", "cell"), new, strict=False)}
        return log_probs, {**state, **cells, "context": context, "weights": weights}

    def _look(self, output: Tensor, state: State) -> tuple[Tensor, Tensor]:
        """What the cells' output (N, H) finds in the memory: contexts (N, D), weights (N, T)."""
        attention, (values, keys, bias) = self.decoder.attn, state["memory"].tensors
        if self.decoder.attn_type == "keyvalue":
            queries = attention.query_linear(output).view(len(keys), -1, keys.shape[2])
            return attend((queries @ keys.transpose(1, 2)).flatten(0, 1) / attention.scaling, values, bias)
        queries, energy = attention.mlp_dec(output), attention.mlp_attn.weight[0]
        if self.decoder.attn_type == "location":
            location = location_features(state["weights"], attention.conv_loc.weight)
            weight = attention.mlp_loc.weight
            queries = queries + attention.mlp_loc.bias
        else:
            location, weight = output.new_zeros(len(output), keys.shape[1], 0), output.new_zeros(keys.shape[2], 0)
        energies = additive_energies(keys, queries, location, weight=weight, energy=energy)
        return attend(energies * attention.scaling, values, bias)


class SpeechBrainTransformerLM(nn.Module):
    """A ``TransformerLM`` of encoder layers, which is what all published ones are.

    Unlike there, token 0 may be a token of the sentence: SpeechBrain masks it as padding, wherever it stands.
    """

    def __init__(self, lm: nn.Module) -> None:
        super().__init__()
        if lm.num_decoder_layers or lm.attention_type != "regularMHA":
            raise ModelError("only a TransformerLM of encoder layers with regularMHA can be scored token by token")
        self.lm = lm

    def start_tree(self, rows: int, device: torch.device) -> State:  # noqa: ARG002
        """The state before the first token of (rows,) sentences that stay of one length."""
        layers = self.lm.encoder.layers
        return {"tree": _tree(layers[0].self_att.att, len(layers), rows=rows)}

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        tree = state["tree"]
        values = self.lm.custom_src_module(tokens.view(tree.rows, -1))
        values = values if self.lm.embedding_proj is None else self.lm.embedding_proj(values)
        values, bias = values + self.lm.positional_encoding.pe[0, tree.length], tree.grow()
        for index, layer in enumerate(self.lm.encoder.layers):
            add = partial(_add, before=layer.normalize_before)
            values = add(values, partial(_attend_tree, layer.self_att.att, tree, index, bias), norm=layer.norm1)
            values = add(values, layer.pos_ffn.ffn, norm=layer.norm2)
        return self.lm.output_proj(self.lm.encoder.norm(values)).log_softmax(dim=-1).flatten(0, 1), state


class SpeechBrainRNNLM(nn.Module):
    """An ``RNNLM`` of LSTM or GRU layers."""

    def __init__(self, lm: nn.Module) -> None:
        super().__init__()
        if not isinstance(getattr(lm.rnn, "rnn", None), (nn.LSTM, nn.GRU)):
            raise ModelError(f"only an RNNLM of LSTM or GRU layers can be scored, got {type(lm.rnn).__name__}")
        self.lm = lm

    def start(self, rows: int, device: torch.device) -> State:
        """The state before the first token: ``hidden`` (and an LSTM's ``cell``) of shape (rows, layers, neurons)."""
        return rnn_start(self.lm.rnn.rnn, rows, device)

    def step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """Last tokens (N,) and state -> log-probabilities (N, V) of the next token, and the new state."""
        values, state = rnn_step(self.lm.rnn.rnn, self.lm.embedding(tokens), state)
        return self.lm.out(self.lm.dnn(values)).log_softmax(dim=-1), state


def as_step_module(lm: nn.Module) -> nn.Module:
    """A language model of the step protocol: the module itself, or SpeechBrain's wrapped into one."""
    if hasattr(lm, "step"):
        return lm
    if hasattr(lm, "custom_src_module") and hasattr(lm, "output_proj"):
        return SpeechBrainTransformerLM(lm)
    if hasattr(lm, "rnn") and hasattr(lm, "dnn"):
        return SpeechBrainRNNLM(lm)
    raise ModelError(f"{type(lm).__name__} is no language model: it has no step(tokens, state)")


def _attend_memory(attention: nn.MultiheadAttention, memory: Sequence[Tensor], values: Tensor) -> Tensor:
    """Attention of the newest tokens (A, K, D) to keys and values (A, heads, T, d), with a bias (A, 1, 1, T)."""
    keys, contents, bias = memory
    mixed = scaled_dot_product_attention(_queries(attention, values), keys, contents, attn_mask=bias)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _look(looks: list[Tensor], attention: nn.MultiheadAttention, memory: Sequence[Tensor], values: Tensor) -> Tensor:
    """The same as `_attend_memory`, slower, with the weights (A, heads, K, T) appended to ``looks``."""
    keys, contents, bias = memory
    weights = attention_weights(_queries(attention, values), keys, bias)
    looks.append(weights)
    return attention.out_proj((weights @ contents).transpose(1, 2).flatten(2))


def _attend_tree(attention: nn.MultiheadAttention, tree: TokenTree, layer: int, bias: Tensor, values: Tensor) -> Tensor:
    """Self-attention of the newest tokens (A, K, D), which the tree has made room for."""
    queries, keys, contents = _project(attention, values)
    keys, contents = tree.append(layer, keys, contents)
    mixed = scaled_dot_product_attention(queries, keys, contents, attn_mask=bias)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def _queries(attention: nn.MultiheadAttention, values: Tensor) -> Tensor:
    """(A, K, D) -> (A, heads, K, d)."""
    size = attention.embed_dim
    return _split(attention, linear(values, attention.in_proj_weight[:size], attention.in_proj_bias[:size]))


def _keys_values(attention: nn.MultiheadAttention, memory: Tensor) -> list[Tensor]:
    """Keys and values of the memory (A, T, D), each (A, heads, T, d)."""
    size = attention.embed_dim
    projected = linear(memory, attention.in_proj_weight[size:], attention.in_proj_bias[size:])
    return [_split(attention, part).contiguous() for part in projected.chunk(2, dim=-1)]


def _project(attention: nn.MultiheadAttention, values: Tensor) -> list[Tensor]:
    """Queries, keys and values of (A, K, D), each (A, heads, K, d)."""
    projected = linear(values, attention.in_proj_weight, attention.in_proj_bias)
    return [_split(attention, part) for part in projected.chunk(3, dim=-1)]


def _split(attention: nn.MultiheadAttention, values: Tensor) -> Tensor:
    """(A, K, D) -> (A, heads, K, d)."""
    return values.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)


def _tree(attention: nn.MultiheadAttention, layers: int, *, rows: int) -> TokenTree:
    """The empty tree of (rows,) utterances for layers like this one."""
    like = attention.out_proj.weight
    return TokenTree(rows, layers, attention.num_heads, attention.head_dim, like=like.detach())


def _add(values: Tensor, part: Callable[[Tensor], Tensor], *, norm: nn.Module, before: bool) -> Tensor:
    """What a part of a layer makes of values, added to them; normalised before, or after."""
    return values + part(norm(values)) if before else norm(values + part(values))
