"""The forms in which a data set may come: compressed or not, as lines or a list, under any suffix."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.predictions import read_predictions
from depqa_ray.core import UNKNOWN, Passage
from depqa_ray.errors import InputError
from depqa_ray.passages.base import BadRow, Row
from depqa_ray.passages.sources import load_passages
from tests.passages.documents import composed, document, qa, row, write_json, write_lines

ROWS = [row("q1"), row("q2"), row("q3", context="Other.")]
ITEMS = [composed("a", "Who?", "#1 >> where"), composed("b", "Who?")]
SQUAD = json.dumps(document(qa("q1"), qa("q2")))
LINES = "\n".join(map(json.dumps, ROWS)) + "\n"
EMPTY = {"text": [], "answer_start": []}


def ids(path: Path | str) -> list[list[str]]:
    return [[question.id for question in passage.questions] for passage in load_passages(str(path))]


def refusal(path: Path | str) -> str:
    """The one line that says why a data set cannot be used."""
    with pytest.raises(InputError) as error:
        list(load_passages(str(path)))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SQUAD, [["q1", "q2"]]),
        (json.dumps(json.loads(SQUAD), indent=1), [["q1", "q2"]]),
        (LINES, [["q1", "q2"], ["q3"]]),
        (f"\n\n{LINES}", [["q1", "q2"], ["q3"]]),
        (json.dumps(ROWS), [["q1", "q2"], ["q3"]]),
        (json.dumps(ROWS, indent=1), [["q1", "q2"], ["q3"]]),
        (json.dumps(ROWS[0]), [["q1"]]),
    ],
    ids=["squad", "indented", "lines", "blank-lines", "list", "indented-list", "one-row"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("name", ["set.json", "set.json.gz", "SET.JSON"])
def test_json_file_is_read_by_its_content(
    tmp_path: Path, text: str, expected: list[list[str]], encoding: str, name: str
) -> None:
    """A .json file may hold SQuAD's schema, JSON lines or a list, plain or compressed, whatever its name says."""
    content = text.encode(encoding)
    for content_ in (content, gzip.compress(content)):
        (tmp_path / name).write_bytes(content_)
        assert ids(tmp_path / name) == expected


@pytest.mark.parametrize("name", ["set.jsonl", "set.jsonl.gz"])
def test_json_lines_may_be_a_list_or_compressed(tmp_path: Path, name: str) -> None:
    for text in (LINES, json.dumps(ROWS), json.dumps(ROWS, indent=1)):
        for content in (text.encode(), gzip.compress(text.encode())):
            (tmp_path / name).write_bytes(content)
            assert ids(tmp_path / name) == [["q1", "q2"], ["q3"]]


@pytest.mark.parametrize("name", ["set.json", "set.jsonl", "set.json.gz", "set"])
def test_musique_may_be_a_list_or_compressed(tmp_path: Path, name: str) -> None:
    lines = "\n".join(map(json.dumps, ITEMS))
    for text in (lines, json.dumps(ITEMS), json.dumps(ITEMS, indent=1)):
        for content in (text.encode(), gzip.compress(text.encode()), text.encode("utf-8-sig")):
            (tmp_path / name).write_bytes(content)
            assert ids(f"musique:{tmp_path / name}") == [["a-1", "a-2"], ["b-1"]]


def test_bad_item_of_a_list_is_named(tmp_path: Path) -> None:
    """If an item of a list is bad, the line names its place, and skipping it leaves the others."""
    path = write_json(tmp_path / "set.json", [ROWS[0], row("q2", question=""), ROWS[2]])
    assert refusal(path) == f"{path}: row 2: 'question' is empty; fill it in or remove the row"
    bad: list[BadRow] = []
    assert len(list(load_passages(path, on_bad_row=bad.append))) == 2
    path = write_lines(tmp_path / "lines.json", ROWS[0], "{", ROWS[2])
    assert refusal(path).startswith(f"{path}: row 2: not JSON: ")


@pytest.mark.parametrize("name", ["set.json.gz", "set.jsonl", "predictions"])
@pytest.mark.parametrize("cut", [slice(-9), slice(30), slice(None, None, -1)], ids=["end", "half", "reversed"])
def test_damaged_gzip_is_one_line(tmp_path: Path, name: str, cut: slice) -> None:
    """If compressed data is damaged, the line says so and names the file."""
    path = tmp_path / name
    packed = gzip.compress(LINES.encode())
    path.write_bytes(packed[:10] + packed[10:][cut])
    with pytest.raises(InputError) as error:
        read_predictions(path) if name == "predictions" else list(load_passages(str(path)))
    assert str(error.value) == f"{path}: its gzip data is damaged or cut short; copy or compress it again"


