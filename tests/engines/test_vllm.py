"""The vLLM engine against transformers, and its requests to vLLM. Each start of vLLM takes half a minute."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from depqa_ray.answering.prompts import SYSTEM, batch_part, edges_part, question_part
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.base import EngineSpec, SamplingParams
from depqa_ray.engines.local.chat import Chat
from depqa_ray.engines.local.detokenizer import TokenTexts
from depqa_ray.engines.local.generation import row_seed
from depqa_ray.engines.local.transformers import TransformersEngine
from depqa_ray.engines.vllm import VllmEngine
from depqa_ray.errors import EngineError, StartError
from depqa_ray.settings.types import EMBEDDED, DeviceName
from tests.engines.byte_tokens import byte_tokenizer, ids_of
from tests.engines.calls import answers, with_engine
from tests.engines.damage import remove_tokenizer, truncate
from tests.engines.tiny import BARE, require_vllm, save_tiny_model, save_tiny_model_for_vllm

pytestmark = pytest.mark.filterwarnings("default")  # what vLLM imports may warn

PROMPTS = [Prompt(str(n), "S", "P " * 40 * n, "Q" * (3 * n % 7 + 1), 20) for n in range(6)]
PASSAGE = "Passage: Velcarn was founded by Mira Oston. Mira Oston was born in Harrowick.\n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    require_vllm()
    return save_tiny_model_for_vllm(tmp_path)


def spec(model: Path | str, **sampling_params: Any) -> EngineSpec:
    return EngineSpec("vllm", str(model), "float32", 8, 0.25, 0.9, SamplingParams(**sampling_params))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("utf-8").split()]


def engine_core() -> int:
    """The process of ours that vLLM's engine runs in."""
    names = {pid: Path(f"/proc/{pid}/comm").read_text("utf-8").strip() for pid in children_of(os.getpid())}
    (core,) = [pid for pid, name in names.items() if "Engine" in name]
    return core


def test_given_no_vllm_then_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(EngineError, match=r"vLLM is not installed.*pip install 'depqa-ray\[vllm\]'") as caught:
        asyncio.run(VllmEngine(spec("none")).start())
    assert "\n" not in str(caught.value)


