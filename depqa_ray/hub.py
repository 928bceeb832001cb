"""Repositories of the Hugging Face hub: files fetched once a machine, resumably, and found again by commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at a ``revision``: a branch, a tag or a commit."""

    kind: Literal["model", "dataset"]
    name: str
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A repository's files on this machine at one ``commit`` (40 hex digits).

    ``note`` is a sentence for the user, such as that the hub was out of reach; "" if there is nothing to say.
    """

    folder: Path
    commit: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How much of a repository is on this machine, in bytes; what was there before counts as ``done``."""

    name: str
    done: int
    total: int


OnProgress: TypeAlias = Callable[[FetchProgress], None]


def split_revision(name: str) -> tuple[str, str]:
    """The name and the revision of ``NAME@REVISION``; the revision is "" if none is given."""
    name, _, revision = name.partition("@")
    return name, revision


def fetch(repository: Repository, patterns: Sequence[str], on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files that match ``patterns`` into the hub's cache. Raises InputError: what, where, what to do."""
    raise NotImplementedError


def fetch_model(model_name: str, on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files of a model, ``NAME`` or ``NAME@REVISION``: safetensors, JSON and tokenizer files only."""
    raise NotImplementedError


def is_on_hub(model_name: str) -> bool:
    """Whether a model's name means a repository of the hub: it is neither embedded nor a folder."""
    raise NotImplementedError


def model_folder(model_name: str, commit: str = "") -> Path:
    """The folder of a model's files on this machine; they are fetched if they are missing. Raises InputError."""
    raise NotImplementedError
