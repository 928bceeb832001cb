"""The shared-prefix engine against ``generate`` on one prompt at a time."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineCounts, EngineInfo, EngineSpec, SamplingParams
from depqa_ray.errors import EngineError, StartError
from depqa_ray.settings.types import DtypeName
from tests.engines.damage import NO_SYSTEM_ROLE, SILENT_ON_SYSTEM, write_nan
from tests.engines.local.test_transformers import one_by_one
from tests.engines.tiny import save_tiny_model

pytestmark = pytest.mark.slow

GIB = 1 << 30
SLOT_BYTES = 2 * 2 * 16 * 4  # of the tiny model, in float32: keys and values, two layers of one head of 16


def build(folder: Path, max_batch_size: int = 16, kv_gib: float = 0.01, dtype: DtypeName = "float32") -> Any:
    from depqa_ray.engines.shared_prefix.engine import SharedPrefixEngine

    return SharedPrefixEngine(EngineSpec("shared_prefix", str(folder), dtype, max_batch_size, kv_gib, 0.9))


def complete(
    folder: Path,
    callers: list[list[Prompt]],
    max_batch_size: int = 16,
    kv_gib: float = 0.01,
    before: Callable[[Any], None] = lambda engine: None,
) -> tuple[EngineInfo, dict[str, Completion], Any]:
    """Submit each list of prompts by its own caller, all at once."""

    async def run() -> tuple[EngineInfo, dict[str, Completion], Any]:
        engine = build(folder, max_batch_size, kv_gib)
        info = await engine.start()
        before(engine)
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


@pytest.mark.parametrize(("architecture", "count"), [("Qwen3", 1000), ("Llama", 1000), ("Qwen2", 60), ("Mistral", 60)])
def test_tokens_equal_generate_in_any_batch(tmp_path: Path, architecture: str, count: int) -> None:
    """For random prompts in any batch, tokens equal those of generate one by one."""
    from transformers import AutoTokenizer

    folder = save_tiny_model(tmp_path, architecture=architecture)
    prompts = random_prompts(count, seed=1)
    texts = [f"{p.system}\n\n{p.passage_text}{p.question_text}\n\n" for p in prompts]
    expected = one_by_one(folder, texts, [p.max_new_tokens for p in prompts])
    random.Random(2).shuffle(order := list(prompts))
    # Too few slots for all at once: sequences wait, prefixes are evicted and computed again.
    info, found, engine = complete(folder, [order[:7], order[7:30], order[30:]], kv_gib=1000 * SLOT_BYTES / GIB)
    engine._batcher.cache.validate()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert info.engine == "shared_prefix"
    for prompt, text, row in zip(prompts, texts, expected, strict=True):
        completion = found[prompt.id]
        assert completion.text == tokenizer.decode(row, skip_special_tokens=True), f"prompt {prompt.id}"
        assert (completion.prompt_tokens, completion.generated_tokens) == (len(text.encode()), len(row))


def test_chunks_of_a_long_prompt_add_up(tmp_path: Path) -> None:
    """If a prompt is longer than a step, its chunks give as many tokens as generate does."""
    folder = save_tiny_model(tmp_path, max_position_embeddings=2048)
    prompts = [Prompt(str(n), "S", "long passage " * 60, "q" * (n + 600), 5) for n in range(3)]
    expected = one_by_one(folder, [f"{p.system}\n\n{p.passage_text}{p.question_text}\n\n" for p in prompts], [5] * 3)
    _, found, _ = complete(folder, [prompts])
    assert [found[p.id].generated_tokens for p in prompts] == [len(row) for row in expected]


def test_siblings_compute_no_token_twice_and_leak_no_slot(tmp_path: Path) -> None:
    """If prompts share a prefix, no token is computed twice and no slot leaks."""
    folder = save_tiny_model(tmp_path)
    shared = "Passage: Ada lives in Halden.\n\n"
    prompts = [Prompt(str(n), "S", shared, f"Q{n}", 3) for n in range(9)]
    _, _, engine = complete(folder, [prompts])
    engine._batcher.cache.validate()
    assert not engine._batcher.cache.leaves
    # Tokens are bytes: the system line, the passage and the Q once, then a number and two line ends for each.
    assert engine.counts().computed_tokens == len("S\n\n") + len(shared) + 1 + 9 * 3
    assert engine.counts().cached_tokens == 8 * (len("S\n\n") + len(shared) + 1)


def test_reset_keeps_only_what_a_running_sequence_uses(tmp_path: Path) -> None:
    """If the prefix cache is reset while a sequence runs, only the prefixes that it uses are kept."""
    from depqa_ray.engines.shared_prefix.engine import SharedPrefixEngine

    folder = save_tiny_model(tmp_path)
    spec = EngineSpec("shared_prefix", str(folder), "float32", 16, 0.01, 0.9, SamplingParams(fixed_length=True))
    used, left = (f"{name} lives in Halden.\n\n" for name in ("Ada", "Bea"))

    async def run() -> tuple[int, int]:
        engine = SharedPrefixEngine(spec)
        await engine.start()

        async def ask(shared: str, own: str, limit: int = 1) -> int:
            before = engine.counts().computed_tokens or 0
            async for (completion,) in engine.submit([Prompt(own, "S", shared, own, limit)]):
                assert completion.error is None
            return (engine.counts().computed_tokens or 0) - before

        await ask(left, "x")
        running = asyncio.create_task(ask(used, "y", 400))
        while not engine._batcher.cache.leaves:
            await asyncio.sleep(0)
        await engine.reset_prefix_cache()
        grown = await ask(used, "z"), await ask(left, "z")
        assert not running.done()
        await running
        engine._batcher.cache.validate()
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await engine.reset_prefix_cache()
        return grown

    # The first computes its question and two line ends, the second its passage too; the system line is in use.
    assert asyncio.run(run()) == (3, 3 + len(left))


def test_longer_history_builds_on_the_shorter_one(tmp_path: Path) -> None:
    """If a history of known answers grows, only its new lines are computed."""
    folder = save_tiny_model(tmp_path)
    known = [f"Known: Q{n} Answer: A\n" for n in range(3)]
    history = ["".join(known[:n]) for n in range(4)]
    prompts = [Prompt(str(n), "S", "P", f"{text}Question: {n}", 3, len(text)) for n, text in enumerate(history)]
    expected = one_by_one(folder, [f"S\n\nP{p.question_text}\n\n" for p in prompts], [3] * 4)

    async def run() -> tuple[list[Completion], EngineCounts]:
        engine = build(folder)
        await engine.start()
        found = [c for p in prompts async for group in engine.submit([p]) for c in group]
        await engine.close()
        return found, engine.counts()

    found, counts = asyncio.run(run())
    assert [c.generated_tokens for c in found] == [len(row) for row in expected]
    # The head once, then each new line, and each prompt's question with two line ends.
    assert counts.computed_tokens == len("S\n\nP" + history[3]) + 4 * len("Question: 0\n\n")


def test_work_waits_for_free_slots_and_all_is_answered(tmp_path: Path) -> None:
    """If the work needs more slots than there are, it waits and all prompts are answered."""
    folder = save_tiny_model(tmp_path)
    prompts = random_prompts(30, seed=3)
    _, found, engine = complete(folder, [prompts], kv_gib=420 * SLOT_BYTES / GIB)
    assert engine._batcher.cache.slots.capacity == 420
    assert sorted(found) == sorted(p.id for p in prompts)
    assert not any(completion.error for completion in found.values())


def test_prompt_larger_than_the_pool_fails_alone(tmp_path: Path) -> None:
    """If a prompt exceeds the KV pool, only this prompt fails and its error names --kv-gib."""
    folder = save_tiny_model(tmp_path)
    prompts = [Prompt("large", "S", "P" * 300, "Q", 3), Prompt("small", "S", "P", "Q", 3)]
    _, found, _ = complete(folder, [prompts], kv_gib=100 * SLOT_BYTES / GIB)
    assert "--kv-gib" in (found["large"].error or "")
    assert found["small"].error is None


def test_unsupported_model_falls_back_to_transformers(tmp_path: Path) -> None:
    """If the engine does not support a model, it falls back to transformers and a note says why."""
    sliding = {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}
    info, found, _ = complete(save_tiny_model(tmp_path, **sliding), [[Prompt("a", "S", "P", "Q", 3)]])
    assert info.engine == "transformers"
    assert info.notes[0] == (
        "Batched generate of transformers answers instead of shared_prefix: shared prefixes are not supported with "
        "sliding-window attention."
    )
    assert found["a"].generated_tokens


@pytest.mark.parametrize("architecture", ["Qwen3", "Qwen2", "Llama"])
def test_bfloat16_logits_are_as_exact_as_those_of_transformers(tmp_path: Path, architecture: str) -> None:
    """In bfloat16, logits are about as near to float32 as those of transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save_tiny_model(tmp_path, architecture=architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompts = random_prompts(40, seed=5)
    logits: dict[str, torch.Tensor] = {}

    async def run() -> None:
        engine = build(folder, dtype="bfloat16")
        await engine.start()
        last: list[torch.Tensor] = []
        engine._lm.model.get_output_embeddings().register_forward_hook(lambda *call: last.append(call[2]))
        for prompt in prompts:
            async for _ in engine.submit([prompt]):
                logits[prompt.id] = last[0][0].float()
            last.clear()
        await engine.close()

    asyncio.run(run())
    exact = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    ours_off, theirs_off = [], []
    for prompt in prompts:
        ids = tokenizer(
            f"{prompt.system}\n\n{prompt.passage_text}{prompt.question_text}\n\n", return_tensors="pt"
        ).input_ids
        with torch.inference_mode():
            right, rounded = (model(ids).logits[0, -1].float() for model in (exact, theirs))
        ours_off.append((logits[prompt.id] - right).abs().max().item())
        theirs_off.append((rounded - right).abs().max().item())
    # The tolerance: 1.5 times the distance of transformers' own bfloat16 from float32, on average and at most.
    assert sum(ours_off) <= 1.5 * sum(theirs_off)
    assert max(ours_off) <= 1.5 * max(theirs_off)


def test_prompt_that_just_fits_the_pool_is_answered(tmp_path: Path) -> None:
    """If a prompt just fits the KV pool, it is answered."""
    folder = save_tiny_model(tmp_path)
    prompts = [Prompt("a", "S", "P" * 387, "Q", 2), Prompt("b", "S", "P", "Q", 2)]
    _, found, _ = complete(folder, [prompts], kv_gib=400 * SLOT_BYTES / GIB)
    assert {id_: c.error for id_, c in found.items()} == {"a": None, "b": None}


def test_prompt_that_cannot_be_tokens_fails_alone(tmp_path: Path) -> None:
    """If a prompt cannot be turned into tokens, only this prompt fails and says why."""
    prompts = [Prompt("bad", "S", "P", "\ud800", 2), Prompt("good", "S", "P", "Q", 2)]
    _, found, _ = complete(save_tiny_model(tmp_path), [prompts])
    assert "cannot be turned into tokens" in (found["bad"].error or "")
    assert found["good"].error is None


def test_refusing_chat_template_is_a_one_line_error_at_start(tmp_path: Path) -> None:
    """If the chat template raises an error, starting fails with its message in one line."""
    folder = save_tiny_model(tmp_path, chat_template="{{ raise_exception('no system messages') }}")
    with pytest.raises(EngineError, match=r"no system messages") as caught:
        asyncio.run(build(folder).start())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("template", [NO_SYSTEM_ROLE, SILENT_ON_SYSTEM])
def test_prefixes_are_shared_without_a_system_role(tmp_path: Path, template: str) -> None:
    """If the system line precedes the user's text, siblings still share it with the passage."""
    folder = save_tiny_model(tmp_path, chat_template=template)
    shared = "Passage: Ada lives in Halden.\n\n"
    prompts = [Prompt(str(n), "S", shared, f"Q{n}", 3) for n in range(9)]
    info, _, engine = complete(folder, [prompts])
    assert any("takes no system role" in note for note in info.notes)
    assert engine.counts().computed_tokens == len("[user]S\n\n") + len(shared) + 1 + 9 * len("0[model]")


@pytest.mark.parametrize("part", ["q_norm", "k_proj", "up_proj", "gate_proj", "model.norm", "input_layernorm"])
def test_nan_in_bfloat16_ends_the_start_wherever_it_is(tmp_path: Path, part: str) -> None:
    """If weights are NaN, no kernel hides it: the start fails, and the error says to try float32."""
    write_nan(save_tiny_model(tmp_path), part)
    with pytest.raises(StartError, match=r"not numbers \(NaN.*\) in bfloat16; try --dtype float32, fetch it again"):
        asyncio.run(build(tmp_path, dtype="bfloat16").start())


@pytest.mark.parametrize("with_kernel", [True, False])
def test_slots_of_a_failed_row_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_kernel: bool) -> None:
    """If a row turns to NaN, the rows beside it and those that get its slots later are answered as without it."""
    if not with_kernel:
        monkeypatch.setattr("depqa_ray.engines.shared_prefix.batch.kernel_for", lambda pool, group: None)
    folder = save_tiny_model(tmp_path, tie_word_embeddings=False)
    spec = EngineSpec("shared_prefix", str(folder), "float32", 16, 0.01, 0.9, SamplingParams(fixed_length=True))
    # Ranges of one size. Beside the longer one, the shorter one's slots are read before they are written.
    good = [Prompt("long", "S", "P", "q" * 40, 8), Prompt("short", "S", "P", "q", 47)]
    bad = [Prompt(f"bad{n}", "S", "P", "Z" + "q" * 39, 8) for n in range(3)]
    bad += [Prompt("worse", "S", "PZ", "q" * 40, 8), Prompt("worst", "SZ", "P", "q", 47)]

    async def run(*groups: list[Prompt]) -> list[Completion]:
        from depqa_ray.engines.shared_prefix.engine import SharedPrefixEngine

        engine = SharedPrefixEngine(spec)
        await engine.start()
        found = [c for group in groups async for some in engine.submit(group) for c in some]
        await engine.close()
        return found

    expected = {completion.prompt_id: completion.text for completion in asyncio.run(run(good))}
    write_nan(folder, "embed_tokens", row=2 + ord("Z") - ord("!"))
    found = asyncio.run(run([*bad, *good], good, bad, good))
    assert len(found) == 3 * len(good) + 2 * len(bad)
    for completion in found:
        if completion.prompt_id in expected:
            assert (completion.error, completion.text) == (None, expected[completion.prompt_id])
        else:
            assert "not numbers (NaN" in (completion.error or "")


