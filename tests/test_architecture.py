"""The architecture is kept: which package may import which, where each library is used, and code that is forbidden.

Imports are read from the source, so that those within functions and under ``TYPE_CHECKING`` count too. The checkers
return the offences; each is also run on an invented tree that it must report.
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
    ("errors", "files", "proxies", "hub", "code_version", "settings", "core"),
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
    "triton": ("engines.cuda.kernels",),
    "openai": ("engines.openai",),
    "huggingface_hub": ("hub",),
    "datasets": ("results.parquet",),
    "pyarrow": ("passages.rows",),
    "jinja2": ("report",),
}
"""Where a library may be imported: parts of the package, without its name."""

HEAVY = ("ray", "torch", "transformers", "huggingface_hub", "datasets", "jinja2", "networkx", "numpy")
"""What the command line must not load before a command needs it."""

LONGEST_FILE = 400
"""The most lines of a module."""

LONGEST_TEST_NAME = 60
"""The most characters of a test's name; the rest belongs in its docstring."""


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


def misplaced_imports(modules: list[Module]) -> list[str]:
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
    """Calls that run code from a file."""
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


def long_test_names(modules: list[Module]) -> list[str]:
    """Test functions whose names are too long."""
    return [
        f"{module.name}: {node.name}"
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test")
        and len(node.name) > LONGEST_TEST_NAME
    ]


def long_files(root: Path) -> list[str]:
    """Modules with too many lines."""
    lines = {path: path.read_text("utf-8").count("\n") for path in sorted(root.rglob("*.py"))}
    return [f"{path.relative_to(root)}: {count}" for path, count in lines.items() if count > LONGEST_FILE]


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
    assert misplaced_imports(modules) == []


def test_no_module_runs_code_from_files(modules: list[Module]) -> None:
    """No module runs code from a file."""
    assert forbidden(modules) == []


def test_the_command_line_loads_nothing_heavy() -> None:
    assert loaded_by(f"{PACKAGE}.cli.commands", ROOT.parent, HEAVY) == []


def test_names_of_tests_are_short() -> None:
    """Every test function has a name of at most 60 characters."""
    assert long_test_names(read_tree(Path(__file__).parent)) == []


@pytest.mark.parametrize("root", [ROOT, Path(__file__).parent], ids=["package", "tests"])
def test_no_file_is_long(root: Path) -> None:
    """No module of the package or of the tests has more than 400 lines."""
    assert long_files(root) == []


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
def test_import_that_goes_up_is_reported(tmp_path: Path, files: dict[str, str], broken: str) -> None:
    """If an import goes up, or a part has no floor, the checker reports it."""
    assert floor_breaks(invented(tmp_path, files)) == [broken]


def test_imports_that_go_down_or_sideways_pass(tmp_path: Path) -> None:
    """If imports go down or sideways, the checker reports nothing."""
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
def test_modules_that_import_each_other_are_reported(tmp_path: Path, files: dict[str, str]) -> None:
    """If modules import each other, the checker reports the cycle."""
    assert len(module_cycles(invented(tmp_path, files))) == 1


def test_chain_of_modules_is_no_cycle(tmp_path: Path) -> None:
    """If modules import each other in a chain, the checker reports nothing."""
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
def test_library_outside_its_home_is_reported(tmp_path: Path, file: str, source: str) -> None:
    """If a library is imported outside its home, the checker reports it."""
    assert misplaced_imports(invented(tmp_path, {file: source})) != []


def test_libraries_at_home_pass(tmp_path: Path) -> None:
    """If libraries are imported at home, the checker reports nothing."""
    files = {
        "runtime/ray/pool.py": "import ray\nimport rayon",
        "engines/vllm.py": "import torch, vllm",
        "passages/rows.py": "import pyarrow",
    }
    assert misplaced_imports(invented(tmp_path, files)) == []


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
def test_code_that_runs_files_is_reported(tmp_path: Path, source: str) -> None:
    """If a module can run code from a file, the checker reports it."""
    assert len(forbidden(invented(tmp_path, {"a.py": source}))) == 1


def test_harmless_namesakes_pass(tmp_path: Path) -> None:
    """If names only resemble the forbidden ones, the checker reports nothing."""
    source = "model.eval()\njson.load(x)\nf(trust_remote_code=False)\n'pickle'"
    assert forbidden(invented(tmp_path, {"a.py": source})) == []


def test_loaded_modules_are_reported(tmp_path: Path) -> None:
    """If a module loads others, the checker reports them."""
    (tmp_path / "greedy.py").write_text("import wave", "utf-8")
    assert loaded_by("greedy", tmp_path, ("wave", "turtle")) == ["wave"]


def test_long_name_of_a_test_is_reported(tmp_path: Path) -> None:
    """If the name of a test is too long, the checker reports it."""
    short, long = f"test_{'x' * 55}", f"test_{'x' * 56}"
    source = f"def {short}(): ...\nclass A:\n    async def {long}(self): ..."
    assert long_test_names(invented(tmp_path, {"test_a.py": source})) == [f"{PACKAGE}.test_a: {long}"]


def test_long_file_is_reported(tmp_path: Path) -> None:
    """If a module has more than 400 lines, the checker reports it."""
    invented(tmp_path, {"a.py": "x = 1\n" * 400, "b.py": "x = 1\n" * 401})
    assert long_files(tmp_path / PACKAGE) == ["b.py: 401"]
