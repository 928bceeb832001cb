"""The forms of replies that are taken for an answer, for one question and for several."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depqa_ray.answering.answers import ParsedAnswer, parse_answer, parse_batch

SINGLE_JSON = (
    "{'answer': 'Paris'}\nQuestion: And then?\n{\"answer\": \"Lyon\"}",
    '{"answer": "Paris"\nQuestion: And then?\n{"answer": "Lyon"}',
    '{"answer": "Paris"\n{"answer": "Lyon"}',
    '{"answer": "Paris"\n\nBecause it says so.',
    '```json\n{"answer": "Paris"\n```\nThe set {"answer": "Lyon"}',
    '{"result": "Paris"}\n\nQuestion: And then?\n{"answer": "Lyon"}',
    "The set {a, b} of f() { return x; } is {'answer': 'Paris', 'why': 'it's so'} not {\"answer\": \"Lyon\"}",
    "{“answer”: “Paris”}",
    "{\u2018answer\u2019: \u2018Paris\u2019}",
    '{"answer"\uff1a"Paris"}',
    '{"answer"\uff1a“Paris”\uff0c}',
    '{"answer" = "Paris"}',
    '{"answer": """Paris"""}',
    "{answer: Paris}",
    '{"answer": Paris}',
    '{"answer": "Paris" // sure\n}',
    '{{"answer": "Paris"}}',
    '{\\"answer\\": \\"Paris\\"}',
    '{"ANSWER": "Paris"}',
    '{"final answer": "Paris"}',
    '{"finalAnswer": "Paris"}',
    '{"reasoning": "Lyon?", "final_answer": "Paris"}',
    '{"thoughts": {"answer": "Lyon"}, "final_answer": "Paris"}',
    '{"analysis": "Lyon?"}\n{"answer": "Paris"}',
    '{"answer": {"reasoning": "Lyon?", "answer": "Paris"}}',
    '{"result": {"answer": "Paris"}}',
    '<answer>{"answer": "Paris"}</answer>',
    '[{"answer": "Paris"}]',
)
SINGLE_TEXT = (
    "Answer: Paris",
    "Answer\uff1aParis",
    "**Answer:** Paris",
    "**Answer**: Paris",
    "**Answer: Paris**",
    "### Answer\nParis",
    "**Final Answer**\n\nParis",
    "My answer is Paris.",
    "Your answer: Paris",
    '"answer": "Paris"',
    "Answer:\nParis",
    "Final answer: Paris",
    'Answer: "Paris"',
    'Answer: ["Paris", "Lyon"]',
    "A: Paris",
    "Q1: Paris",
    "<answer>Paris</answer>",
    "<ANSWER>\nParis\n",
    "The answer is Paris.",
    "So the final answer is: **Paris**.",
    "Based on the passage, the answer is Paris.",
    r"\boxed{Paris}",
    r"It is $\boxed{\text{Paris}}$.",
    "“Paris”",
    "**Paris**",
    "`Paris`",
    "- Paris",
    "It says so.\nAnswer: Paris",
    "Question: Where?\nAnswer: Paris",
    "Paris\n\nQuestion: And then?\nAnswer: Lyon",
    "Paris\n\nPassage: Lyon is a city.",
    '```json\n"Paris"\n```',
    '["Paris", "Lyon"]',
    '{"Q1": "Paris"}',
)
BATCH_JSON = (
    "{'Q1': 'a', 'Q2': 'b'}\nQ1: x\n{\"Q1\": \"x\", \"Q2\": \"y\"}",
    '{"1": "a", "2": "b"}',
    '{1: "a", 2: "b"}',
    '{"0": "a", "1": "b"}',
    '{"Question 1": "a", "Question 2": "b"}',
    '{"question_1": "a", "question_2": "b"}',
    '{"Q 1": "a", "Q 2": "b"}',
    '{"Q1: Who?": "a", "Q2: When?": "b"}',
    '{"answer_1": "a", "answer_2": "b"}',
    '{"A1": "a", "A2": "b"}',
    '{"Q1"\uff1a"a"\uff0c"Q2"\uff1a"b"}',
    '{"Q1": "a", "Q2": "b"]',
    '{"answers": {"Q1": "a", "Q2": "b"}}',
    '{"answers": [{"Q1": "a"}, {"Q2": "b"}]}',
    '{"Q1": {"reasoning": "x", "answer": "a"}, "Q2": {"reasoning": "y", "answer": "b"}}',
    '[{"question": "Q1", "answer": "a"}, {"question": "Q2", "answer": "b"}]',
    '[{"id": 2, "answer": "b"}, {"id": 1, "answer": "a"}]',
    '{"results": [{"q": 1, "a": "a"}, {"q": 2, "a": "b"}]}',
)
BATCH_TEXT = (
    "Q1: a\nQ2: b",
    "Q1\uff1aa\nQ2\uff1ab",
    "**Q1:** a\n**Q2:** b",
    "- Q1: a\n- Q2: b",
    "Q1: a, Q2: b",
    "Q1. a\nQ2. b",
    "1. a\n2. b",
    "(1) a\n(2) b",
    "[1] a\n[2] b",
    "1. Q1: a\n2. Q2: b",
    "The answers are:\n1: a\n2: b",
    "Answer 1: a\nAnswer 2: b",
    "### Question 1\na\n### Question 2\nb",
    "| Question | Answer |\n|---|---|\n| Q1 | a |\n| Q2 | b |",
    "Q1: Who?\nA: a\nQ2: When?\nA: b",
    "Q1: Who?\nA1: a\nQ2: When?\nA2: b",
    "Q1: Who? Answer: a\nQ2: When? Answer: b",
    'Q1: {"answer": "a"}\nQ2: {"answer": "b"}',
    "Q2: b\nQ1: The answer is a.",
    "Q1: a\nQ2: b\n\nPassage: x\n\nQ1: c\nQ2: d",
    '"Q1": "a", "Q2": "b"',
    "a\nb",
    '["a", "b"]',
    "['a', 'b']",
    'Here they are: ["a", "b"]',
    '["Q2: b", "Q1: a"]',
    '[["Q1", "a"], ["Q2", "b"]]',
    '<answer>["a", "b"]</answer>',
    '{"answers": ["a", "b"]}',
    '{"reasoning": ["x", "y"], "answers": ["a", "b"]}',
    '{"answer": "Q1: a\\nQ2: b"}',
    '{"answer": "Q1: a, Q2: b"}',
    '{"answers": "1. a\\n2. b"}',
    '[{"answer": "a"}, {"answer": "b"}]',
    '{"answer": "a"}\n{"answer": "b"}',
    '{"Who?": "a", "When?": "b"}',
    '{"a": "a", "b": "b"}',
)
CUT_BEFORE_ANY_ANSWER = ["{", '{"', '{"ans', '```json\n{"answer']
WORD = st.sampled_from(["the", "city", "of", "Paris", "in", "1850", "was", "3,000", "strong"])
WORDS = st.lists(WORD, min_size=1, max_size=8).map(" ".join)


@pytest.mark.parametrize("text", SINGLE_JSON + SINGLE_TEXT)
def test_answer_is_found_in_every_form(text: str) -> None:
    """Whatever form a reply to one question has, its answer is found; it is not strict."""
    assert parse_answer(text) == ParsedAnswer("Paris", False)


@pytest.mark.parametrize("text", CUT_BEFORE_ANY_ANSWER)
def test_reply_cut_before_its_answer_has_none(text: str) -> None:
    """If a reply was cut before its answer began, the brace is not taken for one."""
    assert parse_answer(text).answer == ""


@pytest.mark.parametrize("text", BATCH_JSON + BATCH_TEXT)
def test_answers_are_found_in_every_form(text: str) -> None:
    """Whatever form a reply to several questions has, each gets its answer; none is strict."""
    assert parse_batch(text, ["Q1", "Q2"]) == {"Q1": ParsedAnswer("a", False), "Q2": ParsedAnswer("b", False)}


@pytest.mark.parametrize("text", [text for text in SINGLE_JSON + SINGLE_TEXT if "Question:" not in text])
def test_one_rule_reads_one_answer_and_several(text: str) -> None:
    """A line of a batch is read like the reply to one question, and so is the reply to a batch of one."""
    assert parse_batch(text, ["Q1"])["Q1"].answer == "Paris"
    if not text.startswith(("{", "[", "```", "Q1", "A: ")) and "{" not in text.partition("\\boxed{")[0]:
        assert [parsed.answer for parsed in parse_batch(f"Q1: {text}\nQ2: b", ["Q1", "Q2"]).values()] == ["Paris", "b"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r'{"answer": "\frac{1}{2}"}', r"\frac{1}{2}"),
        (r'{"answer": "\\frac{1}{2}"}', r"\frac{1}{2}"),
        (r'{"answer": "\beta \times \theta \rho \neq \nabla"}', r"\beta \times \theta \rho \neq \nabla"),
        (r'{"answer": "\sqrt{2} \pi"}', r"\sqrt{2} \pi"),
        (r'{"answer": "one\ntwo\tthree"}', "one\ntwo\tthree"),
        (r"$\frac{1}{2}$", r"\frac{1}{2}"),
        (r"The result is \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
    ],
)
def test_latex_keeps_its_backslashes(text: str, answer: str) -> None:
    """If a model does not double the backslashes of LaTeX, the commands are read all the same."""
    assert parse_answer(text).answer == answer
    assert parse_batch(text.replace("answer", "Q1"), ["Q1"])["Q1"].answer == answer


def test_plain_text_with_a_tab_is_no_latex() -> None:
    """A tab in a text that is no JSON is white space, whatever follows it."""
    assert parse_answer("It is\tan apple").answer == "It is\tan apple"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("{'answer': 'a } b'} ok", "a } b"),
        ("{'answer': 'f = {x'}\nThe end.", "f = {x"),
        ('{"answer": "The set {a, b}', "The set {a, b}"),
        ("{'answer': 4.50}", "4.50"),
        ("{'answer': 1,234}", "1,234"),
        ('{"answer": 5 million}', "5 million"),
        ('{"answer": $2.5 billion, "confidence": 1}', "$2.5 billion"),
        ('{"answer": 50%}', "50%"),
        ('{"answer": 12:30}', "12:30"),
        ('{"answer": 2,500 people}', "2,500 people"),
        ("{answer: \u00a33.5m}", "\u00a33.5m"),
        ('{"answer": -5 \u00b0C', "-5 \u00b0C"),
        ('{"Answer": "a", "answer": "b"}', "b"),
    ],
)
def test_repaired_value_is_as_it_was_written(text: str, answer: str) -> None:
    """A repair changes nothing within the answer."""
    assert parse_answer(text).answer == answer


@pytest.mark.parametrize(
    "text",
    [
        "The set {x: x > 0}",
        "def f(): { return 1; }",
        "Paris [1]",
        '"A" and "B"',
        "A. J. Cronin",
        "A",
        "Answer",
        "The Answer",
        "5*3",
        "$5",
    ],
)
def test_other_texts_are_answers_as_they_are(text: str) -> None:
    """If a text only resembles a form, it is the answer itself."""
    assert parse_answer(text).answer == text


def test_lines_with_numbers_of_their_own_are_no_labels() -> None:
    """If numbers at the start of lines are no labels, nothing is taken for an answer."""
    text = "Paris is big.\nIt has\n3.5 million people."
    assert [parsed.answer for parsed in parse_batch(text, ["Q1", "Q2", "Q3", "Q4"]).values()] == [""] * 4


def test_made_up_questions_answer_nothing() -> None:
    """If a model answers one question and goes on to a made-up passage, the other question has no answer."""
    text = '{"Q1": "a"}\n\nPassage: foo\nQ1: x\n{"Q1": "x", "Q2": "y"}'
    assert [parsed.answer for parsed in parse_batch(text, ["Q1", "Q2"]).values()] == ["a", ""]


@given(WORDS)
def test_plain_words_are_the_answer_in_any_frame(words: str) -> None:
    """Plain words are the answer, with or without a frame around them."""
    frames = "{}", "Answer: {}", "**Answer:** {}", "<answer>{}</answer>", "The answer is {}.", r"\boxed{{{}}}", "A: {}"
    assert {parse_answer(frame.format(words)).answer for frame in frames} == {words}
    batch = "\n".join(f"Q{number}: {frame.format(words)}" for number, frame in enumerate(frames, 1))
    labels = [f"Q{number}" for number in range(1, len(frames) + 1)]
    assert {parsed.answer for parsed in parse_batch(batch, labels).values()} == {words}
