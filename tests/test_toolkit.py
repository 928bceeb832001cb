"""The package's public names."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import depqa_ray


@pytest.mark.parametrize("name", depqa_ray.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(depqa_ray, name)

    assert name in dir(depqa_ray)
    assert name in (depqa_ray.__doc__ or "")
    if callable(value):
        assert value.__doc__ and not value.__doc__.startswith(f"{name}(")  # a dataclass's own would be its signature


def test_no_public_name_is_listed_twice() -> None:
    names = [name for names in depqa_ray._NAMES.values() for name in names]
    assert sorted(names) == sorted(set(names)) == sorted(depqa_ray.__all__)


def test_the_stub_and_the_mapping_agree() -> None:
    stub = ast.parse(Path(depqa_ray.__file__).with_suffix(".pyi").read_text("utf-8"))
    imports = [(node.module, alias) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert {alias.name: module for module, alias in imports} == {
        name: f"depqa_ray.{module}" for name, module in depqa_ray._MODULE_OF.items()
    }
    assert all(alias.asname == alias.name for _, alias in imports)  # a stub exports no other import


def test_unknown_public_name_is_an_attribute_error() -> None:
    """If a public name is unknown, AttributeError is raised as for any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = depqa_ray.Nothing


def test_importing_the_package_loads_nothing_else_of_it() -> None:
    code = "import sys, depqa_ray; print(*(name for name in sys.modules if name.startswith('depqa_ray.')))"
    folder = Path(depqa_ray.__file__).parents[1]
    shown = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == []
