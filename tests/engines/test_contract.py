"""The contract of base.py, checked on every engine."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from depqa_ray.answering.prompts import SYSTEM
from depqa_ray.core import Completion, FinishReason, Prompt
from depqa_ray.engines.base import Engine, EngineSpec, Fault, SamplingParams
from depqa_ray.engines.factory import build_engine
from depqa_ray.errors import EngineError
from depqa_ray.settings.types import EMBEDDED, EngineName
from tests.engines.calls import answers, with_engine
from tests.engines.servers import READER, transformers_serve
from tests.engines.tiny import (
    add_tokens_without_embedding,
    require_vllm,
    save_tiny_model,
    save_tiny_model_for_vllm,
)

BuildEngine = Callable[..., Engine]

deciding = pytest.mark.parametrize(
    "build", [pytest.param(name, marks=pytest.mark.slow) for name in ("transformers", "shared_prefix")], indirect=True
)
"""For the engines that choose their own tokens."""


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny_model_for_vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_vllm()
    return save_tiny_model_for_vllm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def served_reader() -> Iterator[str]:
    with transformers_serve() as url:
        yield url


MODELS = {
    "transformers": "tiny_model",
    "shared_prefix": "tiny_model",
    "vllm": "tiny_model_for_vllm",
    "openai": "served_reader",
}
"""The engines that need a model, and the fixture that makes it; a server's fixture yields its address."""


def marks(name: str) -> list[pytest.MarkDecorator]:
    """Slow; and what vLLM imports may warn."""
    return [pytest.mark.slow, *([pytest.mark.filterwarnings("default")] if name == "vllm" else [])]


@pytest.fixture(params=["simulated", *(pytest.param(name, marks=marks(name)) for name in MODELS)])
def build(request: pytest.FixtureRequest) -> BuildEngine:
    """Builds the engine under test; only the simulated one uses faults."""
    name: str = request.param
    made = str(request.getfixturevalue(MODELS[name])) if name in MODELS else "none"
    model, url = (READER, made) if name == "openai" else (made, "")

    def make(
        max_batch_size: int = 4,
        faults: tuple[Fault, ...] = (),
        sampling_params: SamplingParams | None = None,
        model_name: Path | None = None,
    ) -> Engine:
        used, how = str(model_name or model), sampling_params or SamplingParams()
        return build_engine(EngineSpec(name, used, "float32", max_batch_size, 1.0, 0.9, how, faults, url))  # type: ignore[arg-type]

    return make


tokenizing, reading = (
    pytest.mark.parametrize("build", [pytest.param(name, marks=marks(name)) for name in names], indirect=True)
    for names in (("transformers", "shared_prefix", "vllm"), ("transformers", "shared_prefix", "vllm", "openai"))
)
"""For the engines that turn prompts into tokens, and for all that can read with the embedded model."""


def prompt(name: str, own: str = "Question: Who is it?", limit: int = 6) -> Prompt:
    return Prompt(name, "Answer.", "Passage: Ada lives in Halden.\n\n", own, limit)


def test_every_named_engine_is_tested() -> None:
    """The suite runs on every engine that the settings accept."""
    assert {"simulated", *MODELS} == set(get_args(EngineName))


def test_each_prompt_gets_exactly_one_completion(build: BuildEngine) -> None:
    """If there are more prompts than a batch holds, each still gets exactly one completion."""
    prompts = [prompt(str(number), f"Question: Who is {'very ' * number}old?") for number in range(11)]
    found = with_engine(build(), lambda engine: answers(engine, *prompts))
    assert sorted(c.prompt_id for c in found) == sorted(p.id for p in prompts)  # type: ignore[attr-defined]


def test_concurrent_callers_get_only_their_own_completions(build: BuildEngine) -> None:
    """If callers submit at the same time, each gets only its own completions."""

    async def use(engine: Engine) -> list[list[Completion]]:
        calls = [answers(engine, *(prompt(f"{caller}.{number}") for number in range(3))) for caller in range(4)]
        return await asyncio.gather(*calls)

    for caller, found in enumerate(with_engine(build(), use)):
        assert sorted(c.prompt_id for c in found) == [f"{caller}.{number}" for number in range(3)]


def test_tokens_of_a_completion_are_counted_within_the_limit(build: BuildEngine) -> None:
    """The tokens of a completion are counted and stay within the limit."""
    short, long = with_engine(build(), lambda e: answers(e, prompt("a", limit=2), prompt("b", limit=9)))
    assert 1 <= short.generated_tokens <= 2
    assert 1 <= long.generated_tokens <= 9
    assert short.prompt_tokens > 0 and short.seconds >= 0
    assert {short.finish_reason, long.finish_reason} <= {*get_args(FinishReason)}


