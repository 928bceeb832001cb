from __future__ import annotations

import random
import string
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.scoring import (
    SquadScore,
    exact_match,
    f1,
    lenient,
    normalize_answer,
    score_predictions,
    strict,
)
from depqa_ray.core import UNKNOWN, Passage, Question
from depqa_ray.errors import InputError
from depqa_ray.passages.sources import load_passages

WORDS = st.lists(
    st.sampled_from(["new", "york", "the", "a", "an", "An", "athe", "1,850", "Köln", "--", "it's"]), max_size=6
)
TEXTS = WORDS.map(" ".join) | st.text(max_size=12)
Score = Callable[[str, str], float]


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("The New-York  Times!", "newyork times"),
        ("a-the", "athe"),
        ("The a an", ""),
        ("theatre", "theatre"),
        ("“Quoted”", "“quoted”"),  # only ASCII punctuation goes
        ("$1,850.50", "185050"),
        ("tab\tand\u00a0space", "tab and space"),
        ("An État", "état"),
        ("snake_case", "snakecase"),
    ],
)
def test_normalization_follows_the_official_rules(text: str, normalized: str) -> None:
    """Normalisation follows the official SQuAD rules."""
    assert normalize_answer(text) == normalized


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "overlap"),
    [
        ("New York", ["New York New York"], 0.0, 2 / 3),
        ("New York New York", ["New York"], 0.0, 2 / 3),
        ("the Eiffel Tower.", ["Eiffel tower"], 1.0, 1.0),
        ("in Paris", ["Lyon", "Paris"], 0.0, 2 / 3),
        ("Rome", ["Paris"], 0.0, 0.0),
        ("", ["Paris"], 0.0, 0.0),
        ("The", ["a"], 1.0, 0.0),  # both are nothing once normalised: equal, but no word is shared
        ("unknown", [UNKNOWN], 1.0, 1.0),
    ],
)
def test_exact_match_and_f1_are_the_official_ones(answer: str, golds: list[str], exact: float, overlap: float) -> None:
    """Exact match and F1 of an answer are the official ones."""
    assert exact_match(answer, golds) == exact
    assert f1(answer, golds) == pytest.approx(overlap)


def test_strict_score_needs_json() -> None:
    """If a reply is not strict JSON, even the right answer has a strict score of 0."""
    assert strict("Paris", True, ["paris"]) == 1.0
    assert strict("Paris", False, ["paris"]) == 0.0
    assert strict("in Paris", True, ["paris"]) == 0.0


@pytest.mark.parametrize(
    ("answer", "gold", "counts"),
    [
        ("It was in the city of Paris, France", "Paris", 1.0),
        ("New big York", "New York", 0.0),
        ("Paris", "Paris, France", 0.0),  # one direction only
        ("Parisian", "Paris", 0.0),  # words, not letters
        ("the", "The", 1.0),
        ("Paris", "The", 0.0),
    ],
)
def test_lenient_score_needs_the_gold_as_a_run_of_words(answer: str, gold: str, counts: float) -> None:
    """An answer scores leniently if it holds the gold answer as a run of words."""
    assert lenient(answer, [gold]) == counts


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_scores_of_an_answer_keep_their_order(answer: str, golds: list[str]) -> None:
    """Strict is at most exact match, exact match is at most lenient, and all lie between 0 and 1."""
    assert 0.0 <= strict(answer, True, golds) <= exact_match(answer, golds) <= lenient(answer, golds) <= 1.0
    assert 0.0 <= f1(answer, golds) <= 1.0
    if exact_match(answer, golds) and normalize_answer(answer):
        assert f1(answer, golds) == 1.0


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_another_gold_answer_lowers_no_score(answer: str, golds: list[str]) -> None:
    """If another gold answer is added, no score falls."""
    for score in (exact_match, f1, lenient):
        assert score(answer, golds) >= score(answer, golds[:1])


@given(TEXTS)
def test_normalized_text_has_no_punctuation_or_extra_spaces(text: str) -> None:
    """A normalised text has no punctuation, no double spaces and no spaces at its ends."""
    once = normalize_answer(text)
    assert once == once.strip()
    assert "  " not in once
    assert not set(once) & set(string.punctuation)


