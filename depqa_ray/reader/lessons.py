"""Lessons as tensors."""

from __future__ import annotations

import json

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from depqa_ray.answering import prompts
from depqa_ray.reader.curriculum import Lesson
from depqa_ray.reader.model import Layout

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """``ids``, ``positions``, ``labels``: [B, L] (labels already shifted); ``answers``: [B, L] True where graded."""

    ids: Tensor
    positions: Tensor
    labels: Tensor
    answers: Tensor
    layout: Layout
    order: tuple[tuple[int, ...], ...]


class Encoder:
    """Turns lessons into batches with the tokenizer's own chat template."""

    def __init__(self, tokenizer, groups: int = 4) -> None:
        self.tokenizer = tokenizer
        self.groups = groups
        mark = "\x00"
        text = tokenizer.apply_chat_template(
            [{"role": "system", "content": prompts.SYSTEM}, {"role": "user", "content": mark}],
            add_generation_prompt=True, enable_thinking=False, tokenize=False,
        )
        self.before, self.after = text.split(mark)
        self.eos = tokenizer.eos_token

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self.tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)]

    def batch(self, lessons: Sequence[Lesson], bare: bool = False) -> Batch:
        """All lessons must have as many exercises."""
        n = len(lessons[0].exercises)
        if bare:
            passages = self.encode([f"{lesson.passage}\n" for lesson in lessons])
            owns = self.encode([f"{e.own} ".removeprefix("Question: ") for lesson in lessons for e in lesson.exercises])
            targets = self.encode([json.loads(e.target)["answer"] for lesson in lessons for e in lesson.exercises])
        else:
            passages = self.encode([f"{self.before}Passage: {lesson.passage}\n\n" for lesson in lessons])
            owns = self.encode([f"{e.own}{self.after}" for lesson in lessons for e in lesson.exercises])
            targets = self.encode([f"{e.target}{self.eos}" for lesson in lessons for e in lesson.exercises])
        pad = self.tokenizer.pad_token_id
        longest = max(map(len, passages))
        lengths = torch.tensor([len(p) for p in passages])
        pieces = [_padded(passages, longest, pad)]
        present = torch.arange(longest) < lengths[:, None]
        shifted = torch.cat([torch.where(present, pieces[0], IGNORED)[:, 1:], torch.full((len(lessons), 1), IGNORED)], 1)
        labels, answers = [shifted], [torch.zeros_like(present)]
        positions = [torch.arange(longest).expand(len(lessons), -1)]
        order = [
            sorted((b * n + j for j in range(n)), key=lambda i: len(owns[i]) + len(targets[i])) for b in range(len(lessons))
        ]
        layout = []
        for start, end in _cuts(n):
            rows = [i for row in order for i in row[start:end]]
            count = len(rows) // len(lessons)
            length = max(len(owns[i]) + len(targets[i]) for i in rows)
            ids = _padded([owns[i] + targets[i] for i in rows], length, pad)
            label = _padded([[IGNORED] * (len(owns[i]) - 1) + targets[i] for i in rows], length, IGNORED)
            pieces.append(ids.view(len(lessons), -1))
            labels.append(label.view(len(lessons), -1))
            answers.append(labels[-1] != IGNORED)
            positions.append((lengths[:, None, None] + torch.arange(length)).expand(-1, count, -1).reshape(len(lessons), -1))
            layout.append((count, length))
        return Batch(
            torch.cat(pieces, 1), torch.cat(positions, 1), torch.cat(labels, 1), torch.cat(answers, 1),
            Layout(longest, tuple(layout), present), tuple(tuple(i - b * n for i in row) for b, row in enumerate(order)),
        )


def _cuts(count: int) -> list[tuple[int, int]]:
    """The exercises of a lesson, shortest first, in groups; the longest ones apart, since they are much longer."""
    cuts = sorted({0, round(0.4 * count), round(0.75 * count), max(count - 2, 0), count})
    return list(zip(cuts, cuts[1:], strict=False))


def _padded(rows: list[list[int]], length: int, value: int) -> Tensor:
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])
