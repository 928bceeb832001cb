"""The schema of ``results.json`` and of ``--json-out``, version 3.

- Times are seconds; scores lie in [0, 1].
- Means cover all questions: a failed or skipped one scores 0.
- ``prompt_tokens``, ``generated_tokens`` and ``latency`` include asking the model for dependencies; ``dep_...`` are
  that request's part, 0 if the dependencies came from elsewhere.
- A field that is added later has a default, so that earlier files of this version are read. The version changes if the
  meaning of a field does, or if one is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from depqa_ray.core import EdgeOrigin, FinishReason, OutcomeStatus, ReplyFault
from depqa_ray.results.entry import Entry, Text
from depqa_ray.results.run_entry import RunEntry
from depqa_ray.settings.types import Confidence, DependencySource, Resamples

Figure = Literal["em", "f1", "prompt_tokens", "generated_tokens", "latency"]
"""The figures with intervals, named as their averages."""


class Scores(Entry):
    """Means over all questions; ``em`` and ``f1`` are SQuAD's.

    ``strict`` requires the gold answer in the requested JSON, ``lenient`` requires it anywhere in the answer.
    """

    strict: float
    lenient: float
    em: float
    f1: float


class EdgeEntry(Entry):
    """A dependency: ``child`` needs the answer of ``parent`` (question ids)."""

    parent: Text
    child: Text
    confidence: float
    origin: EdgeOrigin
    rationale: Text


class PassageEdges(Entry):
    """The dependencies that a strategy followed in a passage.

    - ``fallback`` says why the heuristic proposed the edges instead of the ``source``, the model; otherwise empty.
    - ``asked``: the model got the request. ``cached``: its reply came from an earlier run.
    - ``edges`` are those selected from the ``proposed``.
    - ``dropped`` counts the rejected items by reason, including those of the reply that were no edges.
    - ``depth`` is the number of questions on the longest path, ``width`` that of the largest layer.
    - ``parallelism``: the tokens of all questions' steps divided by those on the path with the most tokens.
    """

    source: DependencySource
    fallback: Text
    asked: bool
    cached: bool
    proposed: list[EdgeEntry]
    edges: list[EdgeEntry]
    dropped: dict[str, int]
    depth: int
    width: int
    parallelism: float


class QuestionEntry(Entry):
    """A question of a passage. ``gold_parents`` is null if the data set has no dependencies."""

    id: Text
    question: Text
    gold: list[Text]
    gold_parents: list[Text] | None


class AnswerEntry(Entry):
    """How one question ended under one strategy.

    ``parents`` are its parents among the strategy's edges. ``text`` (the raw reply), token counts and times are those
    of its step (see :class:`~depqa_ray.core.StepResult`), which may have asked further questions.
    """

    id: Text
    question: Text
    gold: list[Text]
    parents: list[Text]
    answer: Text
    status: OutcomeStatus
    reason: Text
    strict: float
    lenient: float
    em: float
    f1: float
    step: Text
    text: Text
    prompt_tokens: int
    generated_tokens: int
    ready: float
    dispatched: float
    completed: float
    engine_seconds: float
    replica: Text
    batch: int
    attempts: int
    finish_reason: FinishReason | Literal["refused", ""] = ""
    reply_fault: ReplyFault = ""


class Counts(Entry):
    """``questions`` is the sum of the next three. ``cut`` counts the answered whose reply was cut."""

    questions: int
    answered: int = 0
    failed: int = 0
    skipped: int = 0
    cut: int = 0


class ReplyCounts(Entry):
    """How the replies to a strategy's prompts ended, those about dependencies included.

    - ``replies`` is the number of replies; ``cut`` of them reached the limit on their tokens.
    - ``empty``, ``thoughts_only`` and ``no_json`` count the faults (:data:`~depqa_ray.core.ReplyFault`); a reply has at
      most one, and may be cut besides.
    - ``refused`` prompts got no reply.
    - ``unrecorded`` replies are those of versions that did not record how a reply ended. They are in no other count.
    """

    replies: int = 0
    cut: int = 0
    empty: int = 0
    thoughts_only: int = 0
    no_json: int = 0
    refused: int = 0
    unrecorded: int = 0


class PassageStrategy(Entry):
    """One passage under one strategy.

    ``latency`` is the wall-clock time from the passage's admission to its last outcome; ``dep_latency`` is the part
    until the model returned the dependencies. ``dag`` is null for a strategy without dependencies.
    """

    name: Text
    metrics: Scores
    counts: Counts
    prompt_tokens: int
    generated_tokens: int
    dep_prompt_tokens: int
    dep_generated_tokens: int
    dep_tokens: int
    dep_latency: float
    latency: float
    batches: int
    dag: PassageEdges | None
    questions: list[AnswerEntry]
    replies: ReplyCounts = ReplyCounts()


class PassageEntry(Entry):
    """One passage under each strategy that finished it."""

    id: Text
    title: Text
    context: Text
    questions: list[QuestionEntry]
    strategies: list[PassageStrategy]


class ScoreSplit(Entry):
    """Scores over some of the questions, such as those with gold parents; null if there is no such question."""

    questions: int
    em: float | None
    f1: float | None


class Totals(Entry):
    """Sums over all finished passages.

    ``seconds`` is the wall-clock time during which at least one passage was running under this strategy;
    ``questions_per_second`` counts the answered questions, and is 0 if no time passed.
    """

    prompt_tokens: int
    generated_tokens: int
    dep_prompt_tokens: int
    dep_generated_tokens: int
    dep_tokens: int
    batches: int
    engine_seconds: float
    seconds: float
    questions_per_second: float


class Percentiles(Entry):
    """Percentiles of the passages' latencies, linearly interpolated."""

    p50: float
    p95: float
    p99: float


