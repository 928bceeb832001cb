"""How replies ended: their counts, and what to do where more than a few are of little use. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from depqa_ray.core import StepResult
from depqa_ray.results.schema import ReplyCounts, RunResults, StrategySummary

Cause = Literal["cut", "thoughts_only", "empty", "no_json", "refused"]

FEW: Final = 0.02
"""Up to this share of a strategy's replies, a cause gets no advice. A refused prompt always does."""

_ADVICE: Final[Mapping[Cause, str]] = {
    "cut": "were cut off at --max-new-tokens{limit}: raise it.",
    "thoughts_only": "have thoughts and no answer: raise --max-new-tokens{now}, or turn the model's thinking off.",
    "empty": "are empty although nothing cut them off: check the model's chat template and --stop.",
    "no_json": "have no JSON with the keys asked for, although nothing cut them off: show examples (--shots).",
    "refused": "were refused: {reason}.",
}
_LONGEST_REASON: Final = 160


def count_replies(steps: Iterable[StepResult]) -> ReplyCounts:
    """Count how the steps' replies ended, each reply once."""
    found = [step for step in steps if has_reply(step)]
    recorded = [step for step in found if step.finish_reason]
    faults: Counter[str] = Counter(step.reply_fault for step in recorded if step.reply_fault)
    return ReplyCounts(
        replies=len(recorded),
        cut=sum(step.finish_reason == "length" for step in recorded),
        **faults,
        refused=sum(step.finish_reason == "refused" for step in steps),
        unrecorded=len(found) - len(recorded),
    )


def has_reply(step: StepResult) -> bool:
    """Whether the step has a reply, be it empty. Steps of earlier versions do not say what ended it."""
    return step.finish_reason != "refused" and bool(step.finish_reason or step.text or step.generated_tokens)


def sum_replies(counts: Sequence[ReplyCounts]) -> ReplyCounts:
    """The sum of each count."""
    return ReplyCounts(**{name: sum(getattr(own, name) for own in counts) for name in ReplyCounts.model_fields})


def reply_advice(results: RunResults, steps: Mapping[str, Iterable[StepResult]]) -> Iterator[str]:
    """One line for each cause that more than FEW of a strategy's replies share: how many, and what to do.

    ``steps`` are those of each strategy's finished passages. A line is about all strategies that the cause affects, and
    names them unless those are all. A reply has one cause at most.
    """
    causes = {name: Counter(map(_cause, own)) for name, own in steps.items()}
    for cause in _ADVICE:
        least = 0.0 if cause == "refused" else FEW
        counts = {name: (causes[name][cause], _asked(own, cause)) for name, own in results.strategies.items()}
        affected = {name: found for name, found in counts.items() if found[0] > least * found[1]}
        if affected:
            names = "" if len(affected) == len(results.strategies) else f"{_listed(list(affected))}: "
            count, of = map(sum, zip(*affected.values(), strict=True))
            what = "prompts" if cause == "refused" else "replies"
            yield f"{names}{_percent(count, of)} of the {what} ({count} of {of}) {_advice(cause, results, affected)}"


def _cause(step: StepResult) -> Cause | None:
    """What makes a reply of little use. A thought without an end is often cut: the thought is then the cause."""
    if step.finish_reason == "refused":
        return "refused"
    if not step.finish_reason or step.reply_fault == "thoughts_only":
        return step.reply_fault or None
    return "cut" if step.finish_reason == "length" else step.reply_fault or None


def _asked(summary: StrategySummary, cause: Cause) -> int:
    """The number of replies, or of prompts if the cause is that some were refused."""
    counts = summary.replies
    return counts.replies + (counts.refused + counts.unrecorded if cause == "refused" else 0)


def _advice(cause: Cause, results: RunResults, strategies: Iterable[str]) -> str:
    limit = results.run.settings.get("max_new_tokens")
    reason = _usual_refusal(results, set(strategies)) if cause == "refused" else ""
    return _ADVICE[cause].format(
        limit="" if limit is None else f" {limit}", now="" if limit is None else f" (now {limit})", reason=reason
    )


def _usual_refusal(results: RunResults, strategies: set[str]) -> str:
    """The most frequent reason of the strategies' refused questions, or else of those about dependencies."""
    entries = [entry for passage in results.passages for entry in passage.strategies if entry.name in strategies]
    refused = [answer for entry in entries for answer in entry.questions if answer.finish_reason == "refused"]
    reasons = Counter(answer.reason for answer in refused)
    reasons = reasons or Counter(entry.dag.fallback for entry in entries if entry.dag and entry.replies.refused)
    reason = " ".join(max(reasons, key=lambda reason: (reasons[reason], reason), default="").split())
    short = reason if len(reason) <= _LONGEST_REASON else f"{reason[: _LONGEST_REASON - 1].rstrip()}…"
    return short.rstrip(".") or "no reason was given"


def _percent(count: int, of: int) -> str:
    """A share in whole percent; "100 %" only of all, and never "0 %"."""
    if count == of:
        return "100 %"
    return "under 1 %" if 100 * count < of else f"{min(99, round(100 * count / of))} %"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
