"""Fetches models: safetensors, JSON and tokenizer files only, because other weights can contain code."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.hub.fetching import fetch_wanted
from depqa_ray.hub.repository import (
    OnProgress,
    Repository,
    Snapshot,
    Wanted,
    matches,
    no_revision,
    printable,
    split_revision,
)
from depqa_ray.settings.types import EMBEDDED

_WEIGHTS: Final = ("*.safetensors",)
_VOCABULARY: Final = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "*.model",  # sentencepiece
    "*.tiktoken",
    "tekken.json",
)
_PATTERNS: Final = (*_WEIGHTS, *_VOCABULARY, "*.json", "*.jinja", "merges.txt")
_IGNORED: Final = (
    "consolidated*",  # the same weights in Mistral's format
    *(f"*/{pattern}" for pattern in (*_WEIGHTS, "*.model", "*.json")),  # other formats: original/, onnx/
)
_OTHER_WEIGHTS: Final = (".bin", ".gguf", ".pt", ".pth", ".h5", ".msgpack", ".onnx")


def fetch_model(model_name: str, on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files of a model, ``NAME`` or ``NAME@REVISION``: safetensors, JSON and tokenizer files only.

    Raises InputError. If the repository has no complete model, nothing is fetched.
    """
    return fetch_wanted(model_repository(model_name), _MODEL, on_progress)


def model_repository(model_name: str, commit: str = "") -> Repository:
    """The repository of a model, at ``commit`` if it is given. Raises InputError if the name is impossible."""
    name, revision = split_revision(model_name)
    if model_name.endswith("@"):
        raise no_revision(Repository("model", name, ""))
    repository = Repository("model", name, commit or revision or "main")
    repository.require_valid()
    return repository


def is_on_hub(model_name: str) -> bool:
    """Whether a model's name is a repository of the hub, not "embedded" or a folder."""
    return model_name != EMBEDDED and not os.path.isdir(model_name)  # noqa: PTH112  # Path.is_dir can raise


def model_folder(model_name: str, commit: str = "") -> Path:
    """The folder of a model's files on this machine. Missing files are fetched. Raises InputError.

    If ``commit`` is cached, no request is made. If the name is a folder's, it is returned.
    """
    if not is_on_hub(model_name):
        return Path(model_name)
    return fetch_wanted(model_repository(model_name, commit), _MODEL).folder


def _require_model(names: list[str], where: str) -> None:
    """Raise InputError if transformers cannot load a model from files with these names."""
    fix = "choose a model in the format of transformers"
    if not any(matches(name, _WEIGHTS) and not matches(name, _IGNORED) for name in names):
        what = f"no safetensors that transformers loads in the repository, {_other_weights(names)}"
        raise InputError(what, where, "choose a model with safetensors files in the format of transformers")
    if "config.json" not in names:
        raise InputError("no config.json in the repository", where, fix)
    if not any(matches(name, _VOCABULARY) for name in names):
        raise InputError("no tokenizer in the repository", where, f"{fix}, with tokenizer.json or another vocabulary")


def _other_weights(names: list[str]) -> str:
    """The weights that cannot be used: an example of other safetensors, and the suffixes of other formats."""
    examples = [printable(name) for name in sorted(names) if matches(name, _WEIGHTS)][:1]
    suffixes = {PurePosixPath(name).suffix for name in names}
    others = [*examples, *(suffix for suffix in _OTHER_WEIGHTS if suffix in suffixes)]
    return f"only {', '.join(others)}" if others else "nor any other weights"


_MODEL: Final = Wanted(_PATTERNS, _IGNORED, _require_model)