def random_pairs(count: int) -> list[tuple[str, str]]:
    """Answers and gold answers that share words, articles, punctuation and odd spaces often enough to matter."""
    rng = random.Random(7)
    words = [
        "the",
        "a",
        "an",
        "The",
        "New",
        "York",
        "york",
        "1,850",
        "$5",
        "it's",
        "É",
        "ß",
        "İ",
        "—",
        "“x”",
        "",
        "-",
        "日本",
        "e\u0301",
    ]
    spaces = [" ", "  ", "\t", "\u00a0", "-", ", "]

    def text() -> str:
        return "".join(rng.choice(words) + rng.choice(spaces) for _ in range(rng.randint(0, 6)))

    return [(text(), text() if rng.random() < 0.8 else "New York 1,850") for _ in range(count)]


def test_scores_equal_those_of_torchmetrics() -> None:
    """For 20,000 random pairs, exact match and F1 equal those of torchmetrics."""
    squad = pytest.importorskip("torchmetrics.functional.text.squad")
    for answer, gold in random_pairs(20_000):
        assert exact_match(answer, [gold]) == float(squad._compute_exact_match_score(answer, gold))
        if normalize_answer(answer) or normalize_answer(gold):  # v2.0 gives two empty answers F1 1, v1.1 gives 0
            assert f1(answer, [gold]) == pytest.approx(float(squad._compute_f1_score(answer, gold)), abs=1e-6)


def test_scores_equal_those_of_transformers() -> None:
    """For 20,000 random pairs, exact match and F1 equal those of transformers."""
    metrics = pytest.importorskip("transformers.data.metrics.squad_metrics", exc_type=ImportError)
    for answer, gold in random_pairs(20_000):
        assert exact_match(answer, [gold]) == metrics.compute_exact(gold, answer)
        if normalize_answer(answer) or normalize_answer(gold):
            assert f1(answer, [gold]) == metrics.compute_f1(gold, answer)


@pytest.mark.filterwarnings("ignore:Unanswered question")
def test_scores_with_missing_predictions_equal_torchmetrics() -> None:
    """If predictions are missing, the scores equal those of torchmetrics and the missing ones are named."""
    text = pytest.importorskip("torchmetrics.text")
    pairs = [(answer, gold) for answer, gold in random_pairs(500) if normalize_answer(gold)]
    questions = tuple(Question(str(at), "?", (gold, gold + " too")) for at, (_, gold) in enumerate(pairs))
    predictions = {str(at): answer for at, (answer, _) in enumerate(pairs) if at % 7}
    metric = text.SQuAD()
    metric.update(
        [{"id": id_, "prediction_text": answer} for id_, answer in predictions.items()],
        [{"id": q.id, "answers": {"text": list(q.answers), "answer_start": [0, 0]}} for q in questions],
    )
    score = score_predictions(predictions, [Passage("p", "t", "c", questions)])
    expected = metric.compute()
    assert score.exact_match == pytest.approx(float(expected["exact_match"]), abs=1e-3)
    assert score.f1 == pytest.approx(float(expected["f1"]), abs=1e-3)
    assert score.missing == tuple(question.id for at, question in enumerate(questions) if at % 7 == 0)


def test_empty_and_unknown_answer_the_unanswerable() -> None:
    """If a question is unanswerable, the empty answer and 'unknown' are right."""
    passage = Passage("p", "t", "c", (Question("q", "?", (UNKNOWN,)), Question("r", "?", ("Paris",))))
    for right in ("", "unknown", "Unknown."):
        assert score_predictions({"q": right, "r": ""}, [passage]) == SquadScore(50.0, 50.0, 2)
    assert score_predictions({"q": "Paris", "r": "unknown"}, [passage]) == SquadScore(0.0, 0.0, 2)


def test_scoring_no_question_is_an_error() -> None:
    """If there is no question to score, InputError is raised."""
    with pytest.raises(InputError, match="no question to score"):
        score_predictions({}, [])


def test_gold_answers_of_squad_dev_score_100(shared_data: Path) -> None:
    """The gold answers of SQuAD dev score 100 on all of its 10,570 questions."""
    file = shared_data / "squad" / "dev-v1.1.json"
    passages = list(load_passages(str(file), split=""))
    predictions = {question.id: question.answers[0] for passage in passages for question in passage.questions}
    score = score_predictions(predictions, passages)
    assert score == SquadScore(100.0, 100.0, 10_570)
