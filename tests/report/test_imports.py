"""A command that shows no report does not import the report's libraries."""

from __future__ import annotations

import subprocess
import sys


def test_templates_and_tables_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, depqa_ray.report.render, depqa_ray.report.terminal, depqa_ray.results.store; "
        "print(sorted({'jinja2', 'markupsafe', 'rich', 'torch', 'ray'} & set(sys.modules)))"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert found.strip() == "[]"
