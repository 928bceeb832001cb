"""The files of a command: tried before it starts, and written before it prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.cli.commands import main
from depqa_ray.results.manifest import Manifest
from depqa_ray.results.store import RunStore
from tests.sample_run import sample_manifest, write_sample


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever would run passages, generate them or measure fails the test."""

    def started(*_: object, **__: object) -> Any:
        pytest.fail("the command started")

    for place in (
        "depqa_ray.runtime.run.run_experiment",
        "depqa_ray.benchmark.run.run_benchmark",
        "depqa_ray.passages.synthetic.export.write_worlds",
    ):
        monkeypatch.setattr(place, started)


@pytest.mark.usefixtures("nothing_starts")
@pytest.mark.parametrize(
    ("command", "flag"),
    [
        *((command, flag) for command in ("run", "compare", "demo") for flag in ("--run-dir", "--html-dir")),
        *((command, flag) for command in ("run", "compare", "demo") for flag in ("--json-out", "--parquet-out")),
        ("worlds", "--out"),
        ("bench engine", "--json-out"),
        ("bench engine", "--markdown-out"),
    ],
)
def test_output_path_is_tried_before_anything_starts(
    command: str, flag: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """If an output cannot be written, the command ends at once with one line that names its flag."""
    Path("file").touch()
    assert main([*command.split(), flag, "file/x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("depqa-ray: error: file/x: cannot be written: ")
    assert said.endswith(f"file is a file, not a folder; give {flag} a path that can be written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.usefixtures("nothing_starts")
def test_default_run_directory_is_tried_too(capsys: pytest.CaptureFixture[str]) -> None:
    """If the current folder takes no run, the line says to give --run-dir."""
    Path("runs").touch()
    assert main(["demo"]) == 2
    assert "give --run-dir a path that can be written" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_starts")
def test_run_directory_with_passages_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """If --run-dir holds a run with passages, the command ends before anything is loaded."""
    write_sample(Path("r"))
    assert main(["demo", "--run-dir", "r"]) == 1
    assert capsys.readouterr().err == (
        "depqa-ray: error: r already holds a run; give another --run-dir, or delete this one\n"
    )


@pytest.mark.usefixtures("nothing_starts")
def test_run_directory_in_use_is_refused_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """If another run has just started in --run-dir, the command ends before anything is loaded."""
    with RunStore.create(Path("r"), sample_manifest()):
        assert main(["demo", "--run-dir", "r"]) == 1
    assert capsys.readouterr().err == (
        "depqa-ray: error: r is in use by another run; give another --run-dir, or wait for that run\n"
    )


@pytest.mark.usefixtures("nothing_starts")
def test_argument_that_is_not_utf_8_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """If an argument is not UTF-8, which Ray cannot take, the error says what to set."""
    assert main(["demo", "--run-dir", os.fsdecode(b"caf\xe9")]) == 2
    assert "is not UTF-8" in (said := capsys.readouterr().err) and "PYTHONUTF8=1" in said
    assert said.count("\n") == 1


def test_error_is_one_line_without_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    """If a name holds a line feed or an escape sequence, the error is one line all the same."""
    assert main(["report", "a\nb\x1b[31m"]) == 1
    assert capsys.readouterr().err.startswith("depqa-ray: error: a b\u241b[31m holds no run")


def test_run_directory_without_passages_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the run in --run-dir failed before its first passage, the command starts there again."""
    RunStore.create(Path("r"), sample_manifest()).close()
    started: list[Manifest] = []

    def run_experiment(settings: Any, *_: object) -> Path:
        with write_sample(settings.run_dir) as store:
            started.append(store.manifest)
        return Path("r")

    monkeypatch.setattr("depqa_ray.runtime.run.run_experiment", run_experiment)
    assert main(["demo", "--run-dir", "r", "--log-level", "error"]) == 0
    assert len(started) == 1


def test_outputs_are_written_though_one_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """If an output cannot be written, the others are, the table is printed, and the exit code is 1."""
    write_sample(Path("r"))
    Path("file").touch()
    flags = ("--json-out", "file/j.json", "--parquet-out", "a.parquet", "--html-dir", "pages")

    assert main(["report", "r", *flags]) == 1

    shown = capsys.readouterr()
    assert shown.err.startswith("depqa-ray: error: cannot write file/j.json: ") and shown.err.count("\n") == 1
    assert "Averages over 2 passages" in shown.out
    assert shown.out.endswith("Run directory: r\nRecords: a.parquet\nPages: pages/index.html\n")
    assert Path("a.parquet").exists() and Path("pages/index.html").exists()


def test_files_are_there_when_the_table_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If printing fails for any reason, every file is there already."""

    def printed(*_: object, **__: object) -> None:
        found = {path.name for path in Path("r").iterdir()} | {path.name for path in Path().iterdir()}
        assert found >= {"results.json", "predictions-sequential.json", "trace.json", "j.json", "a.parquet", "pages"}
        sys.exit(7)

    write_sample(Path("r"))
    monkeypatch.setattr("depqa_ray.report.terminal.print_results", printed)
    with pytest.raises(SystemExit, match="7"):
        main(["report", "r", "--json-out", "j.json", "--parquet-out", "a.parquet", "--html-dir", "pages"])
