"""Any server with OpenAI's chat completions: OpenAI's own, or vLLM, SGLang, llama.cpp, ``transformers serve``, ...

The model, its batches and its memory are the server's; this asks and reads. The key is taken from the environment of
the process that asks and goes nowhere but into its requests.
"""

from __future__ import annotations

import asyncio
import os
import textwrap
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.generation import row_seed
from depqa_ray.engines.requests import RequestTasks
from depqa_ray.engines.server_reply import ServerReply, read_reply
from depqa_ray.errors import EngineError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RETRIES: Final = 6
"""After "too many requests", a fault of the server's or a lost connection; the waits between them grow to 8 s."""

_FEW_RETRIES: Final = 2  # of the warm-up, which is to tell soon that an address is wrong
_CONNECT_SECONDS: Final = 5.0
_MOST_STOPS: Final = 4  # OpenAI refuses more
_NO_KEY: Final = "none"  # the client wants one; servers without keys do not look at it
_PROMPTS_FAULT: Final = (400, 413, 422)
_KEYS_FAULT: Final = (401, 403)


@dataclass(frozen=True, slots=True)
class _Fault:
    """Why a request was not answered, in one line fit for everyone's eyes. ``of_prompt``: no other prompt is to blame.

    A value and not an exception: what the server wrote, the key perhaps, must not travel on in a traceback.
    """

    reason: str
    of_prompt: bool = False


