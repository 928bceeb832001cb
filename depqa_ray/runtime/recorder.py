"""Recorders of a run: its store first, then the watcher that the caller gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from typing_extensions import override

from depqa_ray.core import StepResult
from depqa_ray.engines.base import EngineInfo
from depqa_ray.hub import FetchProgress
from depqa_ray.results.records import EdgeRecord, PassageResult
from depqa_ray.results.store import RunStore
from depqa_ray.scheduling.events import Role

RunRecord: TypeAlias = StepResult | EdgeRecord | PassageResult
"""The driver's reports on a job: its edges, each step's end, its own end."""


class Recorder:
    """Receives what a run reports. Every method does nothing here: subclasses override those that they need."""

    def on_stage(self, text: str) -> None:
        """The run starts something that may take a while, such as loading models."""

    def on_fetch(self, progress: FetchProgress) -> None:
        """Files of a model or a data set are being fetched: called about twice a second."""

    def on_started(self, folder: Path) -> None:
        """The run directory is there."""

    def on_ready(self, replica: str, role: Role, info: EngineInfo) -> None:
        """A replica is ready for work."""

    def record(self, record: RunRecord) -> None:
        """Something ended or became known. The driver goes on only after this returns."""

    def warn(self, text: str) -> None:
        """Something that a person should know, such as a lost replica, in one line."""


@dataclass(slots=True)
class StoreRecorder(Recorder):
    """Appends records to the run's store, then passes everything on to ``watcher``.

    With ``isolated``, replicas whose cache cannot be reset are reported. Each note of an engine is passed on once.
    """

    store: RunStore
    watcher: Recorder
    isolated: bool = False
    _notes: set[str] = field(default_factory=set)

    @override
    def on_ready(self, replica: str, role: Role, info: EngineInfo) -> None:
        self.store.add_replica(role, info)
        self.watcher.on_ready(replica, role, info)
        for note in info.notes:
            if note not in self._notes:
                self._notes.add(note)
                self.warn(f"{replica}: {note}")
        if self.isolated and not info.can_reset_cache:
            self.warn(f"{replica} cannot reset its prefix cache: it may have read a passage for the strategy before")

    @override
    def record(self, record: RunRecord) -> None:
        self.store.append(record)
        self.watcher.record(record)

    @override
    def warn(self, text: str) -> None:
        self.watcher.warn(text)


def ready_text(replica: str, info: EngineInfo) -> str:
    """One line for people about a replica that is ready."""
    size = f", {info.parameters / 1e6:.3g}M parameters" if info.parameters else ""
    where = "made up by a cost model" if info.engine == "simulated" else f"{info.dtype}, on {info.device}"
    return f"{replica} is ready: {info.model}{size}, {where}"
