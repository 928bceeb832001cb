"""Samples the passages of a run and their questions.

A draw depends only on the seed and the passage's id (for examples: its text). Reordering the file or adding passages
changes neither a passage's random key nor its questions.
"""

from __future__ import annotations

import bisect
import heapq
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from depqa_ray.core import Passage
from depqa_ray.errors import InputError

EXAMPLE_QUESTIONS: Final = 3
"""The most questions of a passage that is shown as a worked example."""


def sample_passages(
    passages: Iterable[Passage], *, context_count: int, min_questions: int, max_questions: int, seed: int
) -> Iterator[Passage]:
    """At most ``context_count`` passages with at least ``min_questions`` questions, in their order; 0 means all.

    Each keeps at most ``max_questions`` of its questions, as :func:`sample_questions` does. With 0 the passages are
    streamed; otherwise memory holds ``context_count`` of them.

    Raises InputError if no passage has enough questions, or if ``max_questions`` is below ``min_questions``.
    """
    if max_questions < min_questions:
        raise InputError(f"at most {max_questions} questions a passage are fewer than at least {min_questions}")
    counted = _Counted(passages, min_questions)
    drawn = _draw(counted, context_count, seed) if context_count else iter(counted)
    for passage in drawn:
        yield sample_questions(passage, max_questions, seed)
    if not counted.enough:
        raise counted.error()


def sample_questions(passage: Passage, count: int, seed: int) -> Passage:
    """The passage with at most ``count`` of its questions, in their order.

    A question is kept only with its ancestors along the gold edges. Edges between kept questions are kept.
    """
    if len(passage.questions) <= count:
        return passage
    order = [question.id for question in passage.questions]
    random.Random(f"{seed}/questions/{passage.id}").shuffle(order)
    parents: dict[str, list[str]] = {}
    for edge in passage.gold_edges or ():
        parents.setdefault(edge.child, []).append(edge.parent)
    kept: set[str] = set()
    for question_id in order:
        # A question that does not fit now never will, and a root always fits, so one pass fills the count.
        family = _with_ancestors(question_id, parents)
        if len(kept | family) <= count:
            kept |= family
    questions = tuple(question for question in passage.questions if question.id in kept)
    edges = passage.gold_edges and tuple(edge for edge in passage.gold_edges if edge.child in kept)
    return replace(passage, questions=questions, gold_edges=edges)


def draw_examples(passages: Iterable[Passage], *, count: int, min_questions: int, seed: int) -> tuple[Passage, ...]:
    """``count`` passages with different texts and at least ``min_questions`` questions, in the order of the draw.

    Each keeps at most EXAMPLE_QUESTIONS of its questions, as :func:`sample_questions` does. The draw depends only on
    the seed and the passages' texts. Memory holds ``count`` passages. Raises InputError if there are fewer.
    """
    drawn: list[tuple[float, Passage]] = []
    for passage in passages:
        if len(passage.questions) < min_questions or any(passage.text == other.text for _, other in drawn):
            continue
        key = random.Random(f"{seed}/example/{passage.text}").random()
        bisect.insort(drawn, (key, passage), key=lambda entry: entry[0])
        del drawn[count:]
    if len(drawn) < count:
        raise InputError(
            f"worked examples need {count} passages of at least {min_questions} questions with different texts, and "
            f"the data set has {len(drawn)}",
            fix="lower --shots or --min-questions",
        )
    return tuple(sample_questions(passage, EXAMPLE_QUESTIONS, seed) for _, passage in drawn)


class _Counted:
    """Iterates over the passages with enough questions, and counts what it has seen."""

    def __init__(self, passages: Iterable[Passage], min_questions: int) -> None:
        self._passages, self._min_questions = passages, min_questions
        self.seen = self.enough = self.most = 0

    def __iter__(self) -> Iterator[Passage]:
        for passage in self._passages:
            self.seen += 1
            self.most = max(self.most, len(passage.questions))
            if len(passage.questions) >= self._min_questions:
                self.enough += 1
                yield passage

    def error(self) -> InputError:
        if not self.seen:
            return InputError("the data set has no passage with a usable question", fix="give another --dataset")
        return InputError(
            f"no passage has at least {self._min_questions} questions (of {self.seen}; the most are {self.most})",
            fix="lower --min-questions",
        )


def _draw(passages: Iterable[Passage], count: int, seed: int) -> list[Passage]:
    """The ``count`` passages with the smallest random keys: a uniform draw that holds only these in memory."""
    keyed = (
        (random.Random(f"{seed}/passage/{passage.id}").random(), position, passage)
        for position, passage in enumerate(passages)
    )
    smallest = heapq.nsmallest(count, keyed, key=lambda entry: entry[:2])
    return [passage for _, _, passage in sorted(smallest, key=lambda entry: entry[1])]


def _with_ancestors(question_id: str, parents: dict[str, list[str]]) -> set[str]:
    family = {question_id}
    waiting = [question_id]
    while waiting:
        for parent in parents.get(waiting.pop(), ()):
            if parent not in family:
                family.add(parent)
                waiting.append(parent)
    return family
