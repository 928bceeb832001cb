"""Where a run's figures come from, and what must not be concluded from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Final

from depqa_ray.report.gaps import gap_notes
from depqa_ray.report.replicas import at_commit, code_text, device_text, edges_text, engine_text, replica_notes
from depqa_ray.report.text import one_line
from depqa_ray.report.view import ProvenanceView
from depqa_ray.results.run_entry import RunEntry
from depqa_ray.results.schema import RunResults
from depqa_ray.settings.types import EMBEDDED

_SIMULATED: Final = "simulated"
_SERVER: Final = "openai"
_WORLDS: Final = "worlds"  # part of the name of every file of generated worlds


def provenance_view(results: RunResults, warnings: Sequence[str] = ()) -> ProvenanceView:
    """The run's labels, and the notes that a reader must see, ``warnings`` last."""
    run = results.run
    facts = (
        ("Model", at_commit(run, "model", run.model)),
        ("Engine", engine_text(run)),
        ("Data set", at_commit(run, "dataset", run.dataset)),
        ("Dependencies", edges_text(run)),
        ("Started", run.started),
        ("Device", device_text(run)),
        ("Code", code_text(run)),
        ("Fingerprint of the settings", run.fingerprint[:12]),
    )
    notes = (*_caveats(run), *replica_notes(run), *gap_notes(results), *results.advice, *warnings)
    return ProvenanceView(
        tuple((name, one_line(value) or "unknown") for name, value in facts), tuple(map(one_line, notes))
    )


def _caveats(run: RunEntry) -> Iterator[str]:
    if run.engine == _SIMULATED:
        yield "The figures are simulated: a cost model stood in for the model and the machine."
    elif run.settings.get("deps_engine") == _SIMULATED:
        yield "The dependencies, with what they cost, are simulated: a cost model was asked for them."
    if run.engine != _SIMULATED and run.embedded_reader and not _is_worlds(run.dataset):
        yield (
            "The embedded reader answered. It was trained on generated worlds and knows worlds, not Wikipedia: "
            "its scores on this data set do not rank the strategies."
        )
    if run.isolated and _SERVER in (run.engine, run.settings.get("deps_engine")):
        yield (
            "The server may have had a passage's beginning at hand from the strategy before; each strategy went first "
            "on some passages."
        )


def _is_worlds(dataset: str) -> bool:
    return dataset == EMBEDDED or _WORLDS in PurePath(dataset).name
