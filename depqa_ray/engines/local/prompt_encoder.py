"""From a rendered prompt to tokens, among which only the template writes control tokens. Imports no torch."""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Final

from depqa_ray.engines.local.control_tokens import ControlTokens, PlainTextTokenizer
from depqa_ray.engines.local.model_files import examples
from depqa_ray.engines.local.templates import RenderedPrompt, Texts

_MASK: Final = "x"
"""Stands for the prompt's texts where only the template's control tokens are of interest."""


class UnreadablePromptError(Exception):
    """A prompt that a model cannot read; the text says why."""


class PromptEncoder:
    """Encodes rendered prompts.

    A prompt is encoded whole. If its control tokens are the template's own, these are its tokens; checking it costs a
    fiftieth of the encoding. Otherwise the prompt is encoded again, its own texts as plain text.

    ``usual`` is any prompt: the control tokens of all that are not separated have to be the same.
    """

    def __init__(self, tokenizer: Any, controls: ControlTokens, usual: RenderedPrompt) -> None:
        self._tokenizer, self._controls, self._usual = tokenizer, controls, usual
        self._add_special_tokens = not tokenizer.chat_template  # a template writes them itself
        self._controls_of = lru_cache(maxsize=64)(self._find_controls)
        self._copy_agrees = lru_cache(maxsize=64)(self._find_agreement)

    def ids(self, rendered: RenderedPrompt) -> list[int]:
        """The prompt's tokens. Raises UnreadablePromptError, or whatever the tokenizer raises."""
        ids = self._tokens_of(rendered.text)
        if self._controls.among(ids) == self._expected(rendered) and not self._spells_unknown(rendered):
            return ids
        plain = self._plain_ids(rendered) if rendered.separated else None
        if plain is None:
            names = examples(self._controls.named_in("\n".join(rendered.of_prompt)))
            raise UnreadablePromptError(f"its text becomes a control token of the model{names and f' ({names})'}")
        return plain

    def _tokens_of(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=self._add_special_tokens).input_ids)

    def _expected(self, rendered: RenderedPrompt) -> list[int]:
        """The control tokens that the template writes."""
        return self._controls_of((rendered if rendered.separated else self._usual).of_template)

    def _find_controls(self, of_template: Texts) -> list[int]:
        return self._controls.among(self._tokens_of(_MASK.join(of_template)))

    def _spells_unknown(self, rendered: RenderedPrompt) -> bool:
        unknown = self._controls.unknown
        return bool(unknown) and any(unknown in part for part in rendered.of_prompt)

    def _plain_ids(self, rendered: RenderedPrompt) -> list[int] | None:
        """The tokens if control tokens are found in the template only; None if that cannot be done."""
        plain = self._plain_text
        if plain is None or not self._copy_agrees(rendered.of_template):
            return None
        ids = plain.ids(rendered, self._add_special_tokens)
        return ids if ids is not None and self._controls.among(ids) == self._expected(rendered) else None

    def _find_agreement(self, of_template: Texts) -> bool:
        """Whether the copy encodes the template's parts as the tokenizer does."""
        masked = RenderedPrompt(tuple(chain.from_iterable((part, _MASK) for part in of_template))[:-1])
        assert self._plain_text is not None
        return self._plain_text.ids(masked, self._add_special_tokens) == self._tokens_of(masked.text)

    @cached_property
    def _plain_text(self) -> PlainTextTokenizer | None:
        """Made for the first prompt that needs it: that takes a second with a large vocabulary."""
        try:
            return PlainTextTokenizer(self._tokenizer, self._controls)
        except ValueError:
            return None
