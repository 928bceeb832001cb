"""What a failed request is called for the user: in one line what, where and what to do, without secrets."""

from __future__ import annotations

import asyncio
from typing import Final

from depqa_ray.engines.base import EngineSpec
from depqa_ray.engines.openai.client import NotJsonError, ServerClient
from depqa_ray.engines.openai.failures import Failure, ServerError, refusal
from depqa_ray.engines.openai.replies import NoCompletionError

_HEADERS: Final = "OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS"


def failure_of(error: Exception, server: ServerClient, spec: EngineSpec) -> Failure:
    """Why a request failed that raised."""
    import openai

    if isinstance(error, openai.APIStatusError):
        told = refusal(error.status_code, error.body or error.message, error.response.headers)
        return told_failure(told, server, spec)
    if isinstance(error, openai.APIConnectionError):
        around = "; NO_PROXY goes around the proxy" if server.proxy else ""
        why = server.public(f"{server.way} cannot be reached ({error.__cause__ or error})")
        return Failure(f"{why}: check --openai-base-url, and that it runs{around}", "lost")
    if isinstance(error, asyncio.TimeoutError):
        return Failure(f"{server.way} gave no answer within {spec.request_timeout:g} s (--request-timeout)", "silent")
    if isinstance(error, UnicodeEncodeError):
        if error.encoding.lower().replace("-", "") == "utf8":
            return Failure("the prompt cannot be sent as text", "prompt")
        return Failure(f"a header cannot be sent as text: check {_HEADERS}", "access")
    why = server.public(f"{server.way} sent what is no chat completion ({error}): check --openai-base-url")
    return Failure(why, "address" if isinstance(error, (NotJsonError, NoCompletionError)) else "strange")


def told_failure(error: ServerError, server: ServerClient, spec: EngineSpec) -> Failure:
    """The failure that a server told, in its words where they can hold no key."""
    return Failure(server.public(_told(error, server, spec)), error.kind, error.pause, error.repeat)


def _told(error: ServerError, server: ServerClient, spec: EngineSpec) -> str:
    way, status, message = server.way, error.status, error.message
    if error.kind == "access" and status != 404:  # without the message: it may repeat the key, in part or changed
        how = "does not take the key" if server.has_key else "wants a key"
        return f"{way} {how} ({status}): set OPENAI_API_KEY where the replicas run"
    if error.kind in ("access", "address"):
        advice = f"check --model-name {spec.model_name} and --openai-base-url, which mostly ends in /v1"
        return f"{way} has no such model or no such address{f' ({status})' if status else ''}: {advice}: {message}"
    if error.kind == "quota":
        why = " ".join(dict.fromkeys(filter(None, (str(status or ""), *error.words[:1]))))
        advice = "add credit or raise the limit there, or set another OPENAI_API_KEY"
        return f"{way} has nothing left for the key ({why}): {advice}: {message}"
    if error.kind == "limit":
        asked = "" if error.pause is None else f"; it asks for a pause of {round(error.pause, 1):g} s"
        advice = "lower --max-batch-size, raise --request-timeout, or check the key's limits"
        return f"{way} gets too many requests ({status}{asked}): {advice}: {message}"
    return f"{way} answered {status or 'with an error'}: {message}"
