"""Thoughts in a server's replies: in a field of their own, behind one tag, or cut before any tag."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from depqa_ray.engines.openai.engine import OpenAIEngine
from depqa_ray.engines.openai.thoughts import PROBE
from tests.engines.calls import answers
from tests.engines.openai.helpers import GOOD, QUICK, ask, asks, is_warm_up, prompts, spec, with_engine
from tests.engines.servers import Reply, completion, scripted

DRAFT = 'Okay, perhaps {"answer": "draft"}, no'
WHOLE = DRAFT + '</think>{"answer": "x"}'


def is_probe(body: dict[str, Any]) -> bool:
    return bool(body["messages"][1]["content"].endswith(PROBE.question_text))


def server_of(texts: dict[str, tuple[str, str]], probe: tuple[str, str] = ("Blue.", "stop")) -> Callable[..., Reply]:
    """The script of a server with a text and a reason for each prompt; its replies are slow enough to overlap."""

    def script(body: dict[str, Any], number: int) -> Reply:
        if is_warm_up(body):
            return Reply(200, completion("Okay, so", "length"))
        text, reason = probe if is_probe(body) else next(texts[name] for name in texts if asks(body, name))
        return Reply(200, completion(text, reason), 0.05)

    return script


@pytest.mark.parametrize(
    ("sent", "text", "ended"),
    [
        (WHOLE, "<think>" + WHOLE, "json"),
        (WHOLE + " and on", "<think>" + WHOLE, "json"),
        (DRAFT + "</think>", "<think>" + DRAFT + "</think>", "eos"),
        ("</think>\n\n" + '{"answer": "x"}', "<think></think>\n\n" + '{"answer": "x"}', "json"),
        ("<think>" + WHOLE, "<think>" + WHOLE, "json"),
        ('{"answer": "x"}</think>', '{"answer": "x"}', "json"),
        ('{"answer": "a </think> b"}', '{"answer": "a </think> b"}', "json"),
        (DRAFT, 'Okay, perhaps {"answer": "draft"}', "json"),
    ],
)
def test_what_stands_before_a_closing_tag_is_thought(sent: str, text: str, ended: str) -> None:
    """If a reply has only a closing tag, the thought is all before it, and JSON drafts in it do not end the reply."""
    with scripted(lambda body, n: Reply(200, completion(sent))) as server:
        (found,) = ask(server.url, "a", stop_at_json=True)
    assert (found.text, found.finish_reason) == (text, ended)
    assert len(server.asked) == 2


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", "\n\n"])
@pytest.mark.parametrize(("reason", "ended"), [("length", "length"), ("stop", "eos"), (None, "eos")])
def test_reasoning_without_content_is_thought(content: Any, field: str, reason: Any, ended: str) -> None:
    """If a reply has reasoning and no content, its text is an open thought, and its end is kept."""
    body = completion(content, reason)
    body["choices"][0]["message"][field] = DRAFT
    with scripted(lambda asked, n: Reply(200, body)) as server:
        (found,) = ask(server.url, "a", stop_at_json=True)
    assert (found.text, found.finish_reason) == ("<think>" + DRAFT, ended)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"type": "text", "text": '{"answer": '}, {"type": "text", "text": '"a"}'}], '{"answer": "a"}'),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "a"}], "a"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}], "<think>Hm."),
        ([{"type": "thinking", "thinking": "Hm."}], "<think>Hm."),
    ],
)
def test_content_in_parts_is_text_and_thoughts(parts: list[dict[str, Any]], text: str) -> None:
    """If a reply's content is a list of parts, its texts are the reply and its thoughts are thoughts."""
    with scripted(lambda asked, n: Reply(200, completion(parts))) as server:
        assert [c.text for c in ask(server.url, "a")] == [text]


def test_content_beside_reasoning_alone_counts() -> None:
    """If a reply has content beside its reasoning, the content is the text, cut or not."""
    with scripted(lambda asked, n: Reply(200, completion("So: x", "length", reasoning=DRAFT))) as server:
        (found,) = ask(server.url, "a")
        info = with_engine(OpenAIEngine(spec(server.url)), lambda engine: engine.start())
    assert (found.text, found.finish_reason) == ("So: x", "length")
    assert "thinks before it answers" in info.notes[0] and "--max-new-tokens" in info.notes[0]


