"""What an experiment makes of its settings."""

from __future__ import annotations

from depqa_ray.config import load_settings
from depqa_ray.engines.base import Decoding
from depqa_ray.runtime.experiment import _engine_spec


def test_given_settings_for_decoding_then_the_engine_hears_of_them() -> None:
    flags = {"temperature": "0.7", "top_p": "0.9", "stop": "a,b", "stop_at_json": False, "seed": "5"}
    assert _engine_spec(load_settings(flags), ()).decoding == Decoding(0.7, 0.9, 5, ("a", "b"), False)
    assert _engine_spec(load_settings({}), ()).decoding == Decoding(seed=13, stop_at_json=True)
