"""The least time that a machine needs: operations and bytes, from the model's shape, against the machine's ceilings.

Roofline model: Williams, Waterman, Patterson, CACM 52(4), 2009. Only what no engine can avoid counts:

- A multiply-add is two operations. Activations, norms, softmax and sampling count as nothing.
- Each distinct prompt token is computed once.
- All rows decode together, in as many steps as the longest answer takes.
- A step reads the weights once, and the keys and values that its rows share once.
- Prefill and decoding are bounded one after the other. An engine that overlaps reading weights for one with computing
  for the other could, on paper, do better than their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from depqa_ray.benchmark.prefix_tree import PromptWork, fewest_prefix_reads


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model that operations and bytes are counted from.

    - ``body_parameters``: those that every token goes through: all but the embeddings and the output layer.
    - ``head_parameters``: those of the output layer, whether or not it shares its weights with the embeddings.
    - ``value_bytes``: bytes of one weight, and of one key or value.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    body_parameters: int
    head_parameters: int
    value_bytes: int

    @property
    def kv_bytes(self) -> int:
        """Bytes of the keys and values of one token, in all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.value_bytes

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that a step reads at least once: body and output layer."""
        return (self.body_parameters + self.head_parameters) * self.value_bytes

    def attention_flops(self, pairs: int) -> float:
        """Operations of attention over query-key pairs: 2 for the score and 2 for the value, each dimension."""
        return 4.0 * self.layers * self.heads * self.head_dim * pairs


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The best measured rates of a machine.

    - ``flops``: operations a second in matrix products.
    - ``bytes``: bytes read a second.
    - ``products``: (rows, inner, columns, FLOP/s) of each product that was tried.
    - ``reads``: (name, bytes a second) of each way of reading.
    """

    flops: float
    bytes: float
    device: str
    dtype: str
    threads: int
    products: tuple[tuple[int, int, int, float], ...] = ()
    reads: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """Operations, and bytes read."""

    flops: float
    bytes: float

    def seconds(self, ceilings: Ceilings) -> float:
        """The least seconds: the larger of operations over their ceiling and bytes over theirs."""
        return max(self.flops / ceilings.flops, self.bytes / ceilings.bytes)


def prefill_work(shape: ModelShape, prompts: PromptWork) -> Work:
    """2 x body x fewest tokens + 2 x output layer x prompts + attention; the weights are read once.

    The output layer is needed for the last token of each prompt only.
    """
    flops = 2.0 * shape.body_parameters * prompts.fewest + 2.0 * shape.head_parameters * prompts.prompts
    return Work(flops + shape.attention_flops(prompts.keys), float(shape.weight_bytes))


def decode_work(shape: ModelShape, rows: Sequence[Sequence[int]], generated: Sequence[int]) -> tuple[Work, int]:
    """The work of decoding, and its fewest steps: the longest answer less its first token, which prefill gave.

    - A row of g generated tokens decodes g - 1 times; the s-th time it attends to its prompt and to s generated tokens.
    - Operations: 2 x (body + output layer) a row and step, + attention.
    - Bytes: the weights once a step, each answer's keys and values, and the prompts' (see fewest_prefix_reads).
    """
    steps = [max(count - 1, 0) for count in generated]
    own = sum(count * (count + 1) // 2 for count in steps)
    prompt_pairs = sum(len(row) * count for row, count in zip(rows, steps, strict=True))
    flops = 2.0 * (shape.body_parameters + shape.head_parameters) * sum(steps)
    reads = fewest_prefix_reads(rows, steps) + own
    longest = max(steps, default=0)
    data = float(shape.weight_bytes) * longest + float(shape.kv_bytes) * reads
    return Work(flops + shape.attention_flops(prompt_pairs + own), data), longest


def step_floor(shape: ModelShape, ceilings: Ceilings, decode: Work, steps: int, together: float) -> float:
    """The least time of an average decoding step with the share ``together`` of all rows.

    ``decode`` and ``steps`` are those of all rows. A share of the rows takes its share of the operations and of the
    keys and values, but all of the weights.
    """
    if not steps:
        return 0.0
    keys_and_values = decode.bytes / steps - shape.weight_bytes
    return Work(decode.flops / steps * together, shape.weight_bytes + keys_and_values * together).seconds(ceilings)
