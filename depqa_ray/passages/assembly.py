"""From the rows of a passage's questions to the Passage: what every SQuAD-shaped source has in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages import fields
from depqa_ray.passages.base import BadInput


@dataclass(frozen=True, slots=True)
class Row:
    """One question as the file has it, unchecked, and where that is.

    ``problem`` says why ``value`` is a mere text where the file should have had JSON; it is empty otherwise.
    """

    where: str
    value: object
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A passage's title and text, checked, with the rows of its questions in the order of the file."""

    title: str
    text: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class _Asked:
    row: Row
    question: Question
    parents: tuple[str, ...]


def assemble(groups: Iterable[Group], has_gold: bool, bad: BadInput) -> Iterator[Passage]:
    """A Passage for each group that has at least one usable question.

    A passage's id is its title, with ``#2``, ``#3``, ... from the title's second passage on. ``has_gold`` says whether
    the data set states dependencies, so that a question without any depends on none.

    Raises InputError at the first bad row, unless ``bad`` sets such rows aside. Memory grows with the ids of the
    questions alone, which are kept to find duplicates.
    """
    seen: set[str] = set()
    of_title: Counter[str] = Counter()
    for group in groups:
        asked = [question for row in group.rows if (question := _read(row, seen, bad))]
        asked = _with_sound_parents(asked, bad)
        if not asked:
            continue
        of_title[group.title] += 1
        edges = tuple(_edges(asked)) if has_gold else None
        questions = tuple(question.question for question in asked)
        yield Passage(_passage_id(group.title, of_title[group.title]), group.title, group.text, questions, edges)


def _read(row: Row, seen: set[str], bad: BadInput) -> _Asked | None:
    try:
        value = fields.record(row.value, "a question")
        id_ = fields.text(value, "id")
        question = Question(id_, fields.text(value, "question"), fields.gold_answers(value))
        asked = _Asked(row, question, fields.parents(value))
        if id_ in seen:
            raise InputError(f"the id '{id_}' was given to an earlier question", fix="give each question its own id")
    except InputError as error:
        bad.reject(error, row.where, row.value)
        return None
    seen.add(id_)
    return asked


def _with_sound_parents(asked: list[_Asked], bad: BadInput) -> list[_Asked]:
    """The questions whose parents, and theirs in turn, are all usable questions of this passage."""
    sound: set[str] = set()
    while grown := {a.question.id for a in asked if sound.issuperset(a.parents)} - sound:
        sound |= grown
    ids = {question.question.id for question in asked}
    unsound = [question for question in asked if question.question.id not in sound]
    # A parent that is not there is the cause of what is wrong further down: it is told first.
    for question in sorted(unsound, key=lambda one: ids.issuperset(one.parents)):
        bad.reject(_parent_error(question, ids, sound), question.row.where, question.row.value)
    return [question for question in asked if question.question.id in sound]


def _parent_error(asked: _Asked, ids: set[str], sound: set[str]) -> InputError:
    fix = "let depends_on name other questions of the same passage, without circles"
    for parent in asked.parents:
        if parent not in ids:
            return InputError(f"depends_on names '{parent}', which is no usable question of this passage", fix=fix)
    culprit = next(parent for parent in asked.parents if parent not in sound)
    return InputError(f"depends_on names '{culprit}', which lies in a circle or depends on a bad question", fix=fix)


def _edges(asked: list[_Asked]) -> Iterator[Edge]:
    for child in asked:
        for parent in child.parents:
            yield Edge(parent, child.question.id, 1.0, "given by the data set", "gold")


def _passage_id(title: str, number: int) -> str:
    name = title or "passage"
    return name if number == 1 else f"{name}#{number}"


def states_dependencies(row: object) -> bool:
    """Whether an unchecked row says what its question depends on."""
    return isinstance(row, dict) and row.get("depends_on") is not None


def title_and_text(row: dict[str, Any]) -> tuple[str, str]:
    """The passage that a row with the hub's columns is about. Raises InputError."""
    return fields.title(row), fields.text(row, "context")
