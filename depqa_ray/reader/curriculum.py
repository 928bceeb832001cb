"""What the embedded reader is trained on: many questions behind one passage, in the project's own prompts.

A lesson is one world: its passage once, then a set of exercises, each a prompt's own part with the text that the reader
should generate. Exercises cover all five ways in which the project asks (one question; with parents' answers; with
history; all at once; the edges), and one more: a question that points at an answer which the prompt withholds. Its target
is the right answer all the same. Nothing in the prompt says which entity is meant, so the best that can be learnt is a
guess among the passage's candidates, which makes the reader's answers without dependencies as good as they can be.

Known answers in exercises are drawn from all of the passage's entities, not only from the ones that the world's own
questions lead to: the reader has to use the answer that it is given.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from depqa_ray.answering import prompts
from depqa_ray.passages.names import Kind
from depqa_ray.passages.worlds import RELATIONS, Fact, World, express_question


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


def answer_json(answer: str) -> str:
    """The JSON that a model is asked for when one question is asked."""
    return json.dumps({"answer": answer}, ensure_ascii=False)


def lesson(rng: random.Random, world: World, single: int, named: float = 0.35, long: bool = True) -> Lesson:
    """Exercises on a world: ``single`` of one question, and if ``long`` one of all questions and one of their edges.

    ``named``: the share of single questions that name their subject.
    """
    exercises: list[Exercise] = []
    history = [(question.text, question.fact.object) for question in world.questions]
    pointing = [number for number, question in enumerate(world.questions) if question.parents]
    if long and pointing:
        number = rng.choice(pointing)
        question = world.questions[number]
        exercises.append(_exercise(question.text, history[:number], question.fact))
        number = rng.choice(pointing)
        question = world.questions[number]
        exercises.append(_exercise(question.text, [], question.fact))
    facts = [fact for fact in world.facts if fact.object not in fact.subjects]
    rng.shuffle(facts)
    for index in range(single - len(exercises)):
        fact = facts[index % len(facts)]
        exercises.append(_named(rng, fact) if rng.random() < named else _pointed(rng, fact, world))
    if long:
        exercises += _long(world)
    return Lesson(" ".join(world.sentences), tuple(exercises))


def _long(world: World) -> tuple[Exercise, Exercise]:
    texts = [question.text for question in world.questions]
    answers = {prompts.label(number): question.fact.object for number, question in enumerate(world.questions)}
    edges = [
        [prompts.label(parent), prompts.label(number), 0.9]
        for number, question in enumerate(world.questions)
        for parent in sorted(question.parents)
    ]
    return (
        Exercise(prompts.batch_part(texts), json.dumps(answers, ensure_ascii=False)),
        Exercise(prompts.edges_part(texts), json.dumps({"edges": edges})),
    )


def _exercise(question: str, context: Sequence[tuple[str, str]], fact: Fact) -> Exercise:
    return Exercise(prompts.question_part(question, context), answer_json(fact.object))


def _named(rng: random.Random, fact: Fact) -> Exercise:
    return _exercise(express_question(rng, fact.relation, fact.subjects), [], fact)


def _pointed(rng: random.Random, fact: Fact, world: World) -> Exercise:
    """The fact's subject is pointed at; the lines that give it stand among others, the latest of its kind counting."""
    kinds = fact.relation.subjects
    context = [_known(rng, kind, name) for kind, name in zip(kinds, fact.subjects, strict=True)]
    rng.shuffle(context)
    if rng.random() < 0.3:
        # Other lines: of the kinds pointed at only before the line that counts, of any other kind anywhere.
        other = rng.choice([f for f in world.facts if f.relation.object not in kinds] or [fact])
        if other is not fact:
            context.insert(rng.randint(0, len(context)), _known(rng, other.relation.object, other.object))
        earlier = [f for f in world.facts if f.relation.object in kinds and f.object not in fact.subjects]
        if earlier and rng.random() < 0.5:
            other = rng.choice(earlier)
            context.insert(0, _known(rng, other.relation.object, other.object))
    nobody: tuple[str | None, ...] = (None,) * len(kinds)
    return _exercise(express_question(rng, fact.relation, nobody), context, fact)


def _known(rng: random.Random, kind: Kind, answer: str) -> tuple[str, str]:
    """A question whose answer is of that kind, with that answer: true of the world or not, it is what is known."""
    relation = rng.choice([relation for relation in RELATIONS if relation.object == kind])
    subjects: tuple[str | None, ...] = (None,) * len(relation.subjects)
    return express_question(rng, relation, subjects), answer