def run_out_of_memory(engine: Any, steps: set[int]) -> None:
    """Make the model raise a GPU's error at the numbered steps from now on."""
    import torch

    taken = itertools.count(1)

    def hook(*_: object) -> None:
        if next(taken) in steps:
            raise torch.OutOfMemoryError("CUDA out of memory")

    engine._lm.model.base_model.register_forward_pre_hook(hook)


@pytest.mark.parametrize("at", [1, 4])
def test_out_of_memory_once_halves_the_batch_and_keeps_answers(tmp_path: Path, at: int) -> None:
    """If memory runs out once, half of the sequences go on and all answers stay the same."""
    folder = save_tiny_model(tmp_path)
    prompts = random_prompts(12, seed=7)
    _, expected, _ = complete(folder, [prompts])
    _, found, engine = complete(folder, [prompts], before=lambda engine: run_out_of_memory(engine, {at}))
    assert {id_: (c.text, c.error) for id_, c in found.items()} == {id_: (c.text, None) for id_, c in expected.items()}
    assert engine.counts().out_of_memory == 1
    assert engine._batcher._max_sequences in (5, 6)
    engine._batcher.cache.validate()


def test_out_of_memory_twice_fails_only_that_step(tmp_path: Path) -> None:
    """If memory runs out twice in a row, that step fails and the engine goes on."""
    folder = save_tiny_model(tmp_path)
    prompts = random_prompts(12, seed=7)
    _, found, engine = complete(folder, [prompts], before=lambda engine: run_out_of_memory(engine, {1, 2}))
    failed = [c for c in found.values() if c.error]
    assert len(failed) == 6 and all("out of memory" in (c.error or "") for c in failed)
    assert len(found) == 12 and engine.counts().out_of_memory == 2
    engine._batcher.cache.validate()


