"""A model's sizes and a machine's ceilings as plain numbers, so that arithmetic on them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes that operations and bytes are counted from.

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
