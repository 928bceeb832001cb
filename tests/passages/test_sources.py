from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from depqa_ray.errors import InputError
from depqa_ray.hub import FetchProgress
from depqa_ray.passages.base import BadRow
from depqa_ray.passages.sources import fetch_dataset, load_passages
from depqa_ray.passages.synthetic.export import (
    EMBEDDED_COUNT,
    EMBEDDED_FILE,
    EMBEDDED_SEED,
    worlds_text,
    write_worlds,
)
from depqa_ray.passages.synthetic.worlds import WorldShape, generate_worlds
from tests.hub_repositories import add_data_set
from tests.hub_server import Hub
from tests.passages.documents import row, write_lines


@pytest.mark.parametrize(
    "name", ["none", "none.csv", "none.json", "none.jsonl", "none.parquet", "n" * 5000 + ".json", "\0.json"]
)
def test_unknown_dataset_name_fails_at_once(tmp_path: Path, name: str) -> None:
    """If the name of a data set means nothing, loading fails at once."""
    with pytest.raises(InputError, match=r"give squad, embedded, or the path of a \.json") as error:
        load_passages(str(tmp_path / name), split="train")
    assert str(tmp_path / name) in str(error.value)


def test_given_a_folder_when_asked_for_then_it_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "set.json").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        load_passages(str(tmp_path / "set.json"), split="train")


def test_musique_without_a_file_fails_at_once(tmp_path: Path) -> None:
    """If musique: names no file that can be read, loading fails at once."""
    with pytest.raises(InputError) as error:
        load_passages("musique:")
    assert str(error.value) == "'musique:' names no file; write the path of a MuSiQue-Ans .jsonl file behind it"
    for name, what in ((str(tmp_path / "none.jsonl"), "No such file"), (str(tmp_path), "Is a directory")):
        with pytest.raises(InputError, match=what) as error:
            load_passages(f"musique:{name}")
        assert str(error.value).startswith(f"{name}: cannot be read: ")
        assert "\n" not in str(error.value)


SQUAD = "rajpurkar/squad"


@pytest.fixture
def squad(hub: Hub) -> Hub:
    """A hub with SQuAD's splits: two files of ``train``, and one of ``validation``."""
    folder = add_data_set(hub.root, train=[row("q1"), row("q2", context="Other.")], validation=[row("v1")])
    first = folder / "plain_text" / "train-00000-of-00001.parquet"
    more = add_data_set(hub.root, "more/rows", train=[row("q3"), row("q4", question="")])
    first.rename(first.with_name("train-00000-of-00002.parquet"))
    (more / "plain_text" / first.name).rename(first.with_name("train-00001-of-00002.parquet"))
    return hub


def test_rows_of_the_hub_are_grouped_into_passages(squad: Hub) -> None:
    """The rows of a split's files become passages, and places count through its files."""
    bad: list[BadRow] = []
    passages = list(load_passages("squad", on_bad_row=bad.append))
    assert [[question.id for question in passage.questions] for passage in passages] == [["q2"], ["q1", "q3"]]
    assert [row.where for row in bad] == ["rajpurkar/squad (train): row 4"]
    assert not squad.bodies("validation")


def test_data_set_is_fetched_once_and_known_by_commit(squad: Hub) -> None:
    """If a data set was fetched, its passages are read without the hub, and its commit is known."""
    seen: list[FetchProgress] = []
    snapshot = fetch_dataset("squad", "validation", seen.append)
    assert snapshot
    assert snapshot.commit == squad.commit(SQUAD, "datasets")
    assert (seen[-1].name, seen[-1].done) == (SQUAD, seen[-1].total)
    squad.requests.clear()
    (passage,) = load_passages("squad", split="validation", snapshot=snapshot)
    assert list(load_passages(f"squad@{snapshot.commit}", split="validation")) == [passage]
    assert [question.id for question in passage.questions] == ["v1"]
    assert not squad.requests


def test_other_data_sets_are_not_on_the_hub(squad: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "squad@1.jsonl", row("q1"))
    for name in ("embedded", "squad.json", "musique:x", "squad@1.jsonl"):
        assert fetch_dataset(name, "train") is None
    assert len(list(load_passages("squad@1.jsonl"))) == 1
    assert not squad.requests


