"""An invented run for the tests of the store, the figures and the pages. No model has answered anything here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from depqa_ray.core import UNKNOWN, Edge, Outcome, Passage, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.results.manifest import Manifest, RunLabels, make_manifest
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords
from depqa_ray.results.store import RunStore

STRATEGIES = ("sequential", "full_batch", "dependency_parallel")


def sample_manifest(**labels: object) -> Manifest:
    given = {"model": "embedded", "engine": "simulated", "dataset": "embedded", "edges": "gold"} | labels
    return make_manifest(
        RunLabels(strategies=STRATEGIES, **given),  # type: ignore[arg-type]
        {"context_count": 0, "max_new_tokens": 48, "api_key": "hunter2"},
        started="2026-03-01T12:00:00+00:00",
        devices=["Imaginary Accelerator"],
    )


def velcarn() -> PassageRecord:
    """Five questions in three layers; the data set knows their edges."""
    ids = [f"velcarn-q{number}" for number in range(1, 6)]
    texts = [
        ("Who founded Velcarn?", "Mira Oston"),
        ("In which town was that person born?", "Harrowick"),
        ("On which river does that town lie?", "the Sael"),
        ("In which year did that person open a shop in that town?", "1874"),
        ("What does Velcarn make?", "brass clocks"),
    ]
    gold = (
        Edge(ids[0], ids[1], 1.0, "points at its answer", "gold"),
        Edge(ids[1], ids[2], 1.0, "points at its answer", "gold"),
        Edge(ids[0], ids[3], 1.0, "points at its answer", "gold"),
        Edge(ids[1], ids[3], 1.0, "points at its answer", "gold"),
    )
    passage = Passage(
        "velcarn",
        "Velcarn",
        "Velcarn was founded by Mira Oston. Mira Oston was born in Harrowick. Harrowick lies on the Sael. In 1874, "
        "Mira Oston opened a shop in Harrowick. The company Velcarn is known for its brass clocks. Tom Reed works for "
        "Velcarn.",
        tuple(Question(id_, text, (answer,)) for id_, (text, answer) in zip(ids, texts, strict=True)),
        gold,
    )
    return PassageRecord(passage)


def lantern() -> PassageRecord:
    """Three questions, one of them without an answer; their edges are unknown."""
    questions = (
        Question("lan-1", "What does the lantern burn?", ("oil", "lamp oil")),
        Question("lan-2", "Where does it hang?", ("in the north window",)),
        Question("lan-3", "Who lit it in 1820?", (UNKNOWN,)),
    )
    passage = Passage("lan", "The lantern", "The lantern burns lamp oil. It hangs in the north window.", questions)
    return PassageRecord(passage)


def edges_of(record: PassageRecord, strategy: str = "dependency_parallel") -> EdgeRecord:
    """All but one of Velcarn's gold edges; one guess of the heuristic for the lantern."""
    gold = record.passage.gold_edges
    guess = Edge("lan-1", "lan-2", 0.62, "a pronoun without its noun", "heuristic")
    proposed = (guess,) if gold is None else gold
    if {edge.child for edge in proposed} - {question.id for question in record.passage.questions}:
        proposed = ()
    source: Literal["gold", "heuristic"] = "heuristic" if gold is None else "gold"
    dropped = {"too many parents": len(proposed[3:])} if proposed[3:] else {}
    return EdgeRecord(strategy, record.passage.id, EdgeSelection(source, proposed, proposed[:3], dropped))


def with_final(record: PassageRecord) -> PassageRecord:
    """The passage with its last question as the one that the others lead to."""
    *others, last = record.passage.questions
    return replace(record, passage=replace(record.passage, questions=(*others, replace(last, final=True))))


def steps_of(record: PassageRecord, strategy: str, slow: float = 1.0) -> list[StepResult]:
    """Made-up results: mostly right, some partly right, the last question failed under the sequential strategy."""
    ids = [question.id for question in record.passage.questions]
    if strategy == "full_batch":
        return [_step(record, strategy, "all", ids, 0, 0.0, 0.9 * slow, tokens=(260, 64))]
    if strategy == "sequential":
        return [
            _step(record, strategy, id_, [id_], place, 0.5 * place * slow, 0.5 * (place + 1) * slow)
            for place, id_ in enumerate(ids)
        ]
    depth: dict[str, int] = {}
    for id_ in ids:
        depth[id_] = 1 + max(
            (depth[edge.parent] for edge in edges_of(record).chosen.selected if edge.child == id_), default=-1
        )
    return [
        _step(record, strategy, id_, [id_], depth[id_], 0.4 * depth[id_] * slow, 0.4 * (depth[id_] + 0.9) * slow)
        for id_ in ids
    ]


def _step(
    record: PassageRecord,
    strategy: str,
    step_id: str,
    questions: Sequence[str],
    batch: int,
    ready: float,
    completed: float,
    tokens: tuple[int, int] = (120, 14),
) -> StepResult:
    outcomes = tuple(_outcome(record, strategy, id_) for id_ in questions)
    return StepResult(
        strategy=strategy,
        passage_id=record.passage.id,
        step_id=step_id,
        outcomes=outcomes,
        text=json.dumps({"answer": [outcome.answer for outcome in outcomes]}),
        prompt_tokens=tokens[0],
        generated_tokens=tokens[1],
        ready=ready,
        dispatched=ready + 0.05,
        completed=completed,
        engine_seconds=completed - ready - 0.05,
        replica=f"r{len(step_id) % 2}",
        batch=batch,
        attempts=1,
        finish_reason="json",
    )


def _outcome(record: PassageRecord, strategy: str, question_id: str) -> Outcome:
    place = [question.id for question in record.passage.questions].index(question_id)
    gold = record.passage.questions[place].answers[0]
    if strategy == "sequential" and place == len(record.passage.questions) - 1:
        return Outcome(question_id, "failed", reason="the engine ran out of room")
    if strategy == "full_batch" and place == 1:
        return Outcome(question_id, "answered", f"{gold} probably", True)
    if strategy == "full_batch" and place == 2:
        return Outcome(question_id, "answered", "Tom Reed", True)
    return Outcome(question_id, "answered", gold, True)


def sample_records(*passages: PassageRecord, **labels: object) -> RunRecords:
    """A whole run over the passages, each strategy in its turn."""
    found = passages or (velcarn(), lantern())
    steps: list[StepResult] = []
    finished: list[PassageResult] = []
    now = 0.0
    for strategy in STRATEGIES:
        for record in found:
            results = steps_of(record, strategy)
            steps += results
            end = now + max((step.completed for step in results), default=0.0)
            finished.append(PassageResult(strategy, record.passage.id, now, end))
            now = end
    edges = tuple(edges_of(record) for record in found)
    return RunRecords(sample_manifest(**labels), tuple(found), tuple(steps), tuple(finished), edges=edges)


def write_sample(folder: Path, records: RunRecords | None = None) -> RunStore:
    """The run in a folder, its store closed."""
    records = records or sample_records()
    with RunStore.create(folder, records.manifest) as store:
        for record in (*records.passages, *records.edges, *records.steps, *records.finished):
            store.append(record)
    return store
