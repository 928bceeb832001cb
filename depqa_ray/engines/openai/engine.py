"""The engine that asks a server. The server owns the model, batching and memory."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any, Final

from typing_extensions import override

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import WARM_UP
from depqa_ray.engines.local.generation import row_seed
from depqa_ray.engines.openai.address import other_url
from depqa_ray.engines.openai.client import ServerClient, connect
from depqa_ray.engines.openai.failures import Failure, error_in_reply
from depqa_ray.engines.openai.messages import failure_of, told_failure
from depqa_ray.engines.openai.replies import Reply, completion_of, read_reply
from depqa_ray.engines.openai.retries import Retries, SharedPause
from depqa_ray.engines.openai.thoughts import PROBE, Thoughts
from depqa_ray.engines.requests import RequestEngine
from depqa_ray.errors import EngineError, StartError

_MAX_STOPS: Final = 4  # OpenAI refuses more
_PROBES: Final = 3  # at most, should they fail
_RETRIES: Final = Retries()

_THINKS: Final = (
    "The server's model thinks before it answers: turn that off at the server, or leave room with --max-new-tokens."
)


class OpenAIEngine(RequestEngine):
    """Each prompt is a request in a task of its own, at most ``max_batch_size`` of them at a time.

    - If the server has too many requests, all wait as long as it asks; a prompt fails after ``request_timeout``, alone.
    - If a request fails otherwise and the server may be to blame, the warm-up prompt is sent: if that succeeds, only
      the request's prompt fails, else the engine is broken.
    - If a reply was cut and may be a thought that the server's template opened, one whole reply is asked for to see.
    """

    def __init__(self, spec: EngineSpec, retries: Retries = _RETRIES) -> None:
        super().__init__()
        self._spec, self._retries = spec, retries
        self._limit = asyncio.Semaphore(spec.max_batch_size)
        self._pause: SharedPause[Failure] = SharedPause()
        self._server: ServerClient | None = None
        self._thoughts = Thoughts()
        self._probing, self._probes_left = asyncio.Lock(), _PROBES
        self._prompt_tokens = 0
        self._cached: int | None = None

    @override
    async def start(self) -> EngineInfo:
        """Send the warm-up prompt, so that a wrong address, key or model is reported at once."""
        if self._spec.sampling_params.fixed_length:
            raise StartError("a server cannot be held to answers of a fixed length: take another engine")
        self._server = connect(self._spec.base_url)
        notes = await self._check()
        return EngineInfo(
            "openai", self._spec.model_name, self._server.name, "unknown dtype", can_reset_cache=False, notes=notes
        )

    @override
    def counts(self) -> EngineCounts:
        """None until the server reports cached tokens. From then on, a reply without them counts as 0."""
        if self._cached is None:
            return EngineCounts()
        return EngineCounts(computed_tokens=self._prompt_tokens - self._cached, cached_tokens=self._cached)

    @override
    async def close(self) -> None:
        await super().close()
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _check(self) -> tuple[str, ...]:
        """Send the warm-up prompt and return notes. If the server cannot be used, close and raise EngineError."""
        given, found = self._client, await self._ask(WARM_UP)
        if isinstance(found, Failure) and found.kind == "address":
            found = await self._ask_elsewhere(found)
        if error := self._start_error(found):
            await self.close()
            raise error
        moved = f"There are no chat completions at {given.url}: {self._client.url} is asked instead."
        return (*([moved] if self._client is not given else []), *([_THINKS] if self._thoughts.were_seen else []))

    async def _ask_elsewhere(self, failure: Failure) -> Reply | Failure:
        """What the server says at the other address that it may have. Without one, the given address stays."""
        given = self._client
        url = other_url(given.url)
        if not url:
            return failure
        self._server = given.at(url)
        found = await self._ask(WARM_UP)
        if isinstance(found, Failure) and found.kind in ("address", "strange", "silent", "lost"):
            self._server = given
            return replace(failure, error=f"{failure.error}; {url} was tried too")
        return found

    def _start_error(self, found: Reply | Failure) -> EngineError | None:
        if isinstance(found, Failure):
            return (StartError if found.is_lasting else EngineError)(found.error)
        error = self._completion(found, WARM_UP).error
        return StartError(error) if error else None

    @property
    def _client(self) -> ServerClient:
        assert self._server is not None, "the engine is not started, or closed"
        return self._server

    @override
    async def _answer(self, prompt: Prompt) -> Completion:
        started = time.perf_counter()
        async with self._limit:
            found = await self._ask(prompt)
            if isinstance(found, Failure):
                await self._raise_if_broken(found)
            seconds = time.perf_counter() - started
            if isinstance(found, Failure):
                return Completion(prompt.id, error=found.error, seconds=seconds)
            await self._learn_thoughts(found)
        completion = self._completion(found, prompt)
        if not completion.error:
            self._count(found)
        return replace(completion, seconds=seconds)

    async def _raise_if_broken(self, failure: Failure) -> None:
        """Raise EngineError if not only one prompt failed, StartError if no other replica would fare better."""
        if failure.kind in ("prompt", "limit"):
            return
        found = failure if failure.kind == "quota" else await self._ask(WARM_UP)
        if isinstance(found, Failure) and found.kind != "limit":
            raise (StartError if found.kind in ("access", "quota") else EngineError)(found.error)

    async def _learn_thoughts(self, reply: Reply) -> None:
        """If the reply may be a thought for all that is known, see how a whole reply of the server ends."""
        if not self._may_be_thought(reply):
            return
        async with self._probing:
            if not self._may_be_thought(reply):  # another reply has told meanwhile
                return
            self._probes_left -= 1
            if isinstance(await self._ask(PROBE), Reply):
                self._probes_left = 0

    def _may_be_thought(self, reply: Reply) -> bool:
        is_cut = reply.finish_reason == "length"
        return self._probes_left > 0 and self._thoughts.may_be_thought(reply.content, is_cut)

    def _completion(self, reply: Reply, prompt: Prompt) -> Completion:
        completion = completion_of(reply, prompt, self._spec.sampling_params, self._thoughts)
        return replace(completion, error=self._client.public(completion.error)) if completion.error else completion

    async def _ask(self, prompt: Prompt) -> Reply | Failure:
        """The reply, after as many requests as make sense within the time for one prompt."""
        deadline = time.monotonic() + self._spec.request_timeout
        most = self._retries.warm_up if prompt is WARM_UP else self._retries.most
        sent, told = 0, None
        while True:
            if closed := await self._pause.wait(deadline):
                return closed
            found = await self._send(prompt, deadline)
            sent += 1
            if isinstance(found, Reply) or sent > found.repeats(most):
                return told if told and isinstance(found, Failure) and found.kind == "silent" else found
            told = found  # says more than the timeout of the last repetition would
            pause = self._retries.pause(sent, found.pause)
            if found.kind == "limit":
                self._pause.extend(pause, found)
            elif time.monotonic() + pause >= deadline:
                return found
            else:
                await asyncio.sleep(pause)

    async def _send(self, prompt: Prompt, deadline: float) -> Reply | Failure:
        server = self._client
        try:
            received = await asyncio.wait_for(server.post(self._request(prompt)), deadline - time.monotonic())
            error = error_in_reply(received.body, received.headers)
            if error is not None:
                return told_failure(error, server, self._spec)
            reply = read_reply(received.body)
        except Exception as error:  # a malformed reply may raise anything
            return failure_of(error, server, self._spec)
        self._thoughts.learn(reply.content, reply.reasoning, is_whole=reply.finish_reason == "eos")
        return reply

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

    def _count(self, reply: Reply) -> None:
        self._prompt_tokens += reply.prompt_tokens
        if reply.cached_tokens is not None:
            self._cached = (self._cached or 0) + reply.cached_tokens


def _sampling(sampling_params: SamplingParams, prompt: Prompt) -> dict[str, Any]:
    """The request's sampling fields: only those needed, because some servers refuse fields that they do not know."""
    chosen: dict[str, Any] = {"temperature": sampling_params.temperature}
    if sampling_params.temperature:
        # Half of the seed's bits: some servers take no more than 32.
        chosen |= {"top_p": sampling_params.top_p, "seed": row_seed(sampling_params.seed, prompt.id) >> 32}
    if sampling_params.stop:
        chosen["stop"] = list(sampling_params.stop[:_MAX_STOPS])
    return chosen
