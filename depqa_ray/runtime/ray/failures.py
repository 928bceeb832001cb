"""Why a replica failed, from what Ray raises: one line, and whether another replica would fail alike."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from depqa_ray.errors import DepqaError, EngineError, InputError, StartError
from depqa_ray.scheduling.events import LossCause

_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*m")
_LINE_LENGTH: Final = 300
_INSTALL: Final = "install the same depqa-ray, with its requirements, on every node"


_NODE_DIED: Final = "its node has died"  # in the text of Ray's error: it has no field for this


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a replica failed.

    ``permanent`` is the error to end a run with if a replica fails so while it starts. If ``is_shared``, the engine
    says that every replica would fail so, at any time.
    """

    reason: str
    permanent: DepqaError | None = None
    cause: LossCause = "crash"
    is_shared: bool = False


def failure_of(error: RayError) -> Failure:
    """The failure that an error of Ray reports."""
    if isinstance(error, RayTaskError):
        return _raised_failure(error)
    if isinstance(error, RayActorError):
        return _ended_failure(error)
    return Failure(_last_line(str(error)) or type(error).__name__)


def _raised_failure(error: RayTaskError) -> Failure:
    """The failure of a replica that raised. An exception that is not the project's own comes from a broken setup."""
    cause = error.cause
    if isinstance(cause, (StartError, InputError)):
        return Failure(str(cause), cause, is_shared=True)
    if isinstance(cause, EngineError):
        return Failure(_first_line(str(cause)) or type(cause).__name__)
    reason = _last_line(str(error)) or type(error).__name__
    return Failure(reason, StartError(f"a replica cannot start on node {_node(error)}: {reason}; {_INSTALL}"))


def _ended_failure(error: RayActorError) -> Failure:
    if error.actor_init_failed:
        reason = _last_line(str(error))
        return Failure(reason, StartError(f"a replica cannot start on node {_node(error)}: {reason}; {_INSTALL}"))
    if error.preempted or _NODE_DIED in str(error):
        return Failure(f"its node {_node(error)} died", cause="machine")
    said = _last_words(error)
    return Failure(f"its process ended ({type(error).__name__}{f'; its last line: {said}' if said else ''})")


def _node(error: Any) -> str:
    found = getattr(error, "ip", "") or _field(error, "ip")
    return found or "unknown"


def _last_words(error: RayActorError) -> str:
    """The last line that the process of an actor wrote to stderr; "" if it ran on another machine."""
    pid, node = _field(error, "pid"), ray._private.worker._global_node  # Ray has no public way to its logs
    lines: list[str] = []
    if node is not None and pid.isdecimal():
        logs = Path(node.get_logs_dir_path())
        for path in logs.glob(f"worker-*-{pid}.err"):
            with suppress(OSError):
                lines += path.read_bytes()[-10_000:].decode("utf-8", "replace").splitlines()
    # Ray's own lines begin with a colon.
    return _last_line("\n".join(line for line in lines if not line.startswith(":")))


def _field(error: BaseException, name: str) -> str:
    """A field of the text of an error of Ray, such as its ``pid``; "" if it has none."""
    found = re.search(rf"\b{name}[:=]\s*([\w.:]+)", _ESCAPES.sub("", str(error)))
    return found[1] if found else ""


def _first_line(text: str) -> str:
    return next(iter(_lines(text)), "")


def _last_line(text: str) -> str:
    """The last line with text: in a traceback, the exception."""
    return next(iter(reversed(_lines(text))), "")


def _lines(text: str) -> list[str]:
    lines = (" ".join(line.split())[:_LINE_LENGTH] for line in _ESCAPES.sub("", text).splitlines())
    return [line for line in lines if line]
