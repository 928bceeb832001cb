"""When a generation ends, token by token, by its SamplingParams: the one place for every local engine."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from hashlib import blake2b
from typing import Final

from depqa_ray.answering.json_end import JsonEnd
from depqa_ray.answering.thoughts import THINK_OPEN
from depqa_ray.core import Completion, FinishReason, Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.local.detokenizer import TextStream, TokenTexts

NOT_FINITE: Final = "the model's outputs are not numbers (NaN or infinite)"
"""The error of a prompt at which the model's arithmetic breaks down."""


class Generation:
    """The tokens generated for one prompt, with the one that ended them; until then ``finish_reason`` is None.

    ``eos`` are the end-of-sequence tokens. ``thinking``: the prompt ends within a thought. If a token could
    not be chosen, ``error`` says why, and the generation has ended.
    """

    def __init__(
        self, prompt: Prompt, sampling_params: SamplingParams, texts: TokenTexts, eos: Set[int], thinking: bool = False
    ) -> None:
        watched = (sampling_params.stop or sampling_params.stop_at_json) and not sampling_params.fixed_length
        self.prompt = prompt
        self.tokens: list[int] = []
        self.finish_reason: FinishReason | None = None
        self.error = ""
        self._eos: Set[int] = frozenset() if sampling_params.fixed_length else eos
        self._texts = texts
        self._opened = THINK_OPEN if thinking else ""
        self._end_detector = _EndDetector(sampling_params, texts, thinking) if watched else None
        self._random = random.Random(row_seed(sampling_params.seed, prompt.id)) if sampling_params.temperature else None

    def add(self, token: int) -> bool:
        """Append the next token; returns whether it ends the generation, after which nothing may be added.

        A token of -1 says that the outputs to choose it from were not finite.
        """
        assert self.finish_reason is None, "the generation has ended"
        if token < 0:
            self.error, self.finish_reason = NOT_FINITE, "eos"
            return True
        self.tokens.append(token)
        if token in self._eos:
            self.finish_reason = "eos"
        elif self._end_detector is not None:
            self.finish_reason = self._end_detector.end_at(token)
        if self.finish_reason is None and len(self.tokens) >= self.prompt.max_new_tokens:
            self.finish_reason = "length"
        return self.finish_reason is not None

    def draw(self) -> float:
        """The next of the generation's own random numbers, in [0, 1); 0 without a temperature.

        It has 32 bits, so that its product with any sum of probabilities stays below that sum.
        """
        return self._random.getrandbits(32) / (1 << 32) if self._random else 0.0

    @property
    def text(self) -> str:
        """The text without special tokens, cut before a stop string or after the JSON object.

        Tags of thoughts are kept, and the one that the prompt wrote is put in front.
        """
        text = self._texts.decode(self.tokens)
        return self._opened + (self._end_detector.cut(text) if self._end_detector else text)

    def completion(self, prompt_tokens: int, seconds: float, first_token_seconds: float | None = None) -> Completion:
        """The prompt's completion, once the generation has ended."""
        if self.error:
            return Completion(self.prompt.id, error=self.error)
        return Completion(
            prompt_id=self.prompt.id,
            text=self.text,
            prompt_tokens=prompt_tokens,
            generated_tokens=len(self.tokens),
            finish_reason=self.finish_reason or "length",
            seconds=seconds,
            first_token_seconds=first_token_seconds,
        )


class _EndDetector:
    """Finds what ends a text: a complete stop string, or a JSON object that closes.

    Invariant: ``_tail`` is the end of the text so far, one character shorter than the longest stop string.
    """

    def __init__(self, sampling_params: SamplingParams, texts: TokenTexts, thinking: bool) -> None:
        self._stream = TextStream(texts)
        self._stop = sampling_params.stop
        self._json = JsonEnd(thinking) if sampling_params.stop_at_json else None
        self._reach = max(map(len, self._stop), default=1) - 1
        self._tail = ""
        self._behind = 0  # characters of the last token after the object

    def end_at(self, token: int) -> FinishReason | None:
        """What ends the text at this token; None if nothing does."""
        new = self._stream.add(token)
        closed = self._json.add(new) if self._json is not None and new else None
        if closed is not None:
            self._behind = closed + self._stream.withheld
            new = new[: len(new) - closed]
        if self._stop and self._completes_stop(new):  # no later than the object
            return "stop"
        return "json" if closed is not None else None

    def _completes_stop(self, new: str) -> bool:
        text = self._tail + new
        self._tail = text[len(text) - self._reach :] if len(text) > self._reach else text
        return any(stop in text for stop in self._stop)

    def cut(self, text: str) -> str:
        """The text through the object, or before the stop string that was complete first: whichever came earlier."""
        return before_stop(text[: len(text) - self._behind], self._stop)


def cut_reply(text: str, sampling_params: SamplingParams, thinking: bool) -> tuple[str, FinishReason | None]:
    """A whole reply cut where a generation would have ended it, and by what: None if by nothing in its text."""
    tag = THINK_OPEN if thinking else ""
    if sampling_params.fixed_length:
        return tag + text, None
    behind = JsonEnd(thinking).add(text) if sampling_params.stop_at_json and text else None
    through = text[: len(text) - (behind or 0)]
    cut = before_stop(through, sampling_params.stop)
    reason: FinishReason | None = "stop" if len(cut) < len(through) else None if behind is None else "json"
    return tag + cut, reason


def before_stop(text: str, stop: Sequence[str]) -> str:
    """The text before the stop string that was complete first; all of it if there is none."""
    found = [(at + len(string), at) for string in stop if (at := text.find(string)) >= 0]
    return text[: min(found)[1]] if found else text


def row_seed(seed: int, prompt_id: str) -> int:
    """The seed of a prompt's own generator, of 63 bits: the same on every machine and in any batch."""
    digest = blake2b(f"{seed}/{prompt_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # vLLM takes no more