class EdgeQualityEntry(Entry):
    """How well edges match the gold ones, over all passages with gold edges.

    ``precision`` is null without edges, ``recall`` without gold edges, ``f1`` without either. ``right_share`` is the
    share of questions whose parents are exactly the gold ones.
    """

    edges: int
    gold: int
    precision: float | None
    recall: float | None
    f1: float | None
    right_share: float


class EdgeSummary(Entry):
    """The dependencies of one strategy over all passages that it finished (see :class:`PassageEdges`).

    ``asked``, ``cached`` and ``fallbacks`` count passages; ``edges`` to ``parallelism`` are means over passages.
    ``proposed_quality`` rates the source's own proposals, none in a fallback. Both qualities are null if no passage has
    gold edges.
    """

    passages: int
    asked: int
    cached: int
    fallbacks: int
    edges: float
    depth: float
    width: float
    parallelism: float
    dropped: dict[str, int]
    proposed_quality: EdgeQualityEntry | None
    selected_quality: EdgeQualityEntry | None


class Interval(Entry):
    """A bootstrap interval of an average."""

    low: float
    high: float


class Difference(Entry):
    """A strategy's average minus the baseline's, over the passages that both finished.

    ``excludes_zero``: there is an interval, and zero lies outside it.
    """

    value: float
    interval: Interval | None
    excludes_zero: bool


class StrategySummary(Entry):
    """One strategy over all passages that it finished.

    - ``metrics`` are means over questions; tokens, ``latency`` and ``batches`` are means over passages.
    - ``unfinished`` passages count in no figure.
    - ``with_parents`` and ``without_parents`` cover the passages with gold edges, ``final`` the questions to which the
      others of their passages lead; null if there are none.
    - ``dag`` is null without dependencies, ``latency_percentiles`` without passages, an interval over fewer than two.
    - ``differences`` cover the ``paired_passages`` that the baseline finished too; empty for the baseline and without
      such passages.
    """

    name: Text
    passages: int
    unfinished: int
    counts: Counts
    metrics: Scores
    prompt_tokens: float
    generated_tokens: float
    dep_prompt_tokens: float
    dep_generated_tokens: float
    dep_tokens: float
    dep_latency: float
    latency: float
    latency_percentiles: Percentiles | None
    batches: float
    dag: EdgeSummary | None
    with_parents: ScoreSplit | None
    without_parents: ScoreSplit | None
    final: ScoreSplit | None
    totals: Totals
    intervals: dict[Figure, Interval | None]
    differences: dict[Figure, Difference]
    paired_passages: int
    replies: ReplyCounts = ReplyCounts()


class BootstrapEntry(Entry):
    """How the intervals were computed. ``baseline`` is null with fewer than two strategies."""

    baseline: Text | None
    resamples: Resamples
    confidence: Confidence
    seed: int


class RunResults(Entry):
    """The whole file. ``strategies`` holds averages and totals by strategy, in the order of the tables; ``advice`` says
    in a line each what to do about replies of little use."""

    version: Literal[3] = 3
    run: RunEntry
    bootstrap: BootstrapEntry
    strategies: dict[str, StrategySummary]
    passages: list[PassageEntry]
    advice: list[Text] = Field(default_factory=list)

    def answers_of(self, strategy: str) -> Iterator[AnswerEntry]:
        """The strategy's answers over the passages that it finished, in their order."""
        for passage in self.passages:
            for entry in passage.strategies:
                if entry.name == strategy:
                    yield from entry.questions

    def to_json(self) -> str:
        """The file's text: two spaces of indentation, no NaN, a line feed at the end."""
        return self.model_dump_json(indent=2) + "\n"
