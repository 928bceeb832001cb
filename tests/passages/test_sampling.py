from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.passages.sampling import SampleCounts, draw_examples, sample_passages, sample_questions
from tests.passages.documents import passage

PASSAGES = [passage(f"p{number}", 1 + number % 6) for number in range(40)]


def sample(
    passages: list[Passage], contexts: int = 0, at_least: int = 1, at_most: int = 5, seed: int = 1
) -> list[Passage]:
    return list(
        sample_passages(passages, context_count=contexts, min_questions=at_least, max_questions=at_most, seed=seed)
    )


@st.composite
def dags(draw: st.DrawFn) -> Passage:
    """A passage whose gold edges point from earlier to later places of a shuffled order."""
    size = draw(st.integers(1, 9))
    order = draw(st.permutations(range(size)))
    pairs = [(order[a], order[b]) for b in range(size) for a in range(b)]
    return passage("p", size, draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else [])


def test_passages_with_too_few_questions_are_left_out() -> None:
    """If a passage has too few questions, it is left out of the sample."""
    assert [p.id for p in sample(PASSAGES, at_least=5)] == [p.id for p in PASSAGES if len(p.questions) >= 5]


def test_sample_has_the_count_and_keeps_the_order() -> None:
    """A sample has the count asked for, keeps the order of the passages and follows from the seed."""
    drawn = [p.id for p in sample(PASSAGES, contexts=10)]
    assert len(drawn) == 10
    assert drawn == [p.id for p in PASSAGES if p.id in drawn]
    assert drawn == [p.id for p in sample(PASSAGES, contexts=10)]
    assert drawn != [p.id for p in sample(PASSAGES, contexts=10, seed=2)]


def test_sample_of_fewer_passages_has_all() -> None:
    """If there are fewer passages than asked for, the sample has all."""
    assert sample(PASSAGES[:3], contexts=10) == PASSAGES[:3]


def test_sample_does_not_depend_on_the_order_of_passages() -> None:
    """If the passages come in another order, the same ones and the same questions are drawn."""
    forwards, backwards = sample(PASSAGES, 10, 4, 4), sample(PASSAGES[::-1], 10, 4, 4)
    assert forwards == backwards[::-1]


def test_questions_of_a_passage_do_not_depend_on_others() -> None:
    """If there are more passages, a passage keeps its questions."""
    alone, among = sample([PASSAGES[5]], at_most=2), sample(PASSAGES, at_most=2)
    assert alone[0] == among[5]


def test_each_passage_is_sampled_about_as_often() -> None:
    """Over many seeds, each passage is sampled about as often."""
    drawn = [p.id for seed in range(400) for p in sample(PASSAGES, contexts=10, seed=seed)]
    assert all(60 < drawn.count(p.id) < 140 for p in PASSAGES)  # 100 expected, standard deviation 8.7


def test_all_passages_of_a_stream_come_as_they_are_read() -> None:
    """If all passages of a stream are wanted, each comes as soon as it is read."""

    def endless() -> Iterator[Passage]:
        return (passage(f"p{number}", 3) for number in count())

    stream = sample_passages(endless(), context_count=0, min_questions=3, max_questions=3, seed=1)
    assert [next(stream).id for _ in range(3)] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("contexts", [0, 3])
def test_no_passage_with_enough_questions_is_an_error(contexts: int) -> None:
    """If no passage has enough questions, the error says so and names the fix."""
    with pytest.raises(InputError) as error:
        sample(PASSAGES, contexts=contexts, at_least=9, at_most=9)
    assert str(error.value) == "no passage has at least 9 questions (of 40; the most are 6); lower --min-questions"


def test_no_passage_at_all_is_an_error() -> None:
    """If there is no passage at all, the error says so."""
    with pytest.raises(InputError, match="no passage with a usable question"):
        sample([])


def test_reversed_range_is_an_error() -> None:
    """If the most questions are fewer than the least, the error says so."""
    with pytest.raises(InputError, match="fewer than"):
        sample(PASSAGES, at_least=3, at_most=2)


@pytest.mark.parametrize(
    ("contexts", "at_least", "at_most", "empty", "text"),
    [
        (0, 1, 6, 0, ""),
        (10, 1, 6, 0, "10 of 40 passages: 30 left out, beyond --context-count."),
        (0, 3, 6, 0, "26 of 40 passages: 14 left out, below --min-questions."),
        (0, 1, 6, 2, "40 of 42 passages: 2 left out, without a usable question."),
        (0, 6, 6, 1, "6 of 41 passages: 35 left out: 1 without a usable question, 34 below --min-questions."),
        (2, 6, 6, 0, "2 of 40 passages: 38 left out: 34 below --min-questions, 4 beyond --context-count."),
        (0, 1, 5, 0, "130 of 136 questions of these passages: 6 left out, beyond --max-questions."),
    ],
)
def test_what_a_sample_left_out_is_said(contexts: int, at_least: int, at_most: int, empty: int, text: str) -> None:
    """A sample says how many passages and questions it left out, and why; nothing if it left out none."""
    drawn = sample_passages(PASSAGES, context_count=contexts, min_questions=at_least, max_questions=at_most, seed=1)
    taken = list(drawn)
    assert drawn.counts(empty).left_out() == text
    assert drawn.counts().passages - drawn.counts().too_small - drawn.counts().not_drawn == len(taken)


