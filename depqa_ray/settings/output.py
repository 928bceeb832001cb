"""Settings of the output: where records, results and pages are written."""

from __future__ import annotations

from pathlib import Path

from depqa_ray.settings.section import Section, neutral
from depqa_ray.settings.types import LogLevel


class OutputSettings(Section):
    """Where a run writes what."""

    run_dir: Path | None = neutral(None, "folder for the run's records; default: a new one in runs/")
    html_dir: Path | None = neutral(None, "write one HTML page per passage here")
    json_out: Path | None = neutral(None, "write the results as JSON here")
    parquet_out: Path | None = neutral(None, "write each question's record as Parquet here")
    log_level: LogLevel = neutral("info", "log messages of this level and above to stderr")
