"""Whether a lost replica is replaced: losses are counted by time and by cause."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

PER_REPLICA: Final = 3
"""Causes of losses within ``WINDOW``, for each replica of a role: more mean that the engine or the machines fail."""

PER_REPLICA_AT_START: Final = 1
"""The same before a first replica was ready. Another attempt is enough for what passes; most loads fail alike."""

WINDOW: Final = 600.0
"""Seconds after which a loss is forgotten. Replicas that are lost more often load more than they answer."""


@dataclass(frozen=True, slots=True)
class _Loss:
    """Losses of one cause: the time of the first, how many, and the passages that may be it; none if none can."""

    at: float
    count: int
    passages: frozenset[str]


@dataclass(slots=True)
class ReplacementBudget:
    """The losses of one role's replicas that are not forgotten yet, by cause.

    - Losses while all prompts of the replica were about one passage count as one, with earlier losses that they may
      explain: the scheduler bounds how often it sends such prompts.
    - If this happens twice, the passage is guilty. Its losses are forgotten once any prompt is answered, for then the
      engine works.
    - Any other loss is forgotten ``WINDOW`` seconds later, but not before a prompt is answered. So an engine that
      answers nothing is given up, however much time each loss takes.
    """

    replicas: int
    was_ready: bool = False
    _losses: list[_Loss] = field(default_factory=list)
    _guilty: set[str] = field(default_factory=set)

    @property
    def spent(self) -> bool:
        """Whether no lost replica is to be replaced."""
        return len(self._losses) > self.replicas * (PER_REPLICA if self.was_ready else PER_REPLICA_AT_START)

    def lose(self, at: float, passages: Collection[str]) -> None:
        """Count a loss at ``at`` (seconds) of a replica that had prompts about these passages."""
        loss = _Loss(at, 1, frozenset(passages))
        if len(loss.passages) == 1:
            explained = [other for other in self._losses if loss.passages <= other.passages]
            if any(other.passages == loss.passages for other in explained):
                self._guilty |= loss.passages
            self._losses = [other for other in self._losses if other not in explained]
            loss = _Loss(explained[0].at if explained else at, 1 + sum(o.count for o in explained), loss.passages)
        self._losses.append(loss)

    def answered(self, at: float) -> None:
        """Forget what is explained or long ago: a prompt was answered at ``at``."""
        if self._losses:
            self._losses = [loss for loss in self._losses if at - loss.at < WINDOW and not self._is_explained(loss)]

    def text(self, at: float) -> str:
        """How many replicas were lost, for people, such as "4 replicas were lost within 35 s"."""
        seconds = at - min((loss.at for loss in self._losses), default=at)
        count = sum(loss.count for loss in self._losses)
        return f"{count} {'replica was' if count == 1 else 'replicas were'} lost within {seconds:.0f} s"

    def _is_explained(self, loss: _Loss) -> bool:
        return bool(loss.passages) and loss.passages <= self._guilty
