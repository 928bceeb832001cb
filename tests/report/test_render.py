"""The pages show what happened, run nothing, load nothing, and are the same for the same run."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depqa_ray.code_version import CodeVersion
from depqa_ray.core import Edge, Outcome, Passage, Question, StepResult
from depqa_ray.edges.source import EdgeSelection
from depqa_ray.engines.base import EngineInfo
from depqa_ray.errors import StoreError
from depqa_ray.report.build import index_view, page_views
from depqa_ray.report.render import render, write_pages
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import EdgeRecord, PassageRecord, PassageResult, RunRecords
from depqa_ray.results.replicas import describe_replica
from depqa_ray.results.store import RunStore
from tests.report.pages import Page, read_page
from tests.sample_run import STRATEGIES, lantern, sample_manifest, sample_records, velcarn, with_final, write_sample

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "</style><script>alert(1)</script>",
    "</title></svg></template><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt; &amp;amp;",
    "\u202eright to left, never closed",
    "\x00\x1b[31m\x7f\x9b",
    "\ud800 half a character",
    "w" * 5000,
    "",
    "   \n\t ",
]


def hostile_records(text: str) -> RunRecords:
    """A run in which every text that a data set or a model can bring in is ``text``."""
    strategy = text.encode("utf-8", "replace").decode()  # names of strategies are ours, so they can be encoded
    questions = (Question(text, text, (text,)), Question("other", text, (text, text)))
    passage = Passage(text, text, text, questions, (Edge(text, "other", 1.0, text, "gold"),))
    step = StepResult(
        strategy, text, text, (Outcome(text, "answered", text, True), Outcome("other", "failed", reason=text)), text,
        replica=text, batch=0, completed=1.0,
    )  # fmt: skip
    record = PassageRecord(passage)
    edge = Edge(text, "other", 0.5, text, "model")
    edges = EdgeRecord(strategy, text, EdgeSelection("model", (edge,), (edge,), {text: 1}, text))
    code = CodeVersion(text, text, text, text)
    replicas = [describe_replica("answer", EngineInfo(text, text, text, text, notes=(text,), code=code))]
    replicas.append(describe_replica("edge", EngineInfo(text, text, f"{text}!", text, notes=(f"{text}!",))))
    labels = sample_manifest(model=text, engine=text, dataset=text, edges=text)
    commits = {"model": text, "dataset": text, "edge_model": text}
    manifest = replace(labels, replicas=tuple(replicas), commits=commits, code=code)
    return RunRecords(manifest, (record,), (step,), (PassageResult(strategy, text, 0.0, 1.0),), (), (edges,), (text,))


def pages(records: RunRecords) -> list[str]:
    results = compute_results(records)
    return [render(index_view(results, records.warnings)), *map(render, page_views(results, records))]


def assert_harmless(page: Page) -> None:
    assert not page.all("script") and not page.all("img") and not page.all("link") and not page.all("iframe")
    assert len(page.all("style")) == 1
    for element in page.elements:
        for name, value in element.attributes.items():
            assert not name.startswith("on") and name not in ("src", "srcdoc", "style", "action"), (element.tag, name)
            if name == "href":
                assert re.fullmatch(r"#q\d+|index\.html|passage-[a-z0-9-]+\.html", value), value


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_becomes_no_markup(text: str) -> None:
    """If a text of the data is hostile, no page takes it as markup."""
    for html in pages(hostile_records(text)):
        assert_harmless(read_page(html))
        html.encode("utf-8")
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", html)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(), max_size=40).filter(lambda text: text != "other"))
def test_arbitrary_text_becomes_no_markup(text: str) -> None:
    """If a text of the data is arbitrary, no page takes it as markup."""
    for html in pages(hostile_records(text)):
        assert_harmless(read_page(html))


def test_hostile_texts_are_shown_as_they_are() -> None:
    html = pages(hostile_records("<b>bold</b> & 'x'"))[1]

    assert "<b>bold</b> & 'x'" in read_page(html).text


def test_the_style_sheet_is_the_only_one_that_the_page_allows() -> None:
    for html in pages(sample_records()):
        page = read_page(html)
        policy = next(e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes)
        digest = base64.b64encode(hashlib.sha256(page.all("style")[0].text.encode()).digest()).decode()
        assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_nothing_is_loaded_from_anywhere() -> None:
    for html in pages(sample_records()):
        assert not re.search(r"https?://|url\((?!#arrow-)|@import|//[a-z]", html)


def test_a_run_makes_an_index_and_a_page_a_passage(tmp_path: Path) -> None:
    write_sample(tmp_path / "run")

    paths = write_pages(RunStore.open(tmp_path / "run").read(), tmp_path / "html")

    assert [path.name for path in paths] == ["index.html", "passage-0001-velcarn.html", "passage-0002-lan.html"]
    links = {element.attributes["href"] for element in read_page(paths[0].read_text()).all("a")}
    assert links == {path.name for path in paths[1:]}


def test_the_same_run_makes_the_same_bytes(tmp_path: Path) -> None:
    records = sample_records()
    shuffled = replace(records, steps=records.steps[::-1], finished=records.finished[::-1])

    first = write_pages(records, tmp_path / "a")
    second = write_pages(shuffled, tmp_path / "b")

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_unwritable_folder_is_a_store_error(tmp_path: Path) -> None:
    """If the folder for the pages cannot be written, StoreError is raised."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot write"):
        write_pages(sample_records(), tmp_path / "file")