def test_large_counts_and_both_sentences_are_said() -> None:
    counts = SampleCounts(passages=18_891, not_drawn=18_791, questions=463, not_asked=2)
    assert counts.left_out() == (
        "100 of 18,891 passages: 18,791 left out, beyond --context-count. "
        "461 of 463 questions of these passages: 2 left out, beyond --max-questions."
    )


@given(dags(), st.integers(1, 9), st.integers(0, 1000))
def test_drawn_question_keeps_its_parents(whole: Passage, size: int, seed: int) -> None:
    """If questions are drawn, no kept question loses a parent."""
    part = sample_questions(whole, size, seed)
    kept = {question.id for question in part.questions}
    assert len(kept) == min(size, len(whole.questions))
    assert part.questions == tuple(question for question in whole.questions if question.id in kept)
    assert part.gold_edges == tuple(edge for edge in whole.gold_edges or () if edge.child in kept)
    assert all(edge.parent in kept for edge in part.gold_edges or ())


def test_drawing_questions_invents_no_gold_edges() -> None:
    """If a passage has no gold edges, drawing questions invents none."""
    assert sample_questions(passage("p", 6), 3, seed=1).gold_edges is None
    assert sample_questions(passage("p", 6, []), 3, seed=1).gold_edges == ()


def test_each_question_of_a_passage_is_drawn_for_some_seed() -> None:
    """Over many seeds, each question of a passage is drawn."""
    drawn = {question.id for seed in range(50) for question in sample_questions(passage("p", 6), 2, seed).questions}
    assert len(drawn) == 6


@given(dags(), st.integers(1, 9), st.integers(0, 1000))
def test_answer_refs_of_drawn_questions_name_kept_ones(whole: Passage, size: int, seed: int) -> None:
    """If answer refs follow the gold edges, those of drawn questions name kept questions."""

    def refs(id_: str) -> tuple[tuple[str, str], ...]:
        return tuple((f"#{edge.parent}", edge.parent) for edge in whole.gold_edges or () if edge.child == id_)

    last = len(whole.questions) - 1
    questions = tuple(
        replace(question, answer_refs=refs(question.id), final=place == last)
        for place, question in enumerate(whole.questions)
    )
    part = sample_questions(replace(whole, questions=questions), size, seed)
    kept = {question.id for question in part.questions}
    assert kept >= {source for question in part.questions for _, source in question.answer_refs}
    assert [question for question in part.questions if question.final] == [q for q in questions[last:] if q.id in kept]


def examples(passages: list[Passage], number: int = 3, at_least: int = 1, seed: int = 1) -> tuple[Passage, ...]:
    return draw_examples(passages, count=number, min_questions=at_least, seed=seed)


def test_examples_do_not_depend_on_the_order_of_the_file() -> None:
    """With one seed, the examples are the same in any order of the file."""
    drawn = examples(PASSAGES, at_least=4)
    assert drawn == examples(PASSAGES[::-1], at_least=4)
    assert drawn != examples(PASSAGES, at_least=4, seed=2)
    assert [len(example.questions) for example in drawn] == [3, 3, 3]


def test_given_one_more_example_when_drawn_then_the_others_stay() -> None:
    assert examples(PASSAGES, 4)[:3] == examples(PASSAGES, 3)


def test_examples_have_different_texts() -> None:
    """If passages have the same text, only one of them serves as an example."""
    twins = [replace(item, id=f"{item.id}#{copy}") for item in PASSAGES[:5] for copy in range(3)]
    assert len({example.text for example in examples(twins, 5)}) == 5
    with pytest.raises(InputError, match="the data set has 5"):
        examples(twins, 6)


def test_too_few_passages_for_examples_is_an_error() -> None:
    """If there are too few passages for the examples, the error says so and names the fix."""
    with pytest.raises(InputError) as error:
        examples(PASSAGES, 7, at_least=6)
    assert str(error.value) == (
        "worked examples need 7 passages of at least 6 questions with different texts, and the data set has 6; "
        "lower --shots or --min-questions"
    )


def test_each_passage_is_an_example_about_as_often() -> None:
    """Over many seeds, each passage serves as an example about as often."""
    drawn = [example.id for seed in range(400) for example in examples(PASSAGES, 10, seed=seed)]
    assert all(60 < drawn.count(p.id) < 140 for p in PASSAGES)  # 100 expected, standard deviation 8.7
