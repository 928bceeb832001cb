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


def test_given_the_request_for_edges_then_the_reply_is_an_array_of_two_labels_and_a_number() -> None:
    schema = reply_schema(edges_part(["Who?", "Where?"]))
    assert schema["required"] == ["edges"]
    kinds = [item["type"] for item in schema["properties"]["edges"]["items"]["prefixItems"]]
    assert kinds == ["string", "string", "number"]
