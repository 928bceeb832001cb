"""What a run's store holds beside the step results and the bad rows: passages, their edges, when they were finished."""

from __future__ import annotations

from dataclasses import dataclass

from depqa_ray.core import Passage, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.passages.base import BadRow
from depqa_ray.results.manifest import Manifest


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """A passage that the run asks about."""

    passage: Passage


@dataclass(frozen=True, slots=True)
class EdgeRecord:
    """The edges along which a strategy asks the questions of a passage, and how they were found."""

    strategy: str
    passage_id: str
    chosen: EdgeSelection


@dataclass(frozen=True, slots=True)
class PassageResult:
    """One strategy is done with one passage: each of its questions has an outcome.

    ``admitted`` and ``finished`` are seconds since the start of the driver. A resumed run has a driver, and so a clock,
    for each ``session``; the store numbers them from 0.
    """

    strategy: str
    passage_id: str
    admitted: float
    finished: float
    session: int = 0


@dataclass(frozen=True, slots=True)
class RunRecords:
    """All that is known of a run, as read back from its folder.

    ``passages`` have distinct ids and stand in the order of their first admission. ``steps`` hold at most one outcome
    of a question for each strategy; ``dags`` have at most one entry for each strategy and passage, and so has
    ``finished``. ``remarks`` are
    one-line sentences for the user about what reading had to tolerate.
    """

    manifest: Manifest
    passages: tuple[PassageRecord, ...] = ()
    steps: tuple[StepResult, ...] = ()
    finished: tuple[PassageResult, ...] = ()
    bad_rows: tuple[BadRow, ...] = ()
    dags: tuple[EdgeRecord, ...] = ()
    remarks: tuple[str, ...] = ()
