"""Restricts the last layer to the tokens whose output is read.

Only a sequence's last token is sampled from. For the others, the last layer needs keys and values, nothing after them.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from typing_extensions import override


class OutputRows:
    """Restricts the last layer of a decoder whose ``layers`` have ``self_attn.o_proj`` and ``mlp``.

    ``rows`` [rows] are the packed tokens whose output the present step needs; None for all.
    """

    def __init__(self, model: Any, hidden_size: int) -> None:
        self.rows: Tensor | None = None
        last = model.layers[-1]
        last.self_attn.o_proj = _OnOutputRows(last.self_attn.o_proj, self, hidden_size)
        last.mlp = _OnOutputRows(last.mlp, self, hidden_size)


class _OnOutputRows(nn.Module):
    """Applies a module to the output rows; the others get zeros."""

    def __init__(self, inner: nn.Module, output_rows: OutputRows, hidden_size: int) -> None:
        super().__init__()
        self.inner, self._output_rows, self._hidden_size = inner, output_rows, hidden_size

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """[1, tokens, features] to [1, tokens, hidden_size]."""
        rows = self._output_rows.rows
        if rows is None:
            output: Tensor = self.inner(inputs)
            return output
        output = inputs.new_zeros(1, inputs.shape[1], self._hidden_size)
        if len(rows):
            output[:, rows] = self.inner(inputs[:, rows])
        return output
