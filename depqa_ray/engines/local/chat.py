"""From a prompt to the tokens that a model reads, and the refusal of too many. Imports no torch."""

from __future__ import annotations

from typing import Any

from depqa_ray.core import Completion, Prompt

WARM_UP = Prompt("warm-up", "Answer.", "Passage: none.\n\n", "Question: none?", 2)
"""The prompt that an engine answers before it reports that it is ready."""


def prompt_text(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt in the model's chat template, thinking off; if it has none, joined by blank lines."""
    user = prompt.passage_text + prompt.question_text
    if not tokenizer.chat_template:
        return f"{prompt.system}\n\n{user}\n\n"
    messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}]
    return str(
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    )


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a :func:`prompt_text`. A template writes the special tokens itself."""
    return list(tokenizer(text, add_special_tokens=not tokenizer.chat_template).input_ids)


def too_long(prompt: Prompt, tokens: int, window: int) -> Completion | None:
    """The refusal of a prompt that, with its answer, exceeds the model's window; None if it fits."""
    if tokens + prompt.max_new_tokens <= window:
        return None
    return Completion(
        prompt.id,
        error=f"prompt of {tokens} tokens and {prompt.max_new_tokens} new ones exceed the model's window of {window}",
    )
