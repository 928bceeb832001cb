"""A decoder on a GPU: its layers as few kernels for packed tokens, nine launches a layer, and its output.

The weights are those of transformers' model; projections that read the same input are merged, so that one product does
what two or three did. Results change by rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from typing_extensions import override

from depqa_ray.engines.cuda.graphs import DecodeGraphs
from depqa_ray.engines.cuda.inputs import Layout, StepInputs
from depqa_ray.engines.cuda.kernels import add_rms_norm, attention, rotate_and_write, silu_mul
from depqa_ray.engines.cuda.plan import run_queries
from depqa_ray.engines.shared_prefix.batch import PackedBatch
from depqa_ray.engines.shared_prefix.decoder import Decoder
from depqa_ray.engines.shared_prefix.kv_pool import KVPool, group_size, head_dim

Copies = Sequence[tuple[Tensor, Tensor]]


class CudaDecoder(Decoder):
    """Decoding steps are replayed as CUDA graphs, all others run kernel by kernel."""

    def __init__(self, model: Any, pool: KVPool, max_sequences: int) -> None:
        self._layers = PackedLayers(model.base_model, pool)
        self._head = model.get_output_embeddings()
        self._pool = pool
        vocabulary = self._head.weight.shape[0]
        on_gpu = pool.device.type == "cuda"
        self._graphs = DecodeGraphs(self._run, pool, max_sequences, vocabulary) if on_gpu else None

    @override
    def logits(self, batch: PackedBatch, rows: Sequence[int]) -> Tensor | None:
        layout = Layout.of(batch, self._pool.kv_heads, len(rows))
        if self._graphs is not None and layout.rows == layout.tokens and not batch.metadata.copies:
            logits = self._graphs.replay(layout, batch, rows)
            if logits is not None:
                return logits
        on_gpu = self._pool.device.type == "cuda"
        staged = torch.empty(layout.size, dtype=torch.long, pin_memory=on_gpu)
        layout.fill(staged, batch, rows)
        inputs = layout.split(staged.to(self._pool.device, non_blocking=True))
        hidden = self._layers.forward(inputs, batch.metadata.copies)
        return self._head(hidden) if rows else None

    def _run(self, inputs: StepInputs) -> Tensor:
        logits: Tensor = self._head(self._layers.forward(inputs))
        return logits


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    eps: float

    def __call__(self, hidden: Tensor, delta: Tensor | None) -> Tensor:
        return add_rms_norm(hidden, delta, self.weight, self.eps)


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, inputs: Tensor) -> Tensor:
        return linear(inputs, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    before_attention: _Norm
    qkv: _Linear
    head_norms: tuple[Tensor, Tensor] | None
    output: _Linear
    before_mlp: _Norm
    gate_up: _Linear
    down: _Linear


class PackedLayers:
    """The layers of a decoder of the Llama family, with or without norms of queries and keys.

    They take the weights over from transformers' ``model``, whose own layers cannot run afterwards.
    """

    def __init__(self, model: Any, pool: KVPool) -> None:
        config = model.config
        self._model, self._pool = model, pool
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._scaling, self._queries = head_dim(config) ** -0.5, run_queries(group_size(config))
        self._layers = [_take_over(layer) for layer in model.layers]
        self._norm = _norm(model.norm)

    def forward(self, inputs: StepInputs, copies: Copies = ()) -> Tensor:
        """The normed output [rows, hidden_size] of the inputs' rows. Writes the keys and values of all tokens.

        ``copies`` are keys and values that are copied within the pool before attention. Nothing waits for the device.
        """
        hidden: Tensor = self._model.embed_tokens(inputs.tokens[None])
        angles = self._model.rotary_emb(hidden, inputs.positions[None])
        cosines, sines = (part[0].contiguous() for part in angles)
        hidden, delta = hidden[0], None
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.before_attention(hidden, delta))
            attended = self._attend(number, layer, qkv, cosines, sines, inputs, copies)
            if number + 1 == len(self._layers) and len(inputs.rows) < len(hidden):
                attended, hidden = attended[inputs.rows], hidden[inputs.rows]
            both = layer.gate_up(layer.before_mlp(hidden, layer.output(attended)))
            delta = layer.down(silu_mul(both))
        return self._norm(hidden, delta)

    def _attend(
        self,
        number: int,
        layer: _Layer,
        qkv: Tensor,
        cosines: Tensor,
        sines: Tensor,
        inputs: StepInputs,
        copies: Copies,
    ) -> Tensor:
        keys, values = self._pool.keys[number], self._pool.values[number]
        norms, eps = layer.head_norms, layer.before_attention.eps
        query = rotate_and_write(
            qkv, norms, eps, cosines, sines, inputs.slots, keys, values, self._heads, self._kv_heads
        )
        for source, target in copies:
            self._pool.copy(number, source, target)
        out = attention(query, keys, values, inputs.plan, self._scaling, self._kv_heads, self._queries)
        return out.flatten(1)


def _take_over(layer: Any) -> _Layer:
    """The weights of a layer. Those that are merged are removed from it, so that memory holds them once."""
    heads, mlp = layer.self_attn, layer.mlp
    norms = (heads.q_norm.weight, heads.k_norm.weight) if hasattr(heads, "q_norm") else None
    return _Layer(
        before_attention=_norm(layer.input_layernorm),
        qkv=_merge(heads, "q_proj", "k_proj", "v_proj"),
        head_norms=norms,
        output=_merge(heads, "o_proj"),
        before_mlp=_norm(layer.post_attention_layernorm),
        gate_up=_merge(mlp, "gate_proj", "up_proj"),
        down=_merge(mlp, "down_proj"),
    )


def _merge(module: Any, *names: str) -> _Linear:
    linears: list[nn.Linear] = [getattr(module, name) for name in names]
    for name in names:
        delattr(module, name)
    if len(linears) == 1:
        return _Linear(linears[0].weight.detach(), linears[0].bias)
    biases = [part.bias.detach() for part in linears if part.bias is not None]
    return _Linear(torch.cat([part.weight.detach() for part in linears]), torch.cat(biases) if biases else None)


def _norm(module: Any) -> _Norm:
    return _Norm(module.weight, module.variance_epsilon)
