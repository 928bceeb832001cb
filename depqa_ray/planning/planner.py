"""From a job to its plan: which edges it follows, and where they come from."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from typing_extensions import override

from depqa_ray.answering.prompts import PromptBuilder
from depqa_ray.core import Edge, Job, Plan, Prompt
from depqa_ray.edges.cache import EdgeCache
from depqa_ray.edges.source import EdgeSelection, edges_from_reply, edges_without_model, fallback_edges, selection_rules
from depqa_ray.engines.base import SamplingParams
from depqa_ray.hub import split_revision
from depqa_ray.planning.strategies import USES_EDGES, asking_plan, compile_plan, extended_plan
from depqa_ray.reader import weights_folder
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import EMBEDDED

_WEIGHTS: Final = ("*.safetensors", "config.json")


class Planner(Protocol):
    """Decides the plan of a job, and reports the edges that it follows as soon as they are known."""

    def begin(self, job: Job) -> tuple[Plan, EdgeSelection | None]:
        """The plan that a job starts with. An open one asks for edges."""

    def extend(self, job: Job, plan: Plan, reply: str | None, reason: str) -> tuple[Plan, EdgeSelection]:
        """The whole plan after the model's reply to an open one; without a reply, ``reason`` says why."""


class EdgePlanner(Planner):
    """Takes edges from the source in the settings, and replies that an earlier run got from the cache.

    ``prompts`` is the builder that the driver sends with: replies are cached by the prompt that they answer.
    ``model_revision`` is the commit of the model that is asked for edges, if it came from the hub: another commit's
    replies are not used.
    """

    def __init__(
        self,
        settings: Settings,
        sampling_params: SamplingParams,
        prompts: PromptBuilder,
        warn: Callable[[str], None],
        *,
        model_revision: str = "",
    ) -> None:
        self._source = settings.dependency_source
        self._rules = selection_rules(settings)
        self._seed, self._prompts, self._warn = settings.seed, prompts, warn
        folder = None if settings.no_dep_cache else settings.dep_cache or _default_folder()
        self._cache = None if folder is None else _edge_cache(settings, sampling_params, folder, model_revision)
        if folder is None and not settings.no_dep_cache and self._source == "model":
            warn("replies about edges are not kept: there is no home folder; set HOME or XDG_CACHE_HOME")

    @override
    def begin(self, job: Job) -> tuple[Plan, EdgeSelection | None]:
        """Raises InputError if gold edges are asked of data that has none."""
        if job.strategy not in USES_EDGES:
            return self._compile(job, ()), None
        if self._source != "model":
            selection = edges_without_model(job.passage, self._source, self._rules)
            return self._compile(job, selection.selected), selection
        asking = asking_plan(job.strategy, job.passage)
        reply = self._cache.get(job.strategy, self._prompt(job, asking)) if self._cache else None
        if reply is None:
            return asking, None
        selection = edges_from_reply(job.passage, reply, self._rules, cached=True)
        return self._compile(job, selection.selected), selection

    @override
    def extend(self, job: Job, plan: Plan, reply: str | None, reason: str) -> tuple[Plan, EdgeSelection]:
        """Caches the reply for later runs, usable or not."""
        if reply is None:
            selection = fallback_edges(job.passage, self._rules, reason)
        else:
            self._put(job, plan, reply)
            selection = edges_from_reply(job.passage, reply, self._rules)
        return extended_plan(plan, self._compile(job, selection.selected)), selection

    def _compile(self, job: Job, edges: Sequence[Edge]) -> Plan:
        return compile_plan(job.strategy, job.passage, edges, seed=self._seed)

    def _put(self, job: Job, asking: Plan, reply: str) -> None:
        if self._cache is None:
            return
        try:
            self._cache.put(job.strategy, self._prompt(job, asking), reply)
        except (OSError, ValueError) as error:  # ValueError: not a possible path. The run itself lacks nothing.
            why = error.strerror if isinstance(error, OSError) else error
            self._warn(f"replies about edges are not kept: {self._cache.folder}: {why}")
            self._cache = None

    def _prompt(self, job: Job, asking: Plan) -> Prompt:
        (step,) = asking.steps
        return self._prompts.build(job, step, {})


def _edge_cache(settings: Settings, sampling_params: SamplingParams, folder: Path, commit: str) -> EdgeCache:
    asked = settings.deps_model or settings.model_name
    # If the commit is known, the revision in the name adds nothing: a branch and a tag may be one commit.
    name = split_revision(asked)[0] if commit else asked
    engine = settings.deps_engine or settings.engine
    model = {"engine": engine, "name": name, "dtype": settings.dtype, "decoding": asdict(sampling_params)}
    model["weights"] = _weights(name)
    if commit:  # without one, the key is that of earlier versions
        model["commit"] = commit
    if engine == "openai":
        model["server"] = settings.deps_base_url or settings.openai_base_url or os.environ.get("OPENAI_BASE_URL", "")
    return EdgeCache(folder, model, uuid.uuid4().hex)


def _default_folder() -> Path | None:
    """The user's own cache folder; None for a user who has no home."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "depqa-ray" / "edges"
    except RuntimeError:
        return None


def _weights(model_name: str) -> Mapping[str, Any]:
    """Size and time of the weights in a folder, which distinguish versions; empty for other models."""
    folder = weights_folder() if model_name == EMBEDDED else Path(model_name)
    files = sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern)) if folder.is_dir() else []
    known = {file.name: file.stat() for file in files if file.exists()}  # a link may be broken
    return {name: [found.st_size, found.st_mtime_ns] for name, found in known.items()}
