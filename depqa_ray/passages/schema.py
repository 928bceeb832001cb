"""The rows of data sets as types that pydantic checks, and its errors in the project's words.

Types are strict: a number is not a text. Fields that a type does not name are dropped. Rows are typed dicts, since
pydantic builds those in half the time of models.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Field, Strict, StrictBool, StringConstraints, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import NotRequired, TypedDict

from depqa_ray.core import UNKNOWN
from depqa_ray.errors import InputError
from depqa_ray.passages.base import OnBadRow, Row

_T = TypeVar("_T")

List = Annotated[list[_T], Strict()]
NonEmpty = Annotated[list[_T], Strict(), Field(min_length=1)]
Text = Annotated[str, StringConstraints(strict=True, pattern=r"[^\s\x1c-\x1f]")]
"""A text that is not blank, as ``str.strip`` sees it, and that UTF-8 can encode."""


class _Answer(TypedDict):
    text: Text


class _AnswerColumns(TypedDict):
    text: List[Any]


_ANSWER_COLUMNS: Final = TypeAdapter(_AnswerColumns)


def _official_answers(answers: Any) -> Any:
    if isinstance(answers, dict):
        return [{"text": text} for text in _ANSWER_COLUMNS.validate_python(answers)["text"]]
    return answers


class QuestionRow(TypedDict):
    """A question. Checking brings ``answers`` from the hub's columns into the official schema."""

    id: Text
    question: Text
    is_impossible: NotRequired[StrictBool | None]
    answers: Annotated[NonEmpty[_Answer], BeforeValidator(_official_answers)]
    depends_on: NotRequired[List[Text] | None]


def _expect_unknown(row: Any) -> Any:
    impossible = isinstance(row, dict) and (row.get("is_impossible") is True or _has_empty_columns(row))
    return row | {"answers": [{"text": UNKNOWN}]} if impossible else row


def _has_empty_columns(row: dict[Any, Any]) -> bool:
    """Whether the hub's columns have no answer: its SQuAD v2.0 has no ``is_impossible``."""
    answers = row.get("answers")
    return row.get("is_impossible") is None and isinstance(answers, dict) and answers.get("text") == []


QUESTION: Final[TypeAdapter[QuestionRow]] = TypeAdapter(Annotated[QuestionRow, BeforeValidator(_expect_unknown)])
"""Checks a question. The answer becomes UNKNOWN if ``is_impossible`` is true, whatever ``answers`` is, and if the hub's
``answers`` have no text.
"""


def read_row(row: Row, type_: TypeAdapter[_T], name: str) -> _T:
    """The checked row. Raises InputError without a place, whose message calls the row ``name``."""
    if row.problem:
        raise InputError(f"not JSON: {row.problem}", fix="write one JSON object a line")
    try:
        return type_.validate_python(row.value)
    except ValidationError as error:
        raise _input_error(error.errors(include_url=False)[0], name) from None


def read_or_reject(row: Row, type_: TypeAdapter[_T], name: str, on_bad_row: OnBadRow) -> _T | None:
    """The checked row; None if it is bad and ``on_bad_row`` returns."""
    try:
        return read_row(row, type_, name)
    except InputError as error:
        on_bad_row(row.bad(error))
        return None


_CORRECT: Final = "correct it (see the SQuAD schema)"
_FILL_IN: Final = "fill it in or remove the row"
_MESSAGES: Final = {
    "missing": ("{name} is missing", "add it (see the SQuAD schema)"),
    "dict_type": ("{name} must be an object, not {found}", _CORRECT),
    "list_type": ("{name} must be a list, not {found}", _CORRECT),
    "string_type": ("{name} must be a text, not {found}", _CORRECT),
    "bool_type": ("{name} must be true or false, not {found}", _CORRECT),
    "too_short": ("{name} is empty", _FILL_IN),
    "string_pattern_mismatch": ("{name} is empty", _FILL_IN),
    # JSON can spell half a surrogate pair, which no file and no tokenizer takes.
    "string_unicode": ("{name} holds half a surrogate pair", "write the whole character"),
    "unanswerable": ("{name} is false, and only answerable items are supported", _FILL_IN),
}
"""The problem and its fix, by the type of pydantic's error."""

_FOUND: Final = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _input_error(error: ErrorDetails, row_name: str) -> InputError:
    if error["type"] == "too_short" and error["loc"] == ("answers",):
        fix = "give at least one in 'answers', or \"is_impossible\": true where there is none"
        return InputError("no gold answer", fix=fix)
    what, fix = _MESSAGES[error["type"]]
    found = _FOUND.get(type(error["input"]), "a number")
    return InputError(what.format(name=_name(error, row_name), found=found), fix=fix)


def _name(error: ErrorDetails, row_name: str) -> str:
    """The name of the wrong value in a message."""
    missing = error["type"] == "missing"
    match error["loc"]:
        case ():
            return row_name
        case ("answers", int(), *_) if not missing:
            return "a gold answer"
        case (str(key), int(index)):
            return f"{key}[{index}]: it" if error["type"] == "dict_type" else f"a value of '{key}'"
        case (str(key), int(index), field) if key != "answers":
            return f"{key}[{index}]: '{field}'"
        case place:
            return f"'{place[-1]}'"
