"""Builds passages from the rows of their questions, for every SQuAD-shaped source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages.base import OnBadRow, OnEmpty, Row, nothing
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


class _PassageIds:
    """Gives each passage an id of its own: its title, with ``#2``, ``#3``, ... where that id was given already.

    So a data set whose titles repeat gets the same ids as ever, also if another title looks like such an id. Half a
    surrogate pair, which no file takes, becomes "?".
    """

    def __init__(self) -> None:
        self._of_name: Counter[str] = Counter()
        self._given: set[str] = set()

    def next(self, title: str) -> str:
        name = title.encode("utf-8", "replace").decode("utf-8") or "passage"
        while True:
            self._of_name[name] += 1
            number = self._of_name[name]
            id_ = f"{name}#{number}" if number > 1 else name
            if id_ not in self._given:
                self._given.add(id_)
                return id_


def assemble(
    groups: Iterable[Group], has_gold: bool, on_bad_row: OnBadRow, on_empty: OnEmpty = nothing
) -> Iterator[Passage]:
    """A Passage for each group that has at least one usable question; ``on_empty`` is called for each other one.

    Ids are unique (see _PassageIds). If ``has_gold``, the data set states dependencies, so a question without
    ``depends_on`` depends on none.

    Memory grows only with the ids of questions and passages, which are kept to find duplicates.
    """
    seen: set[str] = set()
    ids = _PassageIds()
    for group in groups:
        asked = [one for row in group.rows if (one := _read(row, seen, on_bad_row))]
        asked = _with_sound_parents(asked, on_bad_row)
        if not asked:
            on_empty()
            continue
        edges = (Edge(p, one.question.id, 1.0, "given by the data set", "gold") for one in asked for p in one.parents)
        questions = tuple(one.question for one in asked)
        yield Passage(ids.next(group.title), group.title, group.text, questions, tuple(edges) if has_gold else None)


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
    while grown := {one.question.id for one in asked if sound.issuperset(one.parents)} - sound:
        sound |= grown
    ids = {one.question.id for one in asked}
    unsound = [one for one in asked if one.question.id not in sound]
    # A missing parent causes the faults of its descendants, so it is reported first.
    for one in sorted(unsound, key=lambda one: ids.issuperset(one.parents)):
        on_bad_row(one.row.bad(_parent_error(one, ids, sound)))
    return [one for one in asked if one.question.id in sound]


def _parent_error(asked: _Asked, ids: set[str], sound: set[str]) -> InputError:
    # A missing parent comes before one that only depends on bad ones.
    culprit = min((parent for parent in asked.parents if parent not in sound), key=ids.__contains__)
    missing, unsound = "is no usable question of this passage", "lies in a circle or depends on a bad question"
    fault = unsound if culprit in ids else missing
    fix = "let depends_on name other questions of the same passage, without circles"
    return InputError(f"depends_on names '{culprit}', which {fault}", fix=fix)


def states_dependencies(row: object) -> bool:
    """Whether an unchecked row states the dependencies of its question."""
    return isinstance(row, dict) and row.get("depends_on") is not None
