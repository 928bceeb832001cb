"""Which device a replica computes on, and what is said if it cannot."""

from __future__ import annotations

import pytest
import torch

from depqa_ray.engines.local.devices import torch_device
from depqa_ray.errors import StartError


@pytest.fixture(params=[True, False])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    found: bool = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    return found


def test_auto_takes_a_gpu_if_there_is_one(gpu: bool) -> None:
    assert torch_device().type == torch_device("auto").type == ("cuda" if gpu else "cpu")


def test_cpu_is_the_cpu_beside_a_gpu_too(gpu: bool) -> None:
    """If the CPU is asked for, a GPU is left alone."""
    assert torch_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("cuda", "reason"),
    [(None, "is a build for CPUs; install one"), ("13.0", r"\(CUDA 13\.0\) finds no GPU or no driver")],
)
def test_missing_gpu_ends_the_start(monkeypatch: pytest.MonkeyPatch, cuda: str | None, reason: str) -> None:
    """If a GPU was given but cannot be used, the error says which torch this is, and what to do."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(StartError, match=reason) as caught:
        torch_device("cuda")
    assert torch.__version__ in str(caught.value)
    assert "--gpus-per-replica 0" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_given_gpu_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a GPU was given and can be used, it is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert torch_device("cuda").type == "cuda"
