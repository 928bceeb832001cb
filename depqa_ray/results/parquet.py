"""A run's answers as a table for data frames: one row a question and strategy, as Parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

from depqa_ray.results.schema import AnswerEntry, RunResults
from depqa_ray.results.store import write_atomically

_BEFORE: Final = ("strategy", "passage_id", "title")
"""The columns that identify the answer; those of :class:`AnswerEntry` follow, in its order."""

_TYPES: Final[dict[Any, str]] = {str: "string", int: "int64", float: "float64", bool: "bool"}


def rows(results: RunResults) -> list[dict[str, Any]]:
    """A row for each question of each passage under each strategy that finished it. Pure."""
    return [
        dict(zip(_BEFORE, (entry.name, passage.id, passage.title), strict=True)) | _named(answer.model_dump())
        for passage in results.passages
        for entry in passage.strategies
        for answer in entry.questions
    ]


def write_parquet(results: RunResults, path: Path) -> None:
    """Write the rows to ``path``, whole or not at all. Raises StoreError."""
    import datasets

    # Types are explicit, since a column without rows, or with nulls only, does not show its type.
    types = dict.fromkeys(_BEFORE, datasets.Value("string"))
    types |= _named({name: _type(field.annotation) for name, field in AnswerEntry.model_fields.items()})
    found = rows(results)
    table = datasets.Dataset.from_dict(
        {name: [row[name] for row in found] for name in types}, features=datasets.Features(types)
    )
    file = io.BytesIO()
    with _no_progress_bars():
        table.to_parquet(file)
    write_atomically(path, file.getvalue())


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """An answer entry's fields under their columns' names."""
    # Beside "passage_id", "id" alone would be unclear.
    return {"question_id" if name == "id" else name: value for name, value in fields.items()}


def _type(annotation: Any) -> Any:
    """The column type of a schema's field. Raises KeyError for a type that no column can hold."""
    import datasets

    origin, inner = get_origin(annotation), [part for part in get_args(annotation) if part is not NoneType]
    if origin is list:
        return datasets.List(_type(inner[0]))
    if origin is Literal:
        return _type(type(inner[0]))
    if origin is not None:  # annotated, or a union with None
        return _type(inner[0])
    return datasets.Value(_TYPES[annotation])


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """Disable the library's progress bars, which would overwrite a command's output."""
    import datasets

    disabled = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not disabled:
            datasets.enable_progress_bars()
