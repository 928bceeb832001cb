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
def test_given_a_name_that_means_nothing_when_asked_for_then_it_fails_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"give squad, embedded, or the path of a \.json") as error:
        load_passages(str(tmp_path / name), split="train")
    assert str(tmp_path / name) in str(error.value)


def test_given_a_folder_when_asked_for_then_it_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "set.json").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        load_passages(str(tmp_path / "set.json"), split="train")


def test_given_musique_without_a_file_when_asked_for_then_it_fails_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        load_passages("musique:")
    assert str(error.value) == "'musique:' names no file; write the path of a MuSiQue-Ans .jsonl file behind it"
    for name, what in ((str(tmp_path / "none.jsonl"), "No such file"), (str(tmp_path), "Is a directory")):
        with pytest.raises(InputError, match=what) as error:
            load_passages(f"musique:{name}")
        assert str(error.value).startswith(f"{name}: cannot be read: ")
        assert "\n" not in str(error.value)


def test_given_the_hub_when_it_is_reached_then_its_rows_are_grouped(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_given_the_hub_when_it_cannot_be_used_then_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, message: str
) -> None:
    datasets = pytest.importorskip("datasets")

    def load_dataset(*args: Any, **kwargs: Any) -> None:
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(InputError) as error:
        load_passages("squad", split="x")
    assert str(error.value) == message


def test_given_the_shipped_worlds_when_generated_again_then_they_are_the_same() -> None:
    assert EMBEDDED_FILE.read_text(encoding="utf-8") == worlds_text(EMBEDDED_COUNT, EMBEDDED_SEED), (
        "the generator changed: run python -m depqa_ray.passages.synthetic.export"
    )


def test_given_the_embedded_set_when_loaded_then_it_is_the_generated_worlds() -> None:
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


def test_given_a_folder_that_is_not_there_when_worlds_are_written_then_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "worlds.json"
    write_worlds(path, 2, seed=5, shape=WorldShape(questions=3))
    assert [len(p.questions) for p in load_passages(str(path), split="")] == [3, 3]
    assert list(path.parent.iterdir()) == [path]


def test_given_a_path_below_a_file_when_worlds_are_written_then_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written: .*; choose another path"):
        write_worlds(tmp_path / "file" / "worlds.json", 1, seed=1)


def test_given_a_folder_in_the_way_when_worlds_are_written_then_no_draft_is_left(tmp_path: Path) -> None:
    (tmp_path / "worlds.json").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_worlds(tmp_path / "worlds.json", 1, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["worlds.json"]


def test_given_no_world_that_can_be_when_written_then_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 1"):
        write_worlds(tmp_path / "worlds.json", 0, seed=1)
    with pytest.raises(InputError, match="ask for fewer"):
        write_worlds(tmp_path / "worlds.json", 40, seed=1, shape=WorldShape(questions=12, depth=1, entities=2))


def test_given_the_package_when_imported_then_heavy_libraries_are_not() -> None:
    code = (
        "import sys, depqa_ray.passages.sources, depqa_ray.passages.sampling, depqa_ray.answering.answers, "
        "depqa_ray.answering.scoring; print({'datasets', 'pyarrow', 'json_repair', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