def test_cut_thought_without_a_tag_is_known_from_other_replies() -> None:
    """If an earlier reply shows that the template opens the thought, a cut reply without a tag is only a thought."""

    async def use(engine: OpenAIEngine) -> list[str]:
        return [c.text for name in "ab" for c in await answers(engine, *prompts(name))]

    with scripted(server_of({"a": (WHOLE, "stop"), "b": (DRAFT, "length")})) as server:
        found = with_engine(OpenAIEngine(spec(server.url, stop_at_json=True)), use)
    assert found == ["<think>" + WHOLE, "<think>" + DRAFT]
    assert len(server.asked) == 3


def test_tag_in_an_answer_turns_no_later_reply_into_a_thought() -> None:
    """If most whole replies have no tag, one whose answer names it says nothing about cut replies."""
    named = '```json\n{"answer": "the </think> tag"}\n```'
    texts = {"a": ("x", "stop"), "b": ("x", "stop"), "c": (named, "stop"), "d": ('{"answer": "Rome, the', "length")}

    async def use(engine: OpenAIEngine) -> list[str]:
        return [c.text for name in "abcd" for c in await answers(engine, *prompts(name))]

    with scripted(server_of(texts)) as server:
        found = with_engine(OpenAIEngine(spec(server.url)), use)
    assert found[-1] == '{"answer": "Rome, the'


@pytest.mark.parametrize(
    ("probe", "text"),
    [
        (("Blue, surely.</think>Blue.", "stop"), "<think>" + DRAFT),
        (("Blue.", "stop"), 'Okay, perhaps {"answer": "draft"}'),
        (("<think>Blue?</think>Blue.", "stop"), 'Okay, perhaps {"answer": "draft"}'),
        (("Blue, and then", "length"), 'Okay, perhaps {"answer": "draft"}'),
    ],
)
def test_cut_replies_that_may_be_thoughts_cost_one_probe(probe: tuple[str, str], text: str) -> None:
    """If all replies are cut and have no tag, one whole reply is asked for, once, and tells for all of them."""
    with scripted(server_of(dict.fromkeys("abcdef", (DRAFT, "length")), probe)) as server:
        found = ask(server.url, *"abcdef", stop_at_json=True)
    assert [c.text for c in found] == [text] * 6
    assert sum(map(is_probe, server.asked)) == 1 and len(server.asked) == 8


def test_no_probe_waits_for_what_another_reply_tells() -> None:
    """If a whole reply arrives while cut ones are unclear, all cut ones are thoughts, in any order."""
    texts = {**dict.fromkeys("abc", (DRAFT, "length")), "d": (WHOLE, "stop")}
    with scripted(server_of(texts, ("Blue, and then", "length"))) as server:
        found = ask(server.url, *"abcd", stop_at_json=True)
    assert found[3].text == "<think>" + WHOLE
    assert {c.text for c in found[:3]} <= {"<think>" + DRAFT, 'Okay, perhaps {"answer": "draft"}'}
    assert sum(map(is_probe, server.asked)) <= 1


@pytest.mark.parametrize(
    ("text", "reason"), [("{cut", "length"), ("```json", "length"), ("plain", "stop"), ("", "length")]
)
def test_ordinary_server_gets_no_probe(text: str, reason: str) -> None:
    """If replies begin as answers or end by themselves, the server gets only the prompts."""
    with scripted(server_of({"a": (text, reason)})) as server:
        assert [c.text for c in ask(server.url, "a")] == [text]
    assert len(server.asked) == 2


def test_thought_that_a_server_takes_for_content_is_one() -> None:
    """If a server sends thoughts apart, a cut reply without them is a thought that it took for content."""

    async def use(engine: OpenAIEngine) -> list[str]:
        return [c.text for name in "abc" for c in await answers(engine, *prompts(name))]

    def script(body: dict[str, Any], number: int) -> Reply:
        if asks(body, "a"):
            return Reply(200, completion("x", reasoning="hm"))
        return GOOD if is_warm_up(body) else Reply(200, completion("{x" if asks(body, "b") else DRAFT, "length"))

    with scripted(script) as server:
        assert with_engine(OpenAIEngine(spec(server.url), QUICK), use) == ["x", "{x", "<think>" + DRAFT]
    assert len(server.asked) == 4


def test_failing_probe_fails_no_prompt() -> None:
    """If the server refuses the probe, the replies are read as far as is known, and it is asked few times."""

    def script(body: dict[str, Any], number: int) -> Reply:
        return Reply(400, {"error": {"message": "no"}}) if is_probe(body) else Reply(200, completion(DRAFT, "length"))

    with scripted(script) as server:
        found = ask(server.url, *"abcdef")
    assert [(c.text, c.error) for c in found] == [(DRAFT, None)] * 6
    assert sum(map(is_probe, server.asked)) == 3
