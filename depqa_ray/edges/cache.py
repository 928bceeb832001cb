"""Cache of the replies to requests for edges, from one run to the next.

The key is who asked and what: the strategy, the model and its engine, the sampling parameters, and the prompt to the
character (passage, questions, system message, limit), with the version of the prompts. So a second run has the same
plans, even if the model would not reply the same twice. Each reply is a small JSON file of its own, replaced
atomically, so that runs may share a folder; nothing is held in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    """Replies in ``folder`` of the model that ``model`` describes (plain JSON values).

    ``run`` marks this run's own replies. It never gets those back, so that each of its strategies asks, and pays, for
    itself.
    """

    folder: Path
    model: Mapping[str, Any]
    run: str

    def get(self, strategy: str, prompt: Prompt) -> str | None:
        """The reply that an earlier run put; None if there is none, or none that can be read."""
        try:
            entry = _Entry.model_validate_json(self._file(strategy, prompt).read_bytes())
        except (OSError, ValueError):  # pydantic's error is a ValueError, and so is that of an impossible path
            return None
        return None if entry.version != _VERSION or entry.run == self.run else entry.reply

    def put(self, strategy: str, prompt: Prompt, reply: str) -> None:
        """Store a reply. Raises OSError if the folder cannot be written, ValueError if its name is impossible."""
        # A model's tokens can spell a lone surrogate, which UTF-8 cannot encode.
        text = reply.encode("utf-8", "replace").decode("utf-8")
        entry = _Entry(run=self.run, reply=text).model_dump_json() + "\n"
        replace_file(self._file(strategy, prompt), entry, durable=False)

    def _file(self, strategy: str, prompt: Prompt) -> Path:
        # Names of the files' format, not of the record: renaming a field must not lose the replies of earlier runs.
        asked = {
            "system": prompt.system,
            "shared": prompt.passage_text,
            "own": prompt.question_text,
            "known": prompt.context_chars,
            "max_new_tokens": prompt.max_new_tokens,
        }
        key = {"strategy": strategy, "model": dict(self.model), "prompt": asked, "prompt_version": PROMPT_VERSION}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[2:]}.json"
