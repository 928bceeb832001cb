from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.answers import ParsedAnswer, parse_answer, parse_batch

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NEARLY_JSON = st.text(alphabet="{}[]\":,\\/ \n'`<>think#*aQ1-", max_size=300)


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
def test_near_json_is_read_but_not_strict(text: str, answer: str) -> None:
    """If a reply is nearly the JSON asked for, its answer is read but not strict."""
    assert parse_answer(text) == ParsedAnswer(answer, False)


@pytest.mark.parametrize("text", ["<think>", '<think>maybe {"answer": "Paris"}', "<think></think><think>Paris"])
def test_unfinished_thought_gives_no_answer(text: str) -> None:
    """If a reply is an unfinished thought, there is no answer."""
    assert parse_answer(text) == ParsedAnswer("", False)


def test_half_a_surrogate_pair_becomes_writable_text() -> None:
    """If an answer holds half a surrogate pair, it is replaced so that the answer can be encoded."""
    assert parse_answer('{"answer": "\\ud800x"}').answer.encode() == b"?x"


def test_batch_with_exactly_the_labels_is_strict() -> None:
    """If a batch reply holds exactly the labels asked for, its answers are strict."""
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
def test_near_batch_gives_each_label_its_answer(text: str) -> None:
    """If a reply is nearly the batch asked for, each label gets its answer and none is strict."""
    assert parse_batch(text, ["Q1", "Q2"]) == {"Q1": ParsedAnswer("a", False), "Q2": ParsedAnswer("b", False)}


def test_missing_label_gives_an_empty_answer() -> None:
    """If a label is missing, its answer is empty and no answer of the batch is strict."""
    assert parse_batch('{"Q1": "a"}', ["Q1", "Q2"]) == {"Q1": ParsedAnswer("a", False), "Q2": ParsedAnswer("", False)}
    assert parse_batch("no json at all", ["Q1", "Q2"]) == dict.fromkeys(["Q1", "Q2"], ParsedAnswer("", False))


@given(st.text(max_size=80))
def test_any_answer_written_as_json_is_read_strictly(answer: str) -> None:
    """If a model writes any answer as JSON, it is read back stripped and strict."""
    for ascii_only in (True, False):
        assert parse_answer(json.dumps({"answer": answer}, ensure_ascii=ascii_only)) == ParsedAnswer(
            answer.strip(), True
        )


@given(st.text() | NEARLY_JSON)
def test_any_text_gives_an_answer_without_error(text: str) -> None:
    """Any text is parsed without an error, and each answer can be encoded."""
    single, batch = parse_answer(text), parse_batch(text, ["Q1", "Q2"])
    assert single.answer == single.answer.strip()
    assert list(batch) == ["Q1", "Q2"]
    for parsed in (single, *batch.values()):
        parsed.answer.encode()


@given(JSON_VALUES, st.text(alphabet="ab \n.", max_size=10))
def test_any_json_value_becomes_text(value: object, around: str) -> None:
    """If the answer is any JSON value, it is read as text; only a string with nothing around is strict."""
    parsed = parse_answer(around + json.dumps({"answer": value}) + around)
    assert isinstance(parsed.answer, str)
    assert parsed.strict_json == (isinstance(value, str) and not around.strip())
