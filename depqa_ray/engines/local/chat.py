"""From a prompt to the tokens that a model reads, and the refusal of too many. Imports no torch."""

from __future__ import annotations

from typing import Any, Final

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.local.model_files import UnusableModelError, one_line

WARM_UP: Final = Prompt("warm-up", "Answer.", "Passage: none.\n\n", "Question: none?", 2)
"""The prompt that an engine answers before it reports that it is ready."""


_MEND_TEMPLATE: Final = "mend chat_template.jinja or tokenizer_config.json, or give another model"

_PROBE: Final = Prompt("probe", "A line for the system.", "A passage.\n\n", "A question?", 1)


class Chat:
    """Turns prompts into what a model reads: its chat template, thinking off; if it has none, text and blank lines.

    If the template takes no system role, or leaves its text out, the system line precedes the user's text, as ``notes``
    say. Raises UnusableModelError if the template cannot be used.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._has_system_role = True
        self.notes: tuple[str, ...] = ()
        if not tokenizer.chat_template:
            self.notes = ("The model has no chat template: its prompts are plain text, without roles.",)
        elif not self._shows_system_role():
            self._has_system_role = False
            self.notes = ("The model's chat template takes no system role: the system line precedes the user's text.",)
        self._check_template()

    def text(self, prompt: Prompt) -> str:
        """All that the model reads of a prompt, as text."""
        user = prompt.passage_text + prompt.question_text
        if not self._tokenizer.chat_template:
            return f"{prompt.system}\n\n{user}\n\n"
        if not self._has_system_role:
            return self._apply({"role": "user", "content": f"{prompt.system}\n\n{user}"})
        return self._apply({"role": "system", "content": prompt.system}, {"role": "user", "content": user})

    def ids(self, text: str) -> list[int]:
        """The tokens of a text of :meth:`text`. A template writes the special tokens itself."""
        return list(self._tokenizer(text, add_special_tokens=not self._tokenizer.chat_template).input_ids)

    def _apply(self, *messages: dict[str, str]) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        )

    def _shows_system_role(self) -> bool:
        try:
            return _PROBE.system in self.text(_PROBE)
        except Exception:  # a model's own template may raise anything
            return False

    def _check_template(self) -> None:
        try:
            text = self.text(_PROBE)
        except Exception as error:
            raise UnusableModelError(f"its chat template fails: {one_line(error)}", _MEND_TEMPLATE) from error
        if not all(part.strip() in text for part in (_PROBE.passage_text, _PROBE.question_text)):
            raise UnusableModelError("its chat template leaves out the user's text", _MEND_TEMPLATE)


def too_long(prompt: Prompt, tokens: int, window: int) -> Completion | None:
    """The refusal of a prompt that, with its answer, exceeds the model's window; None if it fits."""
    if tokens + prompt.max_new_tokens <= window:
        return None
    return Completion(
        prompt.id,
        error=f"prompt of {tokens} tokens and {prompt.max_new_tokens} new ones exceed the model's window of {window}",
    )
