"""Settings of the model: what generates, how tokens are chosen, and what each prompt contains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import PrivateAttr, field_validator, model_validator
from pydantic_settings import NoDecode

from depqa_ray.files import read_text_of
from depqa_ray.settings.section import Section, neutral, setting
from depqa_ray.settings.types import Count, CountOrZero, DtypeName, EngineName, NonNegative, Positive, PositiveShare

# Stop texts in one string: spaces count, and a comma after a backslash does not separate.
_STOP = re.compile(r"(?:[^\\,]|\\.)+", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t"}


class ModelSettings(Section):
    """The engine, the model and the prompts. The file with the system prompt is read once, at validation."""

    _system_prompt: str | None = PrivateAttr(default=None)

    model_name: str = setting(
        "Qwen/Qwen3-4B", "a causal LM: a hub id, a folder, or embedded (the small reader that ships with the package)"
    )
    engine: EngineName = setting(
        "shared_prefix",
        "the engine that generates; shared_prefix reads each passage once; vllm must be installed; openai calls a "
        "server; simulated answers by rule, to try out schedules",
    )
    openai_base_url: str | None = setting(
        None, "server address for --engine openai; default: OPENAI_BASE_URL, else OpenAI's own"
    )
    request_timeout: Positive = neutral(180.0, "seconds that the server may take for a prompt, retries included")
    dtype: DtypeName = setting(
        "auto", "data type of the weights; auto = bfloat16 if the hardware supports it, else float32"
    )
    max_new_tokens: Count = setting(96, "most tokens of an answer; a prompt of n questions may use n times as many")
    temperature: NonNegative = setting(0.0, "0 = take the likeliest token; above 0, sample tokens at this temperature")
    top_p: PositiveShare = setting(1.0, "sample from the likeliest tokens whose probabilities reach this sum")
    stop: Annotated[tuple[str, ...], NoDecode] = setting(
        (), "end an answer before any of these texts, separated by commas; \\n = a line break, \\, = a comma"
    )
    stop_at_json: bool = setting(True, "end an answer when its first JSON object closes")
    system_prompt_file: Path | None = setting(None, "text file that replaces the system line of every prompt")
    shots: CountOrZero = setting(
        0, "worked examples in every prompt, drawn by --seed from other passages of the data set"
    )
    max_batch_size: Count = neutral(32, "most prompts that a replica generates together")
    kv_gib: Positive = neutral(1.0, "GiB of memory for keys and values on a CPU")
    gpu_memory_utilization: PositiveShare = neutral(
        0.9, "share of a GPU's memory for the model and its keys and values"
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _split_stop(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts: list[str] = _STOP.findall(value)
        return tuple(_ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), part) for part in parts)

    @field_validator("stop")
    @classmethod
    def _no_empty_stop(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("an empty text would end every answer at once")
        return value

    @model_validator(mode="after")
    def _read_system_prompt(self) -> ModelSettings:
        """Read the file once, so that the prompts and the manifest hold the same text."""
        if self.system_prompt_file is not None:
            self._system_prompt = read_text_of(self.system_prompt_file, "--system-prompt-file")
        return self

    @property
    def system_prompt(self) -> str | None:
        """The text that ``system_prompt_file`` held when the settings were loaded; None if no file is set."""
        return self._system_prompt
