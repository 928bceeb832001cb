"""A published table beside the run that was made with its preset: pure, from the results alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from depqa_ray.answering.scoring import exact_match, f1
from depqa_ray.report.figures import count_passages
from depqa_ray.report.text import ABSENT, number, one_line, score
from depqa_ray.report.view import PublishedView, ScoreRow
from depqa_ray.results.averages import mean
from depqa_ray.results.schema import AnswerEntry, RunResults, StrategySummary
from depqa_ray.settings.load import Settings, flag_of
from depqa_ray.settings.presets import PRESETS, Preset, PublishedRow

_NOT_MEASURED: Final = (ABSENT,) * 5


_OF_NO_PROTOCOL: Final = {"preset", "strategy"}
"""Settings that only name what others say."""


def published_view(results: RunResults) -> PublishedView | None:
    """The view; None where the run's manifest names no preset, and where none of the table's strategies took part."""
    preset = PRESETS.get(str(results.run.settings.get("preset")))
    if preset is None:
        return None
    measured = {name: results.strategies[name] for name in preset.rows if name in results.strategies}
    if not measured:
        return None
    published = (
        f"Published over {preset.passages:,} passages with {preset.questions:,} questions, standard error of a score "
        f"{preset.standard_error:.4f}"
    )
    return PublishedView(
        title=f"{published}; measured over {count_passages(list(measured.values()))}",
        rows=tuple(_row(name, row, measured.get(name), results) for name, row in preset.rows.items()),
        notes=(
            *_notes(preset, results.run.settings),
            *preset.departures,
            f"Published in {preset.source}.",
        ),
    )


def _row(name: str, row: PublishedRow, summary: StrategySummary | None, results: RunResults) -> ScoreRow:
    """Published EM, F1 and tokens; measured ones; EM and F1 against the first gold answer alone."""
    published = (score(row.em), score(row.f1), number(row.tokens))
    if summary is None:
        return ScoreRow(name, (*published, *_NOT_MEASURED))
    tokens = summary.prompt_tokens + summary.generated_tokens
    answers = list(results.answers_of(name))
    first = (score(mean(_first(metric, answer) for answer in answers)) for metric in (exact_match, f1))
    return ScoreRow(name, (*published, score(summary.metrics.em), score(summary.metrics.f1), number(tokens), *first))


def _first(metric: Callable[[str, Sequence[str]], float], entry: AnswerEntry) -> float:
    """A score against the first gold answer; 0 where the entry's own scores are 0 for want of an answer."""
    return metric(entry.answer, entry.gold[:1]) if entry.status == "answered" and entry.gold else 0.0


def _notes(preset: Preset, settings: Mapping[str, Any]) -> Iterator[str]:
    """What the run changed: of the preset's own settings, and of all others that answers depend on."""
    usual = {name: Settings.model_fields[name].default for name in Settings.answer_affecting() - _OF_NO_PROTOCOL}
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
    """Equal for a preset's value and the same one as a manifest keeps it; the order of strategies does not matter."""
    return sorted(map(str, value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return one_line(", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
