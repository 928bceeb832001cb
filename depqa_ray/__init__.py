"""Answers several questions about one passage, along their dependencies, and shows what each way of asking costs.

What the commands do can be done from Python with the names below. A module is loaded when a name of it is first used,
so that importing the package itself is cheap.

==================  =================================================================================================
records             Passage, Question, Edge, Outcome, StepResult
passages            load_passages, sample_passages, generate_worlds, WorldShape
dependencies        propose_edges, gold_edges, SelectionRules, select_edges, DependencyGraph
plans               STRATEGIES, compile_plan, Plan, DependencyScheduler
answers and scores  parse_answer, exact_match, f1, strict, lenient, score_predictions
runs                Settings, load_settings, run_experiment, RunStore, compute_results, write_pages
errors              DepqaError, InputError
==================  =================================================================================================
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from depqa_ray.answering.answers import parse_answer
    from depqa_ray.answering.scoring import exact_match, f1, lenient, score_predictions, strict
    from depqa_ray.core import Edge, Outcome, Passage, Plan, Question, StepResult
    from depqa_ray.edges.gold import gold_edges
    from depqa_ray.edges.graph import DependencyGraph
    from depqa_ray.edges.heuristic.propose import propose_edges
    from depqa_ray.edges.selection import SelectionRules, select_edges
    from depqa_ray.errors import DepqaError, InputError
    from depqa_ray.passages.sampling import sample_passages
    from depqa_ray.passages.sources import load_passages
    from depqa_ray.passages.synthetic.worlds import WorldShape, generate_worlds
    from depqa_ray.planning.strategies import STRATEGIES, compile_plan
    from depqa_ray.report.render import write_pages
    from depqa_ray.results.metrics import compute_results
    from depqa_ray.results.store import RunStore
    from depqa_ray.runtime.run import run_experiment
    from depqa_ray.scheduling.scheduler import DependencyScheduler
    from depqa_ray.settings.load import Settings, load_settings

__all__ = [
    "STRATEGIES",
    "DependencyGraph",
    "DependencyScheduler",
    "DepqaError",
    "Edge",
    "InputError",
    "Outcome",
    "Passage",
    "Plan",
    "Question",
    "RunStore",
    "SelectionRules",
    "Settings",
    "StepResult",
    "WorldShape",
    "compile_plan",
    "compute_results",
    "exact_match",
    "f1",
    "generate_worlds",
    "gold_edges",
    "lenient",
    "load_passages",
    "load_settings",
    "parse_answer",
    "propose_edges",
    "run_experiment",
    "sample_passages",
    "score_predictions",
    "select_edges",
    "strict",
    "write_pages",
]

_HOMES: Final = {
    "answering.answers": ("parse_answer",),
    "answering.scoring": ("exact_match", "f1", "lenient", "score_predictions", "strict"),
    "settings.load": ("Settings", "load_settings"),
    "edges.gold": ("gold_edges",),
    "edges.graph": ("DependencyGraph",),
    "edges.heuristic.propose": ("propose_edges",),
    "edges.selection": ("SelectionRules", "select_edges"),
    "errors": ("DepqaError", "InputError"),
    "core": ("Edge", "Outcome", "Passage", "Plan", "Question", "StepResult"),
    "passages.sampling": ("sample_passages",),
    "passages.sources": ("load_passages",),
    "passages.synthetic.worlds": ("WorldShape", "generate_worlds"),
    "report.render": ("write_pages",),
    "results.metrics": ("compute_results",),
    "results.store": ("RunStore",),
    "runtime.run": ("run_experiment",),
    "scheduling.scheduler": ("DependencyScheduler",),
    "planning.strategies": ("STRATEGIES", "compile_plan"),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load the module that a public name lives in (PEP 562)."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
