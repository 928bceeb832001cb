"""Chooses the next token of each row: the likeliest, or one drawn from the nucleus (arXiv 1904.09751)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.cpu.kernels import argmax
from depqa_ray.engines.local.generation import Generation

_GREEDY_BELOW: Final = 1e-6
"""Division by lower temperatures would overflow, and only the likeliest token remains anyway."""


def sample(logits: Tensor, generations: Sequence[Generation], sampling_params: SamplingParams) -> Tensor:
    """The next token of each row [rows], on the device of ``logits`` [rows, vocabulary]: a row for each generation.

    A drawn token depends only on its row's logits and its generation's own random numbers. Nothing here waits for the
    device: the numbers are drawn on the host and sent in one tensor. The token is -1 if the row holds a NaN, or if its
    greatest logit is infinite.
    """
    if sampling_params.temperature < _GREEDY_BELOW:
        indices = argmax(logits)
        # max, not argmax: the same first maximum, and five times as fast for bfloat16 on a CPU.
        if indices is not None:
            return indices
        greatest, indices = logits.max(-1)  # NaN is the greatest of all
        return indices.masked_fill_(~greatest.isfinite(), -1)
    nucleus = _nucleus((logits.float() / sampling_params.temperature).softmax(-1), sampling_params.top_p)
    # Drawn last: if the lines above run out of memory, the step is repeated and must draw the same numbers.
    draws = torch.tensor([generation.draw() for generation in generations], dtype=torch.float64)
    if logits.is_cuda:
        draws = draws.pin_memory()
    return _invert(nucleus, draws.to(logits.device, non_blocking=True))


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The probabilities of the smallest set of likeliest tokens that reaches ``top_p``; zero for the others."""
    if top_p >= 1:
        return probabilities
    ordered, tokens = _in_order(probabilities, top_p)
    before = ordered.cumsum(-1, dtype=torch.float64) - ordered
    kept = torch.zeros_like(probabilities, dtype=torch.bool).scatter_(-1, tokens, before < top_p)
    return probabilities.where(kept, 0.0)


def _in_order(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The probabilities and their tokens, the likeliest first, as many as hold the nucleus.

    Of equal ones the smaller token comes first, as in the greedy choice: the sort has to be stable.
    """
    if probabilities.is_cuda:  # sorting all is fast there, and counting first would wait for the device
        return probabilities.sort(dim=-1, descending=True, stable=True)
    # Tokens below this bound together have less than 1 - top_p. Few tokens are above it.
    bound = (1 - top_p) / probabilities.shape[-1]
    count = max(1, int((probabilities >= bound).sum(-1).max()))
    tokens = probabilities.topk(count, sorted=False).indices.sort(-1).values
    ordered, order = probabilities.gather(-1, tokens).sort(dim=-1, descending=True, stable=True)
    return ordered, tokens.gather(-1, order)


def _invert(probabilities: Tensor, draws: Tensor) -> Tensor:
    """The token at which the cumulative probability passes ``draws`` [rows], each a share of the row's sum.

    Summed in the vocabulary's order, so that rounding moves a border a little and no token far; in float64, since
    float32 loses the many small ones. It is -1 if the row's sum is no positive number.
    """
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    passed = torch.searchsorted(cumulative, draws[:, None] * total, right=True)
    # Softmax turns a row with a NaN or an infinite maximum into NaN, whose nucleus is empty.
    return passed.masked_fill_(~(total > 0), -1)[:, 0]
