"""The compiled norm and argmax against torch's own."""

from __future__ import annotations

import pytest
import torch

from depqa_ray.engines.cpu import kernels
from depqa_ray.engines.cpu.attention import Kernel
from depqa_ray.engines.cpu.kernels import argmax, rms_norm


@pytest.fixture(autouse=True)
def built(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "load", lambda: kernel)


@pytest.mark.parametrize("shape", [(1, 1), (3, 16), (7, 100), (1, 40, 16, 128), (513, 1024)])
def test_norm_is_exact_and_rounded_once(shape: tuple[int, ...]) -> None:
    """The norm of each row is the exact one, rounded once."""
    generator = torch.Generator().manual_seed(0)
    rows = (torch.randn(shape, generator=generator) * 3).bfloat16()
    weight = torch.randn(shape[-1], generator=generator).bfloat16()
    wide = rows.double()
    exact = wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight.double()
    found = rms_norm(rows, weight, 1e-6)
    assert found is not None and found.shape == rows.shape
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (5, 31), (9, 1000), (40, 20000)])
def test_argmax_is_the_first_of_the_greatest(shape: tuple[int, int]) -> None:
    """The argmax of each row is the first of its greatest values."""
    rows = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    assert torch.equal(argmax(rows), rows.float().argmax(-1))  # type: ignore[arg-type]
    assert torch.equal(argmax(-rows.abs()), (-rows.abs()).float().argmax(-1))  # type: ignore[arg-type]


def test_argmax_treats_both_zeros_as_equal() -> None:
    """If a row holds both zeros, the argmax is the first of them."""
    rows = torch.tensor([[-1.0, -0.0, 0.0] + [-2.0] * 40, [0.0, -0.0, -1.0] + [-0.0] * 40]).bfloat16()
    assert argmax(rows).tolist() == [1, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1, 31, 32, 100, 20000])
@pytest.mark.parametrize("sign", [1, -1])
def test_argmax_of_a_row_that_is_not_finite_is_none(size: int, sign: int) -> None:
    """If a row has a NaN of either sign anywhere, or no finite maximum, its argmax is -1."""
    rows = torch.randn(4, size, generator=torch.Generator().manual_seed(2)).bfloat16()
    rows[0, size // 2] = sign * float("nan")
    rows[1, size - 1] = float("inf")
    rows[2] = -float("inf")
    rows[3, : size - 1] = -float("inf")
    assert argmax(rows).tolist() == [-1, -1, -1, size - 1]  # type: ignore[union-attr]


def test_given_another_dtype_then_it_is_left_to_torch() -> None:
    rows = torch.ones(2, 16)
    assert rms_norm(rows, rows[0], 1e-6) is None
    assert argmax(rows) is None
