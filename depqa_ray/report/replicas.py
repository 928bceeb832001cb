"""What a run really used, in words for its provenance: commits, engines, devices, code, and the replicas' notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from typing import Final

from depqa_ray.hub import split_revision
from depqa_ray.report.text import shorten
from depqa_ray.results.run_entry import CodeEntry, ReplicaEntry, RunEntry
from depqa_ray.scheduling.events import Role

_PACKAGE: Final = "depqa-ray"
_SHORT_COMMIT: Final = 7
_LONGEST_NOTE: Final = 400  # characters; results.json has more
_WORK: Final[Mapping[Role, str]] = {"answer": "Replicas", "edge": "Replicas that are asked for dependencies"}
_COMPARED: Final[Mapping[str, Callable[[ReplicaEntry], str]]] = {
    "engine": attrgetter("engine"),
    "device": attrgetter("device"),
    "dtype": attrgetter("dtype"),
    "compiled kernel": lambda replica: "yes" if replica.code and replica.code.kernel else "no",
    "code": lambda replica: _code(replica.code) if replica.code else "unknown",
}
"""What latencies and answers depend on. The folder of the code is not compared."""


def at_commit(run: RunEntry, role: str, name: str) -> str:
    """The name of a repository with its commit, if that is known. A revision that only repeats it is left out."""
    commit = run.commits.get(role, "")
    plain, revision = split_revision(name)
    if not commit:
        return name
    return f"{plain if commit.startswith(revision) else name} at {commit[:_SHORT_COMMIT]}"


def engine_text(run: RunEntry) -> str:
    """The engines that really answered, and the one that was asked for if that is another one."""
    answered = " and ".join(run.answering_engines) or run.engine
    return answered if answered == run.engine else f"{answered} (asked for: {run.engine})"


def edges_text(run: RunEntry) -> str:
    """The source of the dependencies, and the engine that really proposed them if that is not the one asked for."""
    engines = _distinct(run, "edge", attrgetter("engine"))
    source = at_commit(run, "edge_model", run.edges)
    asked_for = engines in ([], [run.settings.get("deps_engine")])
    return source if asked_for else f"{source}, answered by {' and '.join(engines)}"


def device_text(run: RunEntry) -> str:
    """The replicas' devices, or else what the cluster had when the run began."""
    devices, own = (_distinct(run, role, attrgetter("device")) for role in ("answer", "edge"))
    known = ", ".join(devices or run.devices) or f"{run.cpus} processor cores"
    return f"{known}; for dependencies: {', '.join(own)}" if own and own != devices else known


def code_text(run: RunEntry) -> str:
    """The version of the package and, if known, the digest of its sources; empty if neither is known."""
    version = run.versions.get(_PACKAGE, "")
    return _code(run.code) if run.code else f"{_PACKAGE} {version}" if version else ""


def replica_notes(run: RunEntry) -> Iterator[str]:
    """Each note of a replica once, then how replicas differ from each other."""
    notes: dict[str, Role] = {}
    for replica in sorted(run.replicas, key=lambda replica: replica.role):  # "answer" comes first
        for note in replica.notes:
            notes.setdefault(note, replica.role)
    for note, role in notes.items():
        yield shorten(note if role == "answer" else f"Dependencies: {note}", _LONGEST_NOTE)
    for role in _WORK:
        yield from _differences(run, role)


def _code(code: CodeEntry) -> str:
    return f"{_PACKAGE} {code.version}".rstrip() + f", sources {code.sources}"


def _differences(run: RunEntry, role: Role) -> Iterator[str]:
    found = {name: _distinct(run, role, value) for name, value in _COMPARED.items()}
    differing = [f"{name} ({'; '.join(values)})" for name, values in found.items() if len(values) > 1]
    if differing:
        yield f"{_WORK[role]} differ, and latencies mix them: {', '.join(differing)}."


def _distinct(run: RunEntry, role: Role, value: Callable[[ReplicaEntry], str]) -> list[str]:
    """The values of the role's replicas, each once, in order of appearance."""
    return list(dict.fromkeys(value(replica) for replica in run.replicas if replica.role == role))
