"""Where a local model computes, and in which type."""

from __future__ import annotations

import torch

from depqa_ray.errors import StartError
from depqa_ray.settings.types import DeviceName, DtypeName

_ON_CPU = "to compute on the CPU: --gpus-per-replica 0"


def torch_device(device: DeviceName = "auto") -> torch.device:
    """The device of that name; "auto" is a GPU if the process sees one, otherwise the CPU.

    Raises StartError if it is "cuda" and torch can use no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise StartError(f"the replica was given a GPU but cannot use it: {_why_no_gpu()}; {_ON_CPU}")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if on_gpu else "cpu")


def _why_no_gpu() -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        build = f"torch {torch.__version__} is a build for CPUs"
        return f"{build}; install one for this machine's driver (https://pytorch.org/get-started/locally)"
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    return (
        f"torch {torch.__version__} ({built_for}) finds no GPU or no driver for it; if nvidia-smi shows one, update "
        "the driver or install a torch for an older CUDA"
    )


def torch_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """The type of the weights. "auto" is bfloat16 on a GPU and on a CPU with instructions for it, else float32."""
    if dtype == "auto":
        native = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if native else torch.float32
    return torch.bfloat16 if dtype == "bfloat16" else torch.float32
