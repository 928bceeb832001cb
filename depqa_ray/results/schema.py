"""The schema of ``results.json`` and of ``--json-out``, version 2 (1 had no intervals).

Times are seconds. Scores lie in [0, 1]. A question that failed or was skipped scores 0 and is counted: no mean is taken
over the answered questions alone. Tokens of the steps that asked the model for dependencies ("edge" tokens) are never
part of ``prompt_tokens`` and ``generated_tokens``; they stand beside them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from depqa_ray.config import Confidence, Resamples
from depqa_ray.models import EdgeOrigin, OutcomeStatus


def _encodable(value: Any) -> Any:
    """The text with lone surrogates replaced: the store keeps them, UTF-8 has no place for them."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_encodable)]
Figure = Literal["em", "f1", "prompt_tokens", "generated_tokens", "latency"]
"""The figures that have intervals; each is named as the average that it belongs to."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Scores(_Record):
    """Means over all questions asked.

    ``em`` and ``f1`` are SQuAD's; ``strict`` wants the gold answer in the JSON that was asked for; ``lenient`` wants
    it somewhere in the answer.
    """

    strict: float = 0.0
    lenient: float = 0.0
    em: float = 0.0
    f1: float = 0.0


class EdgeEntry(_Record):
    """A dependency: ``child`` needs the answer of ``parent`` (question ids)."""

    parent: Text
    child: Text
    confidence: float
    origin: EdgeOrigin
    rationale: Text


class QuestionEntry(_Record):
    """A question of a passage. ``gold_parents`` is null where the data set knows nothing of dependencies."""

    id: Text
    question: Text
    gold: list[Text]
    parents: list[Text]
    gold_parents: list[Text] | None


class AnswerEntry(_Record):
    """How one question ended under one strategy.

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


class Counts(_Record):
    """``questions`` is the sum of the other three."""

    questions: int = 0
    answered: int = 0
    failed: int = 0
    skipped: int = 0


class PassageStrategy(_Record):
    """One passage under one strategy.

    ``latency`` is the wall-clock time from the passage's admission to its last outcome; ``batches`` is the number of
    distinct batches that were dispatched for it.
    """

    name: Text
    metrics: Scores
    counts: Counts
    prompt_tokens: int
    generated_tokens: int
    edge_prompt_tokens: int
    edge_generated_tokens: int
    latency: float
    batches: int
    questions: list[AnswerEntry]


class PassageEntry(_Record):
    """One passage with what each strategy made of it; ``strategies`` lacks those that did not finish it."""

    id: Text
    title: Text
    context: Text
    questions: list[QuestionEntry]
    edges: list[EdgeEntry]
    strategies: list[PassageStrategy]


class Split(_Record):
    """Scores over some of the questions: those that have parents among the gold edges, say, or that have none.

    ``em`` and ``f1`` are null where there is no such question.
    """

    questions: int
    em: float | None
    f1: float | None


class Totals(_Record):
    """Sums over all finished passages.

    ``seconds`` is the wall-clock time during which at least one passage was under way under this strategy, and
    ``questions_per_second`` is the number of questions divided by it; 0 where no time passed.
    """

    prompt_tokens: int
    generated_tokens: int
    edge_prompt_tokens: int
    edge_generated_tokens: int
    batches: int
    engine_seconds: float
    seconds: float
    questions_per_second: float


class Interval(_Record):
    """The ends of a bootstrap interval of an average."""

    low: float
    high: float


class Difference(_Record):
    """An average of a strategy less that of the baseline, over the passages that both finished.

    ``excludes_zero`` says that there is an interval and that zero lies outside it.
    """

    value: float
    interval: Interval | None
    excludes_zero: bool


class StrategySummary(_Record):
    """One strategy over all passages that it finished.

    ``metrics`` are means over questions, so that a passage with many questions weighs more, as in the official score.
    Tokens, ``latency`` and ``batches`` are means over passages. ``unfinished`` passages count in nothing. The splits
    are null where no passage has gold edges, and cover the passages that have them. ``final`` covers the questions
    whose answers are their passages' final ones, and is null where there are none.

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
    edge_prompt_tokens: float
    edge_generated_tokens: float
    latency: float
    batches: float
    with_parents: Split | None
    without_parents: Split | None
    final: Split | None
    totals: Totals
    intervals: dict[Figure, Interval | None]
    differences: dict[Figure, Difference]
    paired_passages: int


class RunEntry(_Record):
    """What the run was; the same as in its manifest."""

    model: Text
    engine: Text
    dataset: Text
    edges: Text
    embedded_reader: bool
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


class BootstrapEntry(_Record):
    """How the intervals were made. ``baseline`` is null where no two strategies can be compared."""

    baseline: Text | None
    resamples: Resamples
    confidence: Confidence
    seed: int


class RunResults(_Record):
    """The whole file. ``strategies`` holds the averages and totals by strategy, in the order of the tables."""

    version: Literal[2] = 2
    run: RunEntry
    bootstrap: BootstrapEntry
    strategies: dict[str, StrategySummary]
    passages: list[PassageEntry]

    def to_json(self) -> str:
        """The file's text: two spaces of indentation, no NaN, a line feed at the end."""
        return self.model_dump_json(indent=2) + "\n"