def test_leaving_callers_free_their_sequences(tmp_path: Path) -> None:
    """If callers leave at any time, their sequences are freed and the other callers are answered."""
    folder = save_tiny_model(tmp_path)
    prompts = random_prompts(60, seed=9)
    _, expected, _ = complete(folder, [prompts])

    async def run() -> Any:
        engine = build(folder)
        await engine.start()
        draw = random.Random(1)

        async def leave(group: list[Prompt]) -> None:
            answers = engine.submit(group)
            call = asyncio.ensure_future(anext(aiter(answers)))
            await asyncio.sleep(draw.random() * 0.03)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await answers.aclose()

        async def stay(group: list[Prompt]) -> list[Completion]:
            return [c for answers in [engine.submit(group)] async for some in answers for c in some]

        leaving = [leave([replace(p, max_new_tokens=12) for p in prompts[n : n + 7]]) for n in range(0, 49, 7)]
        answered, *_ = await asyncio.gather(stay(prompts[49:]), *leaving)
        answered += await stay(prompts[:1])  # the departures are processed before this is
        await engine.close()
        return engine, answered

    engine, answered = asyncio.run(asyncio.wait_for(run(), 60))
    assert {c.prompt_id: c.text for c in answered} == {p.id: expected[p.id].text for p in (*prompts[49:], prompts[0])}
    assert not engine._batcher.busy() and not engine._batcher.cache.leaves
    engine._batcher.cache.validate()


def test_pool_without_memory_names_the_flag_to_change(tmp_path: Path) -> None:
    """If the KV pool has too little memory, the error names the flag to change."""
    engine = build(save_tiny_model(tmp_path), kv_gib=1e-9)
    with pytest.raises(EngineError, match="--kv-gib"):
        asyncio.run(engine.start())
