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
def test_given_a_text_when_normalized_then_the_official_rules_hold(text: str, normalized: str) -> None:
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
def test_given_an_answer_when_scored_then_exact_match_and_f1_are_the_official_ones(
    answer: str, golds: list[str], exact: float, overlap: float
) -> None:
    assert exact_match(answer, golds) == exact
    assert f1(answer, golds) == pytest.approx(overlap)


def test_given_no_json_when_scored_strictly_then_even_the_right_answer_counts_nothing() -> None:
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
def test_given_an_answer_when_scored_leniently_then_it_holds_the_gold_as_a_run_of_words(
    answer: str, gold: str, counts: float
) -> None:
    assert lenient(answer, [gold]) == counts


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_given_any_answer_when_scored_then_the_scores_keep_their_order(answer: str, golds: list[str]) -> None:
    assert 0.0 <= strict(answer, True, golds) <= exact_match(answer, golds) <= lenient(answer, golds) <= 1.0
    assert 0.0 <= f1(answer, golds) <= 1.0
    if exact_match(answer, golds) and normalize_answer(answer):
        assert f1(answer, golds) == 1.0


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_given_another_gold_answer_when_scored_then_no_score_falls(answer: str, golds: list[str]) -> None:
    for score in (exact_match, f1, lenient):
        assert score(answer, golds) >= score(answer, golds[:1])


@given(TEXTS)
def test_given_a_normalized_text_when_normalized_again_then_only_new_articles_go(text: str) -> None:
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


def test_given_20000_random_pairs_when_scored_by_torchmetrics_then_the_numbers_are_the_same() -> None:
    squad = pytest.importorskip("torchmetrics.functional.text.squad")
    for answer, gold in random_pairs(20_000):
        assert exact_match(answer, [gold]) == float(squad._compute_exact_match_score(answer, gold))
        if normalize_answer(answer) or normalize_answer(gold):  # v2.0 gives two empty answers F1 1, v1.1 gives 0
            assert f1(answer, [gold]) == pytest.approx(float(squad._compute_f1_score(answer, gold)), abs=1e-6)


def test_given_20000_random_pairs_when_scored_by_transformers_then_the_numbers_are_the_same() -> None:
    metrics = pytest.importorskip("transformers.data.metrics.squad_metrics", exc_type=ImportError)
    for answer, gold in random_pairs(20_000):
        assert exact_match(answer, [gold]) == metrics.compute_exact(gold, answer)
        if normalize_answer(answer) or normalize_answer(gold):
            assert f1(answer, [gold]) == metrics.compute_f1(gold, answer)


@pytest.mark.filterwarnings("ignore:Unanswered question")
def test_given_predictions_with_holes_when_scored_then_torchmetrics_agrees() -> None:
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


def test_given_an_unanswerable_question_when_scored_then_no_answer_and_unknown_are_right() -> None:
    passage = Passage("p", "t", "c", (Question("q", "?", (UNKNOWN,)), Question("r", "?", ("Paris",))))
    for right in ("", "unknown", "Unknown."):
        assert score_predictions({"q": right, "r": ""}, [passage]) == SquadScore(50.0, 50.0, 2)
    assert score_predictions({"q": "Paris", "r": "unknown"}, [passage]) == SquadScore(0.0, 0.0, 2)


def test_given_no_question_when_scored_then_the_user_is_told() -> None:
    with pytest.raises(InputError, match="no question to score"):
        score_predictions({}, [])


def test_given_the_gold_of_squad_dev_when_scored_then_everything_is_right(shared_data: Path) -> None:
    file = shared_data / "squad" / "dev-v1.1.json"
    passages = list(load_passages(str(file), split=""))
    predictions = {question.id: question.answers[0] for passage in passages for question in passage.questions}
    score = score_predictions(predictions, passages)
    assert score == SquadScore(100.0, 100.0, 10_570)
