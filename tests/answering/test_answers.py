from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.answers import ParsedAnswer, parse_answer, parse_batch
from depqa_ray.answering.json_objects import json_objects, without_thinking

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NEARLY_JSON = st.text(alphabet="{}[]\":,\\/ \n'`<>think#*aQ1-", max_size=300)


def first_object(text: str) -> dict[str, object] | None:
    return next(json_objects(without_thinking(text)), None)


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "Paris"}',
        '  {"answer":"Paris"}\n',
        '<think>\n\n</think>\n\n{"answer": "Paris"}',
        '<think></think>{"answer": "Paris"}',
    ],
)
def test_given_exactly_the_json_when_parsed_then_it_is_strict(text: str) -> None:
    assert parse_answer(text) == ParsedAnswer("Paris", True)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('```json\n{"answer": "Paris"}\n```', "Paris"),
        ("```\nParis\n```", "Paris"),
        ('<think>It says so.</think>{"answer": "Paris"}', "Paris"),
        ('It says so.</think>{"answer": "Paris"}', "Paris"),
        ('The answer is {"answer": "Paris"}, I think.', "Paris"),
        ('{"answer": "Paris"}\nQuestion: And then?\n{"answer": "Lyon"}', "Paris"),
        ('{"answer": "Paris", "answer": "Lyon"}', "Paris"),
        ('{"answer": "Paris", "confidence": 1}', "Paris"),
        ('{"Answer": "Paris"}', "Paris"),
        ('{"result": "Paris"}', "Paris"),
        ('{"answer": "Par', "Par"),
        ('{"answer": "Paris"', "Paris"),
        ("{'answer': 'Paris'}", "Paris"),
        ('{"answer": "the "big" one"}', 'the "big" one'),
        ('{"answer": "two\nlines"}', "two\nlines"),
        ('{"answer": 1850}', "1850"),
        ('{"answer": 4.50}', "4.50"),
        ('{"answer": true}', "true"),
        ('{"answer": null}', ""),
        ('{"answer": ["Paris", "Lyon"]}', "Paris"),
        ('{"answer": []}', ""),
        ('{"answer": {"text": "Paris"}}', "Paris"),
        ("\n  Paris  \nbecause it is", "Paris"),
        ("The set {1, 2}", "The set {1, 2}"),
        ('"Paris"', "Paris"),
        ("", ""),
        (" \n ", ""),
        ("{}", ""),
    ],
)
def test_given_something_near_the_json_when_parsed_then_the_answer_is_read_and_not_strict(
    text: str, answer: str
) -> None:
    assert parse_answer(text) == ParsedAnswer(answer, False)


@pytest.mark.parametrize("text", ["<think>", '<think>maybe {"answer": "Paris"}', "<think></think><think>Paris"])
def test_given_an_unfinished_thought_when_parsed_then_there_is_no_answer(text: str) -> None:
    assert parse_answer(text) == ParsedAnswer("", False)


def test_given_half_a_surrogate_pair_when_parsed_then_the_answer_can_be_written() -> None:
    assert parse_answer('{"answer": "\\ud800x"}').answer.encode() == b"?x"


def test_given_exactly_the_asked_labels_when_a_batch_is_parsed_then_it_is_strict() -> None:
    parsed = parse_batch('{"Q2": "b", "Q1": "a"}', ["Q1", "Q2"])
    assert parsed == {"Q1": ParsedAnswer("a", True), "Q2": ParsedAnswer("b", True)}


@pytest.mark.parametrize(
    "text",
    [
        '{"Q1": "a", "Q2": "b", "Q3": "c"}',
        '{"Q1": "a"}\n{"Q2": "b"}',
        '[{"Q1": "a"}, {"Q2": "b"}]',
        '{"answers": {"Q1": "a", "Q2": "b"}}',
        '{"Q1": "a", "Q2": ["b"]}',
        '{"q1": "a", "q2": "b"}',
        '{"Q1": "a", "Q2": "b',
        '```\n{"Q1": "a", "Q2": "b"}\n```',
    ],
)
def test_given_something_near_a_batch_when_parsed_then_each_label_has_its_answer(text: str) -> None:
    assert parse_batch(text, ["Q1", "Q2"]) == {"Q1": ParsedAnswer("a", False), "Q2": ParsedAnswer("b", False)}


def test_given_a_missing_label_when_a_batch_is_parsed_then_its_answer_is_empty_and_nothing_is_strict() -> None:
    assert parse_batch('{"Q1": "a"}', ["Q1", "Q2"]) == {"Q1": ParsedAnswer("a", False), "Q2": ParsedAnswer("", False)}
    assert parse_batch("no json at all", ["Q1"]) == {"Q1": ParsedAnswer("", False)}


def test_given_edges_with_words_around_when_an_object_is_parsed_then_its_values_are_there() -> None:
    assert first_object('Here: {"edges": [["Q1", "Q2", 0.9]]}.') == {"edges": [["Q1", "Q2", "0.9"]]}
    assert first_object('<think>hm</think>{"edges": [["Q1", "Q2"') == {"edges": [["Q1", "Q2"]]}
    assert first_object("none") is None
    assert first_object('["a"]') is None


@given(st.text(max_size=80))
def test_given_any_answer_when_a_model_writes_it_as_json_then_it_is_read_back_strictly(answer: str) -> None:
    for ascii_only in (True, False):
        assert parse_answer(json.dumps({"answer": answer}, ensure_ascii=ascii_only)) == ParsedAnswer(
            answer.strip(), True
        )


@given(st.text() | NEARLY_JSON)
def test_given_any_text_when_parsed_then_there_is_an_answer_and_no_error(text: str) -> None:
    single, batch = parse_answer(text), parse_batch(text, ["Q1", "Q2"])
    first_object(text)
    assert single.answer == single.answer.strip()
    assert list(batch) == ["Q1", "Q2"]
    for parsed in (single, *batch.values()):
        parsed.answer.encode()


@given(JSON_VALUES, st.text(alphabet="ab \n.", max_size=10))
def test_given_any_json_value_for_an_answer_when_parsed_then_it_is_a_text(value: object, around: str) -> None:
    parsed = parse_answer(around + json.dumps({"answer": value}) + around)
    assert isinstance(parsed.answer, str)
    assert parsed.strict_json == (isinstance(value, str) and not around.strip())


@pytest.mark.parametrize(
    "piece",
    ["{", '{"', '[{"', '{"a":', '{"answer": "', "<think>", "</think>", "```", '"', "\\", "]\\'{a", "a", "\n", "9"],
)
def test_given_a_huge_text_of_one_piece_when_parsed_then_it_takes_no_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.process_time()  # not the clock: other programs and coverage must not fail it
    parse_answer(text)
    parse_batch(text, [f"Q{number}" for number in range(1, 31)])
    assert time.process_time() - start < 20  # it takes 2 s at the most; without limits it would take minutes
