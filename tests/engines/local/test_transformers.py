"""The transformers engine against transformers itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineSpec
from depqa_ray.errors import EngineError
from tests.engines.tiny import save_tiny_model

pytestmark = pytest.mark.slow

THINKING = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if enable_thinking is defined and not enable_thinking %}<off>{% endif %}"
)


def complete(folder: Path | str, *prompts: Prompt) -> list[Completion]:
    from depqa_ray.engines.local.transformers import TransformersEngine

    async def run() -> list[Completion]:
        engine = TransformersEngine(EngineSpec("transformers", str(folder), "float32", 8, 1.0, 0.9))
        await engine.start()
        try:
            return [completion async for group in engine.submit(prompts) for completion in group]
        finally:
            await engine.close()

    return asyncio.run(run())


def one_by_one(folder: Path, texts: list[str], limits: list[int]) -> list[list[int]]:
    """The reference: greedy ``generate``, one prompt at a time, through the first EOS."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for text, limit in zip(texts, limits, strict=True):
        ids = tokenizer(text, return_tensors="pt").input_ids
        new = model.generate(ids, max_new_tokens=limit, do_sample=False)[0, ids.shape[1] :].tolist()
        found.append(new[: new.index(0) + 1] if 0 in new else new)
    return found


def test_padding_of_mixed_lengths_changes_no_token(tmp_path: Path) -> None:
    """If prompts have different lengths, padding changes no token."""
    folder = save_tiny_model(tmp_path)
    prompts = [Prompt(str(n), "S", "P " * n, "Q" * (3 * n % 7 + 1), 20) for n in range(8)]
    texts = [f"{p.system}\n\n{p.passage_text}{p.question_text}\n\n" for p in prompts]
    expected = one_by_one(folder, texts, [20] * len(texts))
    found = complete(folder, *prompts)
    assert [c.generated_tokens for c in found] == [len(row) for row in expected]
    assert [c.prompt_tokens for c in found] == [len(text) for text in texts]

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert [c.text for c in found] == [tokenizer.decode(row, skip_special_tokens=True) for row in expected]


def test_given_a_chat_template_then_it_is_used_with_thinking_off(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, chat_template=THINKING)
    (found,) = complete(folder, Prompt("a", "Sys", "Pas", "Own", 1))
    assert found.prompt_tokens == len("[system]Sys[user]PasOwn<off>")


def test_each_sequence_of_a_batch_keeps_its_own_limit(tmp_path: Path) -> None:
    """If the limits of a batch differ, each sequence keeps its own."""
    folder = save_tiny_model(tmp_path, eos_token_id=None)
    short, long = complete(folder, Prompt("a", "S", "P", "Q", 3), Prompt("b", "S", "P", "Q", 12))
    assert short.generated_tokens <= 3 < long.generated_tokens
    assert long.text.startswith(short.text)


def test_generation_config_of_the_folder_is_ignored(tmp_path: Path) -> None:
    """If a model folder suggests how to sample, the suggestion is ignored."""
    prompts = [Prompt(str(n), "S", "P", "Q" * n, 12) for n in range(4)]
    plain = [c.text for c in complete(save_tiny_model(tmp_path), *prompts)]
    suggestion = {"do_sample": True, "temperature": 0.6, "repetition_penalty": 5.0, "eos_token_id": 0}
    (tmp_path / "generation_config.json").write_text(json.dumps(suggestion), "utf-8")
    assert [c.text for c in complete(tmp_path, *prompts)] == plain


@pytest.mark.parametrize("what", ["missing", "empty", "pickled"])
def test_unusable_model_folder_is_a_one_line_error_with_a_fix(tmp_path: Path, what: str) -> None:
    """If a folder has no usable model, the error is one line with a fix."""
    if what == "pickled":
        save_tiny_model(tmp_path)
        (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    folder = tmp_path / "nowhere" if what == "missing" else tmp_path
    with pytest.raises(EngineError, match="cannot load the model") as caught:
        complete(folder, Prompt("a", "S", "P", "Q", 1))
    assert "\n" not in str(caught.value)
    assert "--model-name embedded" in str(caught.value)
