from __future__ import annotations

from pathlib import Path

import pytest

from depqa_ray.answering.predictions import read_predictions
from depqa_ray.errors import InputError


def test_official_file_gives_its_answers(tmp_path: Path) -> None:
    """An official prediction file is read into answers by question, even with a byte order mark."""
    path = tmp_path / "predictions.json"
    path.write_text('\ufeff{"q1": "Köln", "q2": ""}', encoding="utf-8")
    assert read_predictions(path) == {"q1": "Köln", "q2": ""}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"q1": 3}', "'q1': the answer is no text"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_given_another_file_when_read_then_one_line_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "predictions.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_predictions(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_given_no_file_when_read_then_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_predictions(tmp_path / "none.json")
