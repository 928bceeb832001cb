"""What the runtime's tests share: a sink that remembers, and passages with random edges."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from hypothesis import strategies as st

from depqa_ray.models import Completion, Edge, Outcome, Passage, Prompt, Question, StepResult
from depqa_ray.runtime.driver import Job
from depqa_ray.runtime.pool import Joined


@dataclass
class MemorySink:
    """Keeps what the driver reports, and refuses a question that ends twice."""

    results: list[StepResult] = field(default_factory=list)
    finishes: list[tuple[str, str, float, float]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, str], Outcome] = field(default_factory=dict)

    def ended(self, result: StepResult) -> None:
        self.results.append(result)
        for outcome in result.outcomes:
            place = (result.strategy, outcome.question_id)
            assert place not in self.outcomes, f"{place} ended twice"
            self.outcomes[place] = outcome

    def finished(self, job: Job, admitted: float, at: float) -> None:
        self.finishes.append((job.strategy, job.passage.id, admitted, at))

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def joined(self, event: Joined) -> None:
        self.remarks.append(f"{event.replica} joined")


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


def answer_with_number(prompt: Prompt) -> Completion:
    """Answers "What is 3?" with 3, and every question of a batch likewise."""
    lines = [line for line in prompt.own.splitlines() if not line.startswith("Known:")]
    numbers = [line.split()[-1].rstrip("?") for line in lines]
    if lines[0].startswith("Question: "):
        text = json.dumps({"answer": numbers[0]})
    else:
        text = json.dumps({f"Q{place}": number for place, number in enumerate(numbers, 1)})
    return Completion(prompt.id, text, len(prompt.own.split()), len(text.split()))
