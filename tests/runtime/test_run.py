"""The worked examples that settings ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from depqa_ray.errors import InputError
from depqa_ray.runtime.run import _examples
from depqa_ray.settings.load import load_settings
from tests.passages.documents import row, write_lines


def test_drawing_examples_skips_bad_rows(tmp_path: Path) -> None:
    """If bad rows are to be skipped, drawing examples skips them; otherwise it fails."""
    bad = row("x", context=...)
    file = write_lines(tmp_path / "rows.jsonl", bad, *(row(f"q{number}", f"Text {number}.") for number in range(3)))
    flags = {"dataset": file, "on_bad_input": "skip", "shots": "2", "min_questions": "1"}
    assert sorted(example.text for example in _examples(load_settings(flags), None)) == [
        "Text 0.",
        "Text 1.",
        "Text 2.",
    ]
    assert _examples(load_settings(flags | {"shots": "0"}), None) == ()
    with pytest.raises(InputError, match="row 1"):
        _examples(load_settings(flags | {"on_bad_input": "fail"}), None)
