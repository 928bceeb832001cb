"""Descriptions of a run's replicas: what really answered, on which device, with which code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from depqa_ray.code_version import CodeVersion
from depqa_ray.engines.base import EngineInfo
from depqa_ray.results.privacy import public_text
from depqa_ray.scheduling.events import Role

_LONGEST_NOTE: Final = 1000  # characters; a server's words may have any length


@dataclass(frozen=True, slots=True)
class ReplicaDescription:
    """A replica as its engine described itself, without private parts. Equal replicas have equal descriptions.

    The fields after ``role`` are those of :class:`~depqa_ray.engines.base.EngineInfo`.
    """

    role: Role
    engine: str
    model: str
    device: str
    dtype: str
    parameters: int = 0
    notes: tuple[str, ...] = ()
    code: CodeVersion | None = None


def describe_replica(role: Role, info: EngineInfo) -> ReplicaDescription:
    """What a run directory tells about a replica."""
    return ReplicaDescription(
        role=role,
        engine=public_text(info.engine),
        model=public_text(info.model),
        device=public_text(info.device),
        dtype=public_text(info.dtype),
        parameters=info.parameters,
        notes=tuple(public_text(note[:_LONGEST_NOTE]) for note in info.notes if note.strip()),
        code=None if info.code is None else public_code(info.code),
    )


def public_code(code: CodeVersion) -> CodeVersion:
    """The code with a folder that does not name its owner."""
    return replace(code, folder=public_text(code.folder))
