"""The schema that a prompt's reply keeps to, against the prompts themselves."""

from __future__ import annotations

import pytest

from depqa_ray.answering.prompts import batch_part, edges_part, question_part, reply_schema


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
    assert schema["properties"]["Q2"]["properties"]["Q1"] == {"type": "number"}
    assert schema["properties"]["Q2"]["required"] == []
