"""What a model reads of a prompt as text, and which of it is the chat template's own. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, product, zip_longest
from typing import Any, Final, TypeAlias

from depqa_ray.core import Prompt
from depqa_ray.engines.local.model_files import UnusableModelError, one_line

Texts: TypeAlias = tuple[str, ...]
Render: TypeAlias = Callable[[Texts], str]

_NO_TEMPLATE: Final = "The model has no chat template: its prompts are plain text, without roles."
_NO_SYSTEM: Final = "The model's chat template takes no system role: the system line precedes the user's text."
_MEND_TEMPLATE: Final = "mend chat_template.jinja or tokenizer_config.json, or give another model"
_STAND_INS: Final = ("A line for the system 7c1e5b.", "A passage and a question 9d40f2.")
_SAMPLE: Final = " \n<a> \"b\" & 'c' \\ {{ d }} {% e %}\r\n\n\té\n "
"""Whatever a template might change: blanks at the ends, quotes, markup, its own signs, line ends."""

_STRIPS: Final[tuple[Callable[[str], str], ...]] = (str, str.strip, str.rstrip, str.lstrip)


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt's text in parts, by turns the template's and the prompt's; the first one is the template's.

    If it is not ``separated``, nobody knows which is which, and there is one part only.
    """

    parts: Texts
    separated: bool = True

    @property
    def text(self) -> str:
        """All that the model reads."""
        return "".join(self.parts)

    @property
    def of_template(self) -> Texts:
        """The template's parts."""
        return self.parts[::2]

    @property
    def of_prompt(self) -> Texts:
        """The prompt's parts."""
        return self.parts[1::2]

    def until(self, end: int) -> RenderedPrompt:
        """The first ``end`` characters."""
        return RenderedPrompt(tuple(_until(self.parts, end)), self.separated)


class ChatTemplate:
    """Writes prompts as the model's chat template does, thinking off; without one, as text with blank lines.

    The template is rendered once, with stand-ins: what a prompt says cannot change what is around it. If a template
    changes the texts that it is given, it renders each prompt.

    If it takes no system role, or leaves its text out, the system line precedes the user's text, as ``notes`` say.
    Raises UnusableModelError if the template cannot be used.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._has_template = bool(tokenizer.chat_template)
        self._has_system_role = not self._has_template or self._shows_system_role()
        self._frame = lru_cache(maxsize=8)(self._find_frame)
        self._check()

    @property
    def notes(self) -> Texts:
        """Sentences about the template that a reader of the figures must see."""
        if not self._has_template:
            return (_NO_TEMPLATE,)
        return () if self._has_system_role else (_NO_SYSTEM,)

    def render(self, prompt: Prompt) -> RenderedPrompt:
        """The prompt's text. If the template renders each prompt, it may raise anything."""
        user = prompt.passage_text + prompt.question_text
        texts = (prompt.system, user) if self._has_system_role else (f"{prompt.system}\n\n{user}",)
        # A template may ask whether there is any text.
        frame = self._frame(tuple(None if text.strip() else text for text in texts))
        return RenderedPrompt((self._apply(texts),), separated=False) if frame is None else frame.filled(texts)

    def _apply(self, texts: Texts) -> str:
        if not self._has_template:
            return "".join(f"{text}\n\n" for text in texts)
        roles = ("system", "user")[-len(texts) :]
        messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)]
        rendered = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return str(rendered)

    def _find_frame(self, fixed: tuple[str | None, ...]) -> _Frame | None:
        try:
            return _find_frame(self._apply, fixed)
        except Exception:  # a model's own template may raise anything
            return None

    def _shows_system_role(self) -> bool:
        try:
            return _STAND_INS[0] in self._apply(_STAND_INS)
        except Exception:  # a model's own template may raise anything
            return False

    def _check(self) -> None:
        texts = _STAND_INS if self._has_system_role else (f"{_STAND_INS[0]}\n\n{_STAND_INS[1]}",)
        try:
            text = self._apply(texts)
        except Exception as error:
            raise UnusableModelError(f"its chat template fails: {one_line(error)}", _MEND_TEMPLATE) from error
        if _STAND_INS[1] not in text:
            raise UnusableModelError("its chat template leaves out the user's text", _MEND_TEMPLATE)
        self._frame((None,) * len(texts))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The template's own ``parts``. Each text between two of them is stripped as the template strips it.

    ``fixed`` are the texts that the parts already hold, None for those to be filled in.
    """

    parts: Texts
    strips: tuple[Callable[[str], str], ...]
    fixed: tuple[str | None, ...]

    def filled(self, texts: Texts) -> RenderedPrompt:
        free = (text for text, fixed in zip(texts, self.fixed, strict=True) if fixed is None)
        inner = [strip(text) for strip, text in zip(self.strips, free, strict=True)]
        pairs = zip_longest(self.parts, inner, fillvalue="")
        return RenderedPrompt(tuple(chain.from_iterable(pairs))[: len(self.parts) + len(inner)])


def _find_frame(render: Render, fixed: tuple[str | None, ...]) -> _Frame | None:
    """The template's parts around texts; None if it does not show each of them once, in order and unchanged."""
    names = _STAND_INS[-len(fixed) :]
    text = render(tuple(name if fix is None else fix for name, fix in zip(names, fixed, strict=True)))
    parts = []
    for name in (name for name, fix in zip(names, fixed, strict=True) if fix is None):
        before, found, text = text.partition(name)
        if not found or name in text:
            return None
        parts.append(before)
    sample = tuple(_SAMPLE if fix is None else fix for fix in fixed)
    wanted = render(sample)
    for strips in product(_STRIPS, repeat=len(parts)):
        frame = _Frame((*parts, text), strips, fixed)
        if frame.filled(sample).text == wanted:
            return frame
    return None


def _until(parts: Sequence[str], end: int) -> Iterator[str]:
    for part in parts:
        yield part[:end]
        end -= len(part)
        if end <= 0:
            return
