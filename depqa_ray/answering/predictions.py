"""Official SQuAD prediction files: one JSON object of question id to answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from depqa_ray.errors import InputError

_FIX: Final = 'give a file like {"<question id>": "<answer>", ...}'


def read_predictions(path: Path) -> dict[str, str]:
    """The answers by question id. Raises InputError if the file cannot be read or is not such an object."""
    try:
        predictions = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", str(path), "check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", str(path), _FIX) from None
    if not isinstance(predictions, dict):
        raise InputError("not a JSON object", str(path), _FIX)
    for question_id, answer in predictions.items():
        if not isinstance(answer, str):
            raise InputError("the answer is no text", f"{path}: '{question_id}'", _FIX)
    return predictions
