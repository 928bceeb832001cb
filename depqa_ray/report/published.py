"""A published table next to a run of its preset. Pure: from the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from depqa_ray.answering.scoring import exact_match, f1
from depqa_ray.report.tables import count_passages
from depqa_ray.report.text import ABSENT, number, one_line, score
from depqa_ray.report.view import Head, Row, TableView
from depqa_ray.results.entries import mean
from depqa_ray.results.schema import AnswerEntry, RunResults, StrategySummary
from depqa_ray.settings.load import Settings, flag_of
from depqa_ray.settings.presets import PRESETS, Preset, PublishedRow

_HEADS: Final = (
    Head("Published EM", "published\nEM"),
    Head("Published F1", "F1"),
    Head("Published tokens", "tokens"),
    Head("EM", "measured\nEM"),
    Head("F1", "F1"),
    Head("Tokens", "tokens"),
    Head("EM, first gold answer", "1 gold\nEM"),
    Head("F1, first gold answer", "F1"),
)
_NOT_MEASURED: Final = (ABSENT,) * 5

_OUTSIDE_PROTOCOL: Final = {"preset", "strategy"}
"""Settings that only name what other settings hold."""


def published_table(results: RunResults) -> TableView | None:
    """The table; None if the run's manifest names no preset, or if none of the table's strategies took part."""
    preset = PRESETS.get(str(results.run.settings.get("preset")))
    if preset is None:
        return None
    measured = {name: results.strategies[name] for name in preset.rows if name in results.strategies}
    if not measured:
        return None
    return TableView(
        "A published table beside this run",
        f"Published over {preset.passages:,} passages with {preset.questions:,} questions, standard error of a score "
        f"{preset.standard_error:.4f}; measured over {count_passages(list(measured.values()))}",
        _HEADS,
        tuple(_row(name, row, measured.get(name), results) for name, row in preset.rows.items()),
        (*_notes(preset, results.run.settings), *preset.departures, f"Published in {preset.source}."),
    )


def _row(name: str, row: PublishedRow, summary: StrategySummary | None, results: RunResults) -> Row:
    published = (score(row.em), score(row.f1), number(row.tokens))
    if summary is None:
        return Row(name, (*published, *_NOT_MEASURED))
    measured = (score(summary.metrics.em), score(summary.metrics.f1))
    tokens = number(summary.prompt_tokens + summary.generated_tokens)
    answers = list(results.answers_of(name))
    first = (score(mean(_first(metric, answer) for answer in answers)) for metric in (exact_match, f1))
    return Row(name, (*published, *measured, tokens, *first))


def _first(metric: Callable[[str, Sequence[str]], float], entry: AnswerEntry) -> float:
    """A score against the first gold answer; 0 if the question was not answered or has no gold answer."""
    return metric(entry.answer, entry.gold[:1]) if entry.status == "answered" and entry.gold else 0.0


def _notes(preset: Preset, settings: Mapping[str, Any]) -> Iterator[str]:
    """The settings that the run changed: the preset's own, and all others that answers depend on."""
    usual = {name: Settings.model_fields[name].default for name in Settings.answer_affecting() - _OUTSIDE_PROTOCOL}
    changed = [
        f"{flag_of(name)} {_shown(settings[name])} instead of {_shown(value)}"
        for name, value in {**usual, **preset.settings}.items()
        if name in settings and _comparable(settings[name]) != _comparable(value)
    ]
    if changed:
        yield f"This run is not the published protocol: {'; '.join(sorted(changed))}."
    else:
        yield "All settings of the run are those of the published protocol."
    yield "Tokens are prompt and generated tokens a passage, with those of asking for edges where a strategy uses them."


def _comparable(value: Any) -> Any:
    """Make a preset's value and a manifest's form of it equal; the order of strategies does not matter."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return one_line(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