def test_a_page_shows_questions_answers_and_where_they_come_from() -> None:
    page = read_page(pages(sample_records())[1])

    for text in ("Who founded Velcarn?", "Mira Oston", "Harrowick probably", "the engine ran out of room"):
        assert text in page.text
    for text in ("exact", "partial, F1 0.667", "wrong", "failed", "not selected, gold", "batch 2, r0"):
        assert text in page.text
    for text in (*STRATEGIES, "embedded", "Imaginary Accelerator"):
        assert text in page.text


def test_neighbours_are_linked() -> None:
    first, second = (read_page(html) for html in pages(sample_records())[1:])

    assert [e.attributes["href"] for e in first.all("a") if "rel" in e.attributes] == ["passage-0002-lan.html"]
    assert [e.attributes["href"] for e in second.all("a") if "rel" in e.attributes] == ["passage-0001-velcarn.html"]


def test_tables_and_pictures_can_be_read_aloud() -> None:
    for html in pages(sample_records()):
        page = read_page(html)
        assert len(page.all("caption")) == len(page.all("table"))
        assert all(element.attributes.get("scope") in ("row", "col") for element in page.all("th"))
        assert all(element.attributes.get("aria-label") for element in page.all("svg"))
        ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
        assert len(ids) == len(set(ids))


def test_final_answers_have_a_table_on_the_index() -> None:
    """If there are final answers, the index has a table of them."""
    page = read_page(pages(sample_records(with_final(velcarn())))[0])

    assert any("steps on the way" in element.text for element in page.all("caption"))
    rows = {element.text for element in page.all("tr")}
    assert {"sequential10.0000.000", "full_batch11.0001.000", "dependency_parallel11.0001.000"} <= {
        "".join(row.split()) for row in rows
    }
    assert "steps on the way" not in pages(sample_records())[0]


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ({"engine": "simulated"}, "The figures are simulated"),
        ({"engine": "transformers", "embedded_reader": True, "dataset": "squad"}, "knows worlds, not Wikipedia"),
        ({"engine": "transformers", "embedded_reader": True, "dataset": "embedded"}, None),
        ({"engine": "transformers", "embedded_reader": True, "dataset": "data/my-worlds.json"}, None),
        ({"engine": "transformers", "dataset": "squad", "model": "Qwen/Qwen3-4B"}, None),
    ],
)
def test_limits_of_the_figures_are_noted(labels: dict[str, object], note: str | None) -> None:
    """If figures are simulated or the reader does not know the data, a note says so."""
    for html in pages(sample_records(**labels)):
        notes = [element.text for element in read_page(html).all("p") if element.attributes.get("role") == "note"]
        shown = [text for text in notes if "without an answer" not in text]
        assert len(shown) == (note is not None)
        assert note is None or note in shown[0]


def test_gaps_of_the_run_are_noted_on_the_index() -> None:
    records = sample_records()
    cut = replace(records, finished=records.finished[:-1], warnings=("a line was torn",))

    text = read_page(pages(cut)[0]).text

    missing = "1 of 2 passages reached, with 3 of 8 questions, was not finished and counts in no figure."
    assert f"dependency_parallel: {missing}" in text
    assert "a line was torn" in text


def test_a_passage_that_nothing_finished_has_a_page() -> None:
    records = RunRecords(sample_manifest(), (velcarn(),))

    assert "No strategy has finished this passage." in read_page(pages(records)[1]).text


def test_a_passage_without_questions_has_a_page() -> None:
    record = PassageRecord(Passage("empty", "", "", ()))

    assert_harmless(read_page(pages(sample_records(record))[1]))


def test_a_question_without_an_answer_in_the_passage_is_marked() -> None:
    assert "(not answered in the passage)" in read_page(pages(sample_records(lantern()))[1]).text
