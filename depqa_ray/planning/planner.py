"""From a job to its plan: where the edges come from, and who pays for them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from depqa_ray.answering.prompts import step_prompt
from depqa_ray.core import Edge, Job, Passage, Plan, Prompt
from depqa_ray.edges.cache import EdgeCache
from depqa_ray.edges.source import EdgeSelection, edges_from_reply, edges_without_model, fallback_edges, selection_rules
from depqa_ray.engines.base import SamplingParams
from depqa_ray.planning.strategies import USES_EDGES, asking_plan, compile_plan, extended_plan
from depqa_ray.reader import weights_folder
from depqa_ray.settings.load import Settings
from depqa_ray.settings.types import EMBEDDED

_WEIGHTS: Final = ("*.safetensors", "config.json")


class Planner(Protocol):
    """Says what a job's plan is. Chosen edges come along as soon as they are known."""

    def begin(self, job: Job) -> tuple[Plan, EdgeSelection | None]:
        """The plan that a job begins with. An open one asks for edges."""
        ...

    def extend(self, job: Job, plan: Plan, reply: str | None, reason: str) -> tuple[Plan, EdgeSelection]:
        """How an open plan goes on after the model's reply; None where it gave none, for that reason."""
        ...


class EdgePlanner:
    """Takes the edges from where the settings say, and from the cache what an earlier run has asked already."""

    def __init__(
        self,
        settings: Settings,
        sampling_params: SamplingParams,
        system: Callable[[Passage], str],
        remark: Callable[[str], None],
    ) -> None:
        self._source = settings.dependency_source
        self._rules = selection_rules(settings)
        self._seed, self._system = settings.seed, system
        self._max_new_tokens = settings.max_new_tokens
        self._cache = None if settings.no_dep_cache else _cache(settings, sampling_params)
        self._remark = remark

    def begin(self, job: Job) -> tuple[Plan, EdgeSelection | None]:
        """See Planner. Raises InputError where gold edges are asked of data that has none."""
        if job.strategy not in USES_EDGES:
            return self._compile(job, ()), None
        if self._source != "model":
            chosen = edges_without_model(job.passage, self._source, self._rules)
            return self._compile(job, chosen.selected), chosen
        asking = asking_plan(job.strategy, job.passage)
        reply = self._cache.find(job.strategy, self._prompt(job, asking)) if self._cache else None
        if reply is None:
            return asking, None
        chosen = edges_from_reply(job.passage, reply, self._rules, cached=True)
        return self._compile(job, chosen.selected), chosen

    def extend(self, job: Job, plan: Plan, reply: str | None, reason: str) -> tuple[Plan, EdgeSelection]:
        """See Planner. A reply is kept for later runs, whatever it is worth."""
        if reply is None:
            chosen = fallback_edges(job.passage, self._rules, reason)
        else:
            self._keep(job, plan, reply)
            chosen = edges_from_reply(job.passage, reply, self._rules)
        return extended_plan(plan, self._compile(job, chosen.selected)), chosen

    def _compile(self, job: Job, edges: Sequence[Edge]) -> Plan:
        return compile_plan(job.strategy, job.passage, edges, seed=self._seed)

    def _keep(self, job: Job, asking: Plan, reply: str) -> None:
        if self._cache is None:
            return
        try:
            self._cache.keep(job.strategy, self._prompt(job, asking), reply)
        except (OSError, ValueError) as error:  # ValueError: a path that none can be; the run itself lacks nothing
            why = error.strerror if isinstance(error, OSError) else error
            self._remark(f"replies about edges are not kept: {self._cache.folder}: {why}")
            self._cache = None

    def _prompt(self, job: Job, asking: Plan) -> Prompt:
        (step,) = asking.steps
        return step_prompt("", job.passage, step, {}, self._max_new_tokens, system=self._system(job.passage))


def _cache(settings: Settings, sampling_params: SamplingParams) -> EdgeCache:
    name = settings.deps_model or settings.model_name
    engine = settings.deps_engine or settings.engine
    model = {"engine": engine, "name": name, "dtype": settings.dtype, "decoding": asdict(sampling_params)}
    model["weights"] = _weights(name)
    if engine == "openai":
        model["server"] = settings.deps_base_url or settings.openai_base_url or os.environ.get("OPENAI_BASE_URL", "")
    return EdgeCache(settings.dep_cache or _usual_folder(), model, uuid.uuid4().hex)


def _usual_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "depqa-ray" / "edges"


def _weights(model_name: str) -> Mapping[str, Any]:
    """What tells a folder's weights from others that it held before; nothing for a model of the hub or of a server."""
    folder = weights_folder() if model_name == EMBEDDED else Path(model_name)
    files = sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern)) if folder.is_dir() else []
    known = {file.name: file.stat() for file in files if file.exists()}  # a link may lead nowhere
    return {name: [found.st_size, found.st_mtime_ns] for name, found in known.items()}
