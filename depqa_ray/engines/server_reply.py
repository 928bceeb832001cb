"""What a server's reply says, read without trust in it: any program may call itself OpenAI-compatible."""

from __future__ import annotations

from typing import Any, NamedTuple

from depqa_ray.answering.json_end import JsonEnd
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.local.generation import before_stop


class ServerReply(NamedTuple):
    """A completion without its time. ``cached_tokens`` are those of the prompt; None where the server does not say."""

    completion: Completion
    cached_tokens: int | None


def read_reply(reply: Any, prompt: Prompt, sampling_params: SamplingParams) -> ServerReply:
    """The completion in a chat completion of the ``openai`` library, which checks none of its fields.

    Raises ValueError, TypeError, AttributeError or IndexError where it is none, or lacks the counts of tokens.
    """
    if isinstance(reply, str):
        raise ValueError("it is no JSON")
    if reply.usage is None:
        raise ValueError("it has no counts of tokens, usage")
    choice = reply.choices[0]
    reason, content = choice.finish_reason, choice.message.content or ""
    if reason not in ("stop", "length"):
        return ServerReply(Completion(prompt.id, error=f"the server ended the answer by {reason!r}"), None)
    if not isinstance(content, str):
        raise ValueError("its content is no text")
    text, ended = ended_text(content, sampling_params)
    completion = Completion(
        prompt_id=prompt.id,
        text=text,
        prompt_tokens=int(reply.usage.prompt_tokens),
        generated_tokens=int(reply.usage.completion_tokens),
        finish_reason="stop" if ended else reason,
    )
    details = reply.usage.prompt_tokens_details
    return ServerReply(completion, details.cached_tokens if details else None)


def ended_text(text: str, sampling_params: SamplingParams) -> tuple[str, bool]:
    """The text up to where the local engines would have ended it, and whether anything ended it.

    The server is not told of JSON objects, is told of some stop strings only, and may leave those in.
    """
    behind = JsonEnd().add(text) if sampling_params.stop_at_json and text else None
    whole = text[: len(text) - (behind or 0)]
    cut = before_stop(whole, sampling_params.stop)
    return cut, behind is not None or len(cut) < len(whole)
