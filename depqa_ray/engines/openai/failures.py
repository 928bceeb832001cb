"""Why a request failed: read from a status, from the error object in a reply of any status, or from an exception.

Failures are values and not exceptions: a traceback would carry the server's text, and with it perhaps the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from depqa_ray.engines.openai.retries import asked_pause

FailureKind = Literal["prompt", "limit", "busy", "passing", "lost", "silent", "strange", "address", "access", "quota"]
"""What failed:

- "prompt": the prompt is to blame, not the server;
- "limit": too many requests (429); "busy": the server says that it is not ready (503);
- "passing": another error of a server that may answer later; "lost": the connection;
- "silent": there was no answer in time; "strange": there was none that can be read;
- "address": there are no chat completions at the address; "access": the key, or the model's name;
- "quota": the key has nothing left to spend.
"""

_STATUS_OF_WORD: Final = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "content_policy_violation": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "model_not_found": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "too_many_requests": 429,
    "unavailable_error": 503,
    "overloaded_error": 503,
}
_QUOTA_WORDS: Final = frozenset(
    (
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
        "usage_limit_reached",
    )
)
"""Codes only: in prose, other servers call a limit per minute a quota as well."""

_NO_ENDPOINT: Final = ("unexpected endpoint", "invalid url", "no route", "cannot post")
_BROKEN_OFF: Final = ("error", "abort", "aborted", "network_error", "insufficient_system_resource")
_KIND_OF_STATUS: Final[dict[int, FailureKind]] = {
    400: "prompt",
    401: "access",
    402: "quota",
    403: "access",
    404: "address",
    405: "address",
    408: "passing",
    409: "passing",
    413: "prompt",
    422: "prompt",
    429: "limit",
    503: "busy",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed request: ``error`` is one line without secrets.

    ``pause``: seconds that the server asks for before the request is repeated. ``repeat``: whether the server said that
    the request should be repeated, or should not; None = it said neither.
    """

    error: str
    kind: FailureKind
    pause: float | None = None
    repeat: bool | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether every other replica would meet it too, at the start of a run."""
        return self.kind not in ("limit", "busy", "passing")

    def repeats(self, most: int) -> float:
        """How often the request may be repeated, if ``most`` is the number for ordinary failures."""
        if self.repeat is False or self.kind == "quota":
            return 0
        if self.kind in ("limit", "busy"):
            return float("inf")
        return most if self.repeat or self.kind in ("passing", "lost") else 0


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as the server told it: its status (0 = unknown), its message, and the codes and types beside that."""

    status: int
    message: str
    words: tuple[str, ...] = ()
    is_flagged: bool = False
    pause: float | None = None
    repeat: bool | None = None

    @property
    def kind(self) -> FailureKind:
        """What failed."""
        message = self.message.lower()
        if _QUOTA_WORDS.intersection(self.words):
            return "quota"
        if any(words in message for words in _NO_ENDPOINT):
            return "address"
        if self.is_flagged:  # a moderator refused the text, with the status of a refused key
            return "prompt"
        if self.status == 404 and "model" in message:
            return "access"
        passing = self.status == 0 or self.status >= 500
        return _KIND_OF_STATUS.get(self.status, "passing" if passing else "strange")


def refusal(status: int, body: Any, headers: Mapping[str, str]) -> ServerError:
    """The error of a reply with an error status. ``body`` is parsed JSON, with or without the object around it."""
    body = _only(body)
    found = _error_of(body) if isinstance(body, dict) and body.get("error") else body
    error = _read_error(found, headers)
    return ServerError(status, error.message, error.words, error.is_flagged, error.pause, error.repeat)


def error_in_reply(body: Any, headers: Mapping[str, str]) -> ServerError | None:
    """The error that a reply of status 200 holds, of the whole request or of its only answer; None if there is none."""
    body = _only(body)
    found = _error_of(body) if isinstance(body, dict) else None
    return None if found is None else _read_error(found, headers)


def _only(body: Any) -> Any:
    """The object in a list of one: Google's form of an error."""
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def _error_of(body: dict[str, Any]) -> Any:
    if error := body.get("error"):
        return body if error is True else error
    is_bare = "choices" not in body and "message" in body and ("code" in body or "type" in body)
    if is_bare or body.get("object") == "error":  # vLLM's older form
        return body
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    if choice.get("error"):
        return choice["error"]
    reason = choice.get("finish_reason")
    return f"it ended the answer by {reason!r}" if reason in _BROKEN_OFF else None


def _read_error(error: Any, headers: Mapping[str, str]) -> ServerError:
    said = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    pause = asked_pause(headers)
    if not isinstance(error, dict):
        return ServerError(0, str(error or "no reason"), pause=pause, repeat=said)
    words = tuple(str(error[name]).lower() for name in ("code", "type") if error.get(name))
    detail = error.get("metadata")
    return ServerError(
        status=next(filter(None, map(_status, words)), 0),
        message=str(error.get("message") or error.get("detail") or error),
        words=words,
        is_flagged=isinstance(detail, dict) and "flagged_input" in detail,
        pause=pause,
        repeat=said,
    )


def _status(word: str) -> int:
    if word.isdecimal() and word.isascii() and len(word) == 3:
        return int(word) if int(word) >= 400 else 0
    return _STATUS_OF_WORD.get(word, 0)
