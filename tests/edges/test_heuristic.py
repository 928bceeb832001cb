"""Edges proposed from the wording of the questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Edge, Question
from depqa_ray.edges.heuristic.propose import propose_edges
from depqa_ray.edges.quality import EdgeQuality, edge_quality
from depqa_ray.passages.synthetic.worlds import generate_worlds
from depqa_ray.settings.load import Settings

DEFAULT_CONFIDENCE = Settings().min_confidence


def propose(*texts: str) -> tuple[Edge, ...]:
    return propose_edges([Question(str(number), text, ()) for number, text in enumerate(texts, 1)])


def sure_parents(*texts: str) -> list[str]:
    """The parents of the last question that the default settings would keep."""
    found = propose(*texts)
    return [e.parent for e in found if e.child == str(len(texts)) and e.confidence >= DEFAULT_CONFIDENCE]


@pytest.mark.parametrize(
    "texts",
    [
        ("Which town was Ada born in?", "On which river does that town lie?"),
        ("What small river flows there?", "Into what lake does the same river flow?"),
        ("What is the name of the river of Kelham?", "Where does this river rise?"),
        ("Who founded Velcarn?", "In which year did that man join Velcarn?"),
        ("Who founded Velcarn?", "When was he born?"),
        ("Who founded Velcarn?", "Which town is his birthplace?"),
        ("Which company employs Ada?", "Who founded it?"),
        ("Which company employs Ada?", "What is the name of its mayor?"),
        ("Where is the museum?", "How many people live there?"),
        ("When did Ada join Velcarn?", "What has changed since then?"),
        ("When did Ada join Velcarn?", "Who was mayor in that year?"),
        ("How many people live in Kelham?", "Where was that number published?"),
    ],
)
def test_given_a_reference_then_it_points_at_what_it_fits(texts: tuple[str, ...]) -> None:
    assert sure_parents(*texts) == ["1"]


@pytest.mark.parametrize(
    "question",
    [
        "Who wrote the answer to question 1?",
        "Who lives in the town of Q1?",
        "Who was born in #1?",
        "When did the first answer happen?",
        "Who lives in the town of the previous question?",
        "Who lives in the 1st answer?",
    ],
)
def test_number_or_position_points_at_that_question(question: str) -> None:
    """If a question names the number or position of another one, that one is its parent."""
    assert sure_parents("Which town is old?", question) == ["1"]


def test_two_numbers_point_at_both_questions() -> None:
    """If a question names two numbers, both questions are its parents."""
    assert sure_parents("Who is A?", "Who is B?", "Is it questions 1 and 2 that agree?") == ["1", "2"]


@pytest.mark.parametrize("question", ["Who led the #1 while #2 slept?", "What did the #2 give to #1?", "#2 >> #1"])
def test_hashes_are_all_refs_if_one_is_no_rank(question: str) -> None:
    """If one hash of a question cannot be a rank, all its hashes are answer refs."""
    assert sure_parents("Who is A?", "Who is B?", question) == ["1", "2"]


@pytest.mark.parametrize("question", ["#1 >> place of birth", "Who met the #1 when it rained?", "Is #1 's town old?"])
def test_hash_as_in_composed_questions_is_a_ref(question: str) -> None:
    """If a hash is placed as in composed questions, it is an answer ref."""
    assert sure_parents("Who is A?", question) == ["1"]


@pytest.mark.parametrize(
    "question",
    [
        "Who sang the #1 song?",
        "What was earned in Q1 2014?",
        "Who answers question 7?",
        "What did Tesla do with his prize?",
        "What did the army do with its weapons?",
        "Which company sold its works?",
        "What is the name of the river that flows through Kelham?",
        "Who said that taxes rise?",
        "How many towns are there?",
        "How long does it take?",
        "Is it true that rivers rise?",
        "Which lake is fed by the river and where does that river rise?",
    ],
)
def test_question_without_a_reference_has_no_parent(question: str) -> None:
    """If a question refers to no other one, it has no parent."""
    assert sure_parents("Who lives near which river in which town?", "Which river flows?", question) == []


def test_latest_of_several_fitting_questions_is_the_parent() -> None:
    """If several questions fit a reference, the latest one is the parent."""
    towns = ("In which town was Ada born?", "In which town was Bo born?", "Who founded Velcarn?")
    assert sure_parents(*towns, "Who is the mayor of that town?") == ["2"]


def test_plural_points_at_all_fitting_questions() -> None:
    """If a question refers to several things, all fitting questions are its parents; both means the last two."""
    towns = ("In which town was Ada born?", "In which town was Bo born?", "In which town was Cy born?")
    assert sure_parents(*towns, "Which river links those towns?") == ["1", "2", "3"]
    assert sure_parents(*towns, "Which river links both towns?") == ["2", "3"]


def test_given_a_word_within_a_word_then_it_is_no_reference() -> None:
    assert propose("Which river flows?", "Whither goes the Sheriff of Itsville?") == ()


def test_far_pronoun_is_below_the_default_confidence() -> None:
    """If a pronoun is far from the question that it fits, its edge is below the default confidence."""
    texts = ("Who founded Velcarn?", "What is sold?", "What is made?", "When was he born?")
    weak = [edge for edge in propose(*texts) if edge.child == "4"]
    assert [edge.parent for edge in weak] == ["1"]
    assert weak[0].confidence < DEFAULT_CONFIDENCE


def test_summing_question_needs_those_about_the_same_things() -> None:
    """If a question sums up, its parents are the questions about the same things."""
    texts = ("How many employees does Velcarn have?", "How many employees does Quorex have?", "Who sings?")
    assert sure_parents(*texts, "How many employees do the companies have altogether?") == ["1", "2"]


def test_more_shared_words_raise_the_confidence_of_a_sum() -> None:
    """If a question shares more words with a sum, its edge has more confidence."""
    texts = ("How many old employees has Velcarn?", "How many employees sing in Kelham?")
    first, second = propose(*texts, "How many old employees do they have in total?")
    assert first.confidence > second.confidence


def test_sum_over_one_question_has_no_parent() -> None:
    """If only one question could be summed up, there is no parent."""
    assert sure_parents("Who votes in the council?", "How many votes in total does the Council have?") == []


def test_proposed_edge_has_its_reason_and_origin() -> None:
    """A proposed edge has its reason and its origin."""
    assert propose("Which town is old?", "Who is the mayor of that town?") == (
        Edge("1", "2", 0.9, '"that town" points at it', "heuristic"),
    )


def test_given_worlds_then_the_proposed_edges_are_the_gold_ones() -> None:
    total = sum(
        (
            edge_quality([q.id for q in passage.questions], propose_edges(passage.questions), passage.gold_edges or ())
            for passage in generate_worlds(500, seed=11)
        ),
        EdgeQuality(),
    )
    assert total.gold > 1000
    assert total.f1 >= 0.98  # 1.0 as measured
    assert total.right_share >= 0.98


def test_given_real_questions_then_few_edges_are_proposed(shared_data: Path) -> None:
    """SQuAD's questions were written to be independent: 68 edges for 10,570 questions as measured."""
    articles = json.loads((shared_data / "squad" / "dev-v1.1.json").read_text("utf-8"))["data"]
    groups = [paragraph["qas"] for article in articles for paragraph in article["paragraphs"]]
    found = [edge for group in groups for edge in propose(*(row["question"] for row in group))]
    sure = sum(edge.confidence >= DEFAULT_CONFIDENCE for edge in found)
    assert 20 <= sure <= 0.01 * sum(map(len, groups))


WORDS = "who what which town towns that those both it its he then there question 1 2 #1 Q2 total of the in Ada is"
words = st.sampled_from(WORDS.split())


@given(st.lists(st.text(max_size=40) | st.lists(words, max_size=9).map(" ".join), max_size=6))
def test_edges_run_forward_once_with_a_confidence_and_a_reason(texts: list[str]) -> None:
    found = propose(*texts)
    pairs = [(int(edge.parent), int(edge.child)) for edge in found]

    assert propose(*texts) == found
    assert pairs == sorted(set(pairs), key=lambda pair: (pair[1], pair[0]))
    assert all(parent < child for parent, child in pairs)
    assert all(0 <= edge.confidence <= 1 and edge.rationale and edge.origin == "heuristic" for edge in found)
