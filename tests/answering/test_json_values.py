"""The objects and lists in a text: which count, in what order, at what cost."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.answers import parse_answer, parse_batch
from depqa_ray.answering.dependencies import stated_edges
from depqa_ray.answering.json_end import JsonEnd
from depqa_ray.answering.json_values import json_values, nested
from tests.answering.test_answers import JSON_VALUES, NEARLY_JSON

PROSE = st.lists(
    st.sampled_from(
        ["So", "{a, b}", "it's", r"\frac{1}{2}", "f() { return 1; }", '"x"', "[1]", "<b>", "{", "(", ":", "\n", "{}"]
    ),
    max_size=6,
).map(" ".join)
WORDS = st.text("abc XYZ.é1", min_size=1, max_size=10).map(str.strip).filter(bool)
BROKEN = (
    "{{'answer': '{}'}}",
    '{{"answer": "{}",}}',
    '{{answer: "{}"}}',
    "{{“answer”: “{}”}}",
    '{{"answer"\uff1a"{}"}}',
    '{{"answer": "the "{}""}}',
    '{{"note": "x", \'answer\': "{}"}}',
)
BEHIND = ("\n", " or ", "\n\nQuestion: Who?\n", "\nExample:\n", ", not ", "\n```\n")


@given(PROSE, st.sampled_from(BROKEN), WORDS, st.sampled_from(BEHIND))
def test_first_object_counts_repaired_or_not(before: str, broken: str, answer: str, behind: str) -> None:
    """If a sound object follows a broken one that has the key, the broken one counts, whatever stands before it."""
    text = f"{before}\n{broken.format(answer)}{behind}{json.dumps({'answer': 'made up'})}"
    assert answer in parse_answer(text).answer
    assert "made up" not in parse_answer(text).answer


@given(PROSE, st.sampled_from(['{"answer": "Paris"', '{"answer": "Paris', "{'answer': 'Paris',"]))
def test_cut_object_does_not_swallow_the_next(before: str, cut: str) -> None:
    """If an object was never closed, the next object is no part of it."""
    text = f'{before}\n{cut}\n{{"answer": "made up", "Q2": "b"}}'
    assert parse_answer(text).answer.rstrip() == "Paris"
    assert parse_batch(text.replace("answer", "Q1"), ["Q1", "Q2"])["Q1"].answer.rstrip() == "Paris"


def test_objects_and_lists_come_in_the_order_of_their_starts() -> None:
    """Objects and lists come in the order of their starts, broken or not; a reference in a sentence is none."""
    text = "It [1] says:\n['a', 'b']\n{'c': 1} and {\"d\": [2]}.\n[3]"
    assert list(json_values(text)) == [["a", "b"], {"c": "1"}, {"d": ["2"]}, ["3"]]


def test_thoughts_of_an_object_are_not_entered() -> None:
    """What an object has among its thoughts is skipped."""
    value = {"Reasoning": {"a": {}}, "b": [{"c": "d"}]}
    assert list(nested(value)) == [value, [{"c": "d"}], {"c": "d"}]


@given(before=PROSE, value=JSON_VALUES, behind=NEARLY_JSON | st.just('\nQuestion: x\n{"answer": "made up"}'))
def test_cutting_at_the_end_of_json_changes_no_answer(before: str, value: object, behind: str) -> None:
    """If the first object is sound, the reply means the same cut where the engine ends it, thoughts aside."""
    whole = f"{before.replace('{', '').replace('[', '')}\n{json.dumps({'answer': value})}{behind}"
    rest = JsonEnd().add(whole)
    assert rest is not None
    cut = whole[: len(whole) - rest]
    if "</think" not in behind:
        assert parse_answer(cut).answer == parse_answer(whole).answer


def test_list_of_objects_ends_with_the_list() -> None:
    """If a list begins with an object, the reply ends with the list, so that no answer is lost."""
    for reply in ('[{"Q1": "a"}, {"Q2": "b"}]', '[ {"question": "Q1", "answer": "["}, {"question": "Q2"}]'):
        text = f"[1] {reply}\n\nPassage: ..."
        rest = JsonEnd().add(text)
        assert rest is not None
        assert text[: len(text) - rest] == f"[1] {reply}"


@given(st.text() | NEARLY_JSON | PROSE, st.integers(1, 4))
def test_any_text_is_read_without_error(text: str, count: int) -> None:
    """Any text is read as answers and as edges, without an error."""
    parse_answer(text)
    parse_batch(text, [f"Q{number}" for number in range(1, count + 1)])
    stated_edges(text, count)


@given(
    st.dictionaries(st.sampled_from(["Q1", "2", "answer", "final answer", "reasoning", "x"]), JSON_VALUES, max_size=4)
    | st.lists(JSON_VALUES, max_size=3),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["", "'", '"', "{", "]", ":", "\\", "\uff1a", "\n"]))),
)
def test_any_mutation_of_json_is_read_without_error(value: object, changes: list[tuple[int, str]]) -> None:
    """However a JSON reply is damaged, it is read without an error."""
    text = json.dumps(value, ensure_ascii=False)
    for at, piece in changes:
        text = text[:at] + piece + text[at + 1 :]
    parse_answer(text).answer.encode()
    parse_batch(text, ["Q1", "Q2"])
    stated_edges(text, 2)


PIECES = (
    *("{", '{"', '[{"', '{"a":', '{"answer": "', "<think>", "</think>", "```", '"', "\\", "]\\'{a", "a", "\n", "9"),
    *("[", "[[", "\n[", "\n['", "{a:", "{'a':", "{'a':1}", "{}", '{"a":1}', "}", "Q1: a\n", "\n1. ", ";   ", "? ", " "),
    *(
        "A: ",
        "the answer is ",
        "<answer>",
        "\\boxed{",
        "\nPassage: ",
        "**",
        "|",
        "\u2018",
        ", ",
        "[THINK]",
        "analysisA",
    ),
)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("before", ["", "{'Q1': '", "? "])
def test_huge_text_of_one_piece_is_parsed_fast(piece: str, before: str) -> None:
    """If one piece repeats to 200,000 characters, parsing still takes less than seconds."""
    text = before + piece * (200_000 // len(piece)) + "x"
    start = time.process_time()  # not the clock: other programs and coverage must not fail it
    parse_answer(text)
    parse_batch(text, [f"Q{number}" for number in range(1, 31)])
    stated_edges(text, 30)
    assert time.process_time() - start < 8  # it takes 1 s at the most; without limits it would take minutes
