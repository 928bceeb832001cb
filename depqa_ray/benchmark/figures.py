"""Figures of a repeat from a worker's reply; medians and ratios over repeats. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from depqa_ray.benchmark.model_shape import Ceilings, ModelShape
from depqa_ray.benchmark.prefix_tree import PromptWork, prompt_work
from depqa_ray.benchmark.protocol import RunReply
from depqa_ray.benchmark.roofline import decode_work, floor_of, step_floor
from depqa_ray.benchmark.schema import RepeatFigures, Spread
from depqa_ray.core import Completion

SUMMARISED: Final = (
    "questions_per_second",
    "prompt_tokens_per_second",
    "generated_tokens_per_second",
    "hit_rate",
    "over_fewest",
    "first_token_seconds",
    "decode_step_seconds",
    "decode_step_floor",
    "roofline_share",
    "floor_questions_per_second",
    "peak_bytes",
    "device_peak_bytes",
)


@dataclass(frozen=True, slots=True)
class Task:
    """An engine's work in each repeat: the tokens of its prompts by prompt id, at most ``batch`` prompts together."""

    rows: dict[str, tuple[int, ...]]
    work: PromptWork
    batch: int
    shape: ModelShape
    ceilings: Ceilings


def task_of(rows: dict[str, tuple[int, ...]], batch: int, shape: ModelShape, ceilings: Ceilings) -> Task:
    """The task of answering ``rows``."""
    return Task(rows, prompt_work(list(rows.values())), batch, shape, ceilings)


def repeat_figures(repeat: int, reply: RunReply, task: Task) -> RepeatFigures:
    """The figures of one repeat. Failed prompts count neither as questions nor as tokens."""
    done = [completion for completion in reply.completions if completion.error is None]
    rows = [task.rows[completion.prompt_id] for completion in done]
    generated = [completion.generated_tokens for completion in done]
    floor = floor_of(task.shape, task.ceilings, prompt_work(rows), rows, generated)
    work, steps = decode_work(task.shape, rows, generated)
    together = min(task.batch, len(rows)) / max(len(rows), 1)
    counts, seconds = reply.counts, reply.seconds
    prompt_tokens = sum(completion.prompt_tokens for completion in done)
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
        first_token_seconds=_median_first_token(done),
        decode_steps=counts.decode_steps,
        decode_step_seconds=_ratio(counts.decode_seconds, counts.decode_steps),
        decode_step_floor=step_floor(task.shape, task.ceilings, work, steps, together),
        floor_seconds=floor.total,
        floor_questions_per_second=len(done) / floor.total if floor.total else 0.0,
        roofline_share=floor.total / seconds,
        peak_bytes=reply.peak_bytes,
        device_peak_bytes=reply.device_peak_bytes,
        out_of_memory=counts.out_of_memory,
    )


def summary(repeats: Sequence[RepeatFigures]) -> dict[str, Spread | None]:
    """The spread of each figure over the repeats; None if a repeat does not know it."""
    return {name: _spread_or_none([getattr(figures, name) for figures in repeats]) for name in SUMMARISED}


def spread(values: Sequence[float]) -> Spread:
    """Median, minimum and maximum."""
    return Spread(median=median(values), low=min(values), high=max(values))


def paired_ratio(ours: Sequence[RepeatFigures], theirs: Sequence[RepeatFigures]) -> Spread:
    """The ratio of questions a second, repeat by repeat: what slows a whole repeat down cancels out."""
    pairs = zip(ours, theirs, strict=True)
    return spread([a.questions_per_second / b.questions_per_second for a, b in pairs if b.questions_per_second])


def _spread_or_none(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if known and len(known) == len(values) else None


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _median_first_token(done: Sequence[Completion]) -> float | None:
    known = [c.first_token_seconds for c in done if c.first_token_seconds is not None]
    return median(known) if known else None
