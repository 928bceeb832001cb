from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.errors import InputError
from depqa_ray.passages.sources import load_passages
from depqa_ray.passages.synthetic.export import (
    EMBEDDED_COUNT,
    EMBEDDED_FILE,
    EMBEDDED_SEED,
    worlds_text,
    write_worlds,
)
from depqa_ray.passages.synthetic.worlds import WorldShape, generate_worlds
from tests.passages.documents import row


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


def test_rows_of_the_hub_are_grouped_into_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the hub is reached, its rows are grouped into passages."""
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        asked.append((args, kwargs))
        return [row("q1"), row("q2", context="Other."), row("q3")]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    passages = list(load_passages("squad", split="validation"))
    assert sorted(len(passage.questions) for passage in passages) == [1, 2]
    assert asked == [(("rajpurkar/squad",), {"split": "validation"})]


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            ConnectionError("Couldn't reach the Hub\n(offline)"),
            "cannot load rajpurkar/squad from the hub: Couldn't reach the Hub (offline); "
            "give a local file with --dataset PATH or use --dataset embedded",
        ),
        (
            ValueError("Unknown split \"x\". Should be one of ['train']."),
            "rajpurkar/squad: Unknown split \"x\". Should be one of ['train'].; choose another --split",
        ),
    ],
)
def test_unusable_hub_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str) -> None:
    """If the hub cannot be used, the error is one line with a fix."""
    datasets = pytest.importorskip("datasets")

    def load_dataset(*args: Any, **kwargs: Any) -> None:
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError) as error:
        load_passages("squad", split="x")
    assert str(error.value) == message


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
        "depqa_ray.answering.scoring; print({'datasets', 'pyarrow', 'json_repair', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
