"""The shared-prefix engine against ``generate`` on one prompt at a time."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec
from depqa_ray.models import Completion, Prompt
from tests.engines.test_transformers import one_by_one
from tests.engines.tiny import save_tiny_model

pytestmark = pytest.mark.slow


def build(folder: Path, max_batch_size: int = 16, kv_gib: float = 0.01) -> Any:
    from depqa_ray.engines.shared_prefix import SharedPrefixEngine

    return SharedPrefixEngine(EngineSpec("shared_prefix", str(folder), "float32", max_batch_size, kv_gib, 0.9))


def complete(
    folder: Path, callers: list[list[Prompt]], max_batch_size: int = 16, kv_gib: float = 0.01
) -> tuple[EngineInfo, dict[str, Completion], Any]:
    """Each list of prompts by a caller of its own, all at once."""

    async def run() -> tuple[EngineInfo, dict[str, Completion], Any]:
        engine = build(folder, max_batch_size, kv_gib)
        info = await engine.start()
        found: dict[str, Completion] = {}

        async def call(prompts: list[Prompt]) -> None:
            async for group in engine.submit(prompts):
                found.update((completion.prompt_id, completion) for completion in group)

        try:
            await asyncio.gather(*map(call, callers))
        finally:
            await engine.close()
        return info, found, engine

    return asyncio.run(run())


def random_prompts(count: int, seed: int) -> list[Prompt]:
    """Prompts of mixed lengths; some share their passage, some only the system line, some nothing."""
    draw = random.Random(seed)

    def words(most: int) -> str:
        return " ".join(draw.choice(("ada", "b", "Halden?", "1887", "é")) for _ in range(draw.randint(1, most)))

    passages = [f"Passage: {words(30)}\n\n" for _ in range(max(2, count // 5))]
    return [
        Prompt(str(n), draw.choice(("S", "Answer.")), draw.choice(passages), words(12), draw.randint(1, 12))
        for n in range(count)
    ]


@pytest.mark.parametrize("architecture", ["Qwen3", "Llama", "Qwen2", "Mistral"])
def test_given_random_prompts_in_any_company_then_tokens_equal_generate_one_by_one(
    tmp_path: Path, architecture: str
) -> None:
    from transformers import AutoTokenizer

    folder = save_tiny_model(tmp_path, architecture=architecture)
    prompts = random_prompts(60, seed=1)
    texts = [f"{p.system}\n\n{p.shared}{p.own}\n\n" for p in prompts]
    expected = one_by_one(folder, texts, [p.max_new_tokens for p in prompts])
    random.Random(2).shuffle(order := list(prompts))
    info, found, _ = complete(folder, [order[:7], order[7:30], order[30:]])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert info.engine == "shared_prefix"
    for prompt, text, row in zip(prompts, texts, expected, strict=True):
        completion = found[prompt.id]
        assert completion.text == tokenizer.decode(row, skip_special_tokens=True), f"prompt {prompt.id}"
        assert (completion.prompt_tokens, completion.generated_tokens) == (len(text.encode()), len(row))


def test_given_a_prompt_longer_than_a_step_then_its_pieces_add_up(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path, max_position_embeddings=2048)
    prompts = [Prompt(str(n), "S", "long passage " * 60, "q" * (n + 600), 5) for n in range(3)]
    expected = one_by_one(folder, [f"{p.system}\n\n{p.shared}{p.own}\n\n" for p in prompts], [5] * 3)
    _, found, _ = complete(folder, [prompts])
    assert [found[p.id].generated_tokens for p in prompts] == [len(row) for row in expected]


def test_given_siblings_then_no_token_is_computed_twice_and_no_slot_leaks(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    shared = "Passage: Ada lives in Halden.\n\n"
    prompts = [Prompt(str(n), "S", shared, f"Q{n}", 3) for n in range(9)]
    _, _, engine = complete(folder, [prompts])
    engine._decoder.cache.validate()
    assert not engine._decoder.cache.rows
    # The tokens are bytes: the system line, the passage and the Q once, then each its number and two line ends.
    assert engine.counts().computed_tokens == len("S\n\n") + len(shared) + 1 + 9 * 3
    assert engine.counts().cached_tokens == 8 * (len("S\n\n") + len(shared) + 1)


def test_given_known_answers_then_a_longer_history_builds_on_the_shorter_one(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    known = [f"Known: Q{n} Answer: A\n" for n in range(3)]
    history = ["".join(known[:n]) for n in range(4)]
    prompts = [Prompt(str(n), "S", "P", f"{text}Question: {n}", 3, len(text)) for n, text in enumerate(history)]
    expected = one_by_one(folder, [f"S\n\nP{p.own}\n\n" for p in prompts], [3] * 4)

    async def run() -> tuple[list[Completion], EngineCounts]:
        engine = build(folder)
        await engine.start()
        found = [c for p in prompts async for group in engine.submit([p]) for c in group]
        await engine.close()
        return found, engine.counts()

    found, counts = asyncio.run(run())
    assert [c.generated_tokens for c in found] == [len(row) for row in expected]
    # One by one: the head, then each line that is new, and each prompt's question with two line ends.
    assert counts.computed_tokens == len("S\n\nP" + history[3]) + 4 * len("Question: 0\n\n")


def test_given_less_room_than_the_work_needs_then_work_waits_and_all_is_answered(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    prompts = random_prompts(30, seed=3)
    slot_bytes = 2 * 2 * 16 * 4
    _, found, engine = complete(folder, [prompts], kv_gib=420 * slot_bytes / (1 << 30))
    assert engine._decoder.cache.slots.capacity == 420
    assert sorted(found) == sorted(p.id for p in prompts)
    assert not any(completion.error for completion in found.values())


def test_given_a_prompt_larger_than_the_store_then_it_alone_fails_and_names_the_flag(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path)
    prompts = [Prompt("large", "S", "P" * 300, "Q", 3), Prompt("small", "S", "P", "Q", 3)]
    _, found, _ = complete(folder, [prompts], kv_gib=100 * 256 / (1 << 30))
    assert "--kv-gib" in (found["large"].error or "")
    assert found["small"].error is None


def test_given_a_model_that_it_does_not_cover_then_it_falls_back_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sliding = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}
    info, found, _ = complete(save_tiny_model(tmp_path, **sliding), [[Prompt("a", "S", "P", "Q", 3)]])
    assert info.engine == "transformers"
    assert "sliding-window" in caplog.text
    assert found["a"].generated_tokens
