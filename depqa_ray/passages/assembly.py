"""Builds passages from the rows of their questions, for every SQuAD-shaped source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages.base import OnBadRow, Row
from depqa_ray.passages.schema import QUESTION, read_row


@dataclass(frozen=True, slots=True)
class Group:
    """A passage's checked title and text, with the unchecked rows of its questions in the order of the file."""

    title: str
    text: str
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class _Asked:
    row: Row
    question: Question
    parents: tuple[str, ...]


def assemble(groups: Iterable[Group], has_gold: bool, on_bad_row: OnBadRow) -> Iterator[Passage]:
    """A Passage for each group that has at least one usable question.

    A passage's id is its title, with ``#2``, ``#3``, ... from the title's second passage on. If ``has_gold``, the data
    set states dependencies, so a question without ``depends_on`` depends on none.

    Memory grows only with the ids of the questions, which are kept to find duplicates.
    """
    seen: set[str] = set()
    of_title: Counter[str] = Counter()
    for group in groups:
        asked = [question for row in group.rows if (question := _read(row, seen, on_bad_row))]
        asked = _with_sound_parents(asked, on_bad_row)
        if not asked:
            continue
        of_title[group.title] += 1
        edges = tuple(_edges(asked)) if has_gold else None
        questions = tuple(question.question for question in asked)
        yield Passage(_passage_id(group.title, of_title[group.title]), group.title, group.text, questions, edges)


def _read(row: Row, seen: set[str], on_bad_row: OnBadRow) -> _Asked | None:
    try:
        asked = read_row(row, QUESTION, "a question")
        if asked["id"] in seen:
            what = f"the id '{asked['id']}' was given to an earlier question"
            raise InputError(what, fix="give each question its own id")
    except InputError as error:
        on_bad_row(row.bad(error))
        return None
    seen.add(asked["id"])
    question = Question(asked["id"], asked["question"], tuple([answer["text"] for answer in asked["answers"]]))
    return _Asked(row, question, tuple(dict.fromkeys(asked.get("depends_on") or ())))


def _with_sound_parents(asked: list[_Asked], on_bad_row: OnBadRow) -> list[_Asked]:
    """The questions whose ancestors are all usable questions of this passage."""
    sound: set[str] = set()
    while grown := {a.question.id for a in asked if sound.issuperset(a.parents)} - sound:
        sound |= grown
    ids = {question.question.id for question in asked}
    unsound = [question for question in asked if question.question.id not in sound]
    # A missing parent causes the faults of its descendants, so it is reported first.
    for question in sorted(unsound, key=lambda one: ids.issuperset(one.parents)):
        on_bad_row(question.row.bad(_parent_error(question, ids, sound)))
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
    """Whether an unchecked row states the dependencies of its question."""
    return isinstance(row, dict) and row.get("depends_on") is not None
