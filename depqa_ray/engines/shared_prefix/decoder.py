"""Runs the model over a packed batch: by transformers' own layers, or on a GPU by kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from depqa_ray.engines.shared_prefix.batch import PackedBatch
from depqa_ray.engines.shared_prefix.output_rows import OutputRows


class Decoder(Protocol):
    """A model and its pool."""

    def logits(self, batch: PackedBatch, rows: Sequence[int]) -> Tensor | None:
        """Write all keys and values of a batch; returns the logits [rows, vocabulary] of some of its packed tokens.

        None if there are no rows.
        """


class TransformersDecoder(Decoder):
    """The layers of transformers, with the attention that is registered there."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._output_rows = OutputRows(model.base_model, model.config.hidden_size)

    @override
    def logits(self, batch: PackedBatch, rows: Sequence[int]) -> Tensor | None:
        index = torch.tensor(rows, dtype=torch.long, device=batch.tokens.device)
        self._output_rows.rows = index if len(rows) < batch.tokens.shape[1] else None
        output = self._model.base_model(
            input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, attention_metadata=batch.metadata
        )
        if not rows:
            return None
        logits: Tensor = self._model.get_output_embeddings()(output.last_hidden_state[0, index])
        return logits
