from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Passage
from depqa_ray.errors import InputError
from depqa_ray.passages.sampling import draw_examples, sample_passages, sample_questions
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


def test_given_passages_with_too_few_questions_when_sampled_then_they_are_left_out() -> None:
    assert [p.id for p in sample(PASSAGES, at_least=5)] == [p.id for p in PASSAGES if len(p.questions) >= 5]


def test_given_a_count_when_sampled_then_so_many_come_in_their_order() -> None:
    drawn = [p.id for p in sample(PASSAGES, contexts=10)]
    assert len(drawn) == 10
    assert drawn == [p.id for p in PASSAGES if p.id in drawn]
    assert drawn == [p.id for p in sample(PASSAGES, contexts=10)]
    assert drawn != [p.id for p in sample(PASSAGES, contexts=10, seed=2)]


def test_given_fewer_passages_than_asked_when_sampled_then_all_come() -> None:
    assert sample(PASSAGES[:3], contexts=10) == PASSAGES[:3]


def test_given_another_order_when_sampled_then_the_same_passages_and_questions_are_drawn() -> None:
    forwards, backwards = sample(PASSAGES, 10, 4, 4), sample(PASSAGES[::-1], 10, 4, 4)
    assert forwards == backwards[::-1]


def test_given_more_passages_when_sampled_then_a_passage_keeps_its_questions() -> None:
    alone, among = sample([PASSAGES[5]], at_most=2), sample(PASSAGES, at_most=2)
    assert alone[0] == among[5]


def test_given_every_passage_when_drawn_many_times_then_each_is_drawn_about_as_often() -> None:
    drawn = [p.id for seed in range(400) for p in sample(PASSAGES, contexts=10, seed=seed)]
    assert all(60 < drawn.count(p.id) < 140 for p in PASSAGES)  # 100 expected, standard deviation 8.7


def test_given_all_passages_of_an_endless_stream_when_sampled_then_they_come_as_they_are_read() -> None:
    def endless() -> Iterator[Passage]:
        return (passage(f"p{number}", 3) for number in count())

    stream = sample_passages(endless(), context_count=0, min_questions=3, max_questions=3, seed=1)
    assert [next(stream).id for _ in range(3)] == ["p0", "p1", "p2"]


@pytest.mark.parametrize("contexts", [0, 3])
def test_given_no_passage_with_enough_questions_when_sampled_then_one_line_says_so(contexts: int) -> None:
    with pytest.raises(InputError) as error:
        sample(PASSAGES, contexts=contexts, at_least=9, at_most=9)
    assert str(error.value) == "no passage has at least 9 questions (of 40; the most are 6); lower --min-questions"


def test_given_no_passage_at_all_when_sampled_then_one_line_says_so() -> None:
    with pytest.raises(InputError, match="no passage with a usable question"):
        sample([])


def test_given_a_range_upside_down_when_sampled_then_one_line_says_so() -> None:
    with pytest.raises(InputError, match="fewer than"):
        sample(PASSAGES, at_least=3, at_most=2)


@given(dags(), st.integers(1, 9), st.integers(0, 1000))
def test_given_gold_edges_when_questions_are_drawn_then_no_kept_question_loses_a_parent(
    whole: Passage, size: int, seed: int
) -> None:
    part = sample_questions(whole, size, seed)
    kept = {question.id for question in part.questions}
    assert len(kept) == min(size, len(whole.questions))
    assert part.questions == tuple(question for question in whole.questions if question.id in kept)
    assert part.gold_edges == tuple(edge for edge in whole.gold_edges or () if edge.child in kept)
    assert all(edge.parent in kept for edge in part.gold_edges or ())


def test_given_no_gold_edges_when_questions_are_drawn_then_none_are_invented() -> None:
    assert sample_questions(passage("p", 6), 3, seed=1).gold_edges is None
    assert sample_questions(passage("p", 6, []), 3, seed=1).gold_edges == ()


def test_given_a_passage_when_drawn_with_many_seeds_then_each_question_has_its_turn() -> None:
    drawn = {question.id for seed in range(50) for question in sample_questions(passage("p", 6), 2, seed).questions}
    assert len(drawn) == 6


@given(dags(), st.integers(1, 9), st.integers(0, 1000))
def test_given_slots_along_the_gold_edges_when_questions_are_drawn_then_they_name_kept_questions(
    whole: Passage, size: int, seed: int
) -> None:
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


def test_given_a_seed_when_examples_are_drawn_then_they_are_the_same_in_any_order_of_the_file() -> None:
    drawn = examples(PASSAGES, at_least=4)
    assert drawn == examples(PASSAGES[::-1], at_least=4)
    assert drawn != examples(PASSAGES, at_least=4, seed=2)
    assert [len(example.questions) for example in drawn] == [3, 3, 3]


def test_given_one_more_example_when_drawn_then_the_others_stay() -> None:
    assert examples(PASSAGES, 4)[:3] == examples(PASSAGES, 3)


def test_given_passages_of_the_same_text_when_examples_are_drawn_then_each_text_comes_once() -> None:
    twins = [replace(item, id=f"{item.id}#{copy}") for item in PASSAGES[:5] for copy in range(3)]
    assert len({example.text for example in examples(twins, 5)}) == 5
    with pytest.raises(InputError, match="the data set has 5"):
        examples(twins, 6)


def test_given_too_few_passages_when_examples_are_drawn_then_one_line_says_so() -> None:
    with pytest.raises(InputError) as error:
        examples(PASSAGES, 7, at_least=6)
    assert str(error.value) == (
        "worked examples need 7 passages of at least 6 questions with different texts, and the data set has 6; "
        "lower --shots or --min-questions"
    )


def test_given_every_passage_when_examples_are_drawn_many_times_then_each_has_its_turn() -> None:
    drawn = [example.id for seed in range(400) for example in examples(PASSAGES, 10, seed=seed)]
    assert all(60 < drawn.count(p.id) < 140 for p in PASSAGES)  # 100 expected, standard deviation 8.7
