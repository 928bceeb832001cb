"""Which part of a server's reply is thought, where the server's chat template opened the thought.

Such a reply has a closing tag only, or none if it was cut. That it is thought can then be known from other replies.
"""

from __future__ import annotations

from typing import Final

from depqa_ray.answering.json_values import is_json_reply
from depqa_ray.answering.thoughts import THINK_CLOSE, THINK_OPEN, is_stray_tag
from depqa_ray.core import Prompt

PROBE: Final = Prompt(
    "probe", "Answer.", "Passage: The sky is blue.\n\n", "Question: What colour is the sky? Answer in one word.", 1024
)
"""Asked to see a whole reply, where one was cut that may be a thought. A short thought and its end fit into it."""

_ANSWER_STARTS: Final = ("{", "[", "```")


class Thoughts:
    """What an engine's replies so far say about the server's thoughts.

    - ``_closed`` counts the replies with a closing tag only, ``_plain`` those that show that the template opens no
      thought. All requests go through one template, in the same form; but an answer may hold a tag.
    - ``_is_split``: whether the server sends thoughts in a field of their own. Some put a cut thought into the content.
    """

    def __init__(self) -> None:
        self._closed = self._plain = 0
        self._is_split = False

    @property
    def were_seen(self) -> bool:
        """Whether the model was seen to think."""
        return bool(self._is_opened) or self._is_split

    @property
    def _is_opened(self) -> bool | None:
        """Whether the template opens the thought; None = not known yet."""
        return self._closed >= self._plain if self._closed or self._plain else None

    def learn(self, content: str, reasoning: str, *, is_whole: bool) -> None:
        """Take in a reply; ``is_whole``: the model ended it."""
        self._is_split = self._is_split or bool(reasoning.strip())
        if _closed_thought(content).strip():
            self._closed += 1
        elif content.lstrip().startswith(THINK_OPEN) or (is_whole and _has_no_tag(content)):
            self._plain += 1

    def text(self, content: str, is_cut: bool) -> str:
        """The content with ``<think>`` before a thought that the template opened."""
        is_open = bool(_closed_thought(content)) or content.lstrip().startswith(THINK_CLOSE)
        return THINK_OPEN + content if is_open or (is_cut and self._is_only_thought(content)) else content

    def may_be_thought(self, content: str, is_cut: bool) -> bool:
        """Whether a reply may be a thought for all that is known: it was cut, has no tag and no beginning of JSON."""
        unknown = self._is_opened is None and not self._is_split
        return unknown and is_cut and _has_no_tag(content) and not _starts_as_answer(content)

    def _is_only_thought(self, content: str) -> bool:
        if not _has_no_tag(content):
            return False
        return bool(self._is_opened) or (self._is_split and not _starts_as_answer(content))


def _closed_thought(content: str) -> str:
    """What stands before a closing tag that no opening tag precedes; "" if the tag belongs to no thought."""
    before, tag, _ = content.partition(THINK_CLOSE)
    if not tag or THINK_OPEN in before or is_json_reply(content.strip()):
        return ""
    return "" if is_stray_tag(content, len(before), len(before) + len(tag)) else before


def _has_no_tag(content: str) -> bool:
    return bool(content.strip()) and THINK_OPEN not in content and THINK_CLOSE not in content


def _starts_as_answer(content: str) -> bool:
    return content.lstrip().startswith(_ANSWER_STARTS)
