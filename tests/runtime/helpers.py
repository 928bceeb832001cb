"""Shared by the runtime's tests: a recorder that keeps its records, and passages with random edges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from depqa_ray.answering.prompts import SYSTEM, PromptBuilder, label
from depqa_ray.core import Completion, Edge, Job, Outcome, Passage, Plan, Prompt, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.engines.base import SamplingParams
from depqa_ray.planning.planner import EdgePlanner, Planner
from depqa_ray.planning.strategies import compile_plan
from depqa_ray.results.records import EdgeRecord, PassageResult
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.recorder import Recorder, RunRecord
from depqa_ray.runtime.virtual import VirtualPool
from depqa_ray.settings.load import load_settings


@dataclass
class MemoryRecorder(Recorder):
    """Keeps what the driver reports, and refuses a question that ends twice."""

    results: list[StepResult] = field(default_factory=list)
    finishes: list[PassageResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    plans: dict[tuple[str, str], EdgeSelection] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def record(self, record: RunRecord) -> None:
        if isinstance(record, StepResult):
            self._end(record)
        elif isinstance(record, EdgeRecord):
            place = (record.strategy, record.passage_id)
            assert place not in self.plans, f"{place} was planned twice"
            self.plans[place] = record.chosen
        else:
            self.finishes.append(record)

    def _end(self, result: StepResult) -> None:
        self.results.append(result)
        for outcome in result.outcomes:
            place = (result.strategy, outcome.question_id)
            assert place not in self.outcomes, f"{place} ended twice"
            self.outcomes[place] = outcome

    def warn(self, text: str) -> None:
        self.warnings.append(text)


PROMPTS = PromptBuilder(lambda passage: SYSTEM, 16)


@dataclass(frozen=True)
class GivenEdges(Planner):
    """A planner that knows the edges of each passage, by its id."""

    edges: dict[str, tuple[Edge, ...]] = field(default_factory=dict)

    def begin(self, job: Job) -> tuple[Plan, EdgeSelection | None]:
        edges = self.edges.get(job.passage.id, ())
        return compile_plan(job.strategy, job.passage, edges), EdgeSelection("gold", edges, edges)

    def extend(self, job: Job, plan: Plan, reply: str | None, reason: str) -> tuple[Plan, EdgeSelection]:
        raise AssertionError("nothing is asked")


def passage(name: str, questions: int) -> Passage:
    return Passage(
        name,
        name,
        f"The text of {name}.",
        tuple(Question(f"{name}-q{number}", f"What is {number}?", (str(number),)) for number in range(questions)),
    )


def edge(name: str, parent: int, child: int) -> Edge:
    return Edge(f"{name}-q{parent}", f"{name}-q{child}")


@st.composite
def passages_with_edges(draw: st.DrawFn, name: str = "p") -> tuple[Passage, tuple[Edge, ...]]:
    count = draw(st.integers(1, 8))
    pairs = [(parent, child) for child in range(count) for parent in range(child)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=10)) if pairs else []
    return passage(name, count), tuple(edge(name, parent, child) for parent, child in chosen)


def stated(passage: Passage, edges: tuple[Edge, ...]) -> str:
    """The reply of a model that states exactly these edges."""
    names = {question.id: label(place) for place, question in enumerate(passage.questions)}
    parents: dict[str, dict[str, float]] = {name: {} for name in names.values()}
    for edge_ in edges:
        parents[names[edge_.child]][names[edge_.parent]] = 0.9
    return json.dumps(parents)


def asking(replies: dict[str, str]) -> Callable[[Prompt], Completion]:
    """Answers questions with their numbers, and requests for edges with the reply for the passage of that text."""

    def answer(prompt: Prompt) -> Completion:
        if prompt.form != "edges":
            return answer_with_number(prompt)
        (reply,) = (reply for text, reply in replies.items() if text in prompt.passage_text)
        return Completion(prompt.id, reply, len(prompt.question_text.split()), len(reply.split()))

    return answer


def answer_with_number(prompt: Prompt) -> Completion:
    """Answers "What is 3?" with 3, and every question of a batch likewise."""
    lines = [line for line in prompt.question_text.splitlines() if not line.startswith("Known:")]
    numbers = [line.split()[-1].rstrip("?") for line in lines]
    if lines[0].startswith("Question: "):
        text = json.dumps({"answer": numbers[0]})
    else:
        text = json.dumps({f"Q{place}": number for place, number in enumerate(numbers, 1)})
    return Completion(prompt.id, text, len(prompt.question_text.split()), len(text.split()))


KEEP_ALL = {"min_confidence": "0", "cost_weight": "0", "max_dependencies": "99"}


def planner(recorder: MemoryRecorder, prompts: PromptBuilder = PROMPTS, **flags: Any) -> EdgePlanner:
    settings = load_settings({"no_dep_cache": True, **KEEP_ALL, **flags})
    return EdgePlanner(settings, SamplingParams(), prompts, recorder.warn)


def drive(jobs: Sequence[Job], pool: VirtualPool, in_flight: int | None = None, **flags: Any) -> MemoryRecorder:
    recorder = MemoryRecorder()
    prompts = PromptBuilder(lambda passage: SYSTEM, int(flags.get("max_new_tokens", 16)))
    asyncio.run(Driver(pool, recorder, planner(recorder, prompts, **flags), prompts, 8, in_flight).run(iter(jobs)))
    return recorder


def one_second(prompt: Prompt) -> float:
    return 1.0
