"""Faster equivalents of a bfloat16 model's layers on a CPU: weights reordered once, norms in one kernel."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from transformers.activations import SiLUActivation
from typing_extensions import override

from depqa_ray.engines.cpu.kernels import rms_norm

_ROWS = 256  # the number of input rows that the layout is chosen for


class ReorderedLinear(nn.Module):
    """A linear layer whose weight is stored in oneDNN's own layout, so that no call has to reorder it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        self.bias = linear.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS)

    @override
    def forward(self, inputs: Tensor, activation: str = "none") -> Tensor:
        """[..., in_features] to [..., out_features]; ``activation`` is a name of oneDNN's."""
        output: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self.bias, activation, [], "")
        return output

    def times(self, inputs: Tensor, factor: Tensor) -> Tensor:
        """The output multiplied by ``factor``, of its shape."""
        output: Tensor = torch.ops.mkldnn._linear_pointwise.binary(inputs, factor, self._weight, self.bias, "mul")
        return output


class FusedMLP(nn.Module):
    """The gated MLP (arXiv 2002.05202) of three reordered layers, with gate and product fused into them."""

    def __init__(self, mlp: Any) -> None:
        super().__init__()
        self.gate_proj, self.up_proj, self.down_proj = mlp.gate_proj, mlp.up_proj, mlp.down_proj

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """[..., hidden_size] to the same."""
        gate = self.gate_proj(inputs, "swish")
        output: Tensor = self.down_proj(self.up_proj.times(inputs, gate))
        return output


class FusedRMSNorm(nn.Module):
    """Root mean square norm (arXiv 1910.07467) in one kernel instead of six."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.variance_epsilon

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        """The same shape and dtype; the mean runs over the last dimension."""
        output = rms_norm(inputs, self.weight, self.eps)
        return output if output is not None else functional.rms_norm(inputs, self.weight.shape, self.weight, self.eps)


def optimize_for_cpu(model: nn.Module) -> None:
    """Replace the layers of a bfloat16 model as far as the processor allows. Results change by rounding only."""
    # Builds without oneDNN, as for some ARM processors, lack the function as well.
    reorders = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and reorders:
                setattr(parent, name, ReorderedLinear(child))
            elif type(child).__name__.endswith("RMSNorm") and hasattr(child, "variance_epsilon"):
                setattr(parent, name, FusedRMSNorm(child))
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _is_gated(child):
                setattr(parent, name, FusedMLP(child))


def _is_gated(module: nn.Module) -> bool:
    linears = (getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj"))
    silu = isinstance(getattr(module, "act_fn", None), (nn.SiLU, SiLUActivation))
    return silu and all(isinstance(linear, ReorderedLinear) for linear in linears)
