"""The tokens by which a chat template controls a model, which no other text may become. Imports no torch."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final
from unicodedata import category

from depqa_ray.engines.local.templates import RenderedPrompt

_SIGNS_OF_WORDS: Final = "-'\u2019\u2581"  # an apostrophe, and what stands for a space
_MOST_ROUNDS: Final = 8


class ControlTokens:
    """The control tokens of a tokenizer: of those ``added`` to its vocabulary, the ones that are no text.

    ``names`` are their names by id. ``unknown`` is the name of the token for unknown text, "" if it has none. Any
    strange character may become that token, so that it counts only where it is spelled out.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
        self.names = {id_: str(token.content) for id_, token in self.added.items() if _controls(token)}
        self.unknown = str(tokenizer.unk_token) if tokenizer.unk_token_id in self.names else ""
        self._ids = frozenset(self.names.keys() - {tokenizer.unk_token_id})

    def among(self, ids: Sequence[int]) -> list[int]:
        """The control tokens among tokens, in their order."""
        if self._ids.isdisjoint(ids):  # twice as fast where there are none
            return []
        return list(filter(self._ids.__contains__, ids))

    def named_in(self, text: str) -> list[str]:
        """The control tokens that a text spells out."""
        return sorted(name for name in self.names.values() if name in text)


def _controls(token: Any) -> bool:
    """Whether an added token controls the model: it is special, or more than a character, blanks or words.

    Some tokenizers add what is text: DeepSeek's the letter ö, Gemma's blank lines, others the words of a field.
    """
    is_text = len(token.content) == 1 or all(
        category(sign)[0] in "LNMZ" or sign.isspace() or sign in _SIGNS_OF_WORDS for sign in token.content
    )
    return token.special or not is_text


class PlainTextTokenizer:
    """A copy of a tokenizer that finds control tokens in the template's parts only: elsewhere their names are text.

    The copy knows no control token by its name. In the template's parts, stand-ins replace the names: random strings,
    added with the same rules. So all else is cut, normalized and encoded as by the tokenizer itself.

    Raises ValueError if there can be no such copy.
    """

    def __init__(self, tokenizer: Any, controls: ControlTokens) -> None:
        self._controls, self._unknown_id = controls, tokenizer.unk_token_id
        self._copy = _without_added_tokens(tokenizer)
        self._known = max(self._copy.get_vocab().values(), default=-1)
        self._stand_ins = {name: secrets.token_hex(16) for name in controls.names.values()}
        self._names = re.compile("|".join(map(re.escape, sorted(self._stand_ins, key=len, reverse=True))))
        self._ids = {self._add(token): id_ for id_, token in controls.added.items()}
        # Put into a name that the vocabulary itself holds, and taken out again.
        self._break = secrets.token_hex(16)
        self._copy.add_tokens([self._break])
        self._break_id = self._copy.token_to_id(self._break)

    def ids(self, prompt: RenderedPrompt, add_special_tokens: bool) -> list[int] | None:
        """The prompt's tokens; None if the vocabulary itself holds the name of a control token that cannot be cut."""
        text = "".join(part if at % 2 else self._with_stand_ins(part) for at, part in enumerate(prompt.parts))
        for _ in range(_MOST_ROUNDS):
            encoding = self._copy.encode(text, add_special_tokens=add_special_tokens)
            cuts = list(self._cuts(encoding, text))
            if not cuts:
                return [self._ids.get(id_, id_) for id_ in encoding.ids if id_ != self._break_id]
            for cut in reversed(cuts):
                text = text[:cut] + self._break + text[cut:]
        return None

    def _with_stand_ins(self, text: str) -> str:
        return self._names.sub(lambda name: self._stand_ins[name[0]], text)

    def _add(self, token: Any) -> int:
        """Add a token of the tokenizer, by its stand-in if it is a control token; returns the copy's id of it."""
        from tokenizers import AddedToken

        name = self._stand_ins.get(token.content, token.content)
        rules = {rule: getattr(token, rule) for rule in ("single_word", "lstrip", "rstrip", "normalized")}
        self._copy.add_tokens([AddedToken(name, **rules)])
        id_ = int(self._copy.token_to_id(name))
        if token.content in self._stand_ins and id_ <= self._known:
            raise ValueError("its vocabulary has gaps")
        return id_

    def _cuts(self, encoding: Any, text: str) -> Iterator[int]:
        """Where to cut the names that the vocabulary itself holds."""
        found = zip(encoding.ids, encoding.offsets, encoding.special_tokens_mask, strict=True)
        for id_, (start, end), added_around in found:
            is_own = not added_around and id_ <= self._known
            if is_own and (self._controls.among([id_]) or self._spells_unknown(id_, text[start:end])):
                yield (start + end) // 2

    def _spells_unknown(self, id_: int, text: str) -> bool:
        return id_ == self._unknown_id and bool(self._controls.unknown) and self._controls.unknown in text


def _without_added_tokens(tokenizer: Any) -> Any:
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError("it has no tokenizer.json")
    content = json.loads(backend.to_str()) | {"added_tokens": [], "truncation": None, "padding": None}
    return Tokenizer.from_str(json.dumps(content))
