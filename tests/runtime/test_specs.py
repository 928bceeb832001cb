"""From settings to what replicas load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from depqa_ray.engines.base import SamplingParams
from depqa_ray.errors import InputError
from depqa_ray.runtime.specs import edge_spec, engine_spec, hub_models
from depqa_ray.settings.load import Settings, load_settings

SERVER = {"deps_engine": "openai", "deps_model": "big"}
OTHER = {"deps_engine": "transformers", "deps_model": "a/b@v2"}


def settings(**flags: Any) -> Settings:
    return load_settings(flags)


def test_sampling_settings_reach_the_engine() -> None:
    given = settings(temperature="0.7", top_p="0.9", stop="a,b", stop_at_json=False, seed="5")
    assert engine_spec(given, (), {}, 0.0).sampling_params == SamplingParams(0.7, 0.9, 5, ("a", "b"), False)
    assert engine_spec(settings(), (), {}, 0.0).sampling_params == SamplingParams(seed=13, stop_at_json=True)


@pytest.mark.parametrize(
    ("flags", "gpus", "device"),
    [({}, 1.0, "cuda"), ({}, 0.5, "cuda"), ({}, 0.0, "auto"), ({"gpus_per_replica": "0"}, 0.0, "cpu")],
)
def test_replica_that_holds_a_gpu_must_find_one(flags: dict[str, Any], gpus: float, device: str) -> None:
    """If a replica holds a GPU it computes there; only if none is asked for, never."""
    assert engine_spec(settings(**flags), (), {}, gpus).device == device
    assert edge_spec(settings(**flags, **OTHER), engine_spec(settings(), (), {}, 0.0), {}, gpus).device == device


def test_only_models_that_replicas_load_come_from_the_hub() -> None:
    """If a server has a model, or it ships with the package, there is nothing to fetch."""
    assert hub_models(settings(), edges=False) == {"model": "Qwen/Qwen3-4B"}
    assert hub_models(settings(**OTHER), edges=True) == {"model": "Qwen/Qwen3-4B", "edge_model": "a/b@v2"}
    assert hub_models(settings(**OTHER), edges=False) == {"model": "Qwen/Qwen3-4B"}
    assert hub_models(settings(**SERVER), edges=True) == {"model": "Qwen/Qwen3-4B"}
    assert hub_models(settings(engine="openai", model_name="no/hub/name"), edges=False) == {}
    assert hub_models(settings(model_name="embedded"), edges=False) == {}


@pytest.mark.parametrize("name", ["no/such/folder", "/no/such/folder", "./none", "a/b@", "a/b@../c"])
def test_impossible_name_of_a_model_is_refused_at_once(name: str) -> None:
    """If a model's name is neither a folder nor possible on the hub, it is refused before anything starts."""
    with pytest.raises(InputError):
        hub_models(settings(model_name=name), edges=False)


def test_commits_go_to_the_engines_that_load_them() -> None:
    commits = {"model": "1" * 40, "edge_model": "2" * 40}
    answers = engine_spec(settings(**OTHER), (), commits, 0.0)
    edges = edge_spec(settings(**OTHER), answers, commits, 0.0)
    assert (answers.revision, edges.revision) == ("1" * 40, "2" * 40)
    assert (answers.model_name, edges.model_name) == ("Qwen/Qwen3-4B", "a/b@v2")
    assert edge_spec(settings(**SERVER), answers, {"model": "1" * 40}, 0.0).revision == ""


def test_folder_of_a_model_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a model is a folder, its path is made absolute: replicas may run in another one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert engine_spec(settings(model_name="model"), (), {}, 0.0).model_name == str(tmp_path / "model")
