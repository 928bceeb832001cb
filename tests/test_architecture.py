"""The house keeps its shape: who may import whom, which library lives where, and what never stands anywhere.

Imports are read from the source, so that those within functions and under ``TYPE_CHECKING`` count too. The checkers
return what they object to; each is first shown an invented tree that it must object to.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import pytest

PACKAGE = "depqa_ray"
ROOT = Path(__file__).parents[1] / PACKAGE

FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "files", "settings", "core"),
    ("passages", "answering", "edges"),
    ("planning", "scheduling", "engines", "reader"),
    ("results", "benchmark"),
    ("runtime",),
    ("report",),
    ("cli", "__main__"),
)
FLOOR_OF = {part: number for number, parts in enumerate(FLOORS) for part in parts}

_TORCH = ("engines", "benchmark.ceilings", "benchmark.random_weights", "benchmark.peers", "reader.training")
HOMES = {
    "ray": ("runtime.ray",),
    "torch": _TORCH,
    "transformers": _TORCH,
    "tokenizers": _TORCH,
    "safetensors": _TORCH,
    "vllm": ("engines.vllm",),
    "openai": ("engines.openai",),
    "datasets": ("passages", "results.parquet"),
    "jinja2": ("report",),
}
"""Where a library may be imported: parts of the package, without its name."""

HEAVY = ("ray", "torch", "transformers", "datasets", "jinja2", "networkx", "numpy")
"""What the command line must not load before a command needs it."""


@dataclass(frozen=True)
class Module:
    """A source file: its dotted name, its syntax tree, and the dotted names that it imports.

    ``targets`` holds both ``a.b`` and ``a.b.c`` for "from a.b import c", since c may be a module.
    """

    name: str
    tree: ast.Module
    targets: frozenset[str]

    @property
    def part(self) -> str:
        """The part of the package that it belongs to; "" for the package's own ``__init__``."""
        return self.name.split(".")[1] if "." in self.name else ""


def read_tree(root: Path) -> list[Module]:
    """All modules of the package in ``root``."""
    return [read_module(path, root) for path in sorted(root.rglob("*.py"))]


def read_module(path: Path, root: Path) -> Module:
    dotted = [root.name, *path.relative_to(root).with_suffix("").parts]
    is_package = dotted[-1] == "__init__"
    name = ".".join(dotted[:-1] if is_package else dotted)
    tree = ast.parse(path.read_text("utf-8"), str(path))
    package = name if is_package else name.rpartition(".")[0]
    return Module(name, tree, frozenset(target for node in ast.walk(tree) for target in imports_of(node, package)))


def imports_of(node: ast.AST, package: str) -> list[str]:
    """The dotted names that a statement imports; ``package`` is what its relative imports start from."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def part_edges(modules: Iterable[Module]) -> set[tuple[str, str]]:
    """Which part of the package imports which other one."""
    inner = f"{PACKAGE}."
    edges = {
        (module.part, target.split(".")[1])
        for module in modules
        for target in module.targets
        if target.startswith(inner) and module.part
    }
    return {(part, other) for part, other in edges if part != other and other in FLOOR_OF}


def floor_breaks(modules: list[Module]) -> list[str]:
    """Parts without a floor, imports that go up, and cycles between the parts of one floor."""
    unplaced = sorted({module.part for module in modules} - set(FLOOR_OF) - {""})
    edges = part_edges(modules)
    upward = [f"{a} imports {b}" for a, b in sorted(edges) if FLOOR_OF.get(a, -1) < FLOOR_OF[b]]
    level = nx.DiGraph((a, b) for a, b in edges if FLOOR_OF.get(a) == FLOOR_OF[b])
    return [*(f"{part} has no floor" for part in unplaced), *upward, *cycles_of(level)]


def module_cycles(modules: list[Module]) -> list[str]:
    """Modules that import each other, however deep in their functions."""
    names = {module.name for module in modules}
    # "from package import name" runs the package's __init__ only where it means something that the __init__ holds.
    edges = [
        (module.name, target)
        for module in modules
        for target in module.targets & names
        if target != module.name and not any(other.startswith(f"{target}.") for other in module.targets & names)
    ]
    return cycles_of(nx.DiGraph(edges))


def cycles_of(graph: nx.DiGraph[str]) -> list[str]:
    return [f"cycle: {', '.join(sorted(group))}" for group in nx.strongly_connected_components(graph) if len(group) > 1]


def strangers(modules: list[Module]) -> list[str]:
    """Libraries imported outside their homes."""
    return [
        f"{module.name} imports {target}"
        for module in modules
        for target in sorted(module.targets)
        if not lives_in(module.name, HOMES.get(target.split(".")[0]))
    ]


def lives_in(name: str, homes: tuple[str, ...] | None) -> bool:
    return homes is None or any(f"{name}.".startswith(f"{PACKAGE}.{home}.") for home in homes)


def forbidden(modules: list[Module]) -> list[str]:
    """Whatever runs code that a file brings along."""
    return [
        f"{module.name}:{getattr(node, 'lineno', 0)}: {what}"
        for module in modules
        for node in ast.walk(module.tree)
        if (what := offence(node))
    ]


def offence(node: ast.AST) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        roots = {name.split(".")[0] for name in imports_of(node, "")}
        names = {f"{node.module}.{alias.name}" for alias in node.names} if isinstance(node, ast.ImportFrom) else set()
        return "pickle" if "pickle" in roots else "torch.load" if "torch.load" in names else ""
    if not isinstance(node, ast.Call):
        return ""
    called = ast.unparse(node.func)
    if called in ("eval", "exec", "torch.load"):
        return called
    trusts = any(word.arg == "trust_remote_code" and not is_false(word.value) for word in node.keywords)
    return "trust_remote_code" if trusts else ""


def is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def loaded_by(module: str, folder: Path, names: Iterable[str]) -> list[str]:
    """Which of the named modules a fresh interpreter has loaded once it has imported ``module`` from ``folder``."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {module}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return sorted(set(names).intersection(shown.split()))


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return read_tree(ROOT)


