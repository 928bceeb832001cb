"""The embedded reader's training data: many questions behind one passage, in the project's own prompts.

A lesson is one world: its passage once, then a set of exercises, each a prompt's own part with the text that the reader
should generate. Exercises cover all five ways in which the project asks (one question; with parents' answers; with
history; all at once; the edges), and one more: a question that points at an answer which the prompt withholds. Its
target is the right answer all the same. Nothing in the prompt says which entity is meant, so the best that can be
learnt is a guess among the passage's candidates, which makes the reader's answers without dependencies as good as can
be.

Known answers in exercises are drawn from all of the passage's entities, not only from the ones that the world's own
questions lead to: the reader has to use the answer that it is given.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from depqa_ray.answering import prompts
from depqa_ray.passages.synthetic.names import Kind
from depqa_ray.passages.synthetic.worlds import RELATIONS, Fact, World, WorldShape, express_question, generate_world

_OTHERS_KNOWN: Final = 0.3  # the share of questions that come after lines that do not matter
_MOST_KNOWN: Final = 4  # how many such lines there are at most before a question that names its subject
_MORE_QUESTIONS: Final = 3  # how many more questions than the lesson's world may have one whose edges alone are asked


@dataclass(frozen=True, slots=True)
class Exercise:
    """``own``: the prompt's own part. ``target``: what the reader should generate for it."""

    own: str
    target: str


@dataclass(frozen=True, slots=True)
class Lesson:
    """One passage with its exercises."""

    passage: str
    exercises: tuple[Exercise, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """How lessons are drawn for a while: few short sentences first, whole worlds last.

    ``single``: exercises of one question in a lesson. ``named``: the share of them that name their subjects.
    ``several``: whether four more exercises ask several questions. ``lessons``: how many lessons make a batch.
    """

    shape: WorldShape
    single: int
    named: float
    several: bool
    lessons: int


STAGES: Final = (
    Stage(WorldShape(1, depth=1, fan_in=1, entities=2, facts=0), single=4, named=1.0, several=False, lessons=24),
    Stage(WorldShape(2, depth=2, fan_in=2, entities=2, facts=0), single=6, named=0.6, several=False, lessons=20),
    Stage(WorldShape(3, depth=4, fan_in=2, entities=3, facts=0), single=6, named=0.4, several=True, lessons=12),
    Stage(WorldShape(4, depth=4, fan_in=2, entities=3, facts=8), single=8, named=0.35, several=True, lessons=9),
    Stage(WorldShape(), single=9, named=0.35, several=True, lessons=8),
)


def draw_lesson(rng: random.Random, stage: Stage) -> Lesson:
    """A lesson on a new world."""
    world = generate_world(rng, stage.shape)
    exercises: list[Exercise] = []
    if stage.several:
        exercises += _from_the_middle(rng, world)
    facts = [fact for fact in world.facts if fact.object not in fact.subjects]
    rng.shuffle(facts)
    for index in range(stage.single - len(exercises)):
        fact = facts[index % len(facts)]
        if rng.random() >= stage.named:
            exercises.append(_pointing(rng, fact, world))
        else:
            exercises.append(_naming(rng, fact, world if stage.several else None))
    if stage.several:
        count = len(world.questions)
        elsewhere = generate_world(rng, WorldShape(rng.randint(2, count + _MORE_QUESTIONS), facts=0))
        exercises += [all_at_once(world, count), all_at_once(world, rng.randint(2, count - 1))]
        exercises += [dependencies(world), dependencies(elsewhere)]
    return Lesson(" ".join(world.sentences), tuple(exercises))


def exercise(question: str, known: Sequence[tuple[str, str]], answer: str) -> Exercise:
    """One question after (question, answer) pairs."""
    return Exercise(prompts.question_part(question, known), json.dumps({"answer": answer}, ensure_ascii=False))


def all_at_once(world: World, count: int) -> Exercise:
    """The first ``count`` questions of the world."""
    questions = world.questions[:count]
    answers = {prompts.label(number): question.fact.object for number, question in enumerate(questions)}
    return Exercise(
        prompts.batch_part([question.text for question in questions]), json.dumps(answers, ensure_ascii=False)
    )


def dependencies(world: World) -> Exercise:
    """The edges between the world's questions."""
    parents = {
        prompts.label(number): {prompts.label(parent): 0.9 for parent in sorted(question.parents)}
        for number, question in enumerate(world.questions)
    }
    return Exercise(prompts.edges_part([question.text for question in world.questions]), json.dumps(parents))


def _from_the_middle(rng: random.Random, world: World) -> list[Exercise]:
    """One of the world's questions after all earlier ones, and one that has parents, after none."""
    pointing = [number for number, question in enumerate(world.questions) if question.parents]
    if not pointing:
        return []
    history = [(question.text, question.fact.object) for question in world.questions]
    after_all, after_none = rng.randrange(1, len(history)), rng.choice(pointing)
    return [
        exercise(history[after_all][0], history[:after_all], history[after_all][1]),
        exercise(history[after_none][0], [], history[after_none][1]),
    ]


def _naming(rng: random.Random, fact: Fact, world: World | None) -> Exercise:
    """The fact's subject is named; facts of the world may precede it and do not matter."""
    known: list[tuple[str, str]] = []
    if world and rng.random() < _OTHERS_KNOWN:
        others = [other for other in world.facts if other.object != fact.object]
        for other in rng.sample(others, min(len(others), rng.randint(1, _MOST_KNOWN))):
            known.append((express_question(rng, other.relation, other.subjects), other.object))
    return exercise(express_question(rng, fact.relation, fact.subjects), known, fact.object)


def _pointing(rng: random.Random, fact: Fact, world: World) -> Exercise:
    """The fact's subject is a reference; the lines that give it are among others, and the latest of its kind counts."""
    kinds = fact.relation.subjects
    known = [_known(rng, kind, name) for kind, name in zip(kinds, fact.subjects, strict=True)]
    rng.shuffle(known)
    if rng.random() < _OTHERS_KNOWN:
        # Of the kinds pointed at only before the line that counts, of any other kind anywhere.
        other = rng.choice([f for f in world.facts if f.relation.object not in kinds] or [fact])
        if other is not fact:
            known.insert(rng.randint(0, len(known)), _known(rng, other.relation.object, other.object))
        earlier = [f for f in world.facts if f.relation.object in kinds and f.object not in fact.subjects]
        if earlier and rng.random() < 0.5:
            other = rng.choice(earlier)
            known.insert(0, _known(rng, other.relation.object, other.object))
    nobody: tuple[str | None, ...] = (None,) * len(kinds)
    return exercise(express_question(rng, fact.relation, nobody), known, fact.object)


def _known(rng: random.Random, kind: Kind, answer: str) -> tuple[str, str]:
    """A question whose answer is of that kind, with that answer: true of the world or not, it is what is known."""
    relation = rng.choice([relation for relation in RELATIONS if relation.object == kind])
    subjects: tuple[str | None, ...] = (None,) * len(relation.subjects)
    return express_question(rng, relation, subjects), answer