def zipped(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("set.json", content)


@pytest.mark.parametrize(
    ("name", "packing", "pack"),
    [
        ("set.json.zst", "zstd", lambda path, text: path.write_bytes(b"\x28\xb5\x2f\xfd" + text)),
        ("set.jsonl.bz2", "bzip2", lambda path, text: path.write_bytes(bz2.compress(text))),
        ("set.json", "xz", lambda path, text: path.write_bytes(lzma.compress(text))),
        ("set.zip", "zip", zipped),
        ("set.parquet.gz", "gzip", lambda path, text: path.write_bytes(gzip.compress(text))),
        ("set.parquet", "gzip", lambda path, text: path.write_bytes(gzip.compress(text))),
    ],
)
def test_other_compression_is_named(tmp_path: Path, name: str, packing: str, pack: Any) -> None:
    """If a file is compressed in a way that is not read, the line names it and says what to do."""
    path = tmp_path / name
    pack(path, SQUAD.encode())
    assert refusal(path) == f"{path}: compressed with {packing}, which is not read here; decompress it first"


@pytest.mark.parametrize("name", ["set.csv.gz", "set.tar.gz", "set.gz", "set.csv"])
def test_other_formats_are_named_compressed_or_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"x"))
    assert refusal(tmp_path / name).startswith(f"{tmp_path / name}: not a data set; give squad, ")


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet"])
def test_hub_rows_without_a_text_are_unanswerable(tmp_path: Path, kind: str) -> None:
    """SQuAD v2.0 in the hub's columns marks unanswerable questions by empty answers, without is_impossible."""
    rows, path = [row("q1"), row("q2", answers=EMPTY)], tmp_path / f"set.{kind}"
    if kind == "parquet":
        datasets = pytest.importorskip("datasets")
        datasets.disable_progress_bars()
        datasets.Dataset.from_list(rows).to_parquet(path)
    else:
        path.write_text("\n".join(map(json.dumps, rows)))
    (passage,) = load_passages(str(path))
    assert [question.answers for question in passage.questions] == [("gold q1",), (UNKNOWN,)]


def test_hub_columns_in_a_squad_file_are_unanswerable(tmp_path: Path) -> None:
    path = write_json(
        tmp_path / "set.json", document(qa("q1", answers=EMPTY), qa("q2", answers=EMPTY, is_impossible=None))
    )
    (passage,) = load_passages(path)
    assert [question.answers for question in passage.questions] == [(UNKNOWN,), (UNKNOWN,)]


def test_home_folder_is_found_without_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~ that no shell replaced is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_lines(tmp_path / "set.jsonl", *ROWS)
    write_lines(tmp_path / "items.jsonl", *ITEMS)
    assert ids("~/set.jsonl") == [["q1", "q2"], ["q3"]]
    assert ids("musique:~/items.jsonl") == [["a-1", "a-2"], ["b-1"]]


def test_passage_without_questions_is_counted(tmp_path: Path) -> None:
    """If a passage has no usable question, it is left out, and the caller is told."""
    value = document(qa("q1"))
    value["data"][0]["paragraphs"] += [
        {"context": "Empty.", "qas": []},
        {"context": "Bad.", "qas": [qa("q2", answers=[])]},
    ]
    empty: list[int] = []
    path = write_json(tmp_path / "set.json", value)
    passages = list(load_passages(path, on_bad_row=lambda bad: None, on_empty=lambda: empty.append(1)))
    assert (len(passages), len(empty)) == (1, 2)


def test_row_nested_too_deep_is_reported_without_it() -> None:
    """If a row is nested so deep that it cannot be written, its place and the reason are kept."""
    value: Any = []
    for _ in range(100_000):
        value = [value]
    bad = Row("set.json: row 1", value).bad(InputError("no object", fix="make it one"))
    assert bad == BadRow("set.json: row 1", "no object", "make it one", "nested too deep to be kept")


def test_date_far_off_in_parquet_is_one_line(tmp_path: Path) -> None:
    """If a column of a Parquet file holds a date that Python cannot, the error is one line."""
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"id": ["q1"], "when": pyarrow.array([2**62], pyarrow.timestamp("us"))})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "set.parquet")
    assert "not a Parquet file that can be read: date value out of range" in refusal(tmp_path / "set.parquet")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = ("id", "title", "context", "question", "answers", "data", "is_impossible", "depends_on")


@st.composite
def odd_files(draw: st.DrawFn) -> bytes:
    """Something like a data set, with odd values, cut or damaged, perhaps compressed."""
    whole: list[Any] = [dict(row(f"q{at}")) for at in range(3)]
    if draw(st.booleans()):
        whole[draw(st.integers(0, 2))][draw(st.sampled_from(KEYS))] = draw(JSON_VALUES)
    if draw(st.booleans()):
        whole[1] = draw(JSON_VALUES)
    forms = (whole, document(*whole), composed("a", "Who?") | whole[0], draw(JSON_VALUES))
    lines = draw(st.booleans())
    text = "\n".join(map(json.dumps, whole)) if lines else json.dumps(draw(st.sampled_from(forms)))
    content = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()
    content = gzip.compress(content, mtime=0) if draw(st.booleans()) else content
    if draw(st.integers(0, 3)) == 0:
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=2)) + content[at + draw(st.integers(0, 2)) :]
    return content


@given(odd_files() | st.binary(max_size=20), st.sampled_from(["a.json", "a.jsonl", "a.json.gz", "a.parquet", "a.zip"]))
def test_any_file_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str
) -> None:
    """Whatever a file holds, it gives passages with ids of their own, or one line that says why not."""
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    for dataset in (str(path), f"musique:{path}"):
        bad: list[BadRow] = []
        passages: list[Passage] = []
        try:
            passages += load_passages(dataset, on_bad_row=bad.append)
            list(load_passages(dataset))
        except InputError as error:
            assert "\n" not in str(error)
        assert len({passage.id for passage in passages}) == len(passages)
        json.dumps([row_.row for row_ in bad])
