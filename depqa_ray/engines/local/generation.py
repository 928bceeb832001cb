"""The one place that says when an answer ends, token by token: what Decoding asks for, for every local engine."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from hashlib import blake2b
from typing import Final

from depqa_ray.answering.json_end import JsonEnd
from depqa_ray.core import FinishReason, Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.local.detokenizer import Pieces, TextStream

_BITS: Final = 32


class Answer:
    """One prompt's answer while it grows. Its tokens include the one that ended it; ``reason`` is None until then.

    ``eos`` are the end-of-sequence tokens. ``thinking`` says that the prompt ends within a ``<think>`` block.
    """

    __slots__ = ("_ending", "_eos", "_limit", "_pieces", "_random", "prompt", "reason", "tokens")

    def __init__(
        self, prompt: Prompt, sampling_params: SamplingParams, pieces: Pieces, eos: Set[int], thinking: bool = False
    ) -> None:
        watched = (sampling_params.stop or sampling_params.stop_at_json) and not sampling_params.fixed_length
        self.prompt = prompt
        self.tokens: list[int] = []
        self.reason: FinishReason | None = None
        self._limit = prompt.max_new_tokens
        self._eos: Set[int] = frozenset() if sampling_params.fixed_length else eos
        self._pieces = pieces
        self._ending = _Ending(sampling_params, pieces, thinking) if watched else None
        self._random = random.Random(row_seed(sampling_params.seed, prompt.id)) if sampling_params.temperature else None

    def add(self, token: int) -> bool:
        """Take the next token; says whether it has ended the answer. Nothing may be added to an answer that ended."""
        assert self.reason is None, "the answer has ended"
        self.tokens.append(token)
        if token in self._eos or (self._ending is not None and self._ending.reached(token)):
            self.reason = "stop"
        elif len(self.tokens) >= self._limit:
            self.reason = "length"
        return self.reason is not None

    def draw(self) -> float:
        """The next of the answer's own random numbers, in [0, 1); 0 where nothing is to be drawn.

        Of 32 bits, so that its product with any sum of probabilities stays below that sum.
        """
        return self._random.getrandbits(_BITS) / (1 << _BITS) if self._random else 0.0

    @property
    def text(self) -> str:
        """What the tokens say, special ones left out, cut where a stop string begins or the JSON object ends."""
        text = self._pieces.text(self.tokens)
        return self._ending.cut(text) if self._ending else text


class _Ending:
    """What in its text ends an answer: a stop string that is complete, or a JSON object that closes.

    Invariant: ``_tail`` is the end of the text so far, one character shorter than the longest stop string.
    """

    __slots__ = ("_behind", "_json", "_reach", "_stop", "_stream", "_tail")

    def __init__(self, sampling_params: SamplingParams, pieces: Pieces, thinking: bool) -> None:
        self._stream = TextStream(pieces)
        self._stop = sampling_params.stop
        self._json = JsonEnd(thinking) if sampling_params.stop_at_json else None
        self._reach = max(map(len, self._stop), default=1) - 1
        self._tail = ""
        self._behind = 0  # characters of the last token that lie behind the object

    def reached(self, token: int) -> bool:
        new = self._stream.add(token)
        closed = self._json.add(new) if self._json is not None and new else None
        if closed is not None:
            self._behind = closed + self._stream.withheld
        return closed is not None or (bool(self._stop) and self._completes_stop(new))

    def _completes_stop(self, new: str) -> bool:
        text = self._tail + new
        self._tail = text[len(text) - self._reach :] if len(text) > self._reach else text
        return any(stop in text for stop in self._stop)

    def cut(self, text: str) -> str:
        """The text through the object, or to the stop string that was complete first: whichever came before."""
        return before_stop(text[: len(text) - self._behind], self._stop)


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the stop string that was complete first; all of it where none is in it."""
    found = [(at + len(string), at) for string in stop if (at := text.find(string)) >= 0]
    return text[: min(found)[1]] if found else text


def row_seed(seed: int, prompt_id: str) -> int:
    """The seed of a prompt's own generator, of 63 bits: the same on every machine, beside any company."""
    digest = blake2b(f"{seed}/{prompt_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # vLLM takes no more
