"""Reads and writes whole files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from depqa_ray.errors import InputError, SettingsError


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


def read_json(path: Path, fix: str) -> Any:
    """The value in a UTF-8 JSON file. Raises InputError, with ``fix`` unless the path is wrong."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path), "check the path") from None
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text, and so not JSON", str(path), fix) from None
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise InputError(what, str(path), fix) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested too deep
        raise InputError(f"not JSON that can be used: {error}", str(path), fix) from None


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
