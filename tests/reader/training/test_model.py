"""The training's forward pass against transformers' own, on the same tokens laid out flat."""

import random

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from depqa_ray.reader.training.curriculum import STAGES, draw_lesson
from depqa_ray.reader.training.lessons import IGNORED, Batch, Encoder
from depqa_ray.reader.training.model import hidden_states, new_model
from depqa_ray.reader.training.priming import prime, vocabulary_of
from depqa_ray.reader.training.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(0)


@pytest.fixture(scope="module")
def model(tokenizer: PreTrainedTokenizerBase) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    size = len(tokenizer)
    model = new_model(size, layers=4)
    prime(model, vocabulary_of(tokenizer, size))
    return model


@pytest.fixture(scope="module")
def batch(tokenizer: PreTrainedTokenizerBase) -> Batch:
    rng = random.Random(0)
    return Encoder(tokenizer).batch([draw_lesson(rng, STAGES[-2]) for _ in range(3)])


def test_exercises_are_computed_independently(model: Qwen3ForCausalLM, batch: Batch) -> None:
    """Each exercise is computed as if it were alone behind its passage."""
    expected, actual = (
        plain(model, batch),
        hidden_states(model, batch.ids, batch.positions, batch.layout, torch.float32),
    )
    torch.testing.assert_close(actual[real(batch)], expected[real(batch)], rtol=1e-3, atol=1e-3)


def test_gradients_are_those_of_the_plain_forward_pass(model: Qwen3ForCausalLM, batch: Batch) -> None:
    seen = real(batch)[..., None] * torch.randn(model.config.hidden_size, generator=torch.Generator().manual_seed(0))
    gradients = []
    for hidden in (plain(model, batch), hidden_states(model, batch.ids, batch.positions, batch.layout, torch.float32)):
        model.zero_grad()
        (hidden * seen).sum().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, expected in gradients[0].items():
        error = (gradients[1][name] - expected).norm() / expected.norm()
        assert error < 1e-3, name


def test_labels_are_the_tokens_that_follow(batch: Batch) -> None:
    follows = batch.ids[:, 1:]
    labels = batch.labels[:, :-1]
    known = (labels != IGNORED) & (torch.arange(labels.shape[1]) != batch.layout.passage - 1)
    assert torch.equal(labels[known], follows[known])
    assert batch.graded[:, batch.layout.passage :].any(1).all()
    assert not batch.graded[:, : batch.layout.passage].any()


def test_only_replies_are_graded(tokenizer: PreTrainedTokenizerBase) -> None:
    """The targets of a lesson are its replies, each with its end token."""
    lesson = draw_lesson(random.Random(5), STAGES[0])
    batch = Encoder(tokenizer).batch([lesson])
    text = tokenizer.decode(batch.labels[batch.graded])
    expected = "".join(f"{lesson.exercises[number].target}{tokenizer.eos_token}" for number in batch.order[0])
    assert text == expected


def plain(model: Qwen3ForCausalLM, batch: Batch) -> Tensor:
    """transformers' forward pass under the mask that the layout means: [B, L, hidden]."""
    mask = torch.where(allowed(batch), 0.0, float("-inf"))[:, None]
    output = model.model(
        input_ids=batch.ids, position_ids=batch.positions, attention_mask=mask, use_cache=False
    ).last_hidden_state
    assert isinstance(output, Tensor)
    return output


def allowed(batch: Batch) -> Tensor:
    """[B, L, L]: which token (row) sees which (column)."""
    length, passage = batch.ids.shape[1], batch.layout.passage
    owner = torch.full((length,), -1)
    at, number = passage, 0
    for count, size in batch.layout.groups:
        for _ in range(count):
            owner[at : at + size] = number
            at, number = at + size, number + 1
    place = torch.arange(length)
    mask = (place[:, None] >= place) & ((owner == owner[:, None]) | (owner == -1))
    mask = mask.repeat(len(batch.ids), 1, 1)
    mask[:, :, :passage] &= batch.layout.present[:, None] | (place[:, None] == place[:passage])
    return mask


def real(batch: Batch) -> Tensor:
    """[B, L]: all but the passages' padding."""
    mask = torch.ones_like(batch.graded)
    mask[:, : batch.layout.passage] = batch.layout.present
    return mask
