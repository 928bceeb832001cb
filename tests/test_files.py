"""Places for output: tried before there is work to lose, and replaced whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from depqa_ray.errors import SettingsError
from depqa_ray.files import check_output_file, check_output_folder, replace_file, try_lock


@pytest.mark.parametrize("name", ["a", "new/folder/a", "old", "link", "dangling"])
def test_place_that_can_be_written_passes_unchanged(name: str, tmp_path: Path) -> None:
    """If a place can be written, the check passes and leaves nothing behind."""
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")
    (tmp_path / "dangling").symlink_to("new/target")
    before = sorted(tmp_path.rglob("*"))

    check_output_file(tmp_path / name, "--json-out")
    check_output_folder(tmp_path / "pages" / "new", "--html-dir")

    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file/a", "file is a file, not a folder; give --json-out a path that can be written"),
        ("file/new/a", "file is a file, not a folder"),
        (".", "is a folder; give --json-out the name of a file"),
        ("x" * 256, "cannot be written: File name too long"),
        ("x" * 256 + "/a", "cannot be written: File name too long"),
        ("x/" * 2100, "cannot be written: File name too long"),
        ("nul\0", "cannot be written: embedded null byte"),
        ("/proc/none/a", "cannot be written: No such file or directory"),
        ("loop/a", "cannot be written: "),
        ("nowhere/a", "cannot be written: No such file or directory"),
    ],
)
def test_place_that_cannot_be_written_is_one_line(name: str, said: str, tmp_path: Path) -> None:
    """If a file cannot be written, the check names the flag, the path and the reason."""
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("/proc/none")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(SettingsError) as caught:
        check_output_file(tmp_path / name, "--json-out")

    assert said in str(caught.value) and "--json-out" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["file", "file/pages", "/proc/none", "x" * 256, "nul\0"])
def test_folder_that_cannot_be_written_is_one_line(name: str, tmp_path: Path) -> None:
    """If a folder cannot be written, the check names the flag."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="give --html-dir a path that can be written"):
        check_output_folder(tmp_path / name, "--html-dir")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="Permission denied"):
        check_output_file(tmp_path / "new" / "a", "--json-out")


def test_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    """If the path is a link, the file that it leads to is replaced."""
    (tmp_path / "link").symlink_to("real")
    replace_file(tmp_path / "link", "new", durable=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """If the path is a pipe or a device, its reader gets the content."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()), daemon=True)
    reader.start()
    check_output_file(pipe, "--json-out")
    replace_file(pipe, "new", durable=True)
    reader.join(10)
    assert found == ["new"]
    assert pipe.is_fifo()


def test_longest_name_can_be_written(tmp_path: Path) -> None:
    """If a name is as long as the file system allows, the file can be replaced."""
    path = tmp_path / ("ü" * 127)
    check_output_file(path, "--json-out")
    replace_file(path, "new", durable=False)
    assert path.read_text() == "new"


def test_second_lock_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    """If a file is locked, it cannot be locked again until it is closed."""
    with (tmp_path / "a").open("wb") as first, (tmp_path / "a").open("wb") as second:
        assert try_lock(first.fileno())
        assert not try_lock(second.fileno())
        first.close()
        assert try_lock(second.fileno())
