"""The integers that describe a step, in one buffer, so that they reach the GPU in one copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from depqa_ray.engines.cuda.plan import PlannedAttention
from depqa_ray.engines.shared_prefix.batch import PackedBatch

_RUN, _RANGE, _CHUNK = 6, 3, 5  # integers of a row of the plan
_NO_SLOT = -1


@dataclass(frozen=True, slots=True)
class StepInputs:
    """A step's ``tokens``, ``positions`` [tokens], ``slots`` [kv_heads * tokens], plan, and output ``rows``."""

    tokens: Tensor
    positions: Tensor
    slots: Tensor
    plan: tuple[Tensor, Tensor, Tensor]
    rows: Tensor


@dataclass(frozen=True)
class Layout:
    """How many of each a buffer holds. Unused tokens have no slot, unused runs no tokens."""

    tokens: int
    kv_heads: int
    runs: int
    ranges: int
    chunks: int
    rows: int

    @classmethod
    def of(cls, batch: PackedBatch, kv_heads: int, rows: int) -> Layout:
        """The smallest layout for a batch."""
        plan = planned(batch)
        return cls(batch.tokens.shape[1], kv_heads, len(plan.runs), len(plan.ranges), len(plan.chunks), rows)

    def fits(self, other: Layout) -> bool:
        """Whether a buffer of ``other`` has room for what one of this layout holds."""
        pairs = zip(self._counts, other._counts, strict=True)
        return self.kv_heads == other.kv_heads and all(mine <= theirs for mine, theirs in pairs)

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return self.tokens, self.runs, self.ranges, self.chunks, self.rows

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        sizes = (
            *(self.tokens, self.tokens, self.kv_heads * self.tokens),
            *(_RUN * self.runs, _RANGE * self.ranges, _CHUNK * self.chunks, self.rows),
        )
        return list(pairwise(accumulate(sizes, initial=0)))

    @property
    def size(self) -> int:
        """The integers of a buffer."""
        return self._bounds[-1][1]

    def split(self, buffer: Tensor) -> StepInputs:
        """The parts of a buffer, as views."""
        tokens, positions, slots, runs, ranges, chunks, rows = (buffer[a:b] for a, b in self._bounds)
        plan = runs.view(-1, _RUN), ranges.view(-1, _RANGE), chunks.view(-1, _CHUNK)
        return StepInputs(tokens, positions, slots, plan, rows)

    def fill(self, buffer: Tensor, batch: PackedBatch, rows: Sequence[int]) -> None:
        """Write a batch, which fits, and mark the rest of the buffer as unused."""
        inputs, plan, count = self.split(buffer), planned(batch), batch.tokens.shape[1]
        for part, whole in ((batch.tokens[0], inputs.tokens), (batch.positions[0], inputs.positions)):
            whole[:count], whole[count:] = part, 0
        slots = inputs.slots.view(self.kv_heads, -1)
        slots[:, :count], slots[:, count:] = batch.metadata.slot_mapping.view(self.kv_heads, -1), _NO_SLOT
        for part, whole in zip((plan.runs, plan.ranges, plan.chunks), inputs.plan, strict=True):
            whole[: len(part)] = part.view(-1, whole.shape[1])
        inputs.plan[0][len(plan.runs) :] = 0
        inputs.rows[: len(rows)] = torch.tensor(rows, dtype=torch.long)


def planned(batch: PackedBatch) -> PlannedAttention:
    """The plan of a batch that was packed for the kernels."""
    backend = batch.metadata.backend
    assert isinstance(backend, PlannedAttention), "the pool is not on a GPU"
    return backend
