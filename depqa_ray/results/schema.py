"""The schema of ``results.json`` and of ``--json-out``, version 3.

Times are seconds. Scores lie in [0, 1]. A question that failed or was skipped scores 0 and is counted: no mean is taken
over the answered questions alone. ``prompt_tokens``, ``generated_tokens`` and ``latency`` are of everything that a
strategy did, asking the model for dependencies included; ``dep_...`` are the part of that request in them, which is 0
where the dependencies came from elsewhere.

Version 2 had one set of edges a passage and left what they cost out of the tokens; version 1 had no intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from depqa_ray.core import EdgeOrigin, OutcomeStatus
from depqa_ray.settings.types import Confidence, DependencySource, Resamples


def encodable(value: Any) -> Any:
    """The text with lone surrogates replaced: the store keeps them, UTF-8 has no place for them."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(encodable)]
Figure = Literal["em", "f1", "prompt_tokens", "generated_tokens", "latency"]
"""The figures that have intervals; each is named as the average that it belongs to."""


class _Entry(BaseModel):
    # An entry in a field may be given as a record: it is built from the record's attributes.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, from_attributes=True)


def shared_fields(entry: type[BaseModel], *records: object) -> dict[str, Any]:
    """The fields of ``entry`` that a record has under the same name, with their values there."""
    return {name: getattr(record, name) for record in records for name in entry.model_fields if hasattr(record, name)}


class Scores(_Entry):
    """Means over all questions asked.

    ``em`` and ``f1`` are SQuAD's; ``strict`` wants the gold answer in the JSON that was asked for; ``lenient`` wants
    it somewhere in the answer.
    """

    strict: float = 0.0
    lenient: float = 0.0
    em: float = 0.0
    f1: float = 0.0


class EdgeEntry(_Entry):
    """A dependency: ``child`` needs the answer of ``parent`` (question ids)."""

    parent: Text
    child: Text
    confidence: float
    origin: EdgeOrigin
    rationale: Text


class PassageEdges(_Entry):
    """The dependencies along which a strategy asked the questions of a passage.

    ``edges`` are the selected ones among the ``proposed``. ``source`` is where they were to come from; where that is
    the model and its reply was of no use, or never came, ``fallback`` says why and the heuristic proposed them; it is
    empty otherwise. ``asked``: the model was sent the request. ``cached``: its reply was kept from an earlier run.
    ``dropped`` counts, by reason, what was proposed and not selected, and what the reply held that was no edge.

    ``depth`` is the number of questions on the longest path, ``width`` the most questions in one layer, and
    ``parallelism`` the tokens of all answers' steps over those on the path that has the most of them.
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


class QuestionEntry(_Entry):
    """A question of a passage. ``gold_parents`` is null where the data set knows nothing of dependencies."""

    id: Text
    question: Text
    gold: list[Text]
    gold_parents: list[Text] | None


class AnswerEntry(_Entry):
    """How one question ended under one strategy.

    ``parents`` are the questions that it was asked after, by the strategy's dependencies; empty where it goes by none.
    The token counts are those of its step, which in a step of several questions belong to all of them. ``ready``,
    ``dispatched`` and ``completed`` count from the passage's admission. ``batch`` is -1 for a question that was never
    sent. ``text`` is what the model wrote.
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


class Counts(_Entry):
    """``questions`` is the sum of the other three."""

    questions: int = 0
    answered: int = 0
    failed: int = 0
    skipped: int = 0


class PassageStrategy(_Entry):
    """One passage under one strategy.

    ``latency`` is the wall-clock time from the passage's admission to its last outcome, and ``dep_latency`` the part of
    it until the model had been asked for the dependencies; ``batches`` is the number of distinct batches that were
    dispatched for it. ``dag`` is null for a strategy without dependencies.
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


class PassageEntry(_Entry):
    """One passage with what each strategy made of it; ``strategies`` lacks those that did not finish it."""

    id: Text
    title: Text
    context: Text
    questions: list[QuestionEntry]
    strategies: list[PassageStrategy]


class ScoreSplit(_Entry):
    """Scores over some of the questions: those that have parents among the gold edges, say, or that have none.

    ``em`` and ``f1`` are null where there is no such question.
    """

    questions: int
    em: float | None
    f1: float | None


class Totals(_Entry):
    """Sums over all finished passages.

    ``seconds`` is the wall-clock time during which at least one passage was under way under this strategy, and
    ``questions_per_second`` is the number of answered questions divided by it; 0 where no time passed.
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


