"""Standard output and error never end a command: other encodings, closed pipes, full disks, closed streams."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from depqa_ray.cli.commands import main
from depqa_ray.cli.streams import CommandStream, command_streams
from tests.sample_run import sample_records, velcarn, write_sample

PROGRAM = (sys.executable, "-m", "depqa_ray")
MARK = "The lantern"


@pytest.fixture(autouse=True)
def a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run in ``r``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    write_sample(tmp_path / "r")
    return tmp_path


def encoded(encoding: str) -> tuple[CommandStream, io.BytesIO]:
    bytes_ = io.BytesIO()
    return CommandStream(io.TextIOWrapper(bytes_, encoding=encoding, write_through=True)), bytes_


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", b'-- 5 "a" caf? ? - ~'),
        ("latin-1", b'-- 5 "a" caf\xe9 ? - ~'),
        ("cp1252", b"-- 5 \x93a\x94 caf\xe9 ? \x97 \x85"),
        ("utf-8", "\u2500\u2501 5 \u201ca\u201d caf\xe9 ? \u2014 \u2026".encode()),
    ],
    ids=["ascii", "latin-1", "cp1252", "utf-8"],
)
def test_characters_that_cannot_be_shown_are_replaced(encoding: str, shown: bytes) -> None:
    """Lines, dashes and quotation marks get stand-ins in ASCII, other characters a question mark."""
    stream, found = encoded(encoding)
    stream.write("\u2500\u2501 5 \u201ca\u201d caf\xe9 \udce9 \u2014 \u2026")
    assert found.getvalue() == shown


def failing(error: Exception) -> CommandStream:
    class Below(io.StringIO):
        def write(self, text: str, /) -> int:
            raise error

    return CommandStream(Below())


@pytest.mark.parametrize(
    ("stream", "kept"),
    [
        (lambda: failing(BrokenPipeError()), False),
        (lambda: failing(ConnectionResetError()), False),
        (lambda: failing(OSError(28, "No space left on device")), True),
        (lambda: failing(ValueError("I/O operation on closed file")), True),
        (lambda: CommandStream(None), False),
    ],
)
def test_stream_that_fails_drops_what_follows(stream: Callable[[], CommandStream], kept: bool) -> None:
    """If a stream fails, nothing is raised, then or later; a reader that left is no error."""
    made = stream()
    for _ in range(2):
        made.write("text")
        made.flush()
    assert (made.error is not None) is kept
    assert not made.isatty()
    with pytest.raises(io.UnsupportedOperation):
        made.fileno()


def test_streams_are_put_back_behind_a_command() -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(KeyError), command_streams():
        assert isinstance(sys.stdout, CommandStream) and isinstance(sys.stderr, CommandStream)
        raise KeyError
    assert (sys.stdout, sys.stderr) == before


def test_missing_streams_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If Python has no standard streams at all, a command writes its files all the same."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["report", "r", "--json-out", "j.json"]) == 0
    assert Path("j.json").exists()


def run(command: Sequence[str], **options: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own, with variables of the environment."""
    return subprocess.run([*PROGRAM, *command], capture_output=True, env={**os.environ, **options}, timeout=60)


def shell(text: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command line of bash, in which ``$P`` is the program; fails if any part of a pipe fails."""
    command = ["bash", "-o", "pipefail", "-c", text]
    return subprocess.run(command, capture_output=True, env={**os.environ, "P": " ".join(PROGRAM)}, timeout=60)


@pytest.mark.parametrize(
    "options",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""},
    ],
    ids=["ascii", "C"],
)
def test_terminal_that_is_not_utf_8_gets_a_table(options: dict[str, str], a_run: Path) -> None:
    """If the terminal knows ASCII only, the table keeps its shape."""
    found = run(["report", "r", "--html-dir", "pages"], **options)
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"\n" + b"-" * 78 + b"\n" in found.stdout
    assert MARK.encode() in found.stdout
    assert (a_run / "pages" / "index.html").exists()


def test_passage_in_another_script_is_shown_in_ascii(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a title has characters that the terminal lacks, they are replaced, in the error line of a path as well."""
    record = velcarn()
    object.__setattr__(record.passage, "title", "\u6771\u4eac")
    write_sample(tmp_path / "r2", sample_records(record))
    found = run(["report", "r2"], PYTHONIOENCODING="ascii")
    assert found.returncode == 0 and b"1. ?? (5 questions)" in found.stdout
    missing = run(["report", os.fsdecode(b"caf\xe9")], PYTHONIOENCODING="ascii")
    assert missing.returncode == 1
    assert missing.stderr.startswith(b"depqa-ray: error: caf? holds no run")


@pytest.mark.parametrize(
    "line",
    [
        "$P report r --html-dir pages --all-passages | true",
        "$P report r --html-dir pages | head -1",
        "$P report r --html-dir pages >&-",
        "$P report r --html-dir pages <&- >&- 2>&-",
    ],
)
def test_output_that_nobody_reads_ends_the_printing_only(line: str, a_run: Path) -> None:
    """If the reader leaves, or there is none, the files are written and the exit code is that of the command."""
    found = shell(line)
    assert (found.returncode, found.stderr) == (0, b"")
    assert len(list((a_run / "pages").iterdir())) == 3


def test_closed_stream_gives_its_number_to_no_file(a_run: Path) -> None:
    """If standard error is closed, what a library prints there ends up in no file of the run."""
    code = "from depqa_ray.cli.streams import command_streams\nwith command_streams(): print(open('a').fileno())"
    (a_run / "a").touch()
    found = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" 2>&- <&-', sys.executable, code], capture_output=True, text=True, timeout=60
    )
    assert int(found.stdout) > 2


def test_error_whose_reader_left_keeps_its_exit_code() -> None:
    found = shell("$P report none 2>&1 | true")
    assert (found.returncode, found.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("command", ["report r --html-dir pages", "run --help"])
def test_full_disk_behind_the_output_is_one_line(command: str, a_run: Path) -> None:
    """If standard output cannot be written, the files are, and the exit code is 1."""
    found = shell(f"$P {command} > /dev/full")
    assert found.returncode == 1
    assert found.stderr == b"depqa-ray: error: cannot write to standard output: No space left on device\n"
    assert "report" not in command or len(list((a_run / "pages").iterdir())) == 3