@pytest.fixture
def fake_vllm(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """As much of vLLM as the checks before its start ask; a build for CPUs."""
    platform = SimpleNamespace(is_cpu=lambda: True)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm.platforms", SimpleNamespace(current_platform=platform))
    return platform


@pytest.mark.parametrize(
    ("device", "on_cpu", "reason"),
    [
        ("cuda", True, r"this vLLM is a build for CPUs: pip install .*--gpus-per-replica 0"),
        ("cpu", False, r"this vLLM is a build for GPUs: cluster/install_vllm_cpu\.sh .*--gpus-per-replica 1"),
        ("cuda", False, r"cannot use it: torch .*--gpus-per-replica 0"),
    ],
)
def test_build_for_another_device_ends_the_start(
    fake_vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, device: DeviceName, on_cpu: bool, reason: str
) -> None:
    """If vLLM cannot compute where the replica is to, the start ends and says what to install."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    fake_vllm.is_cpu = lambda: on_cpu
    with pytest.raises(StartError, match=reason) as caught:
        asyncio.run(VllmEngine(replace(spec("none"), device=device)).start())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_damaged_model_never_reaches_vllm(fake_vllm: SimpleNamespace, tmp_path: Path) -> None:
    """If a file is damaged or the tokenizer missing, the start ends before vLLM's processes are started."""
    save_tiny_model(tmp_path)
    truncate(tmp_path / "model.safetensors")
    with pytest.raises(StartError, match=r"model\.safetensors is damaged"):
        asyncio.run(VllmEngine(spec(tmp_path)).start())
    remove_tokenizer(save_tiny_model(tmp_path))
    with pytest.raises(StartError, match="tokenizer does not give a text back"):
        asyncio.run(VllmEngine(spec(tmp_path)).start())


@pytest.mark.slow
@pytest.mark.parametrize(("error", "lasting"), [(ValueError("bad\nvalue"), True), (RuntimeError("it\nended"), False)])
def test_death_of_vllm_at_its_start_may_be_retried(
    fake_vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, lasting: bool
) -> None:
    """If vLLM refuses the model, no replica could start it; if its process ended, another may."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("depqa_ray.engines.vllm._start_vllm", fail)
    with pytest.raises(EngineError, match="vLLM cannot load the model") as caught:
        asyncio.run(VllmEngine(spec(save_tiny_model(tmp_path))).start())
    assert isinstance(caught.value, StartError) is lasting
    assert "\n" not in str(caught.value)


def test_seed_of_a_prompt_is_stable_and_fits() -> None:
    """The seed of a prompt follows from the seed and its id, and fits into 63 bits."""
    seeds = [row_seed(seed, name) for seed in (0, 1) for name in ("a", "b")]
    assert seeds[0] == 6_612_858_177_627_257_344
    assert len(set(seeds)) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_unnoticed_death_of_vllm_is_no_refused_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """If vLLM has not noted its own death yet, the prompt does not count as refused."""
    require_vllm()
    from vllm.v1.engine.exceptions import EngineDeadError

    engine = VllmEngine(spec("none"))
    engine._llm = SimpleNamespace(errored=False, model_config=SimpleNamespace(max_model_len=512))

    def first_sight_of_it(*_: object) -> None:
        raise EngineDeadError

    engine._chat = SimpleNamespace(ids=first_sight_of_it)  # type: ignore[assignment]
    with pytest.raises(EngineError, match="vLLM died"):
        asyncio.run(answers(engine, PROMPTS[0]))


FINISHES = {
    "json": (SamplingParams(stop_at_json=True), b'{"answer": "x"}', "stop", None, '{"answer": "x"}', "json"),
    "json at the limit": (SamplingParams(stop_at_json=True), b'{"a": 1}', "length", None, '{"a": 1}', "json"),
    "cut json": (SamplingParams(stop_at_json=True), b'{"answer": "x', "length", None, '{"answer": "x', "length"),
    "stop string": (SamplingParams(stop=("ab",)), b"xabc", "stop", "ab", "x", "stop"),
    "end token": (SamplingParams(stop=("q",)), b"x", "stop", None, "x", "eos"),
    "another end token": (SamplingParams(), b"x", "stop", 7, "x", "eos"),
    "fixed": (
        SamplingParams(stop=("a",), stop_at_json=True, fixed_length=True),
        b"{}a",
        "length",
        None,
        "{}a",
        "length",
    ),
}


@pytest.mark.parametrize("case", FINISHES)
def test_reasons_of_vllm_are_told_apart(fake_vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """An object that closed, a stop string, an end token and the limit are told apart."""
    params, text, reason, stop, wanted, ended = FINISHES[case]
    request, found = fake_answer(monkeypatch, BARE, params, text, reason, stop)
    assert (found.text, found.finish_reason) == (wanted, ended)
    assert (request["structured_outputs"] is not None) is case.endswith(("json", "limit"))


def test_opened_thought_is_not_held_to_the_schema(fake_vllm: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the template opens a thought, the model may think: the text has the tag, and is cut behind the object."""
    params, text = SamplingParams(stop_at_json=True), b'{"a": 1}</think>{"b": 2} and more'
    request, found = fake_answer(monkeypatch, BARE + "<think>", params, text, "stop", None)
    assert request["structured_outputs"] is None
    assert (found.text, found.finish_reason) == ('<think>{"a": 1}</think>{"b": 2}', "json")


def fake_answer(
    monkeypatch: pytest.MonkeyPatch,
    template: str,
    params: SamplingParams,
    text: bytes,
    reason: str,
    stop: int | str | None,
) -> tuple[dict[str, Any], Completion]:
    """The sampling fields that vLLM is asked with, and the engine's completion of what it answers."""
    made = SimpleNamespace(SamplingParams=lambda **fields: fields)
    of_sampling = SimpleNamespace(RequestOutputKind=SimpleNamespace(DELTA=0), StructuredOutputsParams=lambda **how: how)
    monkeypatch.setitem(sys.modules, "vllm", made)
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", of_sampling)
    monkeypatch.setitem(sys.modules, "vllm.inputs", SimpleNamespace(tokens_input=list))
    tokenizer = byte_tokenizer([text], chat_template=template)
    asked: list[dict[str, Any]] = []

    async def generate(ids: list[int], fields: dict[str, Any], number: str) -> AsyncIterator[Any]:
        asked.append(fields)
        output = SimpleNamespace(token_ids=ids_of(tokenizer, [text]), finish_reason=reason, stop_reason=stop)
        yield SimpleNamespace(outputs=[output], num_cached_tokens=0)

    engine = VllmEngine(replace(spec("none"), sampling_params=params))
    engine._llm = SimpleNamespace(generate=generate, model_config=SimpleNamespace(max_model_len=512))
    engine._chat, engine._texts = Chat(tokenizer), TokenTexts(tokenizer)
    (found,) = asyncio.run(answers(engine, PROMPTS[0]))
    return asked[0], found


@pytest.mark.slow
def test_given_float32_then_greedy_tokens_are_those_of_generate(folder: Path) -> None:
    reference = with_engine(TransformersEngine(spec(folder)), lambda engine: answers(engine, *PROMPTS))

    async def use(engine: VllmEngine) -> None:
        found = await answers(engine, *PROMPTS)
        for ours, theirs in zip(found, reference, strict=True):
            assert ours.text == theirs.text
            assert (ours.prompt_tokens, ours.generated_tokens) == (theirs.prompt_tokens, theirs.generated_tokens)
            assert ours.finish_reason == theirs.finish_reason
            assert ours.first_token_seconds is not None and 0 < ours.first_token_seconds <= ours.seconds
        counts = engine.counts()
        assert counts.computed_tokens and counts.cached_tokens
        assert counts.computed_tokens + counts.cached_tokens == sum(c.prompt_tokens for c in found)

        leaving = engine.submit(PROMPTS)
        await anext(aiter(leaving))
        await leaving.aclose()  # type: ignore[attr-defined]
        assert engine._llm.output_processor.get_num_unfinished_requests() == 0

        # It is stopped first: where this process gets no processor for a while, it would have answered all meanwhile.
        os.kill(engine_core(), signal.SIGSTOP)
        waiting = asyncio.create_task(answers(engine, *(Prompt(str(n), "S", "P", "Q", 400) for n in range(30))))
        await asyncio.sleep(0.2)
        os.kill(engine_core(), signal.SIGKILL)
        for late in (waiting, answers(engine, *PROMPTS)):
            with pytest.raises(EngineError, match="vLLM died"):
                await asyncio.wait_for(late, 60)

    with_engine(VllmEngine(spec(folder)), use)


@pytest.mark.slow
def test_stop_at_json_gives_exactly_the_object_asked_for() -> None:
    """If answers stop at JSON, each reply is the object asked for and nothing else."""
    require_vllm()
    questions = ["Who founded Velcarn?", "Where was Mira Oston born?"]
    both = ("Q1", "Q2")
    prompts = [
        Prompt("one", "Say anything.", PASSAGE, question_part(questions[0]), 120),
        Prompt("several", "Say anything.", PASSAGE, batch_part(questions), 120, reply_keys=both, form="batch"),
        Prompt("edges", "Say anything.", PASSAGE, edges_part(questions), 120, reply_keys=both, form="edges"),
    ]
    engine = VllmEngine(spec(EMBEDDED, stop_at_json=True))
    one, several, edges = with_engine(engine, lambda engine: answers(engine, *prompts))
    assert json.loads(one.text).keys() == {"answer"}
    assert json.loads(several.text).keys() == {"Q1", "Q2"}
    assert all(isinstance(parents, dict) for parents in json.loads(edges.text).values())
    assert one.finish_reason == several.finish_reason == "json"


@pytest.mark.slow
def test_temperature_gives_each_prompt_its_own_draw(folder: Path) -> None:
    """If a temperature is set, each prompt has its own draw in any batch."""
    twins = [Prompt(name, "S", "P", "Q", 30) for name in "abcd"]

    async def use(engine: VllmEngine) -> tuple[list[Completion], list[Completion]]:
        return await answers(engine, twins[0]), await answers(engine, *twins)

    (alone,), among = with_engine(VllmEngine(spec(folder, temperature=1.0, top_p=0.95, seed=7, stop=("e",))), use)
    assert alone.text == among[0].text
    assert len({completion.text for completion in among}) > 1
    assert all("e" not in completion.text for completion in among)


@pytest.mark.slow
def test_given_a_fixed_length_then_only_the_limit_ends_an_answer(folder: Path) -> None:
    prompts = [Prompt(str(n), "S", "P", "Q", 50 + n) for n in range(8)]
    engine = VllmEngine(spec(folder, temperature=2.0, stop=("e", "a", "i"), stop_at_json=True, fixed_length=True))
    found = with_engine(engine, lambda engine: answers(engine, *prompts))
    assert [completion.generated_tokens for completion in found] == [prompt.max_new_tokens for prompt in prompts]
    assert {completion.finish_reason for completion in found} == {"length"}


@pytest.mark.slow
def test_vllm_answers_as_transformers_does() -> None:
    """With the embedded model, vLLM answers as transformers does."""
    require_vllm()
    prompts = [
        Prompt("one", SYSTEM, PASSAGE, question_part("Who founded Velcarn?"), 40),
        Prompt("two", SYSTEM, PASSAGE, question_part("Where was Mira Oston born?"), 40),
    ]
    theirs = with_engine(TransformersEngine(spec(EMBEDDED)), lambda engine: answers(engine, *prompts))
    ours = with_engine(VllmEngine(spec(EMBEDDED)), lambda engine: answers(engine, *prompts))
    assert [(c.text, c.generated_tokens) for c in ours] == [(c.text, c.generated_tokens) for c in theirs]


@pytest.mark.slow
def test_folder_without_a_model_is_a_one_line_error(tmp_path: Path) -> None:
    """If a folder holds no model, the error is one line."""
    require_vllm()
    with pytest.raises(StartError, match=r"cannot load the model .* has no config\.json") as caught:
        asyncio.run(VllmEngine(spec(tmp_path)).start())
    assert "\n" not in str(caught.value)
