"""Prompts of questions that build on each other: references are filled from the answers that the prompt shows."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.prompts import SYSTEM, PromptBuilder, batch_part, fill_refs, labels
from depqa_ray.core import Job, Passage, Prompt, PromptForm, Question, Step

LAMP = Passage(
    "lamp",
    "The lamp",
    "Ada, born in Kelham, made the lamp.",
    (
        Question("1", "Who made the lamp?", ("Ada",)),
        Question("2", "Where was #1 born?", ("Kelham",), (("#1", "1"),)),
        Question("3", "Does #1 like #2, or #10?", ("yes",), (("#1", "1"), ("#2", "2"))),
    ),
)


def ask(step: Step, answers: Mapping[str, str] | None = None, passage: Passage = LAMP) -> Prompt:
    return PromptBuilder(lambda passage: SYSTEM, 48).build(Job("independent", passage), step, answers or {})


def test_known_answer_fills_the_question_and_the_history() -> None:
    """If an answer is known, it fills the answer refs of the question and of the history."""
    answers = {"1": "Ada #2", "2": ""}
    prompt = ask(Step("s", ("3",), context=("1", "2")), answers)
    assert prompt.question_text == (
        "Known: Who made the lamp? Answer: Ada #2\n"
        "Known: Where was Ada #2 born? Answer: unknown\n"
        "Question: Does Ada #2 like unknown, or #10?"
    )
    assert prompt.question_text[prompt.context_chars :] == "Question: Does Ada #2 like unknown, or #10?"


def test_unknown_answer_is_spelled_out_by_its_question() -> None:
    """If no answer is known, an answer ref becomes the text of the question that it refers to."""
    assert ask(Step("s", ("3",))).question_text == (
        "Question: Does (the answer to: Who made the lamp?) like "
        "(the answer to: Where was (the answer to: Who made the lamp?) born?), or #10?"
    )


def test_refs_of_a_shown_parent_are_spelled_out() -> None:
    """If only the parent's answer is shown, the parent's own answer ref is spelled out."""
    prompt = ask(Step("s", ("3",), context=("2",)), {"1": "not shown", "2": "Kelham"})
    known = "Known: Where was (the answer to: Who made the lamp?) born? Answer: Kelham\n"
    assert prompt.question_text == f"{known}Question: Does (the answer to: Who made the lamp?) like Kelham, or #10?"
    assert prompt.context_chars == len(known)


@pytest.mark.parametrize("form", ["batch", "edges"])
def test_refs_between_questions_of_one_prompt_name_labels(form: PromptForm) -> None:
    """If questions share a prompt, an answer ref names the label of the question that it refers to."""
    prompt = ask(Step("s", ("1", "2", "3"), form=form))
    assert prompt.question_text.splitlines()[:3] == [
        "Q1: Who made the lamp?",
        "Q2: Where was (the answer to Q1) born?",
        "Q3: Does (the answer to Q1) like (the answer to Q2), or #10?",
    ]
    assert prompt.reply_keys == ("Q1", "Q2", "Q3")


def test_refs_out_of_a_batch_are_spelled_out_or_filled() -> None:
    """If an answer ref points out of the batch, it is spelled out, or filled if the answer is known."""
    assert ask(Step("s", ("1", "3"), form="batch")).question_text.splitlines() == [
        "Q1: Who made the lamp?",
        "Q2: Does (the answer to Q1) like (the answer to: Where was (the answer to Q1) born?), or #10?",
    ]
    assert ask(Step("s", ("3",), context=("1", "2"), form="batch"), {"1": "Ada", "2": "Kelham"}).question_text == (
        "Q1: Does Ada like Kelham, or #10?"
    )


NUMBERS = st.integers(1, 12)


@given(st.lists(NUMBERS | st.sampled_from([" ", "?", "#", "x"]), max_size=12), st.sets(NUMBERS), st.text("#12 x"))
def test_each_whole_ref_is_filled_once(parts: list[int | str], filled: set[int], filling: str) -> None:
    """Each whole answer ref that has a filling is filled once, and a part of a longer one is not."""
    fillings = {f"#{number}": f"<{number}{filling}>" for number in filled}
    # A part is followed by a space, so that no digit of the next one lengthens a placeholder.
    text = "".join(f"#{part} " if isinstance(part, int) else f"{part} " for part in parts)
    expected = "".join(
        f"{fillings.get(f'#{part}', f'#{part}')} " if isinstance(part, int) else f"{part} " for part in parts
    )
    assert fill_refs(text, fillings) == expected


@given(st.text(), st.text(st.characters(), max_size=9))
def test_answer_of_any_text_is_filled_in_unchanged(before: str, answer: str) -> None:
    """If an answer is any text, it is filled in unchanged."""
    assert fill_refs(f"{before.replace('#', '')}#1?", {"#1": answer}) == f"{before.replace('#', '')}{answer}?"


@st.composite
def composed(draw: st.DrawFn) -> Passage:
    """Questions, each of which may refer to any earlier ones."""
    questions: list[Question] = []
    for place in range(draw(st.integers(1, 6))):
        sources = draw(st.lists(st.sampled_from(range(place)), unique=True)) if place else []
        text = f"Ask {place}" + "".join(f" #{source}" for source in sources) + "?"
        questions.append(Question(str(place), text, ("a",), tuple((f"#{n}", str(n)) for n in sources)))
    return Passage("p", "", "A text.", tuple(questions))


@given(composed(), st.data())
def test_no_ref_is_left_and_context_ends_at_the_question(passage: Passage, data: st.DataObject) -> None:
    """No prompt holds an answer ref, and the context ends where the question starts."""
    ids = [question.id for question in passage.questions]
    context = tuple(data.draw(st.lists(st.sampled_from(ids), unique=True)))
    step = Step("s", (data.draw(st.sampled_from(ids)),), context=context)
    prompt = ask(step, dict.fromkeys(ids, "said"), passage)
    assert "#" not in prompt.question_text
    assert prompt.question_text[: prompt.context_chars].count("\n") == len(context)
    assert prompt.question_text[prompt.context_chars :].startswith("Question: Ask ")
    batch = ask(Step("all", tuple(ids), form="batch"), passage=passage)
    assert "#" not in batch.question_text and "the answer to:" not in batch.question_text
    assert batch.reply_keys == labels(len(ids))


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_questions_without_refs_keep_their_texts(texts: list[str]) -> None:
    """If questions have no answer refs, their texts stay as they are."""
    questions = tuple(Question(str(place), text, ()) for place, text in enumerate(texts))
    ids = tuple(question.id for question in questions)
    prompt = ask(Step("all", ids, form="batch"), passage=Passage("p", "", "", questions))
    assert prompt.question_text == batch_part(texts)
