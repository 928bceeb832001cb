"""Where an object ends in a text that comes in pieces, against Python's own reader on the whole text."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.json_end import JsonEnd
from tests.answering.test_answers import JSON_VALUES, NEARLY_JSON

OBJECTS = st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3)
CUTS = st.lists(st.integers(0, 300), max_size=12)


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[a:b] for a, b in pairwise(borders)]


def end_of(pieces: list[str], thinking: bool = False) -> int | None:
    """Where in the joined text the object ends."""
    watch, seen = JsonEnd(thinking), 0
    for piece in pieces:
        seen += len(piece)
        if (behind := watch.add(piece)) is not None:
            assert behind < len(piece)
            return seen - behind
    return None


def read_at(text: str, start: int) -> int | None:
    """Where the object or list that begins at ``start`` ends; None if none does."""
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except ValueError:
        return None
    return end if isinstance(value, dict | list) else None


@given(
    before=st.sampled_from(["", "Sure: ", "```json\n", '"', "<think>\n\n</think>\n\n", '<think>{"a": 1} "{</think>']),
    value=OBJECTS,
    ascii_only=st.booleans(),
    behind=st.text(max_size=20) | NEARLY_JSON,
    cuts=CUTS,
)
def test_given_any_object_in_any_pieces_then_its_end_is_found(
    before: str, value: object, ascii_only: bool, behind: str, cuts: list[int]
) -> None:
    text = before + json.dumps(value, ensure_ascii=ascii_only, indent=1 if cuts else None)
    assert end_of(pieces_of(text + behind, cuts)) == len(text)


@given(NEARLY_JSON, CUTS)
def test_end_is_that_of_an_object_and_the_first_counts(text: str, cuts: list[int]) -> None:
    """However a text is cut, the end found is that of an object or its list, and the first object is not missed."""
    found = end_of(pieces_of(text, cuts))
    assert found == end_of([text])
    assert found is None or found in {read_at(text, start) for start, char in enumerate(text) if char in "{["}
    if "<" not in text and not re.search(r"\[\s*\{", text) and (first := read_at(text, text.find("{"))) is not None:
        assert found == first


@pytest.mark.parametrize(
    ("text", "through"),
    [
        (r'{"a": "}\"}"} and', r'{"a": "}\"}"}'),
        (r'{"a": "\\"}}', r'{"a": "\\"}'),
        ('{"a": {"b": {}}}{', '{"a": {"b": {}}}'),
        ('The set {a, b} is {"a": 1}.', 'The set {a, b} is {"a": 1}'),
        ('{"a": 1', None),
        ('<think>{"a": 1}', None),
        ("  <think>{}</think>{} ", "  <think>{}</think>{}"),
        ("<thin>{} ", "<thin>{}"),
        ("no braces", None),
        ('[{"a": 1}, {"b": [2]}] and', '[{"a": 1}, {"b": [2]}]'),
        ('[{"a": "]"}', None),
        ('See [1]: {"a": 1}]', 'See [1]: {"a": 1}'),
        ('Well, <think>{"a": 1}</think> {"a": 2}.', 'Well, <think>{"a": 1}</think> {"a": 2}'),
    ],
)
def test_given_a_text_letter_by_letter_then_it_ends_there(text: str, through: str | None) -> None:
    assert end_of(list(text)) == (None if through is None else len(through))


def test_braces_of_a_thought_that_the_prompt_opened_are_skipped() -> None:
    """If the prompt opened a thought, the braces of the thought do not count."""
    text = 'So {"a": 1}.</think>\n{"a": 2}'
    assert end_of(list(text), thinking=True) == len(text)
    assert end_of(list(text)) == len('So {"a": 1}')
