"""The text of tokens that come one by one: what each of them adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from depqa_ray.answering.json_objects import THINK_CLOSE, THINK_OPEN

_BROKEN: Final = "\ufffd"  # what a tokenizer decodes a part of a character to


class Pieces(dict[int, str | None]):
    """The text that each token adds, worked out when it is first asked for; None where it holds part of a character.

    One cache serves all answers that a tokenizer decodes. Special tokens add nothing, but for those that enclose
    thoughts: they are needed to tell the braces of a thought from those of the answer.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = tokenizer

    def text(self, tokens: Sequence[int]) -> str:
        """What people get to read of the tokens: special ones left out."""
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True))

    def __missing__(self, token: int) -> str | None:
        once = self.text([token])
        piece: str | None = None
        if _BROKEN not in once:
            # What the second of two adds: some tokenizers drop the space that a text begins with.
            piece = self.text([token, token])[len(once) :] or self._tag(token)
        self[token] = piece
        return piece

    def _tag(self, token: int) -> str:
        name = self._tokenizer.convert_ids_to_tokens(token)
        return name if name in (THINK_OPEN, THINK_CLOSE) else ""


class TextStream:
    """The text of one answer's tokens, in whole characters.

    Invariant: ``_open`` are the tokens since the last place where both a token and a character ended; ``_given``
    characters of their text have been given out, ``withheld`` have not.
    """

    __slots__ = ("_given", "_open", "_pieces", "withheld")

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._open: list[int] = []
        self._given = 0
        self.withheld = 0

    def add(self, token: int) -> str:
        """What can be read now and could not be read before."""
        piece = self._pieces[token]
        if piece is not None and not self._open:
            return piece
        if piece is None:
            self._open.append(token)
        text = self._pieces.text(self._open) + (piece or "")
        whole = text.rstrip(_BROKEN) if piece is None else text
        new, self._given, self.withheld = whole[self._given :], len(whole), len(text) - len(whole)
        if not self.withheld:
            self._open.clear()
            self._given = 0
        return new
