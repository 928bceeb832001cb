"""Answers several questions about one passage along their dependencies, and reports the cost of each strategy.

With the names below, Python code can do all that the commands do. A module is imported when one of its names is first
used, so that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "core": ("Edge", "Outcome", "Passage", "Plan", "Question", "StepResult"),
    "errors": ("DepqaError", "InputError"),
    "settings.load": ("Settings", "load_settings"),
    "passages.sources": ("load_passages",),
    "passages.sampling": ("sample_passages",),
    "passages.synthetic.worlds": ("WorldShape", "generate_worlds"),
    "answering.answers": ("parse_answer",),
    "answering.scoring": ("exact_match", "f1", "lenient", "score_predictions", "strict"),
    "edges.graph": ("DependencyGraph",),
    "edges.source": ("gold_edges",),
    "edges.heuristic.propose": ("propose_edges",),
    "edges.selection": ("SelectionRules", "select_edges"),
    "planning.strategies": ("STRATEGIES", "compile_plan"),
    "scheduling.scheduler": ("DependencyScheduler",),
    "runtime.run": ("run_experiment",),
    "results.store": ("RunStore",),
    "results.metrics": ("compute_results",),
    "report.render": ("write_pages",),
}
"""The public names by module. ``__init__.pyi`` repeats them for type checkers."""

_MODULE_OF: Final = {name: module for module, names in _NAMES.items() for name in names}
__all__ = list(_MODULE_OF)
__doc__ = f"{__doc__}\n" + "\n".join(f"{module:26}{', '.join(names)}" for module, names in _NAMES.items())


def __getattr__(name: str) -> Any:
    """Import the module that holds a public name (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