@pytest.mark.parametrize(
    ("dataset", "split", "line"),
    [
        ("squad", "test", "rajpurkar/squad: it has no split 'test', but train, validation; choose another --split"),
        ("squad", "*", "rajpurkar/squad: it has no split '*', but train, validation; choose another --split"),
        (
            "squad@v9",
            "train",
            "rajpurkar/squad: the hub has no revision 'v9' of it; give a branch, a tag or a whole commit behind @",
        ),
    ],
)
def test_missing_split_or_revision_is_one_line(squad: Hub, dataset: str, split: str, line: str) -> None:
    """If the split or the revision does not exist, loading fails at once; the splits that there are are named."""
    with pytest.raises(InputError) as error:
        load_passages(dataset, split=split)
    assert str(error.value) == line


def test_missing_split_is_known_offline(squad: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a data set is in the cache, a split that it has not is refused as online."""
    fetch_dataset("squad", "train")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="it has no split 'test', but train, validation"):
        fetch_dataset("squad", "test")
    with pytest.raises(InputError, match="not whole in the cache"):
        fetch_dataset("squad", "validation")


def test_hub_out_of_reach_is_a_one_line_error(squad: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the hub cannot be reached, one line says what else can be read."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"^rajpurkar/squad: the hub cannot be reached at ") as error:
        load_passages("squad")
    assert str(error.value).endswith("; give a local file with --dataset PATH or use --dataset embedded")


def test_damaged_file_of_the_hub_is_named(squad: Hub) -> None:
    """If a fetched file is no Parquet, reading it names the file."""
    (squad.root / "datasets" / SQUAD / "plain_text" / "validation-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"validation-00000-of-00001\.parquet: not a Parquet file that can be read"):
        list(load_passages("squad", split="validation"))


def test_shipped_worlds_equal_generated_ones() -> None:
    """If the shipped worlds are generated again, they are the same."""
    assert EMBEDDED_FILE.read_text(encoding="utf-8") == worlds_text(EMBEDDED_COUNT, EMBEDDED_SEED), (
        "the generator changed: run python -m depqa_ray.passages.synthetic.export"
    )


def test_embedded_data_set_equals_the_generated_worlds() -> None:
    """The embedded data set holds the generated worlds."""
    loaded = list(load_passages("embedded"))
    generated = list(generate_worlds(EMBEDDED_COUNT, EMBEDDED_SEED))
    assert len(loaded) == EMBEDDED_COUNT
    for ours, theirs in zip(loaded, generated, strict=True):
        assert (ours.id, ours.title, ours.text, ours.questions) == (
            theirs.id,
            theirs.title,
            theirs.text,
            theirs.questions,
        )
        assert {(e.parent, e.child) for e in ours.gold_edges or ()} == {
            (e.parent, e.child) for e in theirs.gold_edges or ()
        }


def test_missing_folder_is_made_for_worlds(tmp_path: Path) -> None:
    """If the folder for worlds is missing, it is made."""
    path = tmp_path / "a" / "b" / "worlds.json"
    write_worlds(path, 2, seed=5, shape=WorldShape(questions=3))
    assert [len(p.questions) for p in load_passages(str(path), split="")] == [3, 3]
    assert list(path.parent.iterdir()) == [path]


def test_worlds_cannot_be_written_below_a_file(tmp_path: Path) -> None:
    """If the path for worlds lies below a file, the error asks for another path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: .*; choose another path"):
        write_worlds(tmp_path / "file" / "worlds.json", 1, seed=1)


def test_failed_writing_of_worlds_leaves_no_draft(tmp_path: Path) -> None:
    """If a folder is in the way of the file for worlds, writing fails and leaves no draft."""
    (tmp_path / "worlds.json").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_worlds(tmp_path / "worlds.json", 1, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["worlds.json"]


def test_impossible_worlds_are_an_error(tmp_path: Path) -> None:
    """If the worlds asked for are impossible, the error says why."""
    with pytest.raises(InputError, match="at least 1"):
        write_worlds(tmp_path / "worlds.json", 0, seed=1)
    with pytest.raises(InputError, match="ask for fewer"):
        write_worlds(tmp_path / "worlds.json", 40, seed=1, shape=WorldShape(questions=12, depth=1, entities=2))


def test_importing_passages_loads_no_heavy_library() -> None:
    """If passages and answering are imported, no heavy library is loaded."""
    code = (
        "import sys, depqa_ray.passages.sources, depqa_ray.passages.sampling, depqa_ray.answering.answers, "
        "depqa_ray.answering.scoring; heavy = {'huggingface_hub', 'datasets', 'pyarrow', 'json_repair', 'torch'}; "
        "print(heavy & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
