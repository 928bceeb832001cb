"""Reads and writes whole files."""

from __future__ import annotations

import os
from pathlib import Path

from depqa_ray.errors import SettingsError


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


def replace_file(path: Path, content: str | bytes, *, durable: bool) -> None:
    """Replace a file atomically: a reader sees the old content or the new. Creates missing folders.

    Text is encoded as UTF-8. ``durable`` waits for the disk; files that can be made again need not. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
