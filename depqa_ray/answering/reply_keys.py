"""The names under which replies put what was asked, whatever their case, spaces and punctuation.

| asked | also taken |
|---|---|
| ``answer`` | ``Answer``, ``ANSWER``, ``final_answer``, ``final answer``, ``finalAnswer``, ``short_answer``, ... |
| ``Q1`` | ``q1``, ``Q 1``, ``1``, ``1.``, ``Question 1``, ``question_1``, ``Answer 1``, ``A1``, ``Q1: Who wrote it?`` |

Values under ``reasoning`` and the like are no answers, and neither is anything in them: they are thoughts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

ABSENT: Final = object()
"""The value of a key that is not there."""


def words(names: str) -> frozenset[str]:
    """The words of a table's line."""
    return frozenset(names.split())


_ANSWER: Final = words("answer finalanswer shortanswer theanswer correctanswer exactanswer answertext answerspan ans")
_BESIDE_QUESTION: Final = words("a")  # {"q": "Q1", "a": "..."}; by itself it may be a choice
_ASIDE: Final = words(
    "reasoning reason rationale explanation explanations justification thought thoughts thinking analysis cot "
    "chainofthought steps scratchpad evidence confidence question questions passage context note notes"
)
_NAMES_QUESTION: Final = words("question questionid questionnumber id qid q label key number index")
_NUMBER: Final = re.compile(
    r"\W*(?:(?P<named>q|question|a|ans|answer)[\W_]{0,3})?0*(?P<number>\d{1,4})\W*(?:(?<=[\W_])(?P<more>.*))?",
    re.IGNORECASE | re.DOTALL,
)


def _plain(key: str) -> str:
    return "".join(filter(str.isalnum, key.lower()))


def is_aside(key: str) -> bool:
    """Whether what the key holds is no answer."""
    return _plain(key) in _ASIDE


def number_of(key: str) -> int | None:
    """The number of the question that the key names, from 1; None if it names none."""
    found = _NUMBER.fullmatch(key)
    if found is None or (found["more"] and not found["named"]):
        return None
    return int(found["number"])


def value_under(values: Mapping[str, Any], names: Collection[str]) -> Any:
    """The first value whose key is one of the names, which have letters and digits only; ABSENT if there is none."""
    return next((value for key, value in values.items() if _plain(key) in names), ABSENT)


def answer_in(values: Mapping[str, Any]) -> Any:
    """The value under the key of a single answer; ABSENT if there is none. The key that was asked goes first."""
    return values["answer"] if "answer" in values else value_under(values, _ANSWER)


def any_in(values: Mapping[str, Any]) -> Any:
    """The value under the key of a single answer, or else the first that may be one; ABSENT if there is none."""
    found = answer_in(values)
    return next((value for key, value in values.items() if not is_aside(key)), ABSENT) if found is ABSENT else found


def numbered_in(values: Mapping[str, Any]) -> dict[int, Any]:
    """The values of an object by the number of the question that it answers; keys that were asked go first.

    An object about one question (``{"question": "Q1", "answer": "..."}``) is taken too. Counting from 0 is understood.
    """
    numbered: dict[int, Any] = {}
    for key in sorted(values, key=lambda key: re.fullmatch(r"Q[1-9]\d*", key) is None):
        if (number := number_of(key)) is not None:
            numbered.setdefault(number, values[key])
    answer = answer_in(values)
    answer = value_under(values, _BESIDE_QUESTION) if answer is ABSENT else answer
    if not numbered and answer is not ABSENT:
        names = (str(value) for key, value in values.items() if _plain(key) in _NAMES_QUESTION)
        numbered = {number: answer for name in names if (number := number_of(name)) is not None}
    return (
        {number + 1: value for number, value in numbered.items()} if 0 in numbered and "Q1" not in values else numbered
    )
