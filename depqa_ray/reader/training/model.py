"""The reader's network, and a lean forward pass for training it on a CPU.

The network is transformers' ``Qwen3ForCausalLM`` and nothing else, so that its checkpoint loads like any other.
Training runs the same maths over the same weights by other means: bfloat16 throughout (the float32 weights are cast
where they are used), gradients from ``operations``, and attention in blocks, since exercises do not see each other.

Letters in shapes: B lessons, L tokens in a lesson's row, P of them the passage's, E exercises of S tokens in a group,
H heads of D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3Attention, Qwen3MLP

from depqa_ray.reader.training.operations import gated_silu, rms_norm, rotate


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of a row of tokens: P tokens of passage, then groups of exercises.

    ``groups``: the (E, S) of each group. ``present``: [B, P], False where the passage is padding. An exercise sees its
    passage and itself, as if it stood right behind the passage and alone.
    """

    passage: int
    groups: tuple[tuple[int, int], ...]
    present: Tensor


def new_model(vocabulary: int, layers: int) -> Qwen3ForCausalLM:
    """A network of the reader's size, with random weights that ``priming`` replaces."""
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=256,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=64,
        intermediate_size=512,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.05,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    return Qwen3ForCausalLM(config)


def hidden_states(
    model: Qwen3ForCausalLM, ids: Tensor, positions: Tensor, layout: Layout, dtype: torch.dtype = torch.bfloat16
) -> Tensor:
    """The final hidden states [B, L, hidden] for ``ids`` and ``positions`` [B, L], computed in ``dtype``."""
    eps = model.config.rms_norm_eps
    x = functional.embedding(ids, model.model.embed_tokens.weight).to(dtype)
    angles = positions[:, :, None, None] * model.model.rotary_emb.inv_freq
    turn = angles.cos().to(dtype), angles.sin().to(dtype)
    for layer in model.model.layers:
        x = x + _attention(layer.self_attn, rms_norm(x, layer.input_layernorm.weight, eps), turn, layout)
        x = x + _mlp(layer.mlp, rms_norm(x, layer.post_attention_layernorm.weight, eps))
    return rms_norm(x, model.model.norm.weight, eps)


def _attention(module: Qwen3Attention, x: Tensor, turn: tuple[Tensor, Tensor], layout: Layout) -> Tensor:
    size = module.head_dim
    heads, shared = module.q_proj.out_features // size, module.k_proj.out_features // size
    batch, length, _ = x.shape
    weights = _joined([module.q_proj, module.k_proj, module.v_proj], x.dtype)
    qkv = functional.linear(x, weights).view(batch, length, -1, size)
    gains = torch.cat([module.q_norm.weight.expand(heads, size), module.k_norm.weight.expand(shared, size)])
    normed = rms_norm(qkv[:, :, : heads + shared], gains, module.config.rms_norm_eps)
    qk = rotate(normed, *turn).transpose(1, 2)
    q, k, v = qk[:, :heads], qk[:, heads:], qkv[:, :, heads + shared :].transpose(1, 2)
    if shared < heads:
        k, v = k.repeat_interleave(heads // shared, 1), v.repeat_interleave(heads // shared, 1)
    mixed = _attend(q, k, v, layout).transpose(1, 2).reshape(batch, length, heads * size)
    return functional.linear(mixed, module.o_proj.weight.to(x.dtype))


def _mlp(module: Qwen3MLP, x: Tensor) -> Tensor:
    gated = gated_silu(functional.linear(x, _joined([module.gate_proj, module.up_proj], x.dtype)))
    return functional.linear(gated, module.down_proj.weight.to(x.dtype))


def _joined(layers: list[nn.Linear], dtype: torch.dtype) -> Tensor:
    return torch.cat([layer.weight for layer in layers]).to(dtype)


def _attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Attention of passages to themselves, then of each group of exercises. All tensors [B, H, L, D]."""
    end = layout.passage
    passage_k, passage_v = k[:, :, :end], v[:, :, :end]
    out = [functional.scaled_dot_product_attention(q[:, :, :end], passage_k, passage_v, is_causal=True)]
    padding = torch.zeros(layout.present.shape, dtype=q.dtype).masked_fill_(~layout.present, float("-inf"))
    for count, length in layout.groups:
        start, end = end, end + count * length
        own = [tensor[:, :, start:end] for tensor in (q, k, v)]
        out.append(_attend_group(own, passage_k, passage_v, padding, (count, length)))
    return torch.cat(out, 2)


def _attend_group(
    own: list[Tensor], passage_k: Tensor, passage_v: Tensor, padding: Tensor, group: tuple[int, int]
) -> Tensor:
    """Attention of a group's exercises to their passage and themselves.

    ``own``: the group's q, k, v, [B, H, E * S, D]; ``passage_k``, ``passage_v``: [B, H, P, D]; ``padding``: [B, P],
    -inf where the passage is padding; ``group``: (E, S).
    """
    count, length = group
    batch, heads, _, size = own[0].shape
    apart = (batch, heads, count, length)
    q = own[0] * size**-0.5
    own_q, own_k, own_v = (tensor.reshape(*apart, size) for tensor in (q, own[1], own[2]))
    to_passage = (q @ passage_k.transpose(-1, -2)) + padding[:, None, None]
    later = torch.full((length, length), float("-inf"), dtype=q.dtype).triu_(1)
    to_own = (own_q @ own_k.transpose(-1, -2)) + later
    end = passage_k.shape[2]
    shares = torch.cat([to_passage.reshape(*apart, end), to_own], -1).softmax(-1)
    from_passage = shares[..., :end].reshape(batch, heads, count * length, end) @ passage_v
    return from_passage + (shares[..., end:] @ own_v).reshape(batch, heads, count * length, size)
