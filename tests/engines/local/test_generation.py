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
from depqa_ray.engines.local.generation import Generation, cut_reply
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
def test_stream_is_the_text_but_for_broken_characters(text: str | bytes, cuts: list[int]) -> None:
    """However bytes are cut into tokens, the stream is the text; only broken characters are withheld."""
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
        (SamplingParams(), [b"a", b"b"], "eos", "ab"),
        (SamplingParams(fixed_length=True), [b"a", b"b"], None, "ab"),
        (SamplingParams(stop=("b",), stop_at_json=True, fixed_length=True), [b"a", b"b", b"{}"], None, "ab{}"),
    ],
)
def test_eos_ends_an_answer_unless_its_length_is_fixed(
    sampling_params: SamplingParams, tokens: list[bytes], reason: str | None, text: str
) -> None:
    """EOS is kept and ends an answer, unless the length is fixed."""
    generation = grown(tokens, sampling_params)
    assert (generation.tokens[-1], generation.finish_reason, generation.text) == (EOS, reason, text)


def test_limit_ends_an_answer_that_has_not_stopped() -> None:
    """The limit ends an answer; if the answer stops by itself there, the reason is stop."""
    assert grown([b"a", b"b", b"c"], SamplingParams(), limit=2).finish_reason == "length"
    assert grown([b"a", b"b", b"c"], SamplingParams(fixed_length=True), limit=2).finish_reason == "length"
    assert grown([b"a", b"b"], SamplingParams(), limit=3).finish_reason == "eos"
    assert grown([b"a", b"{}"], SamplingParams(stop_at_json=True), limit=2).finish_reason == "json"
    assert grown([b"a", b"b"], SamplingParams(stop=("ab",)), limit=2).finish_reason == "stop"


@given(
    text=st.text(alphabet="abé日 ", max_size=30),
    stops=st.lists(st.text(alphabet="abé日", min_size=1, max_size=3), min_size=1, max_size=3),
    cuts=CUTS,
)
@settings(deadline=None)
def test_first_complete_stop_string_ends_the_answer(text: str, stops: list[str], cuts: list[int]) -> None:
    """If stop strings span tokens, the first complete one ends the answer at that very token."""
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
def test_last_brace_of_an_object_ends_the_text(
    value: dict[str, Any], ascii_only: bool, behind: str | bytes, cuts: list[int]
) -> None:
    """If an object spans tokens, its last brace ends the text."""
    text = "Well: " + json.dumps(value, ensure_ascii=ascii_only)
    after = behind.encode() if isinstance(behind, str) else behind
    pieces = cut(text.encode() + after, cuts)
    generation = grown(pieces, SamplingParams(stop_at_json=True), end=False)
    assert (generation.text, generation.finish_reason) == (text, "json")
    assert len(b"".join(pieces[: len(generation.tokens) - 1])) < len(text.encode())


@pytest.mark.parametrize(
    ("tokens", "stop", "text", "reason"),
    [
        ([b'{"a": 1}\n\n'], "\n", '{"a": 1}', "json"),
        ([b'{"a": 1}\n'], "}\n", '{"a": 1}', "json"),
        ([b'{"a":', b"\n1}"], "\n", '{"a":', "stop"),
        ([b'{"a":\n1}'], "\n", '{"a":', "stop"),
        ([b'{"a": "x', b'"}', b"\n"], '"}', '{"a": "x', "stop"),
        ([b"abcd"], "bc", "a", "stop"),
    ],
)
def test_stop_string_or_object_ends_whichever_is_complete_first(
    tokens: list[bytes], stop: str, text: str, reason: str
) -> None:
    """If a stop string and an object compete, the one that is complete first ends the answer, and is its reason."""
    generation = grown(tokens, SamplingParams(stop=(stop, "abcd"), stop_at_json=True))
    assert (generation.text, generation.finish_reason) == (text, reason)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", '{"a": "', "b}", '"}', "{}", "STOP", "x"]), max_size=8),
    st.booleans(),
)
@settings(deadline=None)
def test_whole_reply_is_cut_where_a_generation_ends(parts: list[str], thinking: bool) -> None:
    """A reply that came whole is cut as one that came token by token, by the same reason."""
    sampling_params = SamplingParams(stop=("STOP",), stop_at_json=True)
    pieces = list(dict.fromkeys(part.encode() for part in parts))
    tokenizer = byte_tokenizer(pieces)
    prompt = Prompt("a", "S", "P", "Q", 500)
    generation = Generation(prompt, sampling_params, TokenTexts(tokenizer), {EOS}, thinking)
    for token in [*ids_of(tokenizer, [part.encode() for part in parts]), EOS]:
        if generation.add(token):
            break
    text, reason = cut_reply("".join(parts), sampling_params, thinking)
    assert (text, reason or "eos") == (generation.text, generation.finish_reason)
    assert text.startswith("<think>") or not thinking


def test_braces_between_special_thought_tokens_are_skipped(byte_texts: Any) -> None:
    """If special tokens enclose a thought, its braces do not count."""
    tokenizer, texts = byte_texts
    tags = tokenizer.convert_tokens_to_ids([THINK_OPEN, THINK_CLOSE])
    thought, answer = ids_of(tokenizer, [bytes([b]) for b in b"{}"]), ids_of(tokenizer, [bytes([b]) for b in b"x{}y"])
    generation = Generation(Prompt("a", "S", "P", "Q", 99), SamplingParams(stop_at_json=True), texts, {EOS})
    ended = [generation.add(token) for token in [tags[0], *thought, tags[1], *answer[:3]]]
    assert ended == [False] * 6 + [True]


def test_braces_of_a_thought_that_the_prompt_opened_are_skipped(byte_texts: Any) -> None:
    """If the prompt opened a thought, the braces of the thought do not count."""
    tokenizer, texts = byte_texts
    generation = Generation(
        Prompt("a", "S", "P", "Q", 99), SamplingParams(stop_at_json=True), texts, {EOS}, thinking=True
    )
    ids = ids_of(tokenizer, [bytes([byte]) for byte in b"{}</think>{}"])
    assert [generation.add(token) for token in ids] == [False] * 11 + [True]


def test_stop_string_is_found_if_a_first_space_is_dropped() -> None:
    """If the tokenizer drops a first space, stop strings are still found."""
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


def test_random_numbers_follow_from_seed_and_prompt(byte_texts: Any) -> None:
    """The seed and the prompt's id alone determine the random numbers, on every machine."""

    def draws(seed: int, prompt_id: str) -> list[float]:
        sampling_params = SamplingParams(temperature=1.0, seed=seed)
        generation = Generation(Prompt(prompt_id, "S", "P", "Q", 9), sampling_params, byte_texts[1], {EOS})
        return [generation.draw() for _ in range(3)]

    assert [int(draw * 2**32) for draw in draws(13, "a/b")] == [13303248, 1568472519, 626279973]
    assert draws(13, "a/b") == draws(13, "a/b")
    assert len({tuple(draws(seed, id_)) for seed in (1, 13) for id_ in ("a", "b")}) == 4
    assert all(0 <= draw < 1 for draw in draws(0, "é"))
