"""The last layer computes only what someone will read.

Of a prompt's tokens only the last one's output is ever looked at; of the others the last layer needs keys and values,
and nothing that comes after them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class NeededRows:
    """Which packed tokens' outputs the present step needs, [rows]; None for all of them."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None

    def bind(self, model: Any, hidden_size: int) -> None:
        """Make the last layer of a decoder, in which ``layers`` have ``self_attn.o_proj`` and ``mlp``, heed it."""
        last = model.layers[-1]
        last.self_attn.o_proj = _Needed(last.self_attn.o_proj, self, hidden_size)
        last.mlp = _Needed(last.mlp, self, hidden_size)


class _Needed(nn.Module):
    """Applies a module to the needed tokens; the others get zeros."""

    def __init__(self, inner: nn.Module, needed: NeededRows, hidden_size: int) -> None:
        super().__init__()
        self.inner, self._needed, self._hidden_size = inner, needed, hidden_size

    def forward(self, inputs: Tensor) -> Tensor:
        """[1, tokens, features] to [1, tokens, hidden_size]."""
        rows = self._needed.rows
        if rows is None:
            output: Tensor = self.inner(inputs)
            return output
        output = inputs.new_zeros(1, inputs.shape[1], self._hidden_size)
        if len(rows):
            output[:, rows] = self.inner(inputs[:, rows])
        return output
