"""How replies end and what their text shows, checked on the engines that choose their own tokens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from depqa_ray.engines.base import Engine, EngineSpec, SamplingParams
from depqa_ray.engines.factory import build_engine
from tests.engines.calls import answers, with_engine
from tests.engines.test_contract import prompt
from tests.engines.tiny import save_scripted_model

pytestmark = pytest.mark.slow

BuildEngine = Callable[[Path, SamplingParams], Engine]

SCRIPTS = {
    "j": [b'{"answer"', b': "a }', b' \\" b"', b"}\nQ:", b" more"],
    "t": [b"<thi", b"nk>{}", b"</think>\n", b'{"t', b'":1}'],
    "s": [b"caf\xc3", b"\xa9 Ha", b"lden ST", b"OP now"],
    "p": [b"plain", b" text"],
}
"""What the scripted model generates for a prompt that ends with the letter, token by token."""

OPENING = "{% for m in messages %}{{ m.content }}{% endfor %}<think>"
"""A chat template that opens a thought although thinking is off; its last letter is the script's."""

THOUGHT = {">": [b'{"answer": "dra', b'ft"}', b"</think>", b'\n{"t":', b"1}", b" more"]}


@pytest.fixture(scope="module")
def scripted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_scripted_model(tmp_path_factory.mktemp("scripted"), SCRIPTS)


@pytest.fixture(scope="module", params=[(), ("</think>",)], ids=["tag is text", "tag is special"])
def thinking_model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    return save_scripted_model(tmp_path_factory.mktemp("thinking"), THOUGHT, *request.param, chat_template=OPENING)


@pytest.fixture(params=["transformers", "shared_prefix"])
def build(request: pytest.FixtureRequest) -> BuildEngine:
    """Builds the engine under test for a model's folder."""

    def make(model: Path, sampling_params: SamplingParams) -> Engine:
        return build_engine(EngineSpec(request.param, str(model), "float32", 4, 1.0, 0.9, sampling_params))

    return make


def generated(
    build: BuildEngine, model: Path, sampling_params: SamplingParams, limit: int = 50
) -> dict[str, tuple[str, int, str]]:
    """What the scripted model generates under each script, all in one batch: text, tokens, reason."""
    prompts = [prompt(letter, f"Question: {letter}", limit) for letter in SCRIPTS]
    engine = build(model, sampling_params)
    found = with_engine(engine, lambda engine: answers(engine, *prompts))
    return {c.prompt_id: (c.text, c.generated_tokens, c.finish_reason) for c in found}


def test_answers_run_to_eos_without_other_stops(build: BuildEngine, scripted_model: Path) -> None:
    """If only EOS can stop answers, they run to it."""
    found = generated(build, scripted_model, SamplingParams())
    assert found == {letter: (b"".join(script).decode(), len(script) + 1, "eos") for letter, script in SCRIPTS.items()}


def test_each_sequence_stops_at_its_own_object(build: BuildEngine, scripted_model: Path) -> None:
    """If answers stop at JSON, each sequence ends with its own object, if it has one."""
    assert generated(build, scripted_model, SamplingParams(stop_at_json=True)) == {
        "j": (r'{"answer": "a } \" b"}', 4, "json"),
        "t": ('<think>{}</think>\n{"t":1}', 5, "json"),
        "s": ("café Halden STOP now", 5, "eos"),
        "p": ("plain text", 3, "eos"),
    }


def test_given_stop_strings_then_answers_end_before_them(build: BuildEngine, scripted_model: Path) -> None:
    found = generated(build, scripted_model, SamplingParams(stop=(" STOP", "é Hald", "\nQ")))
    assert found["s"] == ("caf", 3, "stop")
    assert found["j"] == (r'{"answer": "a } \" b"}', 4, "stop")
    assert found["p"] == ("plain text", 3, "eos")
    assert generated(build, scripted_model, SamplingParams(stop=(" STOP",)))["s"] == ("café Halden", 4, "stop")


def test_nothing_ends_an_answer_of_fixed_length_early(build: BuildEngine, scripted_model: Path) -> None:
    """If the length is fixed, neither stop strings nor objects nor EOS end an answer early."""
    found = generated(
        build, scripted_model, SamplingParams(stop=("a",), stop_at_json=True, fixed_length=True), limit=11
    )
    assert {(tokens, reason) for _, tokens, reason in found.values()} == {(11, "length")}


def test_answer_cut_at_the_limit_has_the_reason_length(build: BuildEngine, scripted_model: Path) -> None:
    """If the limit cuts an answer short, its reason is length."""
    found = generated(build, scripted_model, SamplingParams(stop_at_json=True), limit=3)
    assert found["j"] == (r'{"answer": "a } \" b"', 3, "length")
    assert found["p"] == ("plain text", 3, "eos")


@pytest.mark.parametrize(
    ("limit", "sampling_params", "wanted"),
    [
        (50, SamplingParams(stop_at_json=True), ('<think>{"answer": "draft"}</think>\n{"t":1}', 5, "json")),
        (50, SamplingParams(), ('<think>{"answer": "draft"}</think>\n{"t":1} more', 7, "eos")),
        (2, SamplingParams(stop_at_json=True), ('<think>{"answer": "draft"}', 2, "length")),
        (50, SamplingParams(stop=("ft",), stop_at_json=True), ('<think>{"answer": "dra', 2, "stop")),
    ],
)
def test_thought_that_the_prompt_opened_is_told_apart(
    build: BuildEngine, thinking_model: Path, limit: int, sampling_params: SamplingParams, wanted: tuple[str, int, str]
) -> None:
    """If the template opens a thought, the text begins with its tag, and objects in the thought do not end it."""
    engine = build(thinking_model, sampling_params)
    (found,) = with_engine(engine, lambda engine: answers(engine, prompt("a", limit=limit)))
    assert (found.text, found.generated_tokens, found.finish_reason) == wanted


@pytest.mark.parametrize(("opening", "closing"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_special_tags_of_a_thought_are_kept(build: BuildEngine, tmp_path: Path, opening: str, closing: str) -> None:
    """If the tags around thoughts are special tokens, they stay in the text; other special tokens do not."""
    script = {"x": [opening.encode(), b'{"d":1}', closing.encode(), b"<pad>", b'{"a":1}']}
    model = save_scripted_model(tmp_path, script, opening, closing)
    engine = build(model, SamplingParams(stop_at_json=True))
    (found,) = with_engine(engine, lambda engine: answers(engine, prompt("a", "x", 50)))
    assert (found.text, found.finish_reason) == (f'{opening}{{"d":1}}{closing}{{"a":1}}', "json")
