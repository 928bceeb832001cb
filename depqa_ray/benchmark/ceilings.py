"""Measures the machine's ceilings, counts a model's shape and tokenizes prompts, all without an engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM

from depqa_ray.benchmark.roofline import Ceilings, ModelShape
from depqa_ray.core import Prompt
from depqa_ray.engines.local.chat import Chat
from depqa_ray.engines.local.devices import torch_device, torch_dtype
from depqa_ray.engines.local.loading import as_start_error, load_config, load_tokenizer
from depqa_ray.engines.local.model_files import model_source
from depqa_ray.engines.local.prompt_encoder import UnreadablePromptError
from depqa_ray.engines.shared_prefix.kv_pool import head_dim
from depqa_ray.errors import EngineError
from depqa_ray.settings.types import DtypeName

_ROWS: Final = (32, 128, 512, 2048)
_SQUARE: Final = 4096
_BUFFER_BYTES: Final = {"cpu": 1 << 29, "cuda": 1 << 32}  # far more than any cache holds
_SECONDS: Final = 0.4  # for the tries of each product and of each way of reading


def model_shape(model_name: str, dtype: DtypeName) -> ModelShape:
    """A model's shape from its configuration alone; parameters are counted on the meta device. Raises EngineError."""
    config = load_config(model_name)
    with as_start_error(model_name), torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, trust_remote_code=False)  # type: ignore[no-untyped-call]
    ends = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings())}
    parameters = {id(parameter): parameter.numel() for parameter in model.parameters()}
    return ModelShape(
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or config.num_attention_heads,
        head_dim=head_dim(config),
        body_parameters=sum(count for key, count in parameters.items() if key not in ends),
        head_parameters=model.get_output_embeddings().weight.numel(),
        value_bytes=torch_dtype(dtype, torch_device()).itemsize,
    )


@torch.inference_mode()
def measure_ceilings(model_name: str, dtype: DtypeName) -> Ceilings:
    """The best rates of several matrix products (the model's widest layer, a large square) and ways of reading memory.

    Best, not average: what slows a try down (another process, a cold cache) is no property of the machine.
    """
    config = load_config(model_name)
    device = torch_device()
    of_type = torch_dtype(dtype, device)
    widest = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    sizes = [(rows, config.hidden_size, widest) for rows in _ROWS]
    sizes += [(rows, _SQUARE, _SQUARE) for rows in _ROWS[-2:]]
    products = tuple((*size, _product_rate(size, of_type, device)) for size in sizes)
    reads = _read_rates(of_type, device)
    return Ceilings(
        flops=max(rate for *_, rate in products),
        bytes=max(rate for _, rate in reads),
        device=torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        dtype=str(of_type).removeprefix("torch."),
        threads=torch.get_num_threads(),
        products=products,
        reads=reads,
    )


def prompt_rows(model_name: str, prompts: Sequence[Prompt]) -> list[list[int]]:
    """The prompts' tokens, as every engine reads them, without loading a model. Raises EngineError."""
    with as_start_error(model_name):
        chat = Chat(load_tokenizer(model_source(model_name)))
    try:
        return [chat.ids(prompt) for prompt in prompts]
    except UnreadablePromptError as error:
        raise EngineError(f"a prompt cannot be turned into tokens: {error}") from error


def _product_rate(size: tuple[int, int, int], dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of ``functional.linear``: [rows, inner] by [columns, inner], 2 operations a multiply-add."""
    rows, inner, columns = size
    x = torch.randn(rows, inner, device=device).to(dtype)
    weight = torch.randn(columns, inner, device=device).to(dtype)
    return 2.0 * rows * inner * columns / _best_seconds(lambda: functional.linear(x, weight), device)


def _read_rates(dtype: torch.dtype, device: torch.device) -> tuple[tuple[str, float], ...]:
    """Bytes a second of summing a buffer, copying it (reads and writes), and multiplying it by a vector."""
    size = _BUFFER_BYTES[device.type]
    buffer = torch.ones(size // (_SQUARE * dtype.itemsize), _SQUARE, dtype=dtype, device=device)
    floats = buffer.view(torch.float32)  # a CPU sums bfloat16 slower than it reads memory
    upper, lower = buffer.chunk(2)
    vector = torch.ones(1, _SQUARE, dtype=dtype, device=device)
    ways: dict[str, Callable[[], object]] = {
        "sum": floats.sum,
        "copy": lambda: upper.copy_(lower),
        "vector": lambda: functional.linear(vector, buffer),
    }
    return tuple((name, size / _best_seconds(way, device)) for name, way in ways.items())


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The shortest try of those that fit into a fixed time, after one uncounted try."""
    _timed(work, device)
    best = _timed(work, device)
    end = time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        best = min(best, _timed(work, device))
    return best


def _timed(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started
