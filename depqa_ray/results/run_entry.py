"""The entry of ``results.json`` about the run itself: what was asked for, and what it ran on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from depqa_ray.passages.sampling import SampleCounts
from depqa_ray.results.entry import Entry, Text
from depqa_ray.scheduling.events import Role


class CodeEntry(Entry):
    """The code that a process ran (see :class:`~depqa_ray.code_version.CodeVersion`)."""

    version: Text
    sources: Text
    kernel: Text
    folder: Text


class ReplicaEntry(Entry):
    """A kind of replica that the run had (see :class:`~depqa_ray.results.replicas.ReplicaDescription`)."""

    role: Role
    engine: Text
    model: Text
    device: Text
    dtype: Text
    parameters: int
    notes: list[Text]
    code: CodeEntry | None


class RunEntry(Entry):
    """The run, from its manifest. Unless ``isolated``, latencies are those under full load.

    - ``model`` and ``engine`` are what was asked for; ``answering_engines`` are those that really answered.
    - ``commits`` of the hub's repositories are listed by role: "model", "edge_model", "dataset".
    - ``code`` is the driver's. ``replicas`` are distinct.
    - ``sample`` says what was left out of the data set; null if the run was cut short.
    - The last five are empty or null in runs of versions that did not record them.
    """

    model: Text
    engine: Text
    dataset: Text
    edges: Text
    embedded_reader: bool
    isolated: bool
    started: Text
    fingerprint: str
    prompt_version: str
    settings: dict[str, Any]
    versions: dict[str, str]
    python: str
    system: str
    cpus: int
    devices: list[Text]
    bad_rows: int
    answering_engines: list[Text] = Field(default_factory=list)
    commits: dict[Text, Text] = Field(default_factory=dict)
    code: CodeEntry | None = None
    replicas: list[ReplicaEntry] = Field(default_factory=list)
    sample: SampleCounts | None = None
