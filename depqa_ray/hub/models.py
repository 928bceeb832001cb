"""Which files of a model are wanted, and where they are. Only safetensors: other formats of weights can hold code."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.hub.fetching import fetch_wanted
from depqa_ray.hub.names import OnProgress, Repository, Snapshot, Wanted, matches, printable, split_revision
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
    "consolidated*",  # the same weights in their authors' own form
    *(f"*/{pattern}" for pattern in (*_WEIGHTS, "*.model", "*.json")),  # original/, onnx/: other forms as well
)
_OTHER_WEIGHTS: Final = (".bin", ".gguf", ".pt", ".pth", ".h5", ".msgpack", ".onnx")


def fetch_model(model_name: str, on_progress: OnProgress | None = None) -> Snapshot:
    """Fetch the files of a model, ``NAME`` or ``NAME@REVISION``: safetensors, JSON and tokenizer files only.

    Raises InputError if that fails, and before anything is fetched if the repository does not hold a whole model.
    """
    return _fetch(model_repository(model_name), on_progress)


def model_repository(model_name: str, commit: str = "") -> Repository:
    """The repository of a model's name, at ``commit`` if one is given. Raises InputError if the hub can have none."""
    name, revision = split_revision(model_name)
    repository = Repository("model", name, commit or revision or "main")
    repository.require_valid()
    return repository


def is_on_hub(model_name: str) -> bool:
    """Whether a model's name means a repository of the hub: it is neither embedded nor a folder."""
    return model_name != EMBEDDED and not os.path.isdir(model_name)  # noqa: PTH112  # Path.is_dir can raise


def model_folder(model_name: str, commit: str = "") -> Path:
    """The folder of a model's files on this machine; they are fetched if they are missing. Raises InputError.

    If ``commit`` is given and its files are here, the hub is not asked. A folder's name is returned as it is.
    """
    if not is_on_hub(model_name):
        return Path(model_name)
    return _fetch(model_repository(model_name, commit), None).folder


def _fetch(repository: Repository, on_progress: OnProgress | None) -> Snapshot:
    def check(names: list[str]) -> None:
        _require_model(names, str(repository))

    return fetch_wanted(repository, Wanted(_PATTERNS, _IGNORED, check), on_progress)


def _require_model(names: list[str], where: str) -> None:
    """Raise InputError if the files of a repository are not a model that transformers can load."""
    fix = "choose a model in the format of transformers"
    if not any(matches(name, _WEIGHTS) and not matches(name, _IGNORED) for name in names):
        what = f"no safetensors that transformers loads in the repository, {_other_weights(names)}"
        raise InputError(what, where, "choose a model with safetensors files in the format of transformers")
    if "config.json" not in names:
        raise InputError("no config.json in the repository", where, fix)
    if not any(matches(name, _VOCABULARY) for name in names):
        raise InputError("no tokenizer in the repository", where, f"{fix}, with tokenizer.json or another vocabulary")


def _other_weights(names: list[str]) -> str:
    """Which weights there are instead: an example of safetensors in another form, and other formats."""
    examples = [printable(name) for name in sorted(names) if matches(name, _WEIGHTS)][:1]
    suffixes = {PurePosixPath(name).suffix for name in names}
    others = [*examples, *(suffix for suffix in _OTHER_WEIGHTS if suffix in suffixes)]
    return f"only {', '.join(others)}" if others else "nor any other weights"
