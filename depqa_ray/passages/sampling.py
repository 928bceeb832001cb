"""Samples the passages of a run and their questions.

A draw depends only on the seed and the passage's id (for examples: its text). Reordering the file or adding passages
changes neither a passage's random key nor its questions.
"""

from __future__ import annotations

import bisect
import heapq
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from typing_extensions import override

from depqa_ray.core import Passage
from depqa_ray.errors import InputError

EXAMPLE_QUESTIONS: Final = 3
"""The most questions of a passage that is shown as a worked example."""


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """What a sample took of a data set, and left out.

    ``passages`` of the data set had a usable question, and ``empty`` ones none. Of the first, ``too_small`` had too few
    questions and ``not_drawn`` were not drawn. The others had ``questions``, of which ``not_asked`` were left out.
    """

    passages: int = 0
    empty: int = 0
    too_small: int = 0
    not_drawn: int = 0
    questions: int = 0
    not_asked: int = 0

    def left_out(self) -> str:
        """What was left out, and why, in a sentence for passages and one for questions; "" if nothing was."""
        of_passages = {
            "without a usable question": self.empty,
            "below --min-questions": self.too_small,
            "beyond --context-count": self.not_drawn,
        }
        of_questions = {"beyond --max-questions": self.not_asked}
        sentences = (
            _left_out("passages", self.passages + self.empty, of_passages),
            _left_out("questions of these passages", self.questions, of_questions),
        )
        return " ".join(filter(None, sentences))


def _left_out(what: str, number: int, by_reason: Mapping[str, int]) -> str:
    reasons = {reason: count for reason, count in by_reason.items() if count}
    if not reasons:
        return ""
    left = sum(reasons.values())
    several = f": {', '.join(f'{count:,} {reason}' for reason, count in reasons.items())}"
    why = several if len(reasons) > 1 else f", {next(iter(reasons))}"
    return f"{number - left:,} of {number:,} {what}: {left:,} left out{why}."


class Sample(Iterator[Passage]):
    """The passages of a sample, as they are drawn, and the counts of it so far."""

    def __init__(self, passages: Iterable[Passage], count: int, least: int, most: int, seed: int) -> None:
        self._seen, self._count, self._most, self._seed = _Counted(passages, least), count, most, seed
        self._taken = self._questions = self._asked = 0
        self._passages = self._draw()

    @override
    def __next__(self) -> Passage:
        passage = next(self._passages)
        asked = sample_questions(passage, self._most, self._seed)
        self._taken += 1
        self._questions += len(passage.questions)
        self._asked += len(asked.questions)
        return asked

    def counts(self, empty: int = 0) -> SampleCounts:
        """The counts, right once all passages were taken; ``empty`` passages had no usable question."""
        seen = self._seen
        return SampleCounts(
            passages=seen.seen,
            empty=empty,
            too_small=seen.seen - seen.enough,
            not_drawn=seen.enough - self._taken,
            questions=self._questions,
            not_asked=self._questions - self._asked,
        )

    def _draw(self) -> Iterator[Passage]:
        yield from _draw(self._seen, self._count, self._seed) if self._count else self._seen
        if not self._seen.enough:
            raise self._seen.error()


def sample_passages(
    passages: Iterable[Passage], *, context_count: int, min_questions: int, max_questions: int, seed: int
) -> Sample:
    """At most ``context_count`` passages with at least ``min_questions`` questions, in their order; 0 means all.

    Each keeps at most ``max_questions`` of its questions, as :func:`sample_questions` does. With 0 the passages are
    streamed; otherwise memory holds ``context_count`` of them.

    Raises InputError if ``max_questions`` is below ``min_questions``, and while iterating if no passage has enough
    questions.
    """
    if max_questions < min_questions:
        raise InputError(f"at most {max_questions} questions a passage are fewer than at least {min_questions}")
    return Sample(passages, context_count, min_questions, max_questions, seed)


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
