"""Answers several questions about one passage along their dependencies, and reports the cost of each strategy.

The names below do from Python what the commands do. A module is imported when one of its names is first used, so that
importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from itertools import groupby
from typing import Any, Final

_MODULE_OF: Final = {
    "Edge": "core",
    "Outcome": "core",
    "Passage": "core",
    "Plan": "core",
    "Question": "core",
    "StepResult": "core",
    "DepqaError": "errors",
    "InputError": "errors",
    "Settings": "settings.load",
    "load_settings": "settings.load",
    "load_passages": "passages.sources",
    "sample_passages": "passages.sampling",
    "WorldShape": "passages.synthetic.worlds",
    "generate_worlds": "passages.synthetic.worlds",
    "parse_answer": "answering.answers",
    "exact_match": "answering.scoring",
    "f1": "answering.scoring",
    "lenient": "answering.scoring",
    "score_predictions": "answering.scoring",
    "strict": "answering.scoring",
    "DependencyGraph": "edges.graph",
    "gold_edges": "edges.source",
    "propose_edges": "edges.heuristic.propose",
    "SelectionRules": "edges.selection",
    "select_edges": "edges.selection",
    "STRATEGIES": "planning.strategies",
    "compile_plan": "planning.strategies",
    "DependencyScheduler": "scheduling.scheduler",
    "run_experiment": "runtime.run",
    "RunStore": "results.store",
    "compute_results": "results.metrics",
    "write_pages": "report.render",
}
"""The public names and their modules. ``__init__.pyi`` repeats them for type checkers."""

__all__ = list(_MODULE_OF)
__doc__ = f"{__doc__}\n" + "\n".join(
    f"{module:26}{', '.join(names)}" for module, names in groupby(_MODULE_OF, key=_MODULE_OF.__getitem__)
)


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
