"""Compares engines' greedy answers with those of ``generate``, one prompt at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain

from depqa_ray.benchmark.engines import Report, resolve_model, start_engine
from depqa_ray.benchmark.settings import BenchSettings, parse_engine
from depqa_ray.benchmark.workload import draw_passages, verify_groups
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.local.chat import common_length

_STAGGER = 0.05  # seconds between callers, so that prompts also arrive while others are being answered
_SHOWN = 60  # characters of an answer around its first difference


def verify_engines(settings: BenchSettings, count: int, report: Report) -> str:
    """Compare the answers to ``count`` prompts; returns the first difference, in one line, or "".

    Every engine answers twice: the second time its cache may hold everything.
    """
    groups = verify_groups(draw_passages(settings, report), settings, count)
    with ExitStack() as stack:
        model = resolve_model(settings, stack, report)
        reference = start_engine(parse_engine("one_by_one"), model, settings, stack, report)
        report(f"one_by_one: answering {count} prompts")
        expected = reference.worker.run(groups).completions
        for choice in settings.engines:
            if choice.name == "one_by_one":
                continue
            engine = start_engine(choice, model, settings, stack, report)
            for time in ("first", "second"):
                found = engine.worker.run(groups, _STAGGER).completions
                difference = first_difference(groups, expected, found)
                if difference:
                    return f"{choice.text}, {time} time: {difference}"
            report(f"{choice.text}: {count} prompts answered as by generate")
    return ""


def first_difference(
    groups: Sequence[Sequence[Prompt]], expected: Sequence[Completion], found: Sequence[Completion]
) -> str:
    """The first prompt, in order, with another answer, and the difference; "" if there is none."""
    wanted, got = ({done.prompt_id: done for done in completions} for completions in (expected, found))
    for prompt in chain.from_iterable(groups):
        difference = _difference(wanted[prompt.id], got.get(prompt.id))
        if difference:
            return f"prompt {prompt.id} ({prompt.question_text.splitlines()[-1]!r}): {difference}"
    return ""


def _difference(wanted: Completion, got: Completion | None) -> str:
    if got is None:
        return "no answer came"
    if got.error != wanted.error and None in (got.error, wanted.error):
        return f"failed with {got.error!r}, generate with {wanted.error!r}"
    if got.prompt_tokens != wanted.prompt_tokens:
        return f"{got.prompt_tokens} prompt tokens, generate has {wanted.prompt_tokens}"
    if got.text != wanted.text:
        at = common_length(got.text, wanted.text)
        start = max(0, at - _SHOWN // 2)
        ours, theirs = (text[start : start + _SHOWN] for text in (got.text, wanted.text))
        return f"differs from character {at} on: {ours!r}, generate has {theirs!r}"
    if got.generated_tokens != wanted.generated_tokens:
        return f"{got.generated_tokens} generated tokens, generate has {wanted.generated_tokens}"
    return ""
