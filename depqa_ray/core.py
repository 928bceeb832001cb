"""The frozen records that packages exchange.

All are immutable and hold plain data: a record can be sent to another process, written to disk and compared. Times are
seconds. Token counts are those of the engine's own tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal, TypeAlias

from depqa_ray.settings.types import StrategyName

EdgeOrigin = Literal["gold", "heuristic", "model"]
OutcomeStatus = Literal["answered", "failed", "skipped"]
PromptForm = Literal["single", "batch", "edges"]
FinishReason = Literal["json", "eos", "stop", "length"]
"""What ended a reply: its JSON object closed, an end-of-sequence token, a stop string, or the limit on its tokens.

A server that says no more than that the model ended counts as "eos".
"""

ReplyFault = Literal["", "empty", "thoughts_only", "no_json"]
"""What a reply lacks: any text, any text outside its thoughts, or an object with the keys that the prompt asks for."""
JobKey: TypeAlias = tuple[str, str]
"""Names a job: (strategy, passage id)."""

UNKNOWN = "unknown"
"""The expected answer of a question that its passage does not answer (SQuAD v2.0's unanswerable questions)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question about a passage.

    - ``id`` is unique in a data set; official SQuAD prediction files are keyed by it.
    - ``answers`` are the gold answers, any of which is right; ``(UNKNOWN,)`` marks an unanswerable question.
    - ``answer_refs`` are references in the text (``#1``, never empty), each with the id of the earlier question of the
      passage whose answer it refers to.
    - ``final`` marks the question that the others lead to (MuSiQue's composed questions).
    """

    id: str
    text: str
    answers: tuple[str, ...]
    answer_refs: tuple[tuple[str, str], ...] = ()
    final: bool = False


@dataclass(frozen=True, slots=True)
class Edge:
    """The claim that question ``child`` needs the answer of ``parent`` (ids of one passage).

    ``confidence`` is in [0, 1]; ``rationale`` is a short phrase for people.
    """

    parent: str
    child: str
    confidence: float = 1.0
    rationale: str = ""
    origin: EdgeOrigin = "heuristic"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text with its questions, in the order in which they are asked.

    ``gold_edges`` is None if the data set does not say which question depends on which. An empty tuple means that none
    does.
    """

    id: str
    title: str
    text: str
    questions: tuple[Question, ...]
    gold_edges: tuple[Edge, ...] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One prompt of a plan: the questions it is about and the steps whose answers it needs.

    - ``form``: a step of the form "edges" asks which of its questions need which others, and answers none of them.
    - ``parents``: ids of the steps of the same plan that must be done before this one starts.
    - ``context``: ids of the questions whose answers the prompt shows, in that order. Ancestors answer them.
    - ``barriers``: ids of steps that must have ended, well or not, before this one starts.
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

    ``questions`` are the ids to be asked. An ``open`` plan is a first part: once its steps have ended, its strategy
    extends it.

    Raises ValueError if step ids repeat, a parent or barrier is no step of the plan, the steps form a cycle, a question
    is asked by two steps, or a complete plan does not ask it.
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
    """The ids of the steps that have to end before this one may start."""
    return tuple(dict.fromkeys((*step.parents, *step.barriers)))


@dataclass(frozen=True, slots=True)
class Job:
    """One passage to be answered under one strategy."""

    strategy: StrategyName
    passage: Passage

    @property
    def key(self) -> JobKey:
        """The key of all state that is kept by job."""
        return (self.strategy, self.passage.id)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request to an engine: a system message, then a user message of ``passage_text`` and ``question_text``.

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

    If this prompt alone could not be answered, ``error`` says why, and the other fields are empty. ``seconds`` is the
    wall-clock time from the prompt's arrival in the engine to its end, ``first_token_seconds`` to its first token (None
    if the engine does not know).

    Thoughts in ``text`` stand behind a ``<think>`` tag, also if the prompt opened them: a reply that was cut within its
    thoughts has the tag and no closing one.
    """

    prompt_id: str
    text: str = ""
    prompt_tokens: int = 0
    generated_tokens: int = 0
    finish_reason: FinishReason = "eos"
    seconds: float = 0.0
    error: str | None = None
    first_token_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one question ended, exactly once.

    ``answer`` is the parsed answer, and ``reason`` is empty, if ``status`` is "answered"; otherwise it is the other way
    round. ``strict_json`` says that the reply was exactly the JSON that the prompt asks for.
    """

    question_id: str
    status: OutcomeStatus
    answer: str = ""
    strict_json: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """How one step of one passage's plan ended, with an outcome for each question that it asked.

    ``ready`` (its last prerequisite ended), ``dispatched`` (sent to a replica) and ``completed`` are seconds since the
    passage was admitted. ``batch`` numbers the passage's batches in order of dispatch from 0, and is -1 for a step that
    was never sent. ``attempts`` counts dispatches.

    ``finish_reason`` is "refused" if the engine refused the prompt, and empty if there was no reply for another reason.
    ``reply_fault`` is empty without a reply. Runs of versions that did not record them have both empty.
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
    finish_reason: FinishReason | Literal["refused", ""] = ""
    reply_fault: ReplyFault = ""
