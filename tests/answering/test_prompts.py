"""The prompts to the character, and the schema that a prompt's reply keeps to, against the prompts themselves."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.prompts import (
    PROMPT_VERSION,
    SYSTEM,
    batch_part,
    edges_part,
    example_part,
    known_part,
    question_part,
    reply_schema,
    shared_part,
    step_prompt,
    system_message,
)
from depqa_ray.core import UNKNOWN, Edge, Passage, Question, Step

HARBOUR = Passage(
    "h",
    "Harbour",
    "The pier {0} is 90 m long. Ané built it.",
    (
        Question("h2", "Where was she born?", ("Oslo",)),
        Question("h1", "Who built the pier?", ("Ané", "an engineer")),
        Question("h3", "Who sold it?", (UNKNOWN,)),
    ),
    (Edge("h1", "h2", origin="gold"),),
)


def test_the_texts_of_version_2_are_these_to_the_character() -> None:
    assert PROMPT_VERSION == "2"
    assert SYSTEM == (
        'Answer from the passage with its shortest exact words, or "unknown". Reply with JSON only: {"answer": "..."}, '
        'or for several questions {"Q1": "...", "Q2": "..."}.'
    )
    assert shared_part(HARBOUR) == "Passage: The pier {0} is 90 m long. Ané built it.\n\n"
    known = [("Who {x}?", "{y}"), ("Where?", "")]
    assert known_part(known) == "Known: Who {x}? Answer: {y}\nKnown: Where? Answer: unknown\n"
    assert question_part("Why {z}?", known) == known_part(known) + "Question: Why {z}?"
    assert batch_part(["Who {x}?", "Where?"]) == "Q1: Who {x}?\nQ2: Where?"
    assert edges_part(["Who?", "Where?"]) == (
        "Q1: Who?\nQ2: Where?\nDo not answer. For each question, name the questions whose answers it needs, with your "
        'confidence: {"Q1": {}, "Q2": {"Q1": 0.9}}'
    )


def test_given_a_passage_then_its_example_asks_in_both_forms_and_answers_with_the_first_gold_answers() -> None:
    assert example_part(HARBOUR) == (
        "\n\nExample:\nPassage: The pier {0} is 90 m long. Ané built it.\n\n"
        'Question: Who built the pier?\n{"answer": "Ané"}\n\n'
        "Q1: Where was she born?\nQ2: Who built the pier?\nQ3: Who sold it?\n"
        '{"Q1": "Oslo", "Q2": "Ané", "Q3": "unknown"}'
    )


def test_given_an_example_then_its_parts_are_those_of_real_prompts() -> None:
    ids = tuple(question.id for question in HARBOUR.questions)
    single = step_prompt("p", HARBOUR, Step("a", ("h1",)), {}, 8)
    batch = step_prompt("p", HARBOUR, Step("b", ids, form="batch"), {}, 8)
    assert f"{single.passage_text}{single.question_text}\n" in example_part(HARBOUR)
    assert f"{batch.question_text}\n" in example_part(HARBOUR)


def test_given_a_system_message_then_the_prompt_has_it_and_the_own_line_without() -> None:
    ask = partial(step_prompt, "p", HARBOUR, Step("a", ("h1",)), {}, 8)
    assert ask().system == SYSTEM
    assert ask(system="Be brief.").system == "Be brief."


@given(st.data(), st.integers(0, 4))
def test_given_any_examples_then_no_prompt_holds_its_own_passage_and_the_others_share_their_message(
    data: st.DataObject, shots: int
) -> None:
    texts = data.draw(st.lists(st.text(min_size=1), min_size=shots + 1, max_size=9, unique=True))
    passages = [
        Passage(str(place), "", f"<{text}>", (Question(f"q{place}", f"[{place}]?", (f"gold-{place}.",)),))
        for place, text in enumerate(texts)
    ]
    examples = data.draw(st.permutations(passages))[: shots + 1]
    usual = system_message("Line.", shots, examples, HARBOUR)
    for passage in passages:
        message = system_message("Line.", shots, examples, passage)
        assert message.startswith("Line.") and message.count("\n\nExample:\nPassage: <") == shots
        assert json.dumps({"answer": passage.questions[0].answers[0]}) not in message
        if passage not in examples[:shots]:
            assert message == usual


@pytest.mark.parametrize(
    ("own", "keys"),
    [
        (question_part("Who?"), ["answer"]),
        (question_part("Who?", [("Where?", "Halden")]), ["answer"]),
        (batch_part(["Who?"]), ["Q1"]),
        (batch_part(["Who?", "Where?"] * 6), [f"Q{n}" for n in range(1, 13)]),
    ],
)
def test_given_questions_then_the_reply_is_an_object_with_a_text_for_each(own: str, keys: list[str]) -> None:
    schema = reply_schema(own)
    assert schema["required"] == keys
    assert schema["properties"] == {key: {"type": "string"} for key in keys}
    assert schema["additionalProperties"] is False


def test_given_the_request_for_edges_then_the_reply_names_for_each_question_others_with_numbers() -> None:
    schema = reply_schema(edges_part(["Who?", "Where?"]))
    assert schema["required"] == ["Q1", "Q2"]
    assert {name: list(parents["properties"]) for name, parents in schema["properties"].items()} == {
        "Q1": ["Q2"],
        "Q2": ["Q1"],
    }
    assert schema["properties"]["Q2"]["properties"]["Q1"]["enum"][::5] == [0.0, 0.5, 1.0]
    assert schema["properties"]["Q2"]["required"] == []
