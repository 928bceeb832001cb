"""Notes on what the figures of a run leave out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from depqa_ray.report.text import counted, shorten
from depqa_ray.results.schema import PassageEntry, RunResults

_REFUSED = "their prompts were refused"  # the run's advice says why


def gap_notes(results: RunResults) -> Iterator[str]:
    """A sentence for each gap: what was not reached, not finished, not paid for, not answered, not recorded."""
    yield from _unreached(results)
    yield from _unfinished(results)
    for name, summary in results.strategies.items():
        if summary.dag is not None and (count := summary.dag.cached):
            passages = counted(count, "passage", "passages")
            yield f"{name}: the dependencies of {passages} were kept from an earlier run and cost nothing here."
    for name, summary in results.strategies.items():
        if count := summary.counts.failed + summary.counts.skipped:
            questions, reason = counted(count, "question", "questions"), _usual_reason(results, name)
            yield f"{name}: {questions} without an answer, mostly because: {reason}."
    for name in results.strategies:
        if count := sum(answer.attempts > 1 for answer in results.answers_of(name)):
            questions = counted(count, "question", "questions")
            yield f"{name}: {questions} asked again after a replica was lost: the wait counts in its latencies."
    if results.run.sample is not None and (text := results.run.sample.left_out()):
        yield text
    if count := results.run.bad_rows:
        yield f"{counted(count, 'row', 'rows')} of the data set left out, not being usable."
    yield from _unrecorded(results)


def _unreached(results: RunResults) -> Iterator[str]:
    """A note if the run reached fewer passages than its settings ask for; 0 asks for all, however many these are."""
    reached, asked = len(results.passages), results.run.settings.get("context_count")
    if not reached:
        yield "The run ended before its first passage."
    elif isinstance(asked, int) and reached < asked:
        passages = counted(reached, "passage", "passages")
        stopped = (
            "" if results.run.sample else ", or the run was stopped"
        )  # the sample is stored after its last passage
        yield f"{passages} of the {asked} asked for: the data set has no more of use{stopped}."


def _unfinished(results: RunResults) -> Iterator[str]:
    """A note for each strategy that did not finish all passages, those that began none included."""
    asked_for = map(str, results.run.settings.get("strategies") or ())
    for name in dict.fromkeys((*results.strategies, *asked_for)):
        missing = [entry for entry in results.passages if name not in {own.name for own in entry.strategies}]
        if missing:
            passages = f"{len(missing)} of {counted(len(results.passages), 'passage reached', 'passages reached')}"
            questions = f"{_questions(missing)} of {counted(_questions(results.passages), 'question', 'questions')}"
            verbs = ("was", "counts") if len(missing) == 1 else ("were", "count")
            yield f"{name}: {passages}, with {questions}, {verbs[0]} not finished and {verbs[1]} in no figure."


def _questions(passages: Sequence[PassageEntry]) -> int:
    return sum(len(passage.questions) for passage in passages)


def _usual_reason(results: RunResults, strategy: str) -> str:
    """The most frequent reason of the failed questions, or of the skipped ones if none failed."""
    reasons: dict[str, Counter[str]] = {"failed": Counter(), "skipped": Counter()}
    for answer in results.answers_of(strategy):
        if answer.status != "answered":
            reasons[answer.status][_REFUSED if answer.finish_reason == "refused" else answer.reason] += 1
    found = reasons["failed"] or reasons["skipped"]
    return shorten(max(found, key=lambda reason: (found[reason], reason)), 120) or "no reason was given"


def _unrecorded(results: RunResults) -> Iterator[str]:
    counts = [summary.replies for summary in results.strategies.values()]
    if unrecorded := sum(own.unrecorded for own in counts):
        replies = counted(unrecorded + sum(own.replies for own in counts), "reply", "replies")
        yield f"How {unrecorded} of {replies} ended is unknown: depqa-ray did not record it at the time."
