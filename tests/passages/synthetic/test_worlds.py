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
    except ValueError:  # too many questions for these entities
        assume(False)
        raise


def names(name: str, text: str) -> bool:
    """Whether the text has the name as a whole word, not as a part of another name."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def kind_of(answer: str) -> str:
    return next((kind for kind, known in NAMES.items() if answer in known), "person")


def edges_from_the_text(passage: Passage) -> set[tuple[str, str]]:
    """The edges that the questions' texts state: "that town" is the answer of the latest earlier question for one."""
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
def test_gold_edges_follow_from_the_text_of_questions(seed: int, shape: WorldShape) -> None:
    """The gold edges of a world follow from the text of its questions."""
    passage = world_of(seed, shape).passage("w")
    assert passage.gold_edges is not None
    assert {(edge.parent, edge.child) for edge in passage.gold_edges} == edges_from_the_text(passage)
    assert {edge.origin for edge in passage.gold_edges} <= {"gold"}


@given(SEEDS, SHAPES)
def test_dependent_question_names_no_entity(seed: int, shape: WorldShape) -> None:
    """If a question has parents, its text names no entity; otherwise it names its subjects."""
    world = world_of(seed, shape)
    everybody = {name for fact in world.facts for name in (*fact.subjects, fact.object)}
    for question in world.questions:
        named = {name for name in everybody if names(name, question.text)}
        assert named == (set() if question.parents else set(question.fact.subjects))


@given(SEEDS, SHAPES)
def test_other_subjects_have_other_answers(seed: int, shape: WorldShape) -> None:
    """In a world, every other subject that a dependent question could mean has another answer."""
    world = world_of(seed, shape)
    for question in world.questions:
        stated = [fact for fact in world.facts if fact.relation == question.fact.relation]
        assert len(stated) == len({fact.subjects for fact in stated}) == len({fact.object for fact in stated})
        for position in range(len(question.fact.subjects)):
            assert len({fact.subjects[position] for fact in stated}) == shape.entities


@given(SEEDS, SHAPES)
def test_passage_answers_a_question_once_its_parents_are(seed: int, shape: WorldShape) -> None:
    """If its parents are answered, a sentence of the passage answers the question."""
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
def test_no_question_names_an_earlier_answer(seed: int, shape: WorldShape) -> None:
    """No question names the answer of an earlier one."""
    questions = world_of(seed, shape).passage("w").questions
    answers = [question.answers[0] for question in questions]
    assert len(set(answers)) == len(answers)
    for number, question in enumerate(questions):
        assert not any(names(answer, question.text) for answer in answers[:number])


@given(SEEDS, SHAPES)
def test_world_has_the_shape_asked_for(seed: int, shape: WorldShape) -> None:
    """A generated world has the shape asked for."""
    world = world_of(seed, shape)
    passage = world.passage("w")
    everything = sum(shape.entities * len(relation.subjects) for relation in RELATIONS)
    assert len(passage.questions) == shape.questions
    assert longest_chain(passage) <= shape.depth
    assert all(len(question.parents) <= shape.fan_in for question in world.questions)
    assert len(world.sentences) == len(world.facts) >= min(shape.facts, everything)


def test_default_shape_has_chains_and_joins() -> None:
    """Among many worlds of the default shape, chains of full depth and joins occur."""
    passages = list(generate_worlds(60, seed=1))
    assert max(longest_chain(passage) for passage in passages) == WorldShape().depth
    children = [[edge.child for edge in passage.gold_edges or ()] for passage in passages]
    assert any(len(set(ids)) < len(ids) for ids in children)


@given(SEEDS, st.integers(0, 20), st.integers(1, 3))
def test_world_depends_only_on_seed_and_number(seed: int, first: int, count: int) -> None:
    """A world depends on its seed and number only, not on worlds generated before."""
    alone = list(generate_worlds(count, seed, first=first))
    assert alone == list(generate_worlds(first + count, seed))[first:]
    assert [passage.id for passage in alone] == [f"world-{seed}-{number}" for number in range(first, first + count)]


def test_another_seed_gives_another_world() -> None:
    """If the seed differs, the worlds differ."""
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
def test_shape_out_of_range_names_the_value(values: dict[str, Any]) -> None:
    """If a value of a shape is out of range, the error names it."""
    (name,) = values
    with pytest.raises(ValueError, match=f"{name} must be between"):
        WorldShape(**values)


def test_too_many_questions_for_the_entities_is_an_error() -> None:
    """If a shape has more questions than its entities allow, the error says so."""
    with pytest.raises(ValueError, match="ask for fewer"):
        list(generate_worlds(40, seed=1, shape=WorldShape(questions=12, depth=1, entities=2)))


def test_answers_in_the_squad_schema_start_where_it_says() -> None:
    """If worlds are put into the SQuAD schema, answers start where it says."""
    passages = list(generate_worlds(5, seed=1))
    articles = worlds_to_squad(passages)["data"]
    assert [article["title"] for article in articles] == [passage.title for passage in passages]
    for article in articles:
        (paragraph,) = article["paragraphs"]
        for question in paragraph["qas"]:
            for answer in question["answers"]:
                start = answer["answer_start"]
                assert paragraph["context"][start : start + len(answer["text"])] == answer["text"]


def test_no_name_is_in_two_lists() -> None:
    """No name is in two lists."""
    every = [*FIRST_NAMES, *SURNAMES, *(name for known in NAMES.values() for name in known)]
    assert len(set(every)) == len(every)
