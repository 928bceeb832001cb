"""The prompts of a benchmark: real passages with their questions, asked one by one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from depqa_ray.answering.prompts import SYSTEM, batch_part, question_part, shared_part
from depqa_ray.benchmark.settings import BenchSettings
from depqa_ray.core import Passage, Prompt
from depqa_ray.hub import FetchLog
from depqa_ray.passages.sampling import sample_passages
from depqa_ray.passages.sources import fetch_dataset, load_passages

_CALLERS = 4


def draw_passages(settings: BenchSettings, report: Callable[[str], None] = lambda line: None) -> list[Passage]:
    """The passages that the settings ask for, fetched first if they are on the hub. Raises InputError."""
    snapshot = fetch_dataset(settings.dataset, settings.split, FetchLog(report))
    sample = sample_passages(
        load_passages(settings.dataset, split=settings.split, snapshot=snapshot),
        context_count=settings.context_count,
        min_questions=settings.min_questions,
        max_questions=settings.max_questions or 1 << 30,
        seed=settings.seed,
    )
    passages = list(sample)
    if left_out := sample.counts().left_out():
        report(left_out)
    return passages


def repeat_prompts(passages: Sequence[Passage], settings: BenchSettings, repeat: int) -> list[Prompt]:
    """Each question as a prompt of its own.

    The system line begins with the repeat's number, so that no cache serves one repeat from another. Numbers are padded
    to one width, so that all repeats have equally many tokens.
    """
    system = f"Run {repeat:0{len(str(settings.repeats))}d}. {SYSTEM}"
    return [
        Prompt(question.id, system, shared_part(passage), question_part(question.text), settings.max_new_tokens)
        for passage in passages
        for question in passage.questions
    ]


def verify_groups(passages: Sequence[Passage], settings: BenchSettings, count: int) -> list[list[Prompt]]:
    """``count`` prompts of mixed lengths and kinds of sharing, in random order, for several callers.

    Among them: siblings below one passage, prefixes of a passage, questions with known answers, all questions at once,
    equal prompts, other system lines, and limits from one token up.
    """
    rng = random.Random(f"{settings.seed}/verify")
    prompts = [_random_prompt(rng, rng.choice(passages), settings.max_new_tokens) for _ in range(count)]
    for index in range(1, count):
        if rng.random() < 0.1:
            prompts[index] = rng.choice(prompts[:index])
    numbered = [replace(prompt, id=f"verify-{index}") for index, prompt in enumerate(prompts)]
    rng.shuffle(numbered)
    return [numbered[start::_CALLERS] for start in range(min(_CALLERS, count))]


def _random_prompt(rng: random.Random, passage: Passage, limit: int) -> Prompt:
    if rng.random() < 0.3:  # a prefix of the passage, nested in that of its siblings
        sentences = passage.text.split(". ")
        passage = replace(passage, text=". ".join(sentences[: rng.randint(1, len(sentences))]))
    questions = list(passage.questions)
    asked = rng.choice(questions)
    known = [(other.text, other.answers[0]) for other in questions[: rng.randint(0, 3)] if other is not asked]
    own = rng.choice(
        (question_part(asked.text), question_part(asked.text, known), batch_part([q.text for q in questions]))
    )
    system = rng.choice((SYSTEM, SYSTEM, "Answer in one word."))
    return Prompt("", system, shared_part(passage), own, rng.randint(1, limit))
