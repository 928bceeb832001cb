"""Thoughts are no part of a reply."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.answers import parse_answer, parse_batch
from depqa_ray.answering.json_end import JsonEnd
from depqa_ray.answering.thoughts import opens_thought, without_thoughts

TAGS = (
    ("<think>", "</think>"),
    ("<Thinking>", "</Thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysis", "assistantfinal"),
)
DRAFT = 'We say {"answer": "Lyon", "Q1": "Lyon"}.\nAnswer: Lyon'
REPLY = '{"answer": "Paris", "Q1": "Paris"}'


@pytest.mark.parametrize(("opening", "closing"), TAGS)
@pytest.mark.parametrize("reply", [REPLY, "Paris", "Answer: Paris"])
def test_draft_in_a_thought_is_no_answer(opening: str, closing: str, reply: str) -> None:
    """Whatever tags a model thinks in, and whoever opened the thought, only what follows it is the answer."""
    for text in (opening + DRAFT + closing + reply, DRAFT + closing + reply):
        assert parse_answer(text).answer == "Paris"
        assert parse_batch(text, ["Q1"])["Q1"].answer == "Paris"


@pytest.mark.parametrize(("opening", "closing"), TAGS[:-1])
def test_prompt_that_ends_with_a_tag_opens_a_thought(opening: str, closing: str) -> None:
    """A prompt opens a thought if it ends with an opening tag, whatever its kind, and white space."""
    assert opens_thought(f"Question?\n{opening}\n")
    assert not opens_thought(f"Question?\n{opening}\n\n{closing}\n\n") and not opens_thought(f"{opening} Question?")


@pytest.mark.parametrize("opening", [opening for opening, _ in TAGS])
def test_cut_thought_is_no_answer(opening: str) -> None:
    """If a reply was cut within its thought, there is no answer."""
    for shown, text in (("", opening + DRAFT), ("Paris ", f"Paris <think>{DRAFT}")):
        assert without_thoughts(text) == shown
    assert parse_answer(opening + DRAFT).answer == ""


@pytest.mark.parametrize(("opening", "closing"), TAGS)
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_draft_in_a_thought_does_not_end_the_reply(opening: str, closing: str, size: int) -> None:
    """In whatever pieces a thought comes, its braces end nothing, and the object behind it does."""
    text = opening + DRAFT + closing + REPLY + " and"
    for watch, rest in ((JsonEnd(), text), (JsonEnd(thinking=True), text.removeprefix(opening))):
        ends = [watch.add(rest[at : at + size]) for at in range(0, len(rest), size)]
        assert sum(end is not None for end in ends) == 1
        first = next(number for number, end in enumerate(ends) if end is not None)
        assert rest[: min((first + 1) * size, len(rest)) - (ends[first] or 0)].endswith(REPLY)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a<think>b</think>c<think>d</think>e", "ace"),
        ("a</think>b</think>c", "c"),
        ("<think>a<think>b</think>c", "c"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ('{"answer": "x"}</think>', '{"answer": "x"}'),
        ('{"answer": "draft"}</think> Rome', " Rome"),
        ("analysis of data", "analysis of data"),
        ("the analysisWe", "the analysisWe"),
        ("<thinker>a", "<thinker>a"),
    ],
)
def test_given_tags_in_any_order_then_only_the_rest_is_shown(text: str, shown: str) -> None:
    assert without_thoughts(text) == shown


@given(st.lists(st.sampled_from(["<think>", "</think>", "[THINK]", "a", "{", "}", "analysisA"]), max_size=12))
def test_no_tag_is_shown(parts: list[str]) -> None:
    """What is shown of a reply has no tag of a thought."""
    shown = without_thoughts("".join(parts))
    assert "think" not in shown.lower()
