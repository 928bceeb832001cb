"""Any server with OpenAI's chat completions: OpenAI's own, or vLLM, SGLang, llama.cpp, ``transformers serve``, ...

The server owns the model, batching and memory. The key comes from the environment of the process that sends requests,
and is sent in requests only.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import textwrap
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from depqa_ray.answering.json_end import JsonEnd
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.generation import before_stop, row_seed
from depqa_ray.engines.requests import RequestEngine
from depqa_ray.errors import EngineError, StartError
from depqa_ray.proxies import Proxy, is_here, proxy_of, proxy_variables

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RETRIES: Final = 6
"""After "too many requests", a server error or a lost connection; the client's pauses grow to 8 s."""

_WARM_UP_RETRIES: Final = 2  # few, so that a wrong address is reported soon
_CONNECT_SECONDS: Final = 5.0
_MAX_STOPS: Final = 4  # OpenAI refuses more
_NO_KEY: Final = "none"  # the client requires a key; servers without keys ignore it
_OPENAI: Final = "https://api.openai.com/v1"  # where the client goes without an address
_CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_PROMPT_REFUSED: Final = (400, 413, 422)
_KEY_REFUSED: Final = (401, 403)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A request's ``error``, in one line without secrets.

    ``of_prompt``: the prompt is to blame, not the server. ``is_passing``: the server is there, and may answer later.

    A value and not an exception: a traceback would carry the server's text, and with it perhaps the key.
    """

    error: str
    of_prompt: bool = False
    is_passing: bool = False


class OpenAIEngine(RequestEngine):
    """Each prompt is a request in a task of its own, at most ``max_batch_size`` of them at a time.

    If a request fails and the server may be to blame, the warm-up prompt is sent: if that succeeds, only the request's
    prompt fails, else the engine is broken.
    """

    def __init__(self, spec: EngineSpec, retries: int = RETRIES) -> None:
        super().__init__()
        self._spec, self._retries = spec, retries
        self._limit = asyncio.Semaphore(spec.max_batch_size)
        self._client: AsyncOpenAI | None = None
        self._server = ""
        self._proxy: Proxy | None = None
        self._secrets: tuple[str, ...] = ()
        self._prompt_tokens = 0
        self._cached: int | None = None

    @override
    async def start(self) -> EngineInfo:
        """Send the warm-up prompt, so that a wrong address, key or model is reported at once."""
        if self._spec.sampling_params.fixed_length:
            raise StartError("a server cannot be held to answers of a fixed length: take another engine")
        self._connect()
        found = await self._ask(WARM_UP)
        if found.error:
            await self.close()
            is_passing = isinstance(found, _Failure) and found.is_passing
            raise (EngineError if is_passing else StartError)(found.error)
        return EngineInfo("openai", self._spec.model_name, self._server, "unknown dtype", can_reset_cache=False)

    @override
    def counts(self) -> EngineCounts:
        """None until the server reports cached tokens. From then on, a reply without them counts as 0."""
        if self._cached is None:
            return EngineCounts()
        return EngineCounts(computed_tokens=self._prompt_tokens - self._cached, cached_tokens=self._cached)

    @override
    async def close(self) -> None:
        await super().close()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connect(self) -> None:
        try:
            import openai
        except ImportError as error:
            raise StartError("the openai client is not installed: pip install 'depqa-ray[openai]'") from error
        key = _key()
        secrets: tuple[str, ...] = ()
        with suppress(ValueError):  # the parser's error may hold the address's password
            url, headers, secrets = _split_credentials(self._spec.base_url or os.environ.get("OPENAI_BASE_URL"))
            http_client, self._proxy = _http_client(url or _OPENAI), proxy_of(url or _OPENAI)
            with suppress(Exception):  # as above
                self._client = openai.AsyncOpenAI(
                    api_key=key,
                    base_url=url,
                    default_headers=headers,
                    timeout=openai.Timeout(None, connect=_CONNECT_SECONDS),  # _ask bounds the request as a whole
                    http_client=http_client,
                )
        if self._client is None:
            raise StartError("the server's address is not valid: --openai-base-url http://HOST:PORT/v1")
        self._server = f"the server at {str(self._client.base_url).partition('?')[0].rstrip('/')}"
        self._secrets = tuple(secret for secret in (key, *secrets) if secret != _NO_KEY)

    @property
    def _way(self) -> str:
        """The server as errors name it: with the proxy that stands before it, which may be to blame."""
        return f"{self._server} (through the proxy {self._proxy.address})" if self._proxy else self._server

    @override
    async def _answer(self, prompt: Prompt) -> Completion:
        started = time.perf_counter()
        async with self._limit:
            found = await self._ask(prompt)
            if isinstance(found, _Failure) and not found.of_prompt:
                warm_up = await self._ask(WARM_UP)
                if isinstance(warm_up, _Failure):
                    raise EngineError(warm_up.error)
        completion = Completion(prompt.id, error=found.error) if isinstance(found, _Failure) else found
        return replace(completion, seconds=time.perf_counter() - started)

    async def _ask(self, prompt: Prompt) -> Completion | _Failure:
        """The completion, without its time. The warm-up prompt gets few retries and is not counted."""
        assert self._client is not None
        retries = _WARM_UP_RETRIES if prompt is WARM_UP else self._retries
        completions = self._client.with_options(max_retries=retries).chat.completions
        try:
            reply = await asyncio.wait_for(completions.create(**self._request(prompt)), self._spec.request_timeout)
            completion = _read_reply(reply, prompt, self._spec.sampling_params)
            if prompt is not WARM_UP and not completion.error:
                self._count(reply.usage)
            return completion
        except Exception as error:  # the client does not catch what a malformed reply raises in it
            return self._failure(error)

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

    def _failure(self, error: Exception) -> _Failure:
        """Why a request failed, and what to do about it."""
        import openai

        server = self._way
        if isinstance(error, openai.APIStatusError):
            return self._refusal(error.status_code, _server_message(error))
        if isinstance(error, openai.APIConnectionError):
            why = self._public(f"{server} cannot be reached ({error.__cause__ or error})")
            around = "; NO_PROXY goes around the proxy" if self._proxy else ""
            return _Failure(f"{why}: check --openai-base-url, and that it runs{around}")
        if isinstance(error, asyncio.TimeoutError):
            return _Failure(f"{server} gave no answer within {self._spec.request_timeout:g} s (--request-timeout)")
        if isinstance(error, UnicodeEncodeError):
            return _Failure("the prompt cannot be sent as text", of_prompt=True)
        return _Failure(self._public(f"{server} sent what is no chat completion ({error}): check --openai-base-url"))

    def _refusal(self, status: int, message: str) -> _Failure:
        if status in _KEY_REFUSED:  # without the message: it may repeat the key, in part or changed
            how = "does not take the key" if self._secrets else "wants a key"
            return _Failure(f"{self._way} {how} ({status}): set OPENAI_API_KEY where the replicas run")
        if status == 404:
            advice = f"check --model-name {self._spec.model_name} and --openai-base-url, which mostly ends in /v1"
            return _Failure(self._public(f"{self._way} has no such model or no such address (404): {advice}"))
        if status == 429:
            advice = "lower --max-batch-size, or check the key's quota"
            busy = self._public(f"{self._way} gets too many requests (429): {advice}: {message}")
            return _Failure(busy, is_passing=True)
        of_prompt, is_passing = status in _PROMPT_REFUSED, status >= 500
        return _Failure(self._public(f"{self._way} answered {status}: {message}"), of_prompt, is_passing)

    def _public(self, text: str) -> str:
        """One line without secrets."""
        for secret in (*self._secrets, *(self._proxy.secrets if self._proxy else ())):
            text = text.replace(secret, "***")
        return textwrap.shorten(text, 400)

    def _count(self, usage: Any) -> None:
        details = usage.prompt_tokens_details
        self._prompt_tokens += int(usage.prompt_tokens)
        if details and details.cached_tokens is not None:
            self._cached = (self._cached or 0) + details.cached_tokens


def _key() -> str:
    """The key in the environment. Raises StartError if no request can carry it."""
    key = os.environ.get("OPENAI_API_KEY", "").strip() or _NO_KEY
    if not (key.isascii() and key.isprintable()):
        raise StartError("OPENAI_API_KEY holds characters that no request can carry: set it again")
    return key


def _http_client(url: str) -> Any:
    """The client for the server at a URL. It goes straight to a server on this machine: no proxy elsewhere reaches it.

    Raises StartError if the environment sets proxies or certificates that cannot be used.
    """
    import openai

    if is_here(url):
        # Of the environment, the certificates still count.
        return openai.DefaultAsyncHttpxClient(trust_env=False, verify=ssl.create_default_context())
    try:
        return openai.DefaultAsyncHttpxClient()
    except ImportError:
        names = ", ".join(proxy_variables("socks"))
        raise StartError(f"{names}: a SOCKS proxy needs a library: pip install socksio, or unset it") from None
    except Exception:  # its text may hold the proxy's password
        names = ", ".join([*proxy_variables(), *(name for name in _CERTIFICATES if name in os.environ)])
        raise StartError(f"{names}: no requests can be sent with these values: check or unset them") from None


def _split_credentials(url: str | None) -> tuple[str | None, dict[str, str], tuple[str, ...]]:
    """The URL without user and password, the header that carries them, and their secret spellings.

    Left in the URL they would show up in request logs. Raises ValueError if it is no HTTP URL.
    """
    if not url:
        return None, {}, ()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an HTTP URL")
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}, ()
    plain = b64encode(unquote(user).encode()).decode()
    password = user.partition(":")[2]
    secrets = tuple(part for part in (user, password, unquote(password), plain) if part)
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {plain}"}, secrets


def _sampling(sampling_params: SamplingParams, prompt: Prompt) -> dict[str, Any]:
    """The request's sampling fields: only those needed, because some servers refuse fields that they do not know."""
    chosen: dict[str, Any] = {"temperature": sampling_params.temperature}
    if sampling_params.temperature:
        # Half of the seed's bits: some servers take no more than 32.
        chosen |= {"top_p": sampling_params.top_p, "seed": row_seed(sampling_params.seed, prompt.id) >> 32}
    if sampling_params.stop:
        chosen["stop"] = list(sampling_params.stop[:_MAX_STOPS])
    return chosen


