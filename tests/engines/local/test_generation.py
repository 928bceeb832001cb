"""When a generation ends, and its text, on tokens that split texts and characters anywhere."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depqa_ray.core import Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.engines.local.detokenizer import TextStream, TokenTexts
from depqa_ray.engines.local.generation import Generation
from tests.answering.test_answers import JSON_VALUES
from tests.engines.byte_tokens import THINK_CLOSE, THINK_OPEN, byte_tokenizer, ids_of

EOS = 0
CUTS = st.lists(st.integers(0, 200), max_size=10)


def cut(text: str | bytes, cuts: list[int]) -> list[bytes]:
    data = text.encode() if isinstance(text, str) else text
    borders = sorted({0, len(data), *(at for at in cuts if at < len(data))})
    return [data[a:b] for a, b in pairwise(borders)]


def grown(pieces: list[bytes], sampling_params: SamplingParams, limit: int = 500, end: bool = True) -> Generation:
    """A generation that got the pieces as tokens, then EOS, until it ended."""
    tokenizer = byte_tokenizer(pieces)
    generation = Generation(Prompt("a", "S", "P", "Q", limit), sampling_params, TokenTexts(tokenizer), {EOS})
    for token in [*ids_of(tokenizer, pieces), *([EOS] if end else [])]:
        if generation.add(token):
            break
    return generation


@pytest.fixture(scope="module")
def byte_texts() -> Any:
    tokenizer = byte_tokenizer([], THINK_OPEN, THINK_CLOSE)
    return tokenizer, TokenTexts(tokenizer)


@given(st.text(max_size=30) | st.binary(max_size=30), CUTS)
@settings(deadline=None)
def test_given_any_bytes_in_any_tokens_then_the_stream_is_the_text_and_only_broken_characters_wait(
    text: str | bytes, cuts: list[int]
) -> None:
    pieces = cut(text, cuts)
    tokenizer = byte_tokenizer(pieces)
    stream = TextStream(TokenTexts(tokenizer))
    ids = ids_of(tokenizer, pieces)
    seen = ""
    for count, token in enumerate(ids, start=1):
        seen += stream.add(token)
        whole = tokenizer.decode(ids[:count])
        assert whole == seen + "\ufffd" * stream.withheld


@pytest.mark.parametrize(
    ("sampling_params", "tokens", "reason", "text"),
    [
        (SamplingParams(), [b"a", b"b"], "stop", "ab"),
        (SamplingParams(fixed_length=True), [b"a", b"b"], None, "ab"),
        (SamplingParams(stop=("b",), stop_at_json=True, fixed_length=True), [b"a", b"b", b"{}"], None, "ab{}"),
    ],
)
def test_given_eos_then_it_is_kept_and_ends_an_answer_unless_its_length_is_fixed(
    sampling_params: SamplingParams, tokens: list[bytes], reason: str | None, text: str
) -> None:
    generation = grown(tokens, sampling_params)
    assert (generation.tokens[-1], generation.finish_reason, generation.text) == (EOS, reason, text)


def test_given_the_limit_then_it_ends_the_answer_but_what_ends_there_by_itself_has_stopped() -> None:
    assert grown([b"a", b"b", b"c"], SamplingParams(), limit=2).finish_reason == "length"
    assert grown([b"a", b"b", b"c"], SamplingParams(fixed_length=True), limit=2).finish_reason == "length"
    assert grown([b"a", b"b"], SamplingParams(), limit=3).finish_reason == "stop"
    assert grown([b"a", b"{}"], SamplingParams(stop_at_json=True), limit=2).finish_reason == "stop"
    assert grown([b"a", b"b"], SamplingParams(stop=("ab",)), limit=2).finish_reason == "stop"


@given(
    text=st.text(alphabet="abé日 ", max_size=30),
    stops=st.lists(st.text(alphabet="abé日", min_size=1, max_size=3), min_size=1, max_size=3),
    cuts=CUTS,
)
@settings(deadline=None)
def test_given_stop_strings_across_tokens_then_the_first_to_be_complete_ends_the_answer(
    text: str, stops: list[str], cuts: list[int]
) -> None:
    pieces = cut(text, cuts)
    generation = grown(pieces, SamplingParams(stop=tuple(stops)), end=False)
    ends = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    end, start = min(ends, default=(len(text), len(text)))
    assert generation.text == text[:start]
    assert generation.finish_reason == ("stop" if ends else None)
    # The token that completes the string is the last one.
    before = b"".join(pieces[: len(generation.tokens) - 1])
    assert not ends or len(before) < len(text[:end].encode()) <= len(before + pieces[len(generation.tokens) - 1])


@given(
    st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=3),
    st.booleans(),
    st.text(max_size=6) | st.binary(max_size=6),
    CUTS,
)
@settings(deadline=None)
def test_given_an_object_across_tokens_then_its_last_brace_ends_the_text(
    value: dict[str, Any], ascii_only: bool, behind: str | bytes, cuts: list[int]
) -> None:
    text = "Well: " + json.dumps(value, ensure_ascii=ascii_only)
    after = behind.encode() if isinstance(behind, str) else behind
    pieces = cut(text.encode() + after, cuts)
    generation = grown(pieces, SamplingParams(stop_at_json=True), end=False)
    assert (generation.text, generation.finish_reason) == (text, "stop")
    assert len(b"".join(pieces[: len(generation.tokens) - 1])) < len(text.encode())


@pytest.mark.parametrize(
    ("tokens", "stop", "text"),
    [
        ([b'{"a": 1}\n\n'], "\n", '{"a": 1}'),
        ([b'{"a": 1}\n'], "}\n", '{"a": 1}'),
        ([b'{"a":', b"\n1}"], "\n", '{"a":'),
        ([b'{"a": "x', b'"}', b"\n"], '"}', '{"a": "x'),
        ([b"abcd"], "bc", "a"),
    ],
)
def test_given_a_stop_string_and_an_object_then_what_is_complete_first_counts(
    tokens: list[bytes], stop: str, text: str
) -> None:
    assert grown(tokens, SamplingParams(stop=(stop, "abcd"), stop_at_json=True)).text == text


def test_given_special_tokens_around_a_thought_then_its_braces_do_not_count(byte_texts: Any) -> None:
    tokenizer, texts = byte_texts
    tags = tokenizer.convert_tokens_to_ids([THINK_OPEN, THINK_CLOSE])
    thought, answer = ids_of(tokenizer, [bytes([b]) for b in b"{}"]), ids_of(tokenizer, [bytes([b]) for b in b"x{}y"])
    generation = Generation(Prompt("a", "S", "P", "Q", 99), SamplingParams(stop_at_json=True), texts, {EOS})
    ended = [generation.add(token) for token in [tags[0], *thought, tags[1], *answer[:3]]]
    assert ended == [False] * 6 + [True]


def test_given_a_thought_that_the_prompt_opened_then_its_braces_do_not_count(byte_texts: Any) -> None:
    tokenizer, texts = byte_texts
    generation = Generation(
        Prompt("a", "S", "P", "Q", 99), SamplingParams(stop_at_json=True), texts, {EOS}, thinking=True
    )
    ids = ids_of(tokenizer, [bytes([byte]) for byte in b"{}</think>{}"])
    assert [generation.add(token) for token in ids] == [False] * 11 + [True]


def test_given_a_tokenizer_that_drops_a_first_space_then_stop_strings_are_found_all_the_same() -> None:
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.WordLevel({"<unk>": 0, "▁Who": 1, "▁is": 2, "▁it": 3}, unk_token="<unk>"))
    raw.decoder = decoders.Metaspace()
    generation = Generation(
        Prompt("a", "S", "P", "Q", 9),
        SamplingParams(stop=(" is it",)),
        TokenTexts(PreTrainedTokenizerFast(tokenizer_object=raw)),
        {EOS},
    )
    assert [generation.add(token) for token in (1, 2, 3)] == [False, False, True]
    assert generation.text == "Who"


def test_given_the_seed_and_the_prompt_then_the_random_numbers_are_these_everywhere(byte_texts: Any) -> None:
    def draws(seed: int, prompt_id: str) -> list[float]:
        sampling_params = SamplingParams(temperature=1.0, seed=seed)
        generation = Generation(Prompt(prompt_id, "S", "P", "Q", 9), sampling_params, byte_texts[1], {EOS})
        return [generation.draw() for _ in range(3)]

    assert [int(draw * 2**32) for draw in draws(13, "a/b")] == [13303248, 1568472519, 626279973]
    assert draws(13, "a/b") == draws(13, "a/b")
    assert len({tuple(draws(seed, id_)) for seed in (1, 13) for id_ in ("a", "b")}) == 4
    assert all(0 <= draw < 1 for draw in draws(0, "é"))
