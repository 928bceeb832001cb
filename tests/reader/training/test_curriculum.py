import json
import random
import re

import pytest

from depqa_ray.answering import prompts
from depqa_ray.passages.synthetic.worlds import WorldShape, generate_world
from depqa_ray.reader.training.curriculum import STAGES, Stage, all_at_once, dependencies, draw_lesson

WORLDS = range(40)


@pytest.mark.parametrize("stage", STAGES, ids=range(len(STAGES)))
def test_each_target_is_the_json_that_its_prompt_asks_for(stage: Stage) -> None:
    for seed in WORLDS:
        lesson = draw_lesson(random.Random(seed), stage)
        for exercise in lesson.exercises:
            target = json.loads(exercise.target)
            if "answer" in target:
                assert target["answer"] in lesson.passage
                continue
            assert list(target) == (re.findall(r"^(Q\d+): ", exercise.own, re.MULTILINE) or ["answer"])
            for number, reply in enumerate(target.values()):
                if isinstance(reply, dict):
                    assert set(reply) <= {prompts.label(earlier) for earlier in range(number)}
                else:
                    assert reply in lesson.passage


@pytest.mark.parametrize("stage", STAGES, ids=range(len(STAGES)))
def test_lessons_of_a_stage_have_equally_many_exercises(stage: Stage) -> None:
    counts = {len(draw_lesson(random.Random(number), stage).exercises) for number in WORLDS}
    assert counts == {stage.single + 4 * stage.several}


def test_the_same_seed_gives_the_same_lessons() -> None:
    first, second = ([draw_lesson(rng, STAGES[-1]) for _ in range(5)] for rng in (random.Random(3), random.Random(3)))
    assert first == second


def test_pointing_question_follows_every_known_answer() -> None:
    """The reader has to use the answer it is given: the same question gets different answers in one lesson's world."""
    asked: dict[str, set[str]] = {}
    for number in WORLDS:
        for exercise in draw_lesson(random.Random(number), STAGES[-1]).exercises:
            question = exercise.own.rpartition("Question: ")[2]
            if "Known: " in exercise.own and "that" in question:
                asked.setdefault(question, set()).add(exercise.target)
    assert max(map(len, asked.values())) > 5


def test_each_question_needs_the_answers_that_it_points_at() -> None:
    for number in WORLDS:
        world = generate_world(random.Random(number), WorldShape())
        stated = json.loads(dependencies(world).target)
        for question, parents in zip(world.questions, stated.values(), strict=True):
            assert list(parents) == [prompts.label(parent) for parent in question.parents]
            assert len(parents) == question.text.count("that ")


def test_the_first_questions_are_answered_without_the_others() -> None:
    world = generate_world(random.Random(1), WorldShape())
    for count in range(1, len(world.questions) + 1):
        asked = all_at_once(world, count)
        assert list(json.loads(asked.target)) == [prompts.label(position) for position in range(count)]
        assert asked.own == prompts.batch_part([question.text for question in world.questions[:count]])


def test_self_contained_questions_follow_known_answers_too() -> None:
    """Questions that name their subject come after other answers too, as in a history: these do not matter."""
    lessons = [draw_lesson(random.Random(number), STAGES[-1]) for number in WORLDS]
    owns = [exercise.own for lesson in lessons for exercise in lesson.exercises]
    asked = [own.rpartition("Question: ")[2] for own in owns if own.startswith("Known: ")]
    assert sum("that " not in question for question in asked) >= len(WORLDS) // 2


def test_edges_are_asked_for_more_questions_than_a_world_has() -> None:
    """The more questions there are, the more often the latest of several fitting answers is the one that is meant."""
    lessons = [draw_lesson(random.Random(number), STAGES[-1]) for number in WORLDS]
    counts = {len(json.loads(lesson.exercises[-1].target)) for lesson in lessons}
    assert min(counts) < STAGES[-1].shape.questions < max(counts)