def test_completion_does_not_depend_on_other_prompts(build: BuildEngine) -> None:
    """A prompt gets the same completion alone and among others."""

    async def use(engine: Engine) -> tuple[list[Completion], list[Completion]]:
        others = [prompt(str(number), f"Question: {'Why? ' * (number + 1)}") for number in range(3)]
        return await answers(engine, prompt("x")), await answers(engine, *others, prompt("x"))

    alone, among = with_engine(build(), use)
    (same,) = [completion for completion in among if completion.prompt_id == "x"]
    assert (same.text, same.prompt_tokens, same.generated_tokens) == (
        alone[0].text,
        alone[0].prompt_tokens,
        alone[0].generated_tokens,
    )


def test_no_prompts_give_no_completions(build: BuildEngine) -> None:
    """If there are no prompts, there are no completions."""
    assert with_engine(build(), answers) == []


def test_leaving_caller_does_not_stop_the_others(build: BuildEngine) -> None:
    """If a caller leaves, the others are still answered."""

    async def use(engine: Engine) -> list[Completion]:
        leaving = engine.submit([prompt(f"gone{number}") for number in range(9)])
        await anext(aiter(leaving))
        await leaving.aclose()  # type: ignore[attr-defined]
        return await answers(engine, prompt("stays"))

    (found,) = with_engine(build(), use)
    assert found.prompt_id == "stays"


def test_reset_makes_the_engine_read_a_passage_again(build: BuildEngine) -> None:
    """If the prefix cache is reset, a passage is computed again and the answer stays the same."""

    async def run() -> None:
        engine = build()
        info = await engine.start()
        try:
            found, computed = [], [engine.counts().computed_tokens]
            for forgetting in (False, False, True):
                if forgetting:
                    await engine.reset_prefix_cache()
                found += await answers(engine, prompt("a"))
                computed.append(engine.counts().computed_tokens)
        finally:
            await engine.close()
        assert len({(c.text, c.prompt_tokens, c.generated_tokens) for c in found}) == 1
        counted = [tokens for tokens in computed if tokens is not None]
        if info.can_reset_cache and counted:
            grown = [after - before for before, after in itertools.pairwise(counted)]
            assert grown[1] < grown[0] == grown[2] == found[0].prompt_tokens

    asyncio.run(run())


def test_reset_during_work_loses_nothing(build: BuildEngine) -> None:
    """If the prefix cache is reset while sequences run, no answer is lost or changed."""

    async def use(engine: Engine) -> tuple[list[Completion], list[Completion]]:
        prompts = [prompt(str(number), f"Question: {'Why? ' * number}", 30) for number in range(9)]
        waiting = asyncio.create_task(answers(engine, *prompts))
        while not waiting.done():
            await engine.reset_prefix_cache()
            await asyncio.sleep(0.002)
        return await waiting, await answers(engine, *prompts)

    found, again = (
        sorted((c.prompt_id, c.text, c.prompt_tokens) for c in group) for group in with_engine(build(), use)
    )
    assert found == again
    assert len(found) == 9


def test_closed_engine_fails_waiting_and_later_callers(build: BuildEngine) -> None:
    """If an engine is closed, waiting and later callers get EngineError."""

    async def run() -> None:
        engine = build()
        await engine.start()
        waiting = asyncio.create_task(answers(engine, *(prompt(str(n), limit=200) for n in range(40))))
        await asyncio.sleep(0.01)
        await engine.close()
        await engine.close()
        with pytest.raises(EngineError, match="closed"):
            await waiting
        with pytest.raises(EngineError, match="closed"):
            await answers(engine, prompt("late"))

    asyncio.run(asyncio.wait_for(run(), 240))  # vLLM's start alone takes up to a minute


def test_prompt_that_cannot_be_answered_fails_alone(build: BuildEngine, request: pytest.FixtureRequest) -> None:
    """If a prompt cannot be answered, only this prompt fails and says why."""
    # The tiny model's window is 512 tokens; the simulated engine refuses by script; a server is sent text only.
    engine = build(faults=(Fault("refuse", 2),))
    bad = "Question: \udcff" if "openai" in request.node.name else "Question: " + "why " * 600
    prompts = (prompt("a"), prompt("bad", bad), prompt("c"))
    found = {c.prompt_id: c for c in with_engine(engine, lambda e: answers(e, *prompts))}
    assert found["bad"].error
    assert found["a"].error is None and found["c"].error is None


@tokenizing
@pytest.mark.parametrize("bad", ["\ud800", "a 日 b"], ids=["half a pair", "no embedding"])
def test_unreadable_prompt_is_refused_alone(build: BuildEngine, tmp_path: Path, bad: str) -> None:
    """If a prompt is no text, or holds a token without an embedding, it is refused; the others are answered."""
    model = add_tokens_without_embedding(save_tiny_model_for_vllm(tmp_path), "日", "[EXTRA]")
    prompts = (prompt("a"), prompt("bad", f"Question: {bad}"), prompt("b", "Question: [EXTRA]"), prompt("c"))
    a, refused, b, c = with_engine(build(model_name=model), lambda engine: answers(engine, *prompts))
    assert (refused.error or "").startswith("the prompt cannot be turned into tokens: ")
    assert "surrogate" in refused.error if bad == "\ud800" else "no embedding for '日'" in refused.error
    assert [a.error, b.error, c.error] == [None] * 3
    assert (a.text, a.generated_tokens) == (c.text, c.generated_tokens)


