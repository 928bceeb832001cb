"""Official SQuAD prediction files: one JSON object of question id to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.files import read_json

_FIX: Final = 'give a file like {"<question id>": "<answer>", ...}'


def read_predictions(path: Path) -> dict[str, str]:
    """The answers by question id; null, as "", says that there is no answer.

    Raises InputError if the file cannot be read or is not such an object.
    """
    predictions = read_json(path, _FIX)
    if not isinstance(predictions, dict):
        raise InputError("not a JSON object", str(path), _FIX)
    for question_id, answer in predictions.items():
        if not isinstance(answer, str | None):
            raise InputError("the answer is no text", f"{path}: '{question_id}'", _FIX)
    return {question_id: answer or "" for question_id, answer in predictions.items()}
