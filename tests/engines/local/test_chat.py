"""From a prompt to what a model reads, with templates of all kinds."""

from __future__ import annotations

import pytest

from depqa_ray.core import Prompt
from depqa_ray.engines.local.chat import Chat
from depqa_ray.engines.local.model_files import UnusableModelError
from tests.engines.byte_tokens import byte_tokenizer
from tests.engines.damage import NO_SYSTEM_ROLE, SILENT_ON_SYSTEM

PROMPT = Prompt("a", "Answer in JSON.", "Passage: Ada.\n\n", "Question: who?", 3)


def chat(template: str | None) -> Chat:
    return Chat(byte_tokenizer(chat_template=template))


def test_system_role_is_used_where_there_is_one() -> None:
    """If a template takes a system role, the system line is its text, and nothing is noted."""
    found = chat("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}")
    assert found.text(PROMPT) == "[system]Answer in JSON.[user]Passage: Ada.\n\nQuestion: who?"
    assert found.notes == ()


@pytest.mark.parametrize("template", [NO_SYSTEM_ROLE, SILENT_ON_SYSTEM])
def test_system_line_precedes_the_user_if_there_is_no_role(template: str) -> None:
    """If a template refuses a system role or drops its text, the line goes before the user's text, said once."""
    found = chat(template)
    assert found.text(PROMPT) == "[user]Answer in JSON.\n\nPassage: Ada.\n\nQuestion: who?[model]"
    (note,) = found.notes
    assert "takes no system role" in note


def test_missing_template_is_said() -> None:
    """If a model has no chat template, prompts are plain text and a note says so."""
    found = chat(None)
    assert found.text(PROMPT) == "Answer in JSON.\n\nPassage: Ada.\n\nQuestion: who?\n\n"
    (note,) = found.notes
    assert "no chat template" in note


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('not today') }}", "its chat template fails: not today"),
        ("{% for %}", "its chat template fails"),
        ("{{ messages[0].content }}", "leaves out the user's text"),
        ("{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}", "leaves out"),
    ],
)
def test_template_that_cannot_be_used_is_refused(template: str, reason: str) -> None:
    """If a template always fails, or never shows the prompt, the model is refused in one line."""
    with pytest.raises(UnusableModelError, match=reason) as caught:
        chat(template)
    assert "\n" not in str(caught.value)


def test_template_is_tried_at_load_and_not_with_each_prompt() -> None:
    """What a template writes around a prompt is found out at load."""
    tokenizer = byte_tokenizer(chat_template=NO_SYSTEM_ROLE)
    found = Chat(tokenizer)
    calls = []
    apply = tokenizer.apply_chat_template
    tokenizer.apply_chat_template = lambda *some, **how: calls.append(some) or apply(*some, **how)
    for _ in range(3):
        assert found.text(PROMPT) == "[user]Answer in JSON.\n\nPassage: Ada.\n\nQuestion: who?[model]"
    assert not calls
