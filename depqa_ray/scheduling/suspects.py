"""Who broke the replica: steps that were with one when it was lost are tried one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from depqa_ray.scheduling.events import LossCause
from depqa_ray.scheduling.runs import StepRun

_MAX_LOST_ALONE: Final = 2
"""Losses of a replica that had only this step, until the step fails.

One such loss may be the machine's. Each costs the load of another replica.
"""

_MAX_LOST_TOGETHER: Final = 2
"""Losses together with other steps, after which a step stays a suspect although another one broke the replica."""

_MAX_DISPATCHES: Final = 10
"""Dispatches of a step, whatever the causes of the losses. Without losses of machines it has at most four."""

Failures: TypeAlias = list[tuple[StepRun, str]]


class Suspects:
    """The steps of one role that are sent alone, until they end or are released.

    - Steps that a replica had together when it was lost are suspects of that loss. They are tried from its likeliest
      culprit on: the step sent last if the replica broke, the one sent first if it gave no answer in time.
    - A step is guilty if replicas that had it alone were lost twice. This explains the loss, whose
      other suspects are released. Of these, a step that was lost together with others twice remains a suspect.
    - The passage of a guilty step is guilty: its other steps are sent alone, when there is nothing else to do, and are
      guilty after one loss.

    So a step is lost at most twice together with others and twice alone, apart from losses of
    machines. Each loss of several steps ends with a guilty one, unless no prompt caused it.

    Invariant: ``_urgent`` and ``_late`` have exactly the suspects that are ready. The last of ``_urgent`` is tried
    next, then the first of ``_late``.
    """

    def __init__(self) -> None:
        self._urgent: dict[StepRun, None] = {}
        self._late: dict[StepRun, None] = {}
        self._guilty_passages: set[str] = set()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._late)

    def __contains__(self, run: StepRun) -> bool:
        return run in self._urgent or run in self._late

    @property
    def urgent(self) -> bool:
        """Whether a suspect goes before ordinary work."""
        return bool(self._urgent)

    def is_guilty_passage(self, passage_id: str) -> bool:
        """Whether a step of this passage broke a replica."""
        return passage_id in self._guilty_passages

    def after_loss(self, lost: Sequence[StepRun], cause: LossCause) -> tuple[Failures, list[StepRun]]:
        """Judge the steps of a lost replica, in the order in which they were sent.

        Returns the steps that fail, each with the reason, and the suspects that are released.
        """
        spent = [run for run in lost if run.attempts >= _MAX_DISPATCHES]
        for run in spent:
            self.acquit(run)
        left = [run for run in lost if run.attempts < _MAX_DISPATCHES]
        failures = [(run, f"sent {run.attempts} times, the replica was lost each time") for run in spent]
        if cause == "machine":
            self.accuse(run for run in left if run.suspects is not None)
        elif len(lost) > 1:
            for run in left:
                run.lost_together += 1
            self.accuse(reversed(left) if cause == "timeout" else left)
        else:
            for run in left:
                run.lost_alone += 1
                if run.lost_alone >= self._most_alone(run):
                    return [(run, _verdict(run))], self._convict(run)
                self.accuse([run])
        return failures, []

    def accuse(self, runs: Iterable[StepRun]) -> None:
        """Have ready steps tried, the last one first. New suspects form one group; one on trial is tried again."""
        group: dict[StepRun, None] = {}
        for run in runs:
            if run.suspects is None:
                run.suspects = group
                group[run] = None
            late = self.is_guilty_passage(run.passage_id)
            (self._late if late else self._urgent)[run] = None

    def next(self) -> StepRun | None:
        """Take the suspect to be tried next."""
        if self._urgent:
            return self._urgent.popitem()[0]
        first = next(iter(self._late), None)
        if first is not None:
            del self._late[first]
        return first

    def acquit(self, run: StepRun) -> None:
        """Take a step that is not ready, or not to be tried any more, out of its group."""
        if run.suspects is not None:
            del run.suspects[run]
            run.suspects = None

    def clear(self) -> list[StepRun]:
        """Release all suspects that are ready. Returns them."""
        released = [*self._urgent, *self._late]
        for run in released:
            self.acquit(run)
        self._urgent.clear()
        self._late.clear()
        return released

    def _most_alone(self, run: StepRun) -> int:
        return 1 if self.is_guilty_passage(run.passage_id) else _MAX_LOST_ALONE

    def _convict(self, guilty: StepRun) -> list[StepRun]:
        group = guilty.suspects or {}
        self.acquit(guilty)
        self._guilty_passages.add(guilty.passage_id)
        for run in [run for run in self._urgent if run.passage_id == guilty.passage_id]:
            del self._urgent[run]
            self._late[run] = None
        released = [run for run in group if run in self._urgent and run.lost_together < _MAX_LOST_TOGETHER]
        for run in released:
            del self._urgent[run]
            self.acquit(run)
        return released


def _verdict(run: StepRun) -> str:
    if run.lost_alone == 1:
        return "a replica was lost that had only this prompt, as before with another one about this passage"
    return f"a replica was lost each of {run.lost_alone} times that it had only this prompt"
