"""From a chat completion, as servers send it, to a prompt's completion. No field is trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from depqa_ray.answering.thoughts import THINK_OPEN
from depqa_ray.core import Completion, FinishReason, Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.local.generation import before_stop, cut_reply
from depqa_ray.engines.openai.thoughts import Thoughts

_REASONS: Final[dict[str, FinishReason]] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "end", "complete", "completed", "done", ""), "eos"),
    **dict.fromkeys(("stop_sequence", "stop_string"), "stop"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_length", "max_output_tokens", "model_length", "model_context_window_exceeded"),
        "length",
    ),
}
_TOOLS: Final = ("tool_calls", "function_call")
"""Sent by some servers for a reply that looks like a call, though no tool was offered. Its text counts."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply to one prompt.

    ``content`` is the text outside the thoughts that the server took out, which are ``reasoning``. ``finish_reason`` is
    None if ``raw_reason``, the server's word, means no end.
    """

    content: str
    reasoning: str
    finish_reason: FinishReason | None
    raw_reason: object
    prompt_tokens: int
    generated_tokens: int
    cached_tokens: int | None

    @property
    def is_cut(self) -> bool:
        """Whether the limit or a stop string ended the reply, wherever the model was."""
        return self.finish_reason in ("length", "stop")


class NoCompletionError(ValueError):
    """A reply is JSON of something else than chat completions."""


def read_reply(body: Any) -> Reply:
    """Read a chat completion. Raises ValueError, TypeError, LookupError or AttributeError if it is none."""
    if not isinstance(body, dict):
        raise NoCompletionError("it is no JSON object")
    usage = body.get("usage")
    if usage is None:
        if "choices" in body:
            raise ValueError("it has no counts of tokens, usage")
        said = next((body[name] for name in ("message", "detail", "errors") if body.get(name)), "")
        raise NoCompletionError(f"it has no counts of tokens, usage{said and f', but says: {said}'}")
    choice = body["choices"][0]
    message = choice["message"]
    content, parts = _content(message.get("content") or message.get("refusal") or "")
    reasoning = next((text for text in map(message.get, ("reasoning_content", "reasoning")) if text), parts)
    reasoning = reasoning if isinstance(reasoning, str) else ""
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return Reply(
        content=content,
        reasoning=reasoning,
        finish_reason=_finish_reason(choice, content, reasoning),
        raw_reason=choice.get("finish_reason"),
        prompt_tokens=_count(usage, "prompt_tokens"),
        generated_tokens=_count(usage, "completion_tokens"),
        cached_tokens=None if cached is None else int(cached),
    )


def _content(content: Any) -> tuple[str, str]:
    """The text of a message and the thoughts in it, which may be a list of parts (Mistral). Raises ValueError."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise ValueError("its content is no text")
    shown = [part["text"] for part in content if isinstance(part.get("text"), str)]
    thoughts = [_content(part["thinking"])[0] for part in content if part.get("thinking")]
    return "".join(shown), "".join(thoughts)


def _count(usage: Any, name: str) -> int:
    count = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(count, int | float):
        raise ValueError(f"its counts of tokens, usage, have no number {name}")
    return int(count)


def _finish_reason(choice: dict[str, Any], content: str, reasoning: str) -> FinishReason | None:
    raw = choice.get("finish_reason")
    if raw is None:
        return "eos" if content or reasoning else None
    word = str(raw).lower()
    if word in _TOOLS:
        return "eos" if content.strip() else None
    found = _REASONS.get(word)
    matched = (choice.get("stop_reason"), choice.get("matched_stop"))  # vLLM, SGLang: a string, or a token's number
    return "stop" if found == "eos" and any(isinstance(stop, str) and stop for stop in matched) else found


def completion_of(reply: Reply, prompt: Prompt, sampling_params: SamplingParams, thoughts: Thoughts) -> Completion:
    """The prompt's completion, without its time; an error if the server ended the answer for no usual reason."""
    if reply.finish_reason is None:
        return Completion(prompt.id, error=f"the server ended the answer by {reply.raw_reason!r}")
    text, end = _text(reply, sampling_params, thoughts)
    return Completion(
        prompt_id=prompt.id,
        text=text,
        prompt_tokens=reply.prompt_tokens,
        generated_tokens=reply.generated_tokens,
        finish_reason=end or reply.finish_reason,
    )


def _text(reply: Reply, sampling_params: SamplingParams, thoughts: Thoughts) -> tuple[str, FinishReason | None]:
    if not reply.content.strip() and reply.reasoning:
        opened = reply.reasoning.lstrip().startswith(THINK_OPEN)
        return (reply.reasoning if opened else THINK_OPEN + reply.reasoning), None
    is_cut = reply.is_cut or before_stop(reply.content, sampling_params.stop) != reply.content
    is_behind_thought = bool(reply.reasoning.strip())
    text = thoughts.text(reply.content, is_cut and not is_behind_thought)
    # The server does not stop at JSON, gets only some of the stop strings, and may include those in its text.
    return cut_reply(text, sampling_params, thinking=False)
