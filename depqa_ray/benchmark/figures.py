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
from depqa_ray.core import Completion

_GIB: Final = 1 << 30
FIGURES: Final[tuple[tuple[str, str, float, int], ...]] = (
    ("questions/s", "questions_per_second", 1, 2),
    ("prompt tokens/s", "prompt_tokens_per_second", 1, 0),
    ("generated tokens/s", "generated_tokens_per_second", 1, 1),
    ("prefix hit rate", "hit_rate", 1, 3),
    ("prompt tokens computed / fewest", "over_fewest", 1, 2),
    ("time to first token, s", "first_token_seconds", 1, 3),
    ("decode step, ms", "decode_step_seconds", 1e3, 2),
    ("floor of a decode step, ms", "decode_step_floor", 1e3, 2),
    ("peak memory, GiB", "peak_bytes", 1 / _GIB, 2),
    ("peak GPU memory, GiB", "device_peak_bytes", 1 / _GIB, 2),
    ("share of the roofline", "roofline_share", 1, 3),
    ("questions/s at the roofline", "floor_questions_per_second", 1, 1),
)
"""What is summarised over the repeats: title, name in :class:`RepeatFigures`, factor and decimals when printed."""


@dataclass(frozen=True, slots=True)
class Task:
    """What an engine has to do in each repeat.

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
    return {name: _spread_or_none([getattr(figures, name) for figures in repeats]) for _, name, *_ in FIGURES}


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
