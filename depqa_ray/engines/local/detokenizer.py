"""Incremental detokenization: the text that each token adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from depqa_ray.answering.thoughts import is_tag

_BROKEN: Final = "\ufffd"  # the tokenizer's text for a part of a character


class TokenTexts(dict[int, str | None]):
    """The text that each token adds, computed on first use; None if the token holds part of a character.

    One cache serves all generations of a tokenizer. Special tokens add nothing, except the tags around thoughts, since
    without them a thought would count as an answer.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        special = _special_tokens(tokenizer)
        self._tags = frozenset(id_ for id_, name in special.items() if is_tag(name))
        self._silent = special.keys() - self._tags

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones; the tags around thoughts are kept."""
        if self._tags.isdisjoint(tokens):
            return str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        kept = [token for token in tokens if token not in self._silent]
        return str(self._tokenizer.decode(kept, skip_special_tokens=False))

    def __missing__(self, token: int) -> str | None:
        once = self.decode([token])
        text: str | None = None
        if _BROKEN not in once:
            # What the second of two adds: some tokenizers drop a leading space.
            text = self.decode([token, token])[len(once) :]
        self[token] = text
        return text


def _special_tokens(tokenizer: Any) -> dict[int, str]:
    """The names of the tokens that decoding skips, by id."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    names = {id_: str(token) for id_, token in added.items() if token.special}
    return names | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=False))


class TextStream:
    """The text of one generation, in whole characters.

    - ``_open`` are the tokens since the last one that ended with a character.
    - Of their text, ``_emitted`` characters have been returned; ``withheld`` are still parts of characters.
    """

    def __init__(self, texts: TokenTexts) -> None:
        self._texts = texts
        self._open: list[int] = []
        self._emitted = 0
        self.withheld = 0

    def add(self, token: int) -> str:
        """Return the characters that the token completes."""
        added = self._texts[token]
        if added is not None and not self._open:
            return added
        if added is None:
            self._open.append(token)
        text = self._texts.decode(self._open) + (added or "")
        whole = text.rstrip(_BROKEN) if added is None else text
        new, self._emitted, self.withheld = whole[self._emitted :], len(whole), len(text) - len(whole)
        if not self.withheld:
            self._open.clear()
            self._emitted = 0
        return new
