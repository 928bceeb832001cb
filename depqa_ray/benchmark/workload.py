"""The prompts of a benchmark: real passages with their questions, asked one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from depqa_ray.answering.prompts import SYSTEM, batch_part, question_part, shared_part
from depqa_ray.benchmark.settings import BenchSettings
from depqa_ray.core import Passage, Prompt
from depqa_ray.passages.sampling import sample_passages
from depqa_ray.passages.sources import load_passages

_CALLERS = 4


def draw_passages(settings: BenchSettings) -> list[Passage]:
    """The passages that the settings ask for. Raises InputError."""
    return list(
        sample_passages(
            load_passages(settings.dataset, split=settings.split),
            context_count=settings.context_count,
            min_questions=settings.min_questions,
            max_questions=settings.max_questions or 1 << 30,
            seed=settings.seed,
        )
    )


def repeat_prompts(passages: Sequence[Passage], settings: BenchSettings, repeat: int) -> list[Prompt]:
    """Each question as a prompt of its own.

    The system line begins with the repeat's number, so that nothing that an engine kept from one repeat can serve it in
    the next. Numbers are padded to one width: the same tokens' count, and the same text for all engines.
    """
    system = f"Run {repeat:0{len(str(settings.repeats))}d}. {SYSTEM}"
    return [
        Prompt(question.id, system, shared_part(passage), question_part(question.text), settings.max_new_tokens)
        for passage in passages
        for question in passage.questions
    ]


def verify_groups(passages: Sequence[Passage], settings: BenchSettings, count: int) -> list[list[Prompt]]:
    """``count`` prompts of mixed lengths and kinds of sharing, in random order, for several callers.

    Among them: siblings below one passage, passages that begin another one, questions with what is known, all questions
    at once, equal prompts, other system lines, and rooms from one token up.
    """
    dice = random.Random(f"{settings.seed}/verify")
    prompts = [_drawn(dice, dice.choice(passages), settings.max_new_tokens) for _ in range(count)]
    for index in range(1, count):
        if dice.random() < 0.1:
            prompts[index] = dice.choice(prompts[:index])
    numbered = [replace(prompt, id=f"verify-{index}") for index, prompt in enumerate(prompts)]
    dice.shuffle(numbered)
    callers = [list(islice(numbered, start, None, _CALLERS)) for start in range(_CALLERS)]
    return [group for group in callers if group]


def _drawn(dice: random.Random, passage: Passage, room: int) -> Prompt:
    if dice.random() < 0.3:  # a beginning of the passage: a prefix that nests within that of its siblings
        sentences = passage.text.split(". ")
        passage = replace(passage, text=". ".join(sentences[: dice.randint(1, len(sentences))]))
    questions = list(passage.questions)
    asked = dice.choice(questions)
    known = [(other.text, other.answers[0]) for other in questions[: dice.randint(0, 3)] if other is not asked]
    own = dice.choice(
        (question_part(asked.text), question_part(asked.text, known), batch_part([q.text for q in questions]))
    )
    system = dice.choice((SYSTEM, SYSTEM, "Answer in one word."))
    return Prompt("", system, shared_part(passage), own, dice.randint(1, room))
