"""A prompt and its generation on their way through the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from depqa_ray.core import Prompt
from depqa_ray.engines.local.generation import Generation
from depqa_ray.engines.requests import Caller
from depqa_ray.engines.shared_prefix.prefix_cache import PrefixNode


@dataclass(slots=True, eq=False)
class Sequence:
    """The tokens of a prompt, cut into ``segments`` where other prompts may begin to differ, and what follows them.

    ``caller`` is set on arrival; ``leaf``, its node in the cache, on admission. Times are of ``time.perf_counter``.
    """

    generation: Generation
    segments: list[list[int]]
    submitted_at: float
    first_token_at: float = 0.0
    caller: Caller = field(init=False, repr=False)
    leaf: PrefixNode = field(init=False, repr=False)

    @property
    def prompt(self) -> Prompt:
        """The prompt."""
        return self.generation.prompt

    @property
    def prompt_tokens(self) -> int:
        """The number of the prompt's tokens."""
        return sum(map(len, self.segments))

    @property
    def decoding(self) -> bool:
        """Whether its prompt has been computed."""
        return bool(self.generation.tokens)
