"""The embedded reader's training recipe: ``python -m depqa_ray.reader.training.train --out FOLDER``.

Everything is drawn from the seed and measured in steps, never in seconds: the same seed and number of threads give the
same weights on the same machine. Other processors round differently, and so end at other weights of the same quality.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW, Muon, Optimizer
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from depqa_ray.reader.training.checkpoint import save_checkpoint
from depqa_ray.reader.training.curriculum import STAGES, Stage, draw_lesson
from depqa_ray.reader.training.evaluate import HELD_OUT_SEED, evaluate
from depqa_ray.reader.training.lessons import IGNORED, Batch, Encoder
from depqa_ray.reader.training.model import hidden_states, new_model
from depqa_ray.reader.training.priming import prime, vocabulary_of
from depqa_ray.reader.training.probe import probe
from depqa_ray.reader.training.tokenizer import train_tokenizer

_TOKENIZER_SEED: Final = 0
_VOCABULARY_MULTIPLE: Final = 64


@dataclass(frozen=True, slots=True)
class Recipe:
    """The settings that training depends on.

    ``steps``: how many updates. ``warm_up``: updates in which the learning rates rise to ``matrix_rate`` (Muon, for the
    layers' matrices), ``embedding_rate`` and ``gain_rate`` (AdamW, for the embeddings and the norms' gains).
    ``cooling``: the share of the steps after which they fall in a straight line to a hundredth. ``passage_weight``: the
    weight of predicting the passage itself. ``revisits``: the share of batches from any stage so far instead of the
    latest. ``good_enough``: the share of right roots and dependents at which the next stage begins, asked every
    ``check_every`` steps.
    """

    seed: int = 0
    steps: int = 1600
    threads: int = 1
    layers: int = 5
    warm_up: int = 20
    cooling: float = 0.5
    matrix_rate: float = 0.01
    embedding_rate: float = 0.01
    gain_rate: float = 0.002
    passage_weight: float = 0.1
    revisits: float = 0.2
    good_enough: float = 0.85
    check_every: int = 50


class Trainer:
    """One training run, step by step."""

    def __init__(self, recipe: Recipe) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.rng = random.Random(recipe.seed + 1)
        self.tokenizer: PreTrainedTokenizerBase = train_tokenizer(_TOKENIZER_SEED)
        self.encoder = Encoder(self.tokenizer)
        size = -(-len(self.tokenizer) // _VOCABULARY_MULTIPLE) * _VOCABULARY_MULTIPLE
        self.model: Qwen3ForCausalLM = new_model(size, recipe.layers)
        prime(self.model, vocabulary_of(self.tokenizer, size))
        self.optimizers = _optimizers(self.model, recipe)
        self.stage = 0
        self.done = 0

    def step(self) -> float:
        """Train on one batch; returns the loss per token of the replies."""
        factor = _rate_factor(self.recipe, self.done)
        for optimizer, rate in self.optimizers:
            optimizer.param_groups[0]["lr"] = rate * factor
        stage = self._draw_stage()
        batch = self.encoder.batch([draw_lesson(self.rng, stage) for _ in range(stage.lessons)])
        replies, passages = _losses(self.model, batch)
        loss = replies + self.recipe.passage_weight * passages
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, _ in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return replies.item()

    def check(self) -> dict[str, float]:
        """Probe the model on the current stage, and go on to the next one if it is good enough."""
        shares = probe(self.model, self.encoder, STAGES[self.stage])
        enough = min(shares["root"], shares.get("dependent", 1.0)) > self.recipe.good_enough
        if enough and self.stage < len(STAGES) - 1:
            self.stage += 1
        return shares

    def _draw_stage(self) -> Stage:
        if self.rng.random() > self.recipe.revisits:
            return STAGES[self.stage]
        return STAGES[self.rng.randrange(self.stage + 1)]


def train(recipe: Recipe, out: Path) -> None:
    """Train, print the progress, and write a checkpoint to ``out`` after every check."""
    trainer = Trainer(recipe)
    count = sum(parameter.numel() for parameter in trainer.model.parameters())
    print(f"{count} parameters, {recipe}", flush=True)
    start, recent = time.perf_counter(), []
    while trainer.done < recipe.steps:
        recent.append(trainer.step())
        if trainer.done % recipe.check_every == 0 or trainer.done == recipe.steps:
            stage, shares = trainer.stage, trainer.check()
            loss = sum(recent) / len(recent)
            seconds = time.perf_counter() - start
            print(f"step {trainer.done} stage {stage} loss {loss:.4f} {seconds:.0f} s {shares}", flush=True)
            recent.clear()
            save_checkpoint(trainer.model, trainer.tokenizer, out)


def _optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[tuple[Optimizer, float]]:
    """Optimizers with their learning rates."""
    embedding = model.model.embed_tokens.weight  # the output's weights too
    matrices = [weight for weight in model.parameters() if weight.ndim == 2 and weight is not embedding]
    gains = [weight for weight in model.parameters() if weight.ndim == 1]

    def adam(weights: list[torch.nn.Parameter], rate: float) -> tuple[Optimizer, float]:
        return AdamW(weights, lr=rate, betas=(0.9, 0.95), weight_decay=0.0), rate

    muon = Muon(matrices, lr=recipe.matrix_rate, momentum=0.95, weight_decay=0.0, adjust_lr_fn="original")
    return [(muon, recipe.matrix_rate), adam([embedding], recipe.embedding_rate), adam(gains, recipe.gain_rate)]


def _rate_factor(recipe: Recipe, done: int) -> float:
    share = done / recipe.steps
    cooled = 1.0 if share < recipe.cooling else max(0.01, (1 - share) / (1 - recipe.cooling))
    return min(1.0, (done + 1) / recipe.warm_up) * cooled


def _losses(model: Qwen3ForCausalLM, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy per token of the replies, and of the passages with the text before them."""
    hidden = hidden_states(model, batch.ids, batch.positions, batch.layout)
    output = model.lm_head.weight.to(hidden.dtype)
    replies = _cross_entropy(hidden, output, batch.labels, batch.graded)
    end = batch.layout.passage
    read = batch.labels[:, :end]
    return replies, _cross_entropy(hidden[:, :end], output, read, read != IGNORED)


def _cross_entropy(hidden: Tensor, output: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
    """Loss of the chosen tokens. ``hidden``: [B, L, hidden]; ``output``: [vocabulary, hidden]; the others [B, L]."""
    return functional.cross_entropy(functional.linear(hidden[chosen], output).float(), labels[chosen])


def main() -> None:
    """Train, measure on held-out worlds, and write the figures beside the weights."""
    default = Recipe()
    parser = argparse.ArgumentParser(description="Train the embedded reader from nothing but a seed.")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the checkpoint and figures.json")
    parser.add_argument("--seed", type=int, default=default.seed, help="of weights and lessons (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=default.steps, help="updates (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=default.threads, help="processor cores (default: %(default)s)")
    parser.add_argument("--worlds", type=int, default=500, help="held-out worlds to measure on (default: %(default)s)")
    arguments = parser.parse_args()
    train(Recipe(seed=arguments.seed, steps=arguments.steps, threads=arguments.threads), arguments.out)
    measured = asdict(evaluate(arguments.out, arguments.worlds, HELD_OUT_SEED))
    figures = {name: round(value, 4) for name, value in measured.items()}
    text = json.dumps(figures, indent=2)
    (arguments.out / "figures.json").write_text(f"{text}\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
