"""The checkpoint that ships: its content, and the figures on its card."""

import subprocess
import sys

import pytest
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from depqa_ray.passages.synthetic.export import EMBEDDED_SEED
from depqa_ray.reader import weights_folder
from depqa_ray.reader.training.evaluate import HELD_OUT_SEED, evaluate

MOST_BYTES = 10_000_000


def test_the_folder_is_found_without_loading_torch() -> None:
    program = "import sys; from depqa_ray.reader import weights_folder; weights_folder(); print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "False"


def test_the_weights_are_small() -> None:
    assert (weights_folder() / "model.safetensors").stat().st_size <= MOST_BYTES


def test_it_is_a_plain_qwen3_that_generates_greedily() -> None:
    config = AutoConfig.from_pretrained(weights_folder())
    assert config.architectures == ["Qwen3ForCausalLM"]
    model = AutoModelForCausalLM.from_pretrained(weights_folder())
    tokenizer = AutoTokenizer.from_pretrained(weights_folder())
    assert not model.generation_config.do_sample
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert len(tokenizer) <= config.vocab_size


def test_shipped_worlds_are_not_the_held_out_ones() -> None:
    """The shipped worlds have another seed than the held-out ones."""
    assert HELD_OUT_SEED != EMBEDDED_SEED


@pytest.mark.slow
def test_it_answers_worlds_that_it_has_not_seen() -> None:
    figures = evaluate(weights_folder(), count=40, seed=HELD_OUT_SEED)
    assert figures.roots >= 0.95
    assert figures.dependents >= 0.95
    assert figures.dependents - figures.independent >= 0.5
    assert figures.history >= 0.9
    assert figures.batch >= 0.9
    assert figures.edge_f1 >= 0.85
    assert figures.strict_json >= 0.98
