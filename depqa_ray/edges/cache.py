"""Replies to the request for edges, kept from one run to the next.

A reply is found again by who asked and what it answers: the strategy, the model and its engine, how it chooses tokens,
and the prompt to the character (passage, questions, system line, limit), with the version of the prompts. So a second
run has the same plans, even where a model would not give the same reply twice. Each reply is a small JSON file, so that
runs that go on at the same time never write to the same place and nothing is held in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from depqa_ray.answering.prompts import PROMPT_VERSION
from depqa_ray.core import Prompt
from depqa_ray.files import replace_file

_VERSION: Final = 1


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = _VERSION
    run: str
    reply: str


@dataclass(frozen=True, slots=True)
class EdgeCache:
    """Kept replies in ``folder``, of a model that ``model`` describes (plain JSON values).

    ``run`` is this run's own mark: what it has kept itself it does not find, so that each of its strategies asks, and
    pays, for itself.
    """

    folder: Path
    model: Mapping[str, Any]
    run: str

    def find(self, strategy: str, prompt: Prompt) -> str | None:
        """The reply that an earlier run kept; None where there is none, or none that can be read."""
        try:
            entry = _Entry.model_validate_json(self._file(strategy, prompt).read_bytes())
        except (OSError, ValueError):  # pydantic's error is a ValueError, and so is that of a path that none can be
            return None
        return None if entry.version != _VERSION or entry.run == self.run else entry.reply

    def keep(self, strategy: str, prompt: Prompt, reply: str) -> None:
        """Keep a reply. Raises OSError where the folder cannot be written, ValueError where its name is none."""
        # A lone surrogate, which a model's tokens can spell, has no place in UTF-8.
        text = reply.encode("utf-8", "replace").decode("utf-8")
        replace_file(
            self._file(strategy, prompt), _Entry(run=self.run, reply=text).model_dump_json() + "\n", durable=False
        )

    def _file(self, strategy: str, prompt: Prompt) -> Path:
        asked = {name: value for name, value in asdict(prompt).items() if name != "id"}
        key = {"strategy": strategy, "model": dict(self.model), "prompt": asked, "prompt_version": PROMPT_VERSION}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:]}.json"
