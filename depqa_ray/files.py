"""Reads and writes whole files, and tries places for output before any work is done for it."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from depqa_ray.errors import InputError, SettingsError

GZIP: Final = "gzip"
_PACKINGS: Final = {
    b"\x1f\x8b": GZIP,
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
}
"""The first bytes of compressed files."""

_DRAFT_LETTERS: Final = 40  # of a file's name: with two numbers, no more than the 255 bytes that a name may have


def read_text_of(path: Path, flag: str) -> str:
    """The stripped text of a UTF-8 file that a flag names. Raises SettingsError if it is unreadable or empty."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", str(path), f"check {flag}") from None
    except UnicodeDecodeError:
        raise SettingsError("not UTF-8 text", str(path), f"give {flag} a text file in UTF-8") from None
    except ValueError as error:  # a name that no file can have
        raise SettingsError(f"cannot be read: {error}", repr(str(path)), f"check {flag}") from None
    if not text:
        raise SettingsError("holds no text", str(path), f"write it, or leave {flag} out")
    return text


def packing_of(head: bytes) -> str:
    """What compressed the file that begins with these bytes: "gzip", "zstd", ...; "" if nothing did."""
    return next((name for magic, name in _PACKINGS.items() if head.startswith(magic)), "")


@contextmanager
def open_json(path: Path, fix: str) -> Iterator[TextIO]:
    """Open a file of JSON or JSON lines as text. What gzip compressed is decompressed, whatever the file's name.

    Raises InputError, also within the context, if the file cannot be read: with ``fix`` if it is not UTF-8.
    """
    where = str(path)
    try:
        with path.open("rb") as file, io.TextIOWrapper(_unpacked(file, where), encoding="utf-8-sig") as text:
            yield text
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError("its gzip data is damaged or cut short", where, "copy or compress it again") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where, "check the path") from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text, and so not JSON", where, fix) from None


def _unpacked(file: io.BufferedReader, where: str) -> BinaryIO:
    packing = packing_of(file.peek(8))
    if packing not in ("", GZIP):
        raise unread_packing(packing, where)
    return gzip.GzipFile(fileobj=file) if packing else file  # type: ignore[return-value]  # it reads as a file does


def unread_packing(packing: str, where: str) -> InputError:
    """The error for a file that is compressed in a way that is not read."""
    return InputError(f"compressed with {packing}, which is not read here", where, "decompress it first")


def read_json(path: Path, fix: str) -> Any:
    """The value in a UTF-8 JSON file, opened as ``open_json`` does.

    Raises InputError, with ``fix`` unless the path is wrong or the file damaged.
    """
    try:
        with open_json(path, fix) as file:
            return json.loads(file.read())
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise InputError(what, str(path), fix) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested too deep
        raise InputError(f"not JSON that can be used: {error}", str(path), fix) from None


def replace_file(path: Path, content: str | bytes, *, durable: bool) -> None:
    """Replace a file atomically: a reader sees the old content or the new. Creates missing folders.

    Text is encoded as UTF-8. ``durable`` waits for the disk; files that can be made again need not. A link stays and
    its target is replaced. A device or a pipe is written to. Raises OSError.
    """
    data = content.encode() if isinstance(content, str) else content
    if _is_special(path):
        path.write_bytes(data)
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name[:_DRAFT_LETTERS]}.{os.getpid()}.{threading.get_ident()}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def check_output_file(path: Path, flag: str) -> None:
    """Raise SettingsError if no file can be written at ``path``, which ``flag`` gave. Leaves nothing behind."""
    with _refusal(path, flag):
        if path.is_dir():
            raise SettingsError("is a folder", str(path), f"give {flag} the name of a file")
        if not _is_special(path):
            target = Path(os.path.realpath(path))
            _try_folder(target.parent, target.name)


def check_output_folder(path: Path, flag: str) -> None:
    """Raise SettingsError if no file can be written into the folder ``path``, which may be missing."""
    with _refusal(path, flag):
        _try_folder(path)


@contextmanager
def _refusal(path: Path, flag: str) -> Iterator[None]:
    fix = f"give {flag} a path that can be written"
    try:
        yield
    except OSError as error:
        raise SettingsError(f"cannot be written: {error.strerror}", str(path), fix) from None
    except ValueError as error:  # a name that no file can have
        raise SettingsError(f"cannot be written: {error}", repr(str(path)), fix) from None


def _try_folder(folder: Path, *names: str) -> None:
    """Write a file without a name into the nearest folder that exists, and try the names of what is to be created.

    Permission bits alone tell little: root ignores them, and a file system may be read-only or full.
    """
    missing = list(names)
    while not _exists(folder):
        missing.append(folder.name)
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file, not a folder")
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(b"x")
    for name in missing:
        _exists(folder / name)


def _exists(path: Path) -> bool:
    """Whether a path exists. Raises OSError if it cannot, ValueError if it is impossible."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_special(path: Path) -> bool:
    """Whether a device, a pipe or a socket is there."""
    return path.exists() and not path.is_file() and not path.is_dir()


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed; False if another process, or another opening of it, has it.

    True as well where files cannot be locked, as on some network file systems.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return True
    with suppress(OSError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
