import subprocess
import sys

import pytest
import torch

from depqa_ray.reader.training.curriculum import STAGES
from depqa_ray.reader.training.train import Recipe, Trainer

STEPS = 3


@pytest.mark.slow
def test_one_seed_gives_the_same_weights_twice() -> None:
    first, second = (trained(seed=7) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_another_seed_gives_other_weights() -> None:
    first, second = trained(seed=7), trained(seed=8)
    assert not torch.equal(first["lm_head.weight"], second["lm_head.weight"])


@pytest.mark.slow
def test_a_stage_lasts_until_its_questions_are_answered() -> None:
    trainer = Trainer(Recipe(good_enough=0.999))
    trainer.check()
    assert trainer.stage == 0
    trainer.recipe = Recipe(good_enough=-1.0)
    for _ in range(len(STAGES) + 1):
        trainer.check()
    assert trainer.stage == len(STAGES) - 1


@pytest.mark.parametrize("module", ["train", "evaluate"])
@pytest.mark.slow
def test_commands_document_their_flags(module: str) -> None:
    """The help of each training command shows its flags."""
    command = [sys.executable, "-m", f"depqa_ray.reader.training.{module}", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--seed" in shown


def trained(seed: int) -> dict[str, torch.Tensor]:
    trainer = Trainer(Recipe(seed=seed, steps=STEPS))
    for _ in range(STEPS):
        trainer.step()
    return trainer.model.state_dict()
