"""Lessons as tensors: one row a lesson, laid out so that little of it is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from depqa_ray.answering import prompts
from depqa_ray.core import Passage
from depqa_ray.reader.training.curriculum import Lesson
from depqa_ray.reader.training.model import Layout

IGNORED: Final = -100
"""The label of a token after which nothing is to be predicted."""


@dataclass(frozen=True, slots=True)
class Batch:
    """B lessons in rows of L tokens: the passage, then the exercises from the shortest to the longest.

    ``ids``, ``positions``: [B, L]. ``labels``: [B, L], the token that follows, or IGNORED. ``graded``: [B, L], True
    where what follows is the reader's to generate. ``order``: for each row, the numbers of its exercises as they lie.
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor
    graded: Tensor
    layout: Layout
    order: tuple[tuple[int, ...], ...]


class Encoder:
    """Turns lessons into batches, within the chat template as an engine would render it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pad = int(tokenizer.pad_token_id)
        marker = "\x00"
        messages = [{"role": "system", "content": prompts.SYSTEM}, {"role": "user", "content": marker}]
        text = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False, tokenize=False
        )
        self._before, self._after = str(text).split(marker)

    def batch(self, lessons: Sequence[Lesson]) -> Batch:
        """All lessons must have equally many exercises."""
        passages = self._encode([f"{self._before}{_shared(lesson)}" for lesson in lessons])
        exercises = [exercise for lesson in lessons for exercise in lesson.exercises]
        owns = self._encode([f"{exercise.own}{self._after}" for exercise in exercises])
        targets = self._encode([f"{exercise.target}{self._tokenizer.eos_token}" for exercise in exercises])
        lengths = [len(own) + len(target) for own, target in zip(owns, targets, strict=True)]
        count = len(exercises) // len(lessons)
        order = [
            sorted(range(first, first + count), key=lengths.__getitem__) for first in range(0, len(exercises), count)
        ]
        present, columns = self._passage_columns(passages)
        groups = []
        for start, end in _cuts(count):
            rows = [number for row in order for number in row[start:end]]
            longest = max(lengths[number] for number in rows)
            ids = _padded([owns[number] + targets[number] for number in rows], longest, self._pad)
            labels = _padded([[IGNORED] * (len(owns[n]) - 1) + targets[n] for n in rows], longest, IGNORED)
            positions = present.sum(1)[:, None, None] + torch.arange(longest).expand(len(lessons), end - start, -1)
            for column, piece in zip(columns, (ids, positions, labels, labels != IGNORED), strict=True):
                column.append(piece.reshape(len(lessons), -1))
            groups.append((end - start, longest))
        ids, positions, labels, graded = (torch.cat(column, 1) for column in columns)
        layout = Layout(present.shape[1], tuple(groups), present)
        numbers = tuple(tuple(number % count for number in row) for row in order)
        return Batch(ids, positions, labels, graded, layout, numbers)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False).input_ids
        return ids

    def _passage_columns(self, passages: Sequence[list[int]]) -> tuple[Tensor, tuple[list[Tensor], ...]]:
        """``present`` of the layout, and the beginnings of ids, positions, labels and graded."""
        longest = max(map(len, passages))
        ids = _padded(passages, longest, self._pad)
        labels = _padded([passage[1:] for passage in passages], longest, IGNORED)
        positions = torch.arange(longest)
        present = positions < torch.tensor([len(passage) for passage in passages])[:, None]
        return present, ([ids], [positions.expand_as(ids)], [labels], [torch.zeros_like(present)])


def _shared(lesson: Lesson) -> str:
    return prompts.shared_part(Passage(id="", title="", text=lesson.passage, questions=()))


def _cuts(count: int) -> list[tuple[int, int]]:
    """Where a lesson's exercises, shortest first, are cut into groups that are padded to the longest of each.

    The last four ask several questions and are much longer than the others, two of them again than the other two. The
    longest may be longer by far than the one before it.
    """
    cuts = {0, round(0.4 * count), round(0.75 * count), max(count - 4, 0), max(count - 2, 0), count - 1, count}
    return list(pairwise(sorted(cuts)))


def _padded(rows: Sequence[list[int]], length: int, value: int) -> Tensor:
    return torch.tensor([row + [value] * (length - len(row)) for row in rows])