def _server_message(error: Any) -> str:
    """The server's message in a refusal, or else the whole body."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or body or error.message)


def _read_reply(reply: Any, prompt: Prompt, sampling_params: SamplingParams) -> Completion:
    """Read a chat completion of the ``openai`` library. No field is trusted, since the library checks none.

    Raises ValueError, TypeError, AttributeError or IndexError if it is malformed or lacks token counts.
    """
    if isinstance(reply, str):
        raise ValueError("it is no JSON")
    if reply.usage is None:
        raise ValueError("it has no counts of tokens, usage")
    choice = reply.choices[0]
    reason, content = choice.finish_reason, choice.message.content or ""
    if reason not in ("stop", "length"):
        return Completion(prompt.id, error=f"the server ended the answer by {reason!r}")
    if not isinstance(content, str):
        raise ValueError("its content is no text")
    text, ended = cut_answer(content, sampling_params)
    return Completion(
        prompt_id=prompt.id,
        text=text,
        prompt_tokens=int(reply.usage.prompt_tokens),
        generated_tokens=int(reply.usage.completion_tokens),
        finish_reason="eos" if ended or reason == "stop" else "length",
    )


def cut_answer(text: str, sampling_params: SamplingParams) -> tuple[str, bool]:
    """Cut the text where the local engines would have ended it; also returns whether anything ended it.

    The server does not stop at JSON, gets only some of the stop strings, and may include those in its text.
    """
    behind = JsonEnd().add(text) if sampling_params.stop_at_json and text else None
    whole = text[: len(text) - (behind or 0)]
    cut = before_stop(whole, sampling_params.stop)
    return cut, behind is not None or len(cut) < len(whole)