def invented(folder: Path, files: dict[str, str]) -> list[Module]:
    """The modules of an invented package; ``files`` maps paths within it to their source."""
    for name, source in files.items():
        path = folder / PACKAGE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, "utf-8")
    return read_tree(folder / PACKAGE)


def test_imports_go_down_only(modules: list[Module]) -> None:
    assert len(modules) > 20
    assert floor_breaks(modules) == []


def test_no_modules_import_each_other(modules: list[Module]) -> None:
    assert module_cycles(modules) == []


def test_each_library_is_imported_at_home_only(modules: list[Module]) -> None:
    assert strangers(modules) == []


def test_nothing_runs_code_out_of_files(modules: list[Module]) -> None:
    assert forbidden(modules) == []


def test_the_command_line_loads_nothing_heavy() -> None:
    assert loaded_by(f"{PACKAGE}.cli.commands", ROOT.parent, HEAVY) == []


@pytest.mark.parametrize(
    ("files", "broken"),
    [
        ({"core.py": "from depqa_ray.passages import squad"}, "core imports passages"),
        ({"core.py": "def f():\n    import depqa_ray.cli.commands"}, "core imports cli"),
        (
            {"core.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from depqa_ray import results"},
            "core imports results",
        ),
        ({"passages/squad.py": "from ..engines import base"}, "passages imports engines"),
        ({"attic/box.py": ""}, "attic has no floor"),
        (
            {
                "passages/squad.py": "import depqa_ray.answering.scoring",
                "answering/scoring.py": "from depqa_ray.passages import rows",
            },
            "cycle: answering, passages",
        ),
    ],
)
def test_given_an_import_that_goes_up_then_it_is_told(tmp_path: Path, files: dict[str, str], broken: str) -> None:
    assert floor_breaks(invented(tmp_path, files)) == [broken]


def test_given_imports_that_go_down_or_sideways_then_all_is_well(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from depqa_ray.cli.commands import main",
        "cli.py": "from depqa_ray.runtime import driver",
        "planning/strategies.py": "from depqa_ray.core import Plan",
        "edges/reply.py": "from depqa_ray.answering import prompts",
    }
    assert floor_breaks(invented(tmp_path, files)) == []


@pytest.mark.parametrize(
    "files",
    [
        {"a.py": "import depqa_ray.b", "b.py": "def f():\n    from depqa_ray.a import x"},
        {"p/a.py": "from depqa_ray.p import b", "p/b.py": "from .a import x", "p/__init__.py": ""},
        {"p/a.py": "from depqa_ray.p import x", "p/__init__.py": "from depqa_ray.p.a import y"},
    ],
)
def test_given_modules_that_import_each_other_then_they_are_told(tmp_path: Path, files: dict[str, str]) -> None:
    assert len(module_cycles(invented(tmp_path, files))) == 1


def test_given_a_chain_of_modules_then_it_is_no_cycle(tmp_path: Path) -> None:
    files = {"p/__init__.py": "from depqa_ray.p.a import x", "p/a.py": "from depqa_ray.p.b import y", "p/b.py": ""}
    assert module_cycles(invented(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cli/commands.py", "def f():\n    import ray"),
        ("results/store.py", "from torch.nn import functional"),
        ("passages/squad.py", "import transformers.utils as u"),
        ("engines/base.py", "import vllm"),
        ("engines/vllm.py", "import openai"),
        ("runtime/driver.py", "import ray"),
        ("runtime/driver.py", "from datasets import load_dataset"),
        ("runtimes/driver.py", "import ray"),
    ],
)
def test_given_a_library_away_from_home_then_it_is_told(tmp_path: Path, file: str, source: str) -> None:
    assert strangers(invented(tmp_path, {file: source})) != []


def test_given_libraries_at_home_then_all_is_well(tmp_path: Path) -> None:
    files = {
        "runtime/ray/pool.py": "import ray\nimport rayon",
        "engines/vllm.py": "import torch, vllm",
        "passages/rows.py": "import datasets",
    }
    assert strangers(invented(tmp_path, files)) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval('1')",
        "exec('1')",
        "import torch\ntorch.load('x')",
        "from torch import load",
        "f(trust_remote_code=True)",
        "f(trust_remote_code=flag)",
    ],
)
def test_given_a_way_to_run_code_out_of_a_file_then_it_is_told(tmp_path: Path, source: str) -> None:
    assert len(forbidden(invented(tmp_path, {"a.py": source}))) == 1


def test_given_harmless_namesakes_then_all_is_well(tmp_path: Path) -> None:
    source = "model.eval()\njson.load(x)\nf(trust_remote_code=False)\n'pickle'"
    assert forbidden(invented(tmp_path, {"a.py": source})) == []


def test_given_a_module_that_loads_others_then_they_are_told(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text("import wave", "utf-8")
    assert loaded_by("greedy", tmp_path, ("wave", "turtle")) == ["wave"]
