"""Texts and numbers as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.report.build import page_file
from depqa_ray.report.text import isolated, number, one_line, rate, score, seconds, shorten, visible


@given(st.text(st.characters()))
def test_visible_text_has_no_control_characters(text: str) -> None:
    """A text made visible has no control characters and can be encoded."""
    shown = visible(text)

    shown.encode("utf-8")
    assert not {char for char in shown if ord(char) < 32 or 127 <= ord(char) < 160} - {"\n", "\t"}
    assert len(shown) == len(text)


@given(st.text(st.characters()))
def test_isolated_text_holds_no_direction_of_its_own(text: str) -> None:
    shown = isolated(text)

    assert shown[0] == "\u2068" and shown[-1] == "\u2069"
    assert not set(shown[1:-1]) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(st.text(), st.integers(2, 30))
def test_shortened_text_fits_its_width(text: str, width: int) -> None:
    """A shortened text fits its width."""
    assert len(shorten(text, width)) <= width


def test_one_line_joins_lines_and_shows_controls() -> None:
    """The lines of a text are joined to one, and its controls are made visible."""
    assert one_line(" a\n\nb\t\x1bc ") == "a b ␛c"


@given(st.integers(0, 9999), st.text(st.characters()))
def test_page_files_are_safe_names(position: int, passage_id: str) -> None:
    name = page_file(position, passage_id)

    assert name.startswith(f"passage-{position + 1:04d}") and name.endswith(".html")
    assert len(name) < 80
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert name.count(".") == 1


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (score(None), "—"),
        (score(2 / 3), "0.667"),
        (number(5), "5"),
        (number(5.0), "5.0"),
        (rate(0.456), "0.46"),
        (rate(1234.5), "1234"),
        (seconds(0.0), "0.000"),
        (seconds(0.01234), "0.0123"),
        (seconds(1.5), "1.500"),
        (seconds(1234.56), "1234.6"),
    ],
)
def test_numbers_have_the_decimals_that_matter(shown: str, text: str) -> None:
    assert shown == text
