"""Settings of the edges: where they come from, and which of them are selected."""

from __future__ import annotations

from pathlib import Path

from pydantic import model_validator

from depqa_ray.settings.section import Section, neutral, setting
from depqa_ray.settings.types import CountOrZero, DependencySource, EngineName, NonNegative, Share


class EdgeSettings(Section):
    """Where the dependencies between a passage's questions come from."""

    deps: DependencySource = setting(
        "model",
        "where edges come from: model asks the model; heuristic reads the questions' wording; gold takes the data "
        "set's; none has no edges",
    )
    no_llm_deps: bool = setting(False, "do not ask the model for edges: --deps heuristic")
    deps_engine: EngineName | None = setting(None, "ask this engine for edges instead of --engine; needs --deps-model")
    deps_model: str | None = setting(None, "the model that --deps-engine asks")
    deps_base_url: str | None = setting(
        None, "server address for --deps-engine openai; default: as for --engine openai"
    )
    dep_cache: Path | None = neutral(
        None,
        "folder that keeps the replies about edges for later runs; default: depqa-ray/edges in $XDG_CACHE_HOME or "
        "~/.cache",
    )
    no_dep_cache: bool = neutral(False, "ignore kept replies about edges, and keep no new ones")
    cost_weight: NonNegative = setting(0.01, "weight of an edge's cost (tokens) against its confidence")
    min_confidence: Share = setting(0.45, "drop edges below this confidence")
    max_dependencies: CountOrZero = setting(3, "most parents of a question")
    total_cost_budget: CountOrZero | None = setting(
        None, "most tokens that all edges of a passage may cost; default: no limit"
    )

    @model_validator(mode="after")
    def _edges_have_one_source(self) -> EdgeSettings:
        if self.no_llm_deps and self.deps not in ("model", "heuristic"):
            raise ValueError(f"--no-llm-deps means --deps heuristic and cannot go with --deps {self.deps}")
        if (self.deps_engine is None) != (self.deps_model is None):
            raise ValueError("--deps-engine and --deps-model go together: give both or neither")
        if self.deps_engine is not None and self.dependency_source != "model":
            raise ValueError(f"--deps-engine asks a model for edges, and --deps {self.dependency_source} asks none")
        return self

    @property
    def dependency_source(self) -> DependencySource:
        """Where edges come from, ``--no-llm-deps`` taken into account."""
        return "heuristic" if self.no_llm_deps else self.deps
