"""A quick look at how far training has come, to decide when the curriculum goes on.

Not the measurement: a reply counts as right if every token of it is the likeliest one after the tokens before it, and
parents' answers are the gold ones. That takes one forward pass; ``evaluate`` generates.
"""

from __future__ import annotations

import random
from collections import defaultdict

import torch
from torch.nn import functional
from transformers import Qwen3ForCausalLM

from depqa_ray.passages.synthetic.worlds import World, generate_world
from depqa_ray.reader.training.curriculum import Exercise, Lesson, Stage, all_at_once, dependencies, exercise
from depqa_ray.reader.training.lessons import Batch, Encoder
from depqa_ray.reader.training.model import hidden_states

_WORLDS = 64
_TOGETHER = 16
_SEED = "eval1"  # a text, where training draws from a number's stream


@torch.no_grad()
def probe(model: Qwen3ForCausalLM, encoder: Encoder, stage: Stage) -> dict[str, float]:
    """Shares of right replies to a stage's kinds of exercise: root, dependent, independent, batch, edges."""
    rng = random.Random(_SEED)
    right: defaultdict[str, list[bool]] = defaultdict(list)
    for _ in range(_WORLDS // _TOGETHER):
        worlds = [_tagged(generate_world(rng, stage.shape), stage.several) for _ in range(_TOGETHER)]
        batch = encoder.batch([lesson for lesson, _ in worlds])
        for (_, tags), row in zip(worlds, _right(model, batch), strict=True):
            for tag, is_right in zip(tags, row, strict=True):
                right[tag].append(is_right)
    return {tag: round(sum(replies) / len(replies), 3) for tag, replies in right.items() if tag}


def _tagged(world: World, several: bool) -> tuple[Lesson, list[str]]:
    """Each question after its parents' answers and after none, and what each exercise is ("" for a repetition)."""
    history = [(question.text, question.fact.object) for question in world.questions]
    exercises: list[Exercise] = []
    tags: list[str] = []
    for question in world.questions:
        known = [history[parent] for parent in sorted(question.parents)]
        exercises += [exercise(question.text, known, question.fact.object)]
        exercises += [exercise(question.text, [], question.fact.object)]
        tags += ["dependent", "independent"] if question.parents else ["root", ""]
    if several:
        exercises += [all_at_once(world, len(world.questions)), dependencies(world)]
        tags += ["batch", "edges"]
    return Lesson(" ".join(world.sentences), tuple(exercises)), tags


def _right(model: Qwen3ForCausalLM, batch: Batch) -> list[list[bool]]:
    """For each lesson, whether each of its exercises would be answered right."""
    hidden = hidden_states(model, batch.ids, batch.positions, batch.layout)
    good = torch.ones_like(batch.graded)
    scores = functional.linear(hidden[batch.graded], model.lm_head.weight.to(hidden.dtype))
    good[batch.graded] = scores.argmax(-1) == batch.labels[batch.graded]
    end, columns = batch.layout.passage, []
    for count, length in batch.layout.groups:
        start, end = end, end + count * length
        columns.append(good[:, start:end].reshape(-1, count, length).all(-1))
    lying = torch.cat(columns, 1).tolist()
    return [
        [row[order.index(number)] for number in range(len(order))]
        for row, order in zip(lying, batch.order, strict=True)
    ]
