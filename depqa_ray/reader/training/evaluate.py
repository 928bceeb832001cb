"""How well a reader answers worlds that it has not seen: ``python -m depqa_ray.reader.training.evaluate``.

Everything is generated greedily from the model's own chat template, as an engine would. Questions with parents are
asked after the answers that the reader itself gave to the parents, so that its mistakes travel down a chain.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from depqa_ray.answering import prompts
from depqa_ray.answering.answers import parse_answer, parse_batch
from depqa_ray.answering.scoring import exact_match
from depqa_ray.core import Passage
from depqa_ray.edges.quality import EdgeQuality, edge_quality
from depqa_ray.edges.reply import parse_edges
from depqa_ray.passages.synthetic.worlds import generate_worlds
from depqa_ray.reader import weights_folder

HELD_OUT_SEED = 1
"""Seed of worlds that are never trained on: training draws its worlds from another kind of seed."""

_ROOM = 24  # tokens for one answer: the longest takes 9
_TOGETHER = 48


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares in [0, 1]: exact matches of each way of asking, and how well the stated edges fit the gold ones.

    ``roots``: questions without parents, asked alone. ``dependents``: those with parents, after the parents' predicted
    answers. ``independent``: the same ones, asked alone. ``history``: all questions, each after all earlier predicted
    answers. ``batch``: all questions at once. ``strict_json``: replies that were exactly the JSON asked for.
    """

    worlds: int
    roots: float
    dependents: float
    independent: float
    history: float
    batch: float
    edge_precision: float
    edge_recall: float
    edge_f1: float
    strict_json: float


class Generator:
    """Greedy replies of a checkpoint to many prompts."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def replies(self, passages: Sequence[Passage], owns: Sequence[str], room: int) -> list[str]:
        """One reply of at most ``room`` tokens to each (passage, own part)."""
        texts = [self._text(passage, own) for passage, own in zip(passages, owns, strict=True)]
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        replies = [""] * len(texts)
        for start in range(0, len(order), _TOGETHER):
            chosen = order[start : start + _TOGETHER]
            for index, reply in zip(chosen, self._generate([texts[i] for i in chosen], room), strict=True):
                replies[index] = reply
        return replies

    def _text(self, passage: Passage, own: str) -> str:
        messages = [
            {"role": "system", "content": prompts.SYSTEM},
            {"role": "user", "content": prompts.shared_part(passage) + own},
        ]
        return str(
            self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, enable_thinking=False, tokenize=False
            )
        )

    @torch.inference_mode()
    def _generate(self, texts: list[str], room: int) -> list[str]:
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        output = self.model.generate(**inputs, max_new_tokens=room, do_sample=False)
        new = output[:, inputs.input_ids.shape[1] :]
        replies: list[str] = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return replies


def evaluate(folder: Path, count: int, seed: int) -> Figures:
    """The figures of the checkpoint in ``folder`` on ``count`` worlds of a seed."""
    generator = Generator(folder)
    passages = list(generate_worlds(count, seed))
    strict: list[bool] = []
    parents = _predicted(generator, passages, strict, with_history=False)
    history = _predicted(generator, passages, strict, with_history=True)
    alone = _alone(generator, passages, strict)
    dependent = {edge.child for passage in passages for edge in passage.gold_edges or ()}
    golds = {question.id: question.answers for passage in passages for question in passage.questions}

    def share(answers: dict[str, str], among: set[str]) -> float:
        return _mean([exact_match(answers[id_], golds[id_]) for id_ in sorted(among)])

    every = set(golds)
    edges = _edges(generator, passages)
    return Figures(
        worlds=count,
        roots=share(parents, every - dependent),
        dependents=share(parents, dependent),
        independent=share(alone, dependent),
        history=share(history, every),
        batch=share(_at_once(generator, passages), every),
        edge_precision=edges.precision,
        edge_recall=edges.recall,
        edge_f1=edges.f1,
        strict_json=_mean([float(right) for right in strict]),
    )


def _predicted(
    generator: Generator, passages: Sequence[Passage], strict: list[bool], with_history: bool
) -> dict[str, str]:
    """Answers by question id: the first questions of all passages, then the second ones, each after earlier answers."""
    answers: dict[str, str] = {}
    for number in range(max(len(passage.questions) for passage in passages)):
        asked = [passage for passage in passages if number < len(passage.questions)]
        owns = []
        for passage in asked:
            question = passage.questions[number]
            needed = {edge.parent for edge in passage.gold_edges or () if edge.child == question.id}
            context = [
                (earlier.text, answers[earlier.id])
                for earlier in passage.questions[:number]
                if with_history or earlier.id in needed
            ]
            owns.append(prompts.question_part(question.text, context))
        for passage, reply in zip(asked, generator.replies(asked, owns, _ROOM), strict=True):
            parsed = parse_answer(reply)
            strict.append(parsed.strict_json)
            answers[passage.questions[number].id] = parsed.answer
    return answers


def _alone(generator: Generator, passages: Sequence[Passage], strict: list[bool]) -> dict[str, str]:
    """Answers by question id of the questions with parents, asked without any context."""
    pairs = [
        (passage, question)
        for passage in passages
        for question in passage.questions
        if any(edge.child == question.id for edge in passage.gold_edges or ())
    ]
    owns = [prompts.question_part(question.text) for _, question in pairs]
    parsed = [parse_answer(reply) for reply in generator.replies([passage for passage, _ in pairs], owns, _ROOM)]
    strict.extend(answer.strict_json for answer in parsed)
    return {question.id: answer.answer for (_, question), answer in zip(pairs, parsed, strict=True)}


def _at_once(generator: Generator, passages: Sequence[Passage]) -> dict[str, str]:
    owns = [prompts.batch_part([question.text for question in passage.questions]) for passage in passages]
    answers: dict[str, str] = {}
    for passage, reply in zip(passages, generator.replies(passages, owns, _room(passages)), strict=True):
        labels = [prompts.label(number) for number in range(len(passage.questions))]
        parsed = parse_batch(reply, labels)
        answers |= {q.id: parsed[label].answer for q, label in zip(passage.questions, labels, strict=True)}
    return answers


def _edges(generator: Generator, passages: Sequence[Passage]) -> EdgeQuality:
    """How well the edges of all passages fit the gold ones."""
    owns = [prompts.edges_part([question.text for question in passage.questions]) for passage in passages]
    quality = EdgeQuality()
    for passage, reply in zip(passages, generator.replies(passages, owns, _room(passages)), strict=True):
        ids = [question.id for question in passage.questions]
        quality += edge_quality(ids, parse_edges(reply, ids).edges, passage.gold_edges or ())
    return quality


def _room(passages: Sequence[Passage]) -> int:
    return _ROOM * max(len(passage.questions) for passage in passages)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def main() -> None:
    """Print the figures of a checkpoint as JSON."""
    parser = argparse.ArgumentParser(description="Measure a reader on generated worlds, by greedy generation.")
    parser.add_argument("--model", type=Path, help="a folder with a checkpoint (default: the embedded reader)")
    parser.add_argument("--count", type=int, default=500, help="how many worlds")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED, help="the worlds' seed; none is trained on")
    arguments = parser.parse_args()
    start = time.perf_counter()
    figures = asdict(evaluate(arguments.model or weights_folder(), arguments.count, arguments.seed))
    rounded: dict[str, Any] = {name: round(value, 4) for name, value in figures.items()}
    print(json.dumps(rounded | {"seconds": round(time.perf_counter() - start)}, indent=2))


if __name__ == "__main__":
    main()
