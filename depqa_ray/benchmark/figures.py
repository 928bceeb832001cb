"""Figures of a repeat from a worker's reply; medians and ratios over repeats. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from depqa_ray.benchmark.prefix_tree import PromptWork, prompt_work
from depqa_ray.benchmark.protocol import RunReply
from depqa_ray.benchmark.roofline import Ceilings, ModelShape, decode_work, prefill_work, step_floor
from depqa_ray.benchmark.schema import RepeatFigures, Spread

FIGURES: Final[tuple[tuple[str, str, float, int], ...]] = (
    ("questions/s", "questions_per_second", 1, 2),
    ("prompt tokens/s", "prompt_tokens_per_second", 1, 0),
    ("generated tokens/s", "generated_tokens_per_second", 1, 1),
    ("prefix hit rate", "hit_rate", 1, 3),
    ("prompt tokens computed / fewest", "over_fewest", 1, 2),
    ("time to first token, s", "first_token_seconds", 1, 3),
    ("decode step, ms", "decode_step_seconds", 1e3, 2),
    ("floor of a decode step, ms", "decode_step_floor", 1e3, 2),
    ("peak memory, GiB", "peak_bytes", 1 / (1 << 30), 2),
    ("peak GPU memory, GiB", "device_peak_bytes", 1 / (1 << 30), 2),
    ("share of the roofline", "roofline_share", 1, 3),
    ("questions/s at the roofline", "floor_questions_per_second", 1, 1),
)
"""The figures summarised over the repeats: title, name in :class:`RepeatFigures`, factor and decimals when printed."""


@dataclass(frozen=True, slots=True)
class Task:
    """An engine's work in each repeat.

    - ``rows``: the tokens of its prompts, by prompt id; ``work`` is their :func:`prompt_work`.
    - ``batch``: most prompts together.
    """

    rows: dict[str, tuple[int, ...]]
    work: PromptWork
    batch: int
    shape: ModelShape
    ceilings: Ceilings


def repeat_figures(repeat: int, reply: RunReply, task: Task) -> RepeatFigures:
    """The figures of one repeat. Failed prompts count neither as questions nor as tokens."""
    done = [completion for completion in reply.completions if completion.error is None]
    rows = [task.rows[completion.prompt_id] for completion in done]
    generated = [completion.generated_tokens for completion in done]
    prefill = prefill_work(task.shape, prompt_work(rows))
    decode, decode_steps = decode_work(task.shape, rows, generated)
    floor = prefill.seconds(task.ceilings) + decode.seconds(task.ceilings)
    together = min(task.batch, len(rows)) / max(len(rows), 1)
    counts, seconds = reply.counts, reply.seconds
    prompt_tokens = sum(completion.prompt_tokens for completion in done)
    first_tokens = [c.first_token_seconds for c in done if c.first_token_seconds is not None]
    return RepeatFigures(
        repeat=repeat,
        questions=len(done),
        failed=len(reply.completions) - len(done),
        seconds=seconds,
        questions_per_second=len(done) / seconds,
        prompt_tokens=prompt_tokens,
        prompt_tokens_per_second=prompt_tokens / seconds,
        generated_tokens=sum(generated),
        generated_tokens_per_second=sum(generated) / seconds,
        computed_tokens=counts.computed_tokens,
        cached_tokens=counts.cached_tokens,
        hit_rate=_ratio(counts.cached_tokens, task.work.shareable),
        over_fewest=_ratio(counts.computed_tokens, task.work.fewest),
        first_token_seconds=median(first_tokens) if first_tokens else None,
        decode_steps=counts.decode_steps,
        decode_step_seconds=_ratio(counts.decode_seconds, counts.decode_steps),
        decode_step_floor=step_floor(task.shape, task.ceilings, decode, decode_steps, together),
        floor_seconds=floor,
        floor_questions_per_second=len(done) / floor,
        roofline_share=floor / seconds,
        peak_bytes=reply.peak_bytes,
        device_peak_bytes=reply.device_peak_bytes,
        out_of_memory=counts.out_of_memory,
    )


def summary(repeats: Sequence[RepeatFigures]) -> dict[str, Spread | None]:
    """The spread of each figure over the repeats; None if a repeat does not know it."""
    values = {name: [getattr(figures, name) for figures in repeats] for _, name, *_ in FIGURES}
    return {name: None if None in row else _spread(row) for name, row in values.items()}


def paired_ratio(ours: Sequence[RepeatFigures], theirs: Sequence[RepeatFigures]) -> Spread:
    """The ratio of questions a second, repeat by repeat: what slows a whole repeat down cancels out."""
    return _spread([a.questions_per_second / b.questions_per_second for a, b in zip(ours, theirs, strict=True)])


def _spread(values: Sequence[float]) -> Spread:
    return Spread(median=median(values), low=min(values), high=max(values))


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
