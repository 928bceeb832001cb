"""The engine and the worked examples that settings ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from depqa_ray.engines.base import SamplingParams
from depqa_ray.errors import InputError
from depqa_ray.runtime.run import _engine_spec, _examples
from depqa_ray.settings.load import load_settings
from tests.passages.documents import row, write_lines


def test_sampling_settings_reach_the_engine() -> None:
    """If settings for sampling are given, they reach the engine."""
    flags = {"temperature": "0.7", "top_p": "0.9", "stop": "a,b", "stop_at_json": False, "seed": "5"}
    assert _engine_spec(load_settings(flags), ()).sampling_params == SamplingParams(0.7, 0.9, 5, ("a", "b"), False)
    assert _engine_spec(load_settings({}), ()).sampling_params == SamplingParams(seed=13, stop_at_json=True)


def test_drawing_examples_skips_bad_rows(tmp_path: Path) -> None:
    """If bad rows are to be skipped, drawing examples skips them; otherwise it fails."""
    bad = row("x", context=...)
    file = write_lines(tmp_path / "rows.jsonl", bad, *(row(f"q{number}", f"Text {number}.") for number in range(3)))
    flags = {"dataset": file, "on_bad_input": "skip", "shots": "2", "min_questions": "1"}
    assert sorted(example.text for example in _examples(load_settings(flags))) == ["Text 0.", "Text 1.", "Text 2."]
    assert _examples(load_settings(flags | {"shots": "0"})) == ()
    with pytest.raises(InputError, match="row 1"):
        _examples(load_settings(flags | {"on_bad_input": "fail"}))
