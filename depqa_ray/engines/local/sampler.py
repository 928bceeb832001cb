"""Chooses the next token of each row: the likeliest, or one drawn from the nucleus (arXiv 1904.09751)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.cpu.kernels import greatest
from depqa_ray.engines.local.generation import Answer

_COLD: Final = 1e-6
"""Temperatures below would overflow when divided by, and leave nothing but the likeliest token anyway."""


def choose(logits: Tensor, answers: Sequence[Answer], sampling_params: SamplingParams) -> Tensor:
    """The next token of each row [rows], on the device of ``logits`` [rows, vocabulary]; a row belongs to an answer.

    A drawn token depends on its row's logits and its answer's own random numbers alone. Nothing here waits for the
    device: the numbers are drawn on the host and sent in one tensor.
    """
    if sampling_params.temperature < _COLD:
        places = greatest(logits)
        # max, not argmax: the same first maximum, and five times as fast for bfloat16 on a CPU.
        return places if places is not None else logits.max(-1).indices
    nucleus = _nucleus((logits.float() / sampling_params.temperature).softmax(-1), sampling_params.top_p)
    # Drawn last: where the memory for what stands above runs out, the step is taken again, and so must the numbers be.
    draws = torch.tensor([answer.draw() for answer in answers], dtype=torch.float64)
    if logits.is_cuda:
        draws = draws.pin_memory()
    return _invert(nucleus, draws.to(logits.device, non_blocking=True))


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The smallest set of likeliest tokens whose probability reaches ``top_p``; zero for the others."""
    if top_p >= 1:
        return probabilities
    ordered, tokens = _in_order(probabilities, top_p)
    before = ordered.cumsum(-1, dtype=torch.float64) - ordered
    kept = torch.zeros_like(probabilities, dtype=torch.bool).scatter_(-1, tokens, before < top_p)
    return probabilities.where(kept, 0.0)


def _in_order(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """The probabilities with their tokens, the likeliest first, as many as hold the nucleus.

    Of equal ones the smaller token comes first, as it does in the greedy choice: the sort has to be stable.
    """
    if probabilities.is_cuda:  # where sorting all is quick, and counting first would wait for the device
        return probabilities.sort(dim=-1, descending=True, stable=True)
    # All that are less likely than this do not add up to what the nucleus leaves out. Few are likelier.
    bound = (1 - top_p) / probabilities.shape[-1]
    count = max(1, int((probabilities >= bound).sum(-1).max()))
    tokens = probabilities.topk(count, sorted=False).indices.sort(-1).values
    ordered, places = probabilities.gather(-1, tokens).sort(dim=-1, descending=True, stable=True)
    return ordered, tokens.gather(-1, places)


def _invert(probabilities: Tensor, draws: Tensor) -> Tensor:
    """The token at which the cumulative probability passes ``draws`` [rows], each a share of the row's sum.

    Summed in the vocabulary's order, so that a change in rounding moves borders a little and no token far away, and in
    float64, since in float32 the many small ones would not add up.
    """
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    passed = torch.searchsorted(cumulative, draws[:, None] * cumulative[:, -1:], right=True)
    # Logits that are no numbers must not give a token that is none: on a GPU that would end the process.
    return passed[:, 0].clamp_(max=probabilities.shape[-1] - 1)
