from __future__ import annotations

import random
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from depqa_ray.core import Passage
from depqa_ray.passages.synthetic.names import FIRST_NAMES, NAMES, SURNAMES
from depqa_ray.passages.synthetic.worlds import (
    RELATIONS,
    World,
    WorldShape,
    generate_world,
    generate_worlds,
    worlds_to_squad,
)

SHAPES = st.builds(
    WorldShape,
    questions=st.integers(1, 12),
    depth=st.integers(1, 4),
    fan_in=st.integers(1, 2),
    entities=st.integers(2, 8),
    facts=st.integers(0, 60),
)
SEEDS = st.integers(0, 10_000)


def world_of(seed: int, shape: WorldShape) -> World:
    try:
        return generate_world(random.Random(seed), shape)
    except ValueError:  # so many questions do not fit so few entities
        assume(False)
        raise


def names(name: str, text: str) -> bool:
    """Whether the text has the name as a whole word, not as a part of another name."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def kind_of(answer: str) -> str:
    return next((kind for kind, known in NAMES.items() if answer in known), "person")


def edges_from_the_text(passage: Passage) -> set[tuple[str, str]]:
    """What a reader of the questions would say: "that town" is the answer of the latest earlier question for a town."""
    edges: set[tuple[str, str]] = set()
    latest: dict[str, str] = {}
    for question in passage.questions:
        for kind in re.findall(r"\bthat (\w+)", question.text):
            edges.add((latest[kind], question.id))
        latest[kind_of(question.answers[0])] = question.id
    return edges


def longest_chain(passage: Passage) -> int:
    depth: dict[str, int] = {}
    for question in passage.questions:
        parents = [edge.parent for edge in passage.gold_edges or () if edge.child == question.id]
        depth[question.id] = 1 + max((depth[parent] for parent in parents), default=0)
    return max(depth.values())


@given(SEEDS, SHAPES)
def test_given_a_world_when_its_questions_are_read_then_the_gold_edges_follow_from_their_text(
    seed: int, shape: WorldShape
) -> None:
    passage = world_of(seed, shape).passage("w")
    assert passage.gold_edges is not None
    assert {(edge.parent, edge.child) for edge in passage.gold_edges} == edges_from_the_text(passage)
    assert {edge.origin for edge in passage.gold_edges} <= {"gold"}


@given(SEEDS, SHAPES)
def test_given_a_dependent_question_when_read_alone_then_it_names_nobody(seed: int, shape: WorldShape) -> None:
    world = world_of(seed, shape)
    everybody = {name for fact in world.facts for name in (*fact.subjects, fact.object)}
    for question in world.questions:
        named = {name for name in everybody if names(name, question.text)}
        assert named == (set() if question.parents else set(question.fact.subjects))


@given(SEEDS, SHAPES)
def test_given_a_dependent_question_when_guessed_then_every_other_subject_has_its_own_answer(
    seed: int, shape: WorldShape
) -> None:
    world = world_of(seed, shape)
    for question in world.questions:
        stated = [fact for fact in world.facts if fact.relation == question.fact.relation]
        assert len(stated) == len({fact.subjects for fact in stated}) == len({fact.object for fact in stated})
        for position in range(len(question.fact.subjects)):
            assert len({fact.subjects[position] for fact in stated}) == shape.entities


@given(SEEDS, SHAPES)
def test_given_a_question_when_its_parents_are_answered_then_a_sentence_of_the_passage_answers_it(
    seed: int, shape: WorldShape
) -> None:
    world = world_of(seed, shape)
    passage = world.passage("w")
    assert passage.text == " ".join(world.sentences)
    for question, asked in zip(world.questions, passage.questions, strict=True):
        assert asked.answers == (question.fact.object,)
        pointed = {world.questions[parent].fact.object for parent in question.parents}
        assert pointed == (set(question.fact.subjects) if question.parents else set())
        sentence = world.sentences[world.facts.index(question.fact)]
        for name in (*question.fact.subjects, question.fact.object):
            assert names(name, sentence[0].lower() + sentence[1:]) or names(name, sentence)


@given(SEEDS, SHAPES)
def test_given_the_questions_when_read_in_order_then_none_names_an_earlier_answer(seed: int, shape: WorldShape) -> None:
    questions = world_of(seed, shape).passage("w").questions
    answers = [question.answers[0] for question in questions]
    assert len(set(answers)) == len(answers)
    for number, question in enumerate(questions):
        assert not any(names(answer, question.text) for answer in answers[:number])


@given(SEEDS, SHAPES)
def test_given_a_shape_when_generated_then_it_is_honoured(seed: int, shape: WorldShape) -> None:
    world = world_of(seed, shape)
    passage = world.passage("w")
    everything = sum(shape.entities * len(relation.subjects) for relation in RELATIONS)
    assert len(passage.questions) == shape.questions
    assert longest_chain(passage) <= shape.depth
    assert all(len(question.parents) <= shape.fan_in for question in world.questions)
    assert len(world.sentences) == len(world.facts) >= min(shape.facts, everything)


def test_given_the_default_shape_when_many_are_generated_then_chains_and_joins_occur() -> None:
    passages = list(generate_worlds(60, seed=1))
    assert max(longest_chain(passage) for passage in passages) == WorldShape().depth
    children = [[edge.child for edge in passage.gold_edges or ()] for passage in passages]
    assert any(len(set(ids)) < len(ids) for ids in children)


@given(SEEDS, st.integers(0, 20), st.integers(1, 3))
def test_given_a_number_of_a_seed_when_generated_then_it_is_the_same_world_whatever_came_before(
    seed: int, first: int, count: int
) -> None:
    alone = list(generate_worlds(count, seed, first=first))
    assert alone == list(generate_worlds(first + count, seed))[first:]
    assert [passage.id for passage in alone] == [f"world-{seed}-{number}" for number in range(first, first + count)]


def test_given_another_seed_when_generated_then_it_is_another_world() -> None:
    texts = {passage.text for seed in range(20) for passage in generate_worlds(5, seed)}
    assert len(texts) == 100


@pytest.mark.parametrize(
    "values",
    [
        {"questions": 0},
        {"questions": 13},
        {"depth": 0},
        {"depth": 5},
        {"fan_in": 0},
        {"fan_in": 3},
        {"entities": 1},
        {"entities": 9},
        {"facts": -1},
        {"facts": 61},
    ],
)
def test_given_a_shape_out_of_range_when_made_then_the_error_names_the_value(values: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(ValueError, match=f"{name} must be between"):
        WorldShape(**values)


def test_given_more_questions_than_the_entities_hold_when_generated_then_the_error_says_so() -> None:
    with pytest.raises(ValueError, match="ask for fewer"):
        list(generate_worlds(40, seed=1, shape=WorldShape(questions=12, depth=1, entities=2)))


def test_given_worlds_when_put_into_the_squad_schema_then_answers_start_where_it_says() -> None:
    passages = list(generate_worlds(5, seed=1))
    articles = worlds_to_squad(passages)["data"]
    assert [article["title"] for article in articles] == [passage.title for passage in passages]
    for article in articles:
        (paragraph,) = article["paragraphs"]
        for question in paragraph["qas"]:
            for answer in question["answers"]:
                start = answer["answer_start"]
                assert paragraph["context"][start : start + len(answer["text"])] == answer["text"]


def test_given_the_names_when_compared_then_none_stands_in_two_lists() -> None:
    every = [*FIRST_NAMES, *SURNAMES, *(name for known in NAMES.values() for name in known)]
    assert len(set(every)) == len(every)