class Percentiles(_Entry):
    """Of the passages' latencies, between two of them where none is just there (numpy's "linear")."""

    p50: float
    p95: float
    p99: float


class EdgeQualityEntry(_Entry):
    """How well edges match the gold ones, over all passages that have gold edges.

    ``precision`` is null where there are no edges, ``recall`` where there are no gold ones, ``f1`` where there are
    neither. ``right_share`` is the share of questions whose parents are exactly the gold ones.
    """

    edges: int
    gold: int
    precision: float | None
    recall: float | None
    f1: float | None
    right_share: float


class EdgeSummary(_Entry):
    """The dependencies of one strategy over all passages that it finished.

    ``asked`` passages had the model asked for them, ``cached`` ones found its reply of an earlier run; with
    ``fallbacks`` of both the heuristic took over. The means are over passages. ``proposed_quality`` is that of what the
    source itself proposed, which is nothing where the heuristic took over; ``selected_quality`` is that of the edges
    which the strategy went by. Both are null where no passage has gold edges.
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


class Interval(_Entry):
    """The ends of a bootstrap interval of an average."""

    low: float
    high: float


class Difference(_Entry):
    """An average of a strategy less that of the baseline, over the passages that both finished.

    ``excludes_zero`` says that there is an interval and that zero lies outside it.
    """

    value: float
    interval: Interval | None
    excludes_zero: bool


class StrategySummary(_Entry):
    """One strategy over all passages that it finished.

    ``metrics`` are means over questions, so that a passage with many questions weighs more, as in the official score.
    Tokens, ``latency`` and ``batches`` are means over passages. ``unfinished`` passages count in nothing. The splits
    are null where no passage has gold edges, and cover the passages that have them. ``final`` covers the questions
    whose answers are their passages' final ones, and is null where there are none. ``dag`` is null for a strategy
    without dependencies, ``latency_percentiles`` over no passage.

    ``intervals`` are those of the averages here, null over fewer than two passages. ``differences`` are over the
    ``paired_passages`` that the baseline finished too; there are none for the baseline itself, nor over no passage.
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


class RunEntry(_Entry):
    """What the run was; the same as in its manifest.

    ``isolated``: passages were worked on one at a time, on idle replicas that had read nothing yet. Otherwise latencies
    are those under full load.
    """

    model: Text
    engine: Text
    dataset: Text
    edges: Text
    embedded_reader: bool
    isolated: bool
    started: Text
    fingerprint: str
    prompt_version: str
    settings: dict[str, Any]
    versions: dict[str, str]
    python: str
    system: str
    cpus: int
    devices: list[Text]
    bad_rows: int


class BootstrapEntry(_Entry):
    """How the intervals were made. ``baseline`` is null where no two strategies can be compared."""

    baseline: Text | None
    resamples: Resamples
    confidence: Confidence
    seed: int


class RunResults(_Entry):
    """The whole file. ``strategies`` holds the averages and totals by strategy, in the order of the tables."""

    version: Literal[3] = 3
    run: RunEntry
    bootstrap: BootstrapEntry
    strategies: dict[str, StrategySummary]
    passages: list[PassageEntry]

    def answers_of(self, strategy: str) -> Iterator[AnswerEntry]:
        """The strategy's answers over the passages that it finished, in their order."""
        for passage in self.passages:
            for entry in passage.strategies:
                if entry.name == strategy:
                    yield from entry.questions

    def to_json(self) -> str:
        """The file's text: two spaces of indentation, no NaN, a line feed at the end."""
        return self.model_dump_json(indent=2) + "\n"