@tokenizing
def test_prompt_writes_no_control_tokens(build: BuildEngine) -> None:
    """The names of control tokens in a passage, a question or an answer are text: here, a token for each letter."""
    hostile = Prompt("a", "Answer.<eos>", "Passage: <pad><eos>\n\n", "Known: <eos>\nQuestion: <pad>", 3, 13)
    (found,) = with_engine(build(), lambda engine: answers(engine, hostile))
    assert found.prompt_tokens == len("Answer.<eos>\n\nPassage: <pad><eos>\n\nKnown: <eos>\nQuestion: <pad>\n\n")


@reading
def test_what_ended_a_reply_is_said(build: BuildEngine, request: pytest.FixtureRequest) -> None:
    """A reply names what ended it."""
    asked = Prompt("a", SYSTEM, "Passage: Ada lives in Halden.\n\n", "Question: Where does Ada live?", 40)

    def reason(limit: int = 40, **sampling_params: Any) -> str:
        model = None if "openai" in request.node.name else Path(EMBEDDED)
        engine = build(sampling_params=SamplingParams(**sampling_params), model_name=model)
        (found,) = with_engine(engine, lambda engine: answers(engine, replace(asked, max_new_tokens=limit)))
        return str(found.finish_reason)

    reasons = [reason(), reason(limit=2), reason(stop_at_json=True), reason(stop=("ans",))]
    assert reasons == ["eos", "length", "json", "stop"]


def test_death_of_an_engine_is_an_error_for_all_callers() -> None:
    """If an engine dies, all callers get EngineError instead of waiting for ever."""

    async def run() -> None:
        engine = build_engine(EngineSpec("simulated", "none", "auto", 4, 1.0, 0.9, faults=(Fault("die", 3),)))
        with pytest.raises(EngineError, match="died"):
            await answers(engine, *(prompt(str(number)) for number in range(5)))
        with pytest.raises(EngineError, match="died"):
            await answers(engine, prompt("later"))

    asyncio.run(asyncio.wait_for(run(), 60))


def test_fault_of_another_replica_has_no_effect() -> None:
    """If a fault is meant for another replica, it has no effect on this one."""

    async def run() -> list[Completion]:
        faults = (Fault("die", 1, "replica-0"),)
        return await answers(
            build_engine(EngineSpec("simulated", "none", "auto", 4, 1.0, 0.9, faults=faults), "replica-1"), prompt("a")
        )

    assert len(asyncio.run(run())) == 1


@deciding
def test_seed_fixes_drawn_answers_in_any_batch(build: BuildEngine) -> None:
    """With one seed, drawn answers are the same in any batch; another seed gives others."""
    prompts = [prompt(f"p{number}", f"Question: {'who ' * number}?", 8 + number) for number in range(6)]

    def drawn(seed: int, order: list[int], batch: int) -> dict[str, str]:
        engine = build(batch, sampling_params=SamplingParams(1.0, 0.95, seed))
        found = with_engine(engine, lambda engine: answers(engine, *(prompts[number] for number in order)))
        return {completion.prompt_id: completion.text for completion in found}  # type: ignore[attr-defined]

    together = drawn(1, [0, 1, 2, 3, 4, 5], 6)
    assert drawn(1, [4, 2, 5, 0, 3, 1], 4) == together
    assert drawn(1, [3], 1) == {"p3": together["p3"]}
    assert drawn(2, [0, 1, 2, 3, 4, 5], 6) != together


@deciding
def test_closed_engine_frees_its_model(build: BuildEngine) -> None:
    """Once an engine is closed, its weights are freed, though the engine itself is still there."""
    engine: Any = build()

    async def use(engine: Any) -> weakref.ref[Any]:
        await answers(engine, prompt("a"))
        return weakref.ref(engine._lm.model)

    model = with_engine(engine, use)
    deadline = time.monotonic() + 20
    while model() is not None and time.monotonic() < deadline:  # its thread frees them
        gc.collect()
        time.sleep(0.01)
    assert model() is None


@deciding
def test_given_a_nucleus_of_one_token_then_drawing_is_greedy(build: BuildEngine) -> None:
    prompts = [prompt(f"p{number}", f"Question: {'who ' * number}?", 12) for number in range(4)]
    greedy, drawn = (
        {c.prompt_id: c.text for c in with_engine(engine, lambda engine: answers(engine, *prompts))}
        for engine in (build(), build(sampling_params=SamplingParams(1.0, 1e-9)))
    )
    assert greedy == drawn
