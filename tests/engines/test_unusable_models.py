"""What the engines that choose their own tokens promise about models that cannot be used, checked on each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import Completion
from depqa_ray.engines.base import Engine, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.factory import build_engine
from depqa_ray.errors import EngineError, StartError
from tests.engines.calls import answers, with_engine
from tests.engines.damage import drop_tensors, prefix_tensors, remove_tokenizer, write_nan
from tests.engines.test_contract import prompt
from tests.engines.tiny import save_tiny_model

pytestmark = pytest.mark.slow

BuildEngine = Callable[..., Engine]


@pytest.fixture(params=["transformers", "shared_prefix"])
def build(request: pytest.FixtureRequest) -> BuildEngine:
    """Builds the engine under test for a model's folder."""

    def make(model: Path, **spec: Any) -> Engine:
        return build_engine(EngineSpec(request.param, str(model), "float32", 4, 1.0, 0.9, **spec))

    return make


@pytest.mark.parametrize(
    "damage", [lambda f: drop_tensors(f, "layers.1."), lambda f: prefix_tensors(f, "x."), remove_tokenizer]
)
def test_model_that_is_not_whole_ends_the_start(
    build: BuildEngine, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    """If a model lacks tensors or its tokenizer, the start ends with one line that every replica would end with."""
    damage(save_tiny_model(tmp_path))
    with pytest.raises(StartError, match="cannot load the model") as caught:
        with_engine(build(tmp_path), answers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sampling_params", [SamplingParams(), SamplingParams(1.0, 0.9)])
def test_outputs_that_are_not_numbers_end_the_start(
    build: BuildEngine, tmp_path: Path, sampling_params: SamplingParams
) -> None:
    """If a model's outputs are NaN at the warm-up, the start fails, names the dtype and says what to try."""
    write_nan(save_tiny_model(tmp_path), "layers.1.mlp.down_proj")
    with pytest.raises(StartError, match=r"outputs are not numbers \(NaN.*\) in float32; fetch it again") as caught:
        with_engine(build(tmp_path, sampling_params=sampling_params), answers)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "sampling_params", [SamplingParams(), SamplingParams(1.0, 0.9), SamplingParams(fixed_length=True)]
)
def test_row_that_turns_to_nan_fails_alone(build: BuildEngine, tmp_path: Path, sampling_params: SamplingParams) -> None:
    """If a row's outputs turn to NaN, it fails with that reason; the rows beside it and later ones are answered."""
    save_tiny_model(tmp_path, tie_word_embeddings=False)
    engine = build(tmp_path, sampling_params=sampling_params)
    expected = with_engine(engine, lambda e: answers(e, prompt("a"), prompt("b")))
    write_nan(tmp_path, "embed_tokens", row=2 + ord("Z") - ord("!"))

    async def use(engine: Engine) -> list[Completion]:
        mixed = await answers(engine, prompt("a"), prompt("bad", "Question: Z?"), prompt("b"))
        return [*mixed, *await answers(engine, prompt("a"), prompt("b"))]

    engine = build(tmp_path, sampling_params=sampling_params)
    found = with_engine(engine, use)
    assert "not numbers (NaN" in (found[1].error or "")
    assert found[1].text == ""
    assert [c.text for c in found if c.prompt_id != "bad"] == [c.text for c in [*expected, *expected]]
    assert not any(c.error for c in found if c.prompt_id != "bad")


def test_fault_of_the_model_at_its_first_prompt_ends_the_start(
    build: BuildEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the model's code breaks at the warm-up, the start fails for all replicas; out of memory may be retried."""
    from transformers.models.qwen3 import modeling_qwen3

    save_tiny_model(tmp_path)
    for error, of_model in ((ValueError("wrong\nshape"), True), (OSError(5, "Input/output error"), False)):

        def fail(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(modeling_qwen3.Qwen3MLP, "forward", fail)
        with pytest.raises(EngineError) as caught:
            with_engine(build(tmp_path), answers)
        assert isinstance(caught.value, StartError) is of_model
        assert "\n" not in str(caught.value)


def test_plain_prompts_are_noted(build: BuildEngine, tmp_path: Path) -> None:
    """If a model has no chat template, the engine's info says so."""

    async def run() -> EngineInfo:
        engine = build(save_tiny_model(tmp_path))
        info = await engine.start()
        await engine.close()
        return info

    assert any("no chat template" in note for note in asyncio.run(run()).notes)


def test_missing_gpu_ends_the_start(build: BuildEngine, tmp_path: Path) -> None:
    """If a replica was given a GPU and finds none, its start ends with what to do; it does not compute on the CPU."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(StartError, match=r"cannot use it: .*--gpus-per-replica 0"):
        with_engine(build(save_tiny_model(tmp_path), device="cuda"), answers)
