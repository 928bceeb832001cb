"""When the kernels for GPUs run, and what is said where they cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from depqa_ray.engines.cuda import plan
from depqa_ray.errors import EngineError
from tests.engines.shared_prefix.test_engine import build
from tests.engines.tiny import save_tiny_model


@pytest.fixture(autouse=True)
def working_kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Triton is there and the kernel that is tried runs; nothing is remembered of another test."""
    monkeypatch.setattr(plan, "find_spec", lambda name: object())
    monkeypatch.setattr(plan, "_run_one", lambda: None)
    plan._missing.cache_clear()
    yield
    plan._missing.cache_clear()


def pool(head_dim: int = 64, device: str = "cuda") -> Any:
    return SimpleNamespace(device=torch.device(device), head_dim=head_dim)


def test_kernels_run_on_a_gpu_alone() -> None:
    """If nothing is missing, the kernels run on a GPU; on a CPU they do not, and nothing is said."""
    assert plan.supports_kernels(pool(), 4) and not plan.missing_note(pool(), 4)
    assert not plan.supports_kernels(pool(device="cpu"), 4) and not plan.missing_note(pool(96, "cpu"), 4)


@pytest.mark.parametrize(("missing", "why"), [("triton", "Triton is not installed"), ("compiler", "(no C compiler)")])
def test_note_says_what_the_kernels_lack(missing: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Triton is missing or the kernel that is tried fails, torch's operations run, and a note says why."""

    def failing() -> None:
        raise RuntimeError("no C compiler")

    if missing == "triton":
        monkeypatch.setattr(plan, "find_spec", lambda name: None)
    else:
        monkeypatch.setattr(plan, "_run_one", failing)
    assert not plan.supports_kernels(pool(), 4)
    (note,) = plan.missing_note(pool(), 4)
    assert why in note


@pytest.mark.parametrize(("head_dim", "group"), [(96, 4), (64, 64)])
def test_unsupported_heads_are_named(head_dim: int, group: int) -> None:
    """If the kernels do not support a model's heads, the note says so."""
    assert not plan.supports_kernels(pool(head_dim), group)
    assert "do not support" in plan.missing_note(pool(head_dim), group)[0]


@pytest.mark.slow
def test_decoder_without_memory_names_the_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """If memory runs out behind the pool, as for the graphs of a GPU, the error names the flags to change."""

    def out_of_memory(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("depqa_ray.engines.shared_prefix.engine._build_decoder", out_of_memory)
    with pytest.raises(EngineError, match=r"^no memory for decoding 16 prompts: lower --kv-gib or --max-batch-size$"):
        asyncio.run(build(save_tiny_model(tmp_path)).start())
