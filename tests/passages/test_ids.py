"""Passages have ids of their own, and those of ordinary data never change: run directories refer to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.core import Passage
from depqa_ray.passages.base import Row, raise_bad_row
from depqa_ray.passages.rows import read_rows
from depqa_ray.passages.sources import load_passages
from depqa_ray.passages.squad import read_squad
from depqa_ray.report.build import page_file
from tests.passages.documents import composed, qa, row, write_lines

NAMES = st.sampled_from(
    ["", "passage", "A", "a", "A#2", "A#2#2", "passage#2", "#2", "A#3", "\ud800", "\ud801", "?", "A\0"]
)
TITLES = st.lists(st.one_of(NAMES, st.text(max_size=3)), max_size=12)


def from_squad(titles: list[str]) -> list[Passage]:
    articles = [
        {"title": title, "paragraphs": [{"context": f"Text {at}.", "qas": [qa(f"q{at}")]}]}
        for at, title in enumerate(titles)
    ]
    return list(read_squad({"data": articles}, Path("set.json"), raise_bad_row))


def from_rows(titles: list[str]) -> list[Passage]:
    rows = [Row("", row(f"q{at}", title=title, context=f"Text {at}.")) for at, title in enumerate(titles)]
    return list(read_rows(lambda: (one for one in rows), raise_bad_row))


@pytest.mark.parametrize("read", [from_squad, from_rows])
def test_ids_of_ordinary_data_never_change(read: Any) -> None:
    """A passage's id is its title, numbered from the second passage of the title on."""
    titles = ["Ada", "Velcarn", "Velcarn", "", "Ada", "Velcarn", "", "C#", "C#"]
    assert [passage.id for passage in read(titles)] == [
        "Ada",
        "Velcarn",
        "Velcarn#2",
        "passage",
        "Ada#2",
        "Velcarn#3",
        "passage#2",
        "C#",
        "C##2",
    ]


def test_ids_of_embedded_data_never_change() -> None:
    assert [passage.id for passage in load_passages("embedded")] == [f"world-2026-{number}" for number in range(24)]


@pytest.mark.parametrize("read", [from_squad, from_rows])
def test_title_that_looks_like_an_id_gets_its_own(read: Any) -> None:
    """If a title equals an id that was given, its passage gets another one."""
    assert [one.id for one in read(["Velcarn", "Velcarn", "Velcarn#2"])] == ["Velcarn", "Velcarn#2", "Velcarn#2#2"]
    assert [one.id for one in read(["Velcarn#2", "Velcarn", "Velcarn"])] == ["Velcarn#2", "Velcarn", "Velcarn#3"]
    assert [one.id for one in read(["passage", "", "", "passage"])] == [
        "passage",
        "passage#2",
        "passage#3",
        "passage#4",
    ]


@given(TITLES)
def test_no_titles_make_ids_collide(titles: list[str]) -> None:
    """Whatever the titles are, each passage has an id of its own, which every file can hold, and its own text."""
    for passages in (from_squad(titles), from_rows(titles)):
        assert len({passage.id.encode() for passage in passages}) == len(passages) == len(titles)
        assert [passage.title for passage in passages] == titles
        assert [passage.text for passage in passages] == [f"Text {at}." for at in range(len(titles))]
        pages = [page_file(at, passage.id).lower() for at, passage in enumerate(passages)]
        assert len({*pages, "index.html"}) == len(titles) + 1


@given(st.lists(st.tuples(st.text("a\0 1", max_size=4), st.text("a\0 1", min_size=1, max_size=4)), max_size=8))
def test_title_and_text_are_not_mixed_up(pairs: list[tuple[str, str]]) -> None:
    """Rows form one passage only if both their titles and their texts are the same."""
    pairs = [(title, f"x{text}") for title, text in pairs]
    rows = [Row("", row(f"q{at}", title=title, context=text)) for at, (title, text) in enumerate(pairs)]
    passages = list(read_rows(lambda: (one for one in rows), raise_bad_row))
    assert {(passage.title, passage.text) for passage in passages} == set(pairs)
    assert len(passages) == len(set(pairs))


@given(st.lists(st.text("a-1", min_size=1, max_size=5), unique=True, max_size=6))
def test_questions_of_composed_items_have_own_ids(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    """Whatever the ids of MuSiQue's items are, the questions made of their steps have ids of their own."""
    path = write_lines(tmp_path_factory.mktemp("set") / "set.jsonl", *(composed(id_, *["Who?"] * 3) for id_ in ids))
    passages = list(load_passages(f"musique:{path}"))
    assert [passage.id for passage in passages] == ids
    questions = [question.id for passage in passages for question in passage.questions]
    assert len(set(questions)) == len(questions) == 3 * len(ids)
