"""The files that a command was asked for: tried before it starts, and written before anything is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depqa_ray.errors import StoreError
from depqa_ray.files import check_output_file, check_output_folder
from depqa_ray.settings.sections import OutputSettings

if TYPE_CHECKING:
    from depqa_ray.results.records import RunRecords
    from depqa_ray.results.schema import RunResults
    from depqa_ray.results.store import RunStore


@dataclass(frozen=True, slots=True)
class Output:
    """What ``write`` writes. ``line`` says where it is; "" if the run directory's own line does."""

    line: str
    write: Callable[[], object]


def write_all(outputs: Iterable[Output]) -> tuple[list[str], list[StoreError]]:
    """Write every output, also if one fails. Returns the lines of those written, and the errors of the others."""
    lines: list[str] = []
    errors: list[StoreError] = []
    for output in outputs:
        try:
            output.write()
        except StoreError as error:
            errors.append(error)
        else:
            lines += [output.line] if output.line else []
    return lines, errors


def check_run_outputs(settings: OutputSettings) -> None:
    """Raise SettingsError or StoreError if the run could not write where it is asked to. Leaves nothing behind."""
    from depqa_ray.results.store import RUNS, check_free

    check_output_folder(settings.run_dir or RUNS, "--run-dir")
    if settings.run_dir is not None:
        check_free(settings.run_dir)
    if settings.html_dir is not None:
        check_output_folder(settings.html_dir, "--html-dir")
    check_output_files({"--json-out": settings.json_out, "--parquet-out": settings.parquet_out})


def check_output_files(files: Mapping[str, Path | None]) -> None:
    """Raise SettingsError if one of the files, by the flags that name them, cannot be written."""
    for flag, path in files.items():
        if path is not None:
            check_output_file(path, flag)


def run_outputs(store: RunStore, outputs: OutputSettings, records: RunRecords, results: RunResults) -> list[Output]:
    """What follows from a run's records: in its directory, and where the settings say."""
    from depqa_ray.report.render import INDEX, write_pages
    from depqa_ray.results.parquet import write_parquet
    from depqa_ray.results.predictions import write_predictions
    from depqa_ray.results.store import write_atomically
    from depqa_ray.results.trace import write_trace

    text = results.to_json()
    found = [
        Output("", lambda: store.write_results(text)),
        Output("", lambda: write_predictions(results, store.folder)),
        Output("", lambda: write_trace(records, store.folder / "trace.json")),
    ]
    if (json_out := outputs.json_out) is not None:
        found.append(Output(f"Results: {json_out}", lambda: write_atomically(json_out, text)))
    if (parquet_out := outputs.parquet_out) is not None:
        found.append(Output(f"Records: {parquet_out}", lambda: write_parquet(results, parquet_out)))
    if (html_dir := outputs.html_dir) is not None:
        found.append(Output(f"Pages: {html_dir / INDEX}", lambda: write_pages(records, html_dir, results)))
    return found
