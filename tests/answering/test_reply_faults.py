"""What a reply lacks."""

from __future__ import annotations

import pytest

from depqa_ray.answering.answers import parse_reply
from depqa_ray.core import PromptForm, Step
from tests.answering.test_reply_forms import BATCH_JSON, BATCH_TEXT, SINGLE_JSON, SINGLE_TEXT

ONE, TWO = ("a",), ("a", "b")
WITHOUT_THE_KEY = '{"result"'


def fault_of(text: str, form: PromptForm, questions: tuple[str, ...] = TWO) -> str:
    return parse_reply(Step("s", questions, form=form), text).fault


@pytest.mark.parametrize("form", ["single", "batch", "edges"])
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ('<think>so {"answer": "x", "Q1": "x", "Q2": ["Q1"]}', "thoughts_only"),
        ("<think>so</think>\n", "thoughts_only"),
        ("so</think>", "thoughts_only"),
        ("I do not know.", "no_json"),
        ("{}", "no_json"),
        ("[]", "no_json"),
        ('{"reasoning": "I think it', "no_json"),
    ],
)
def test_reply_without_an_answer_says_what_it_lacks(text: str, fault: str, form: PromptForm) -> None:
    """In every form of prompt, a reply without text, outside its thoughts, or without JSON is marked as such."""
    assert fault_of(text, form, ONE if form == "single" else TWO) == fault


@pytest.mark.parametrize("text", [text for text in SINGLE_JSON if not text.startswith(WITHOUT_THE_KEY)])
def test_answer_under_its_key_has_no_fault(text: str) -> None:
    """If an object has the answer under its key or another name of it, broken or not, nothing is lacking."""
    assert fault_of(text, "single", ONE) == ""


@pytest.mark.parametrize("text", [*SINGLE_TEXT, '{"result": "Paris"}'])
def test_answer_without_its_key_lacks_json(text: str) -> None:
    """If the answer was taken from plain text or another key, the reply lacks the JSON asked for."""
    assert fault_of(text, "single", ONE) == "no_json"


@pytest.mark.parametrize("text", BATCH_JSON)
def test_answers_that_json_names_have_no_fault(text: str) -> None:
    """If JSON names every question of a batch, nothing is lacking."""
    assert fault_of(text, "batch") == ""


@pytest.mark.parametrize("text", [*BATCH_TEXT, '{"Q1": "a"}', '{"Q1": "a", "Q'])
def test_answers_that_json_does_not_name_lack_it(text: str) -> None:
    """If lines, a list or not all of the keys gave the answers, the reply lacks the JSON asked for."""
    assert fault_of(text, "batch") == "no_json"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"Q1": {}, "Q2": {"Q1": 0.9}}', ""),
        ('{"Q1": {}}', ""),
        ('{"Q2": ["Q1"]}', ""),
        ('[["Q1", "Q2"]]', ""),
        ('{"Q1": "Rome", "Q2": "1999"}', "no_json"),
        ("Q2 needs Q1", "no_json"),
    ],
)
def test_edges_reply_lacks_json_if_it_states_no_parents(text: str, fault: str) -> None:
    """A reply to the request for edges lacks JSON if nothing in it states parents of a question."""
    assert fault_of(text, "edges") == fault


def test_exact_json_is_strict_and_has_no_fault() -> None:
    """If a reply is exactly the JSON asked for, its outcomes are strict and nothing is lacking."""
    for form, text, questions in (("single", '{"answer": "x"}', ONE), ("batch", '{"Q2": "x", "Q1": "x"}', TWO)):
        reply = parse_reply(Step("s", questions, form=form), text)  # type: ignore[arg-type]
        assert [(o.question_id, o.answer, o.strict_json) for o in reply.outcomes] == [(q, "x", True) for q in questions]
        assert reply.fault == ""