class OpenAIEngine:
    """Each prompt is a request by a task of its own, ``max_batch_size`` of them at a time.

    A request that fails for what may be the server's fault is followed by the warm-up prompt: if that is answered, the
    request's prompt fails alone, else the engine is broken.
    """

    def __init__(self, spec: EngineSpec, retries: int = RETRIES) -> None:
        self._spec, self._retries = spec, retries
        self._tasks = RequestTasks(self._answer)
        self._slots = asyncio.Semaphore(spec.max_batch_size)
        self._client: AsyncOpenAI | None = None
        self._place = ""
        self._secrets: tuple[str, ...] = ()
        self._prompt_tokens = 0
        self._cached: int | None = None

    async def start(self) -> EngineInfo:
        """Ask one tiny prompt, so that a wrong address, key or model is told at once."""
        if self._spec.sampling_params.fixed_length:
            raise EngineError("a server cannot be held to answers of a fixed length: take another engine")
        self._connect()
        found = await self._ask(WARM_UP, _FEW_RETRIES)
        if isinstance(found, ServerReply) and found.completion.error:
            found = _Fault(found.completion.error)
        if isinstance(found, _Fault):
            await self.close()
            raise EngineError(found.reason)
        return EngineInfo("openai", self._spec.model_name, self._place, "unknown dtype", can_reset_cache=False)

    def submit(self, prompts: Sequence[Prompt]) -> AsyncIterator[list[Completion]]:
        """See :class:`~depqa_ray.engines.base.Engine`."""
        return self._tasks.submit(prompts)

    def counts(self) -> EngineCounts:
        """Cached tokens where the server tells of any; one that does may leave them out of a reply without any."""
        if self._cached is None:
            return EngineCounts()
        return EngineCounts(computed_tokens=self._prompt_tokens - self._cached, cached_tokens=self._cached)

    async def reset_prefix_cache(self) -> None:
        """Nothing: what a server keeps is not ours."""

    async def close(self) -> None:
        """Take all requests back, and close the connections."""
        await self._tasks.close()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connect(self) -> None:
        openai = _openai()
        key = os.environ.get("OPENAI_API_KEY", "").strip() or _NO_KEY
        if not (key.isascii() and key.isprintable()):
            raise EngineError("OPENAI_API_KEY holds characters that no request can carry: set it anew")
        given = self._spec.base_url or os.environ.get("OPENAI_BASE_URL") or None
        try:
            url, headers, secrets = _without_user(given)
            self._client = openai.AsyncOpenAI(
                api_key=key,
                base_url=url,
                default_headers=headers,
                timeout=openai.Timeout(None, connect=_CONNECT_SECONDS),  # _ask bounds the whole of a request
                max_retries=self._retries,
            )
        except Exception:  # the client's, and those of whatever it parses addresses with
            broken = True
        else:
            broken = False
        if broken:  # said out here: the client's own words may hold the address's password
            raise EngineError("the server's address is none: --openai-base-url http://HOST:PORT/v1")
        assert self._client is not None
        self._place = f"the server at {str(self._client.base_url).partition('?')[0].rstrip('/')}"
        self._secrets = tuple(secret for secret in (key, *secrets) if secret != _NO_KEY)

    async def _answer(self, prompt: Prompt) -> Completion:
        """The prompt's completion. Raises EngineError where the server fails."""
        began = time.perf_counter()
        async with self._slots:
            found = await self._ask(prompt, self._retries)
            if isinstance(found, _Fault) and not found.of_prompt:
                other = await self._ask(WARM_UP, _FEW_RETRIES)
                if isinstance(other, _Fault):
                    raise EngineError(other.reason)
        completion = Completion(prompt.id, error=found.reason) if isinstance(found, _Fault) else self._counted(found)
        return replace(completion, seconds=time.perf_counter() - began)

    async def _ask(self, prompt: Prompt, retries: int) -> ServerReply | _Fault:
        assert self._client is not None
        completions = self._client.with_options(max_retries=retries).chat.completions
        try:
            reply = await asyncio.wait_for(completions.create(**self._request(prompt)), self._spec.request_timeout)
            return read_reply(reply, prompt, self._spec.sampling_params)
        except Exception as error:  # the client lets through whatever a strange reply breaks in it
            return self._fault(error)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "model": self._spec.model_name,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.passage_text + prompt.question_text},
            ],
            "max_tokens": prompt.max_new_tokens,
            **_sampling(self._spec.sampling_params, prompt),
        }

    def _fault(self, error: Exception) -> _Fault:
        """What went wrong with a request, and what to do about it."""
        openai, place = _openai(), self._place
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error.status_code, _said(error))
        if isinstance(error, openai.APIConnectionError):
            why = self._public(f"{place} cannot be reached ({error.__cause__ or error})")
            return _Fault(f"{why}: check --openai-base-url, and that it runs")
        if isinstance(error, asyncio.TimeoutError):
            return _Fault(f"{place} gave no answer within {self._spec.request_timeout:g} s (--request-timeout)")
        if isinstance(error, UnicodeEncodeError):
            return _Fault("the prompt is no text that could be sent", of_prompt=True)
        return _Fault(self._public(f"{place} sent what is no chat completion ({error}): check --openai-base-url"))

    def _refusal(self, status: int, message: str) -> _Fault:
        if status in _KEYS_FAULT:  # what the server says to it may repeat the key, in part or changed
            how = "does not take the key" if self._secrets else "wants a key"
            return _Fault(f"{self._place} {how} ({status}): set OPENAI_API_KEY where the replicas run")
        if status == 404:
            advice = f"check --model-name {self._spec.model_name} and --openai-base-url, which mostly ends in /v1"
            return _Fault(self._public(f"{self._place} has no such model or no such address (404): {advice}"))
        if status == 429:
            advice = "lower --max-batch-size, or see what the key may still be used for"
            return _Fault(self._public(f"{self._place} was asked too much (429): {advice}: {message}"))
        return _Fault(self._public(f"{self._place} answered {status}: {message}"), of_prompt=status in _PROMPTS_FAULT)

    def _public(self, text: str) -> str:
        """One line without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return textwrap.shorten(text, 400)

    def _counted(self, reply: ServerReply) -> Completion:
        self._prompt_tokens += reply.completion.prompt_tokens
        if reply.cached_tokens is not None:
            self._cached = (self._cached or 0) + reply.cached_tokens
        return reply.completion


def _said(error: Any) -> str:
    """What a server said to a request that it refused: its message, or else all that it sent."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or body or error.message)


def _openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise EngineError("the openai client is not installed: pip install 'depqa-ray[openai]'") from error
    return openai


def _without_user(url: str | None) -> tuple[str | None, dict[str, str], tuple[str, ...]]:
    """An address without its user and password, the header that says them, and what of them is secret.

    In the address they would stand in the logs of whoever logs requests. Raises ValueError where it is no address.
    """
    if url is None:
        return None, {}, ()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no address of a server")
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}, ()
    plain = b64encode(unquote(user).encode()).decode()
    password = user.partition(":")[2]
    secrets = tuple(part for part in (user, password, unquote(password), plain) if part)
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {plain}"}, secrets


def _sampling(sampling_params: SamplingParams, prompt: Prompt) -> dict[str, Any]:
    """How the server is to choose tokens; nothing that it need not know, since some refuse what they do not know."""
    chosen: dict[str, Any] = {"temperature": sampling_params.temperature}
    if sampling_params.temperature:
        # Half of the seed's bits: some servers take no more than 32.
        chosen |= {"top_p": sampling_params.top_p, "seed": row_seed(sampling_params.seed, prompt.id) >> 32}
    if sampling_params.stop:
        chosen["stop"] = list(sampling_params.stop[:_MOST_STOPS])
    return chosen
