"""The frozen records that cross the borders between packages.

Everything here is immutable and holds plain data, so that a record can be sent to another process, written to disk and
compared without a thought. Times are seconds. Token counts are counted by the engine's own tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal, TypeAlias

from depqa_ray.settings.types import StrategyName

EdgeOrigin = Literal["gold", "heuristic", "model"]
OutcomeStatus = Literal["answered", "failed", "skipped"]
PromptForm = Literal["single", "batch", "edges"]
FinishReason = Literal["stop", "length"]
JobKey: TypeAlias = tuple[str, str]
"""Names a job: (strategy, passage id)."""

UNKNOWN = "unknown"
"""What a question without an answer in its passage expects (SQuAD v2.0's unanswerable questions)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a passage.

    ``answers`` are the gold answers; any of them counts as right. ``(UNKNOWN,)`` marks an unanswerable question.
    ``id`` is unique in a data set and is what the official SQuAD prediction files are keyed by.

    ``answer_refs`` are references in the text (``#1``), none of them empty, each with the id of an earlier question of
    the passage whose answer it stands for. ``final`` says that the answer is what the passage is about to find out: the
    other questions are steps on the way.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    answer_refs: tuple[tuple[str, str], ...] = ()
    final: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """The claim that ``child`` (a question id) needs the answer of ``parent`` (another one of the same passage).

    ``confidence`` lies in [0, 1]; ``rationale`` is one short phrase for people.
    """

    parent: str
    child: str
    confidence: float = 1.0
    rationale: str = ""
    origin: EdgeOrigin = "heuristic"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with its questions, in the order in which they are asked.

    ``gold_edges`` is None where the data set does not say which question depends on which; an empty tuple means that
    it says that none does.
    """

    id: str
    title: str
    text: str
    questions: tuple[Question, ...]
    gold_edges: tuple[Edge, ...] | None = None

    def question(self, question_id: str) -> Question:
        """The question of that id. Raises KeyError where the passage has none."""
        for question in self.questions:
            if question.id == question_id:
                return question
        raise KeyError(question_id)


@dataclass(frozen=True, slots=True)
class Step:
    """One prompt of a plan: the questions it is about and the steps whose answers it needs.

    A step of the form "edges" asks which of its questions need which others, and answers none of them. ``parents`` are
    ids of steps of the same plan. ``context`` are the ids of the questions whose answers the prompt shows, in the order
    in which it shows them; each belongs to a step among the ancestors. ``barriers`` are further steps that must have
    ended, well or not, before this one starts, without their answers being shown (a barrier).
    """

    id: str
    questions: tuple[str, ...]
    parents: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    barriers: tuple[str, ...] = ()
    form: PromptForm = "single"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one passage under one strategy.

    An ``open`` plan is only the beginning of one: when all its steps have ended, its strategy extends it.

    Raises ValueError where step ids repeat, a parent or barrier is no step of the plan, the steps form a cycle, or a
    question is asked by two steps, or by none though the plan is not open (``questions`` are the ids that have to be
    asked).
    """

    strategy: str
    passage_id: str
    questions: tuple[str, ...]
    steps: tuple[Step, ...]
    open: bool = False

    @property
    def key(self) -> JobKey:
        """The key of the job that the plan is of."""
        return (self.strategy, self.passage_id)

    def __post_init__(self) -> None:
        ids = [step.id for step in self.steps]
        if len(set(ids)) < len(ids):
            raise ValueError(f"plan of {self.passage_id}: step ids repeat")
        for step in self.steps:
            missing = sorted(set(prerequisites(step)) - set(ids))
            if missing:
                raise ValueError(f"plan of {self.passage_id}: step {step.id} needs {missing}, which are no steps")
        try:
            TopologicalSorter({step.id: prerequisites(step) for step in self.steps}).prepare()
        except CycleError as error:
            raise ValueError(f"plan of {self.passage_id}: steps form a cycle: {error.args[1]}") from None
        asked = [question for step in self.steps if step.form != "edges" for question in step.questions]
        complete = set(asked) <= set(self.questions) if self.open else sorted(asked) == sorted(self.questions)
        if not complete or len(set(asked)) < len(asked):
            raise ValueError(f"plan of {self.passage_id}: each question has to be asked by exactly one step")


def prerequisites(step: Step) -> tuple[str, ...]:
    """The steps that have to end before this one may start."""
    return tuple(dict.fromkeys((*step.parents, *step.barriers)))


@dataclass(frozen=True, slots=True)
class Job:
    """One passage to be answered under one strategy."""

    strategy: StrategyName
    passage: Passage

    @property
    def key(self) -> JobKey:
        """What names the job wherever state is kept by job."""
        return (self.strategy, self.passage.id)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What an engine is asked: a system message, then a user message of ``passage_text`` and ``question_text``.

    All prompts about one passage have the same ``system`` and ``passage_text``, to the character, so that an engine can
    keep their keys and values. The first ``context_chars`` characters of ``question_text`` are earlier questions with
    their answers: other prompts about the passage may have them too. ``id`` is echoed in the completion.

    The reply that the prompt asks for is a JSON object with exactly ``reply_keys``; ``form`` says what the values are.
    """

    id: str
    system: str
    passage_text: str
    question_text: str
    max_new_tokens: int
    context_chars: int = 0
    reply_keys: tuple[str, ...] = ("answer",)
    form: PromptForm = "single"


@dataclass(frozen=True, slots=True)
class Completion:
    """An engine's answer to one prompt.

    ``error`` is None for a completion; otherwise it says why this prompt alone could not be answered, and the other
    fields are empty. ``seconds`` is the wall-clock time that the engine held the prompt, ``first_token_seconds`` the
    part of it until the answer's first token was there: None where the engine cannot tell.
    """

    prompt_id: str
    text: str = ""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finish_reason: FinishReason = "stop"
    seconds: float = 0.0
    error: str | None = None
    first_token_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one question ended, exactly once.

    ``answer`` is the parsed answer ("" unless ``status`` is "answered"). ``strict_json`` says whether the model kept to
    the JSON that it was asked for. ``reason`` is empty for an answered question.
    """

    question_id: str
    status: OutcomeStatus
    answer: str = ""
    strict_json: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one step of one passage's plan ended, with an outcome for each question that it asked.

    Times are seconds since the passage was admitted: ``ready`` (its last parent's answer was there), ``dispatched``
    (sent to a replica), ``completed``. ``batch`` numbers the batches of the passage in the order of their dispatch,
    from 0; -1 for a step that was never sent. ``attempts`` counts dispatches.
    """

    strategy: str
    passage_id: str
    step_id: str
    outcomes: tuple[Outcome, ...]
    text: str = ""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    ready: float = 0.0
    dispatched: float = 0.0
    completed: float = 0.0
    engine_seconds: float = 0.0
    replica: str = ""
    batch: int = -1
    attempts: int = 0
