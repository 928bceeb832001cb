"""Replies about edges from one run to the next: which requests are made again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.answering.prompts import PromptBuilder, system_message
from depqa_ray.core import Completion, Job, Prompt
from depqa_ray.engines.base import SamplingParams
from depqa_ray.planning.planner import EdgePlanner
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.virtual import VirtualPool
from depqa_ray.settings.load import load_settings
from tests.runtime.helpers import MemoryRecorder, answer_with_number, asking, drive, edge, one_second, passage, stated


def counting(replies: dict[str, str]) -> tuple[Callable[[Prompt], Completion], list[str]]:
    requests: list[str] = []

    def answer(prompt: Prompt) -> Completion:
        if prompt.form == "edges":
            requests.append(prompt.id)
        return asking(replies)(prompt)

    return answer, requests


def test_cached_reply_is_used_and_gives_the_same_plan(tmp_path: Path) -> None:
    """If an earlier run stored the reply, the model is not asked and the plan is the same."""
    asked = passage("p", 4)
    flags = {"no_dep_cache": False, "dep_cache": tmp_path, "model_name": "some/model"}
    jobs = [Job("dependency_parallel", asked), Job("dependency_layered", asked)]
    answer, requests = counting({asked.text: stated(asked, (edge("p", 0, 2), edge("p", 2, 3)))})

    first = drive(jobs, VirtualPool(1, one_second, answer), 1, **flags)
    assert len(requests) == 2  # each strategy asks, and pays, for itself
    second = drive(jobs, VirtualPool(1, one_second, answer), 1, **flags)

    assert len(requests) == 2
    for place, chosen in second.plans.items():
        assert chosen.cached and not first.plans[place].cached
        assert chosen.selected == first.plans[place].selected != ()
    assert {result.step_id for result in first.results} == {result.step_id for result in second.results} | {"edges"}


@pytest.mark.parametrize(
    "changed",
    [
        {"model_name": "other/model"},
        {"engine": "transformers"},
        {"max_new_tokens": "17"},
        {"no_dep_cache": True},
        {"dtype": "float32"},
    ],
)
def test_cached_reply_of_another_model_or_prompt_is_not_used(tmp_path: Path, changed: dict[str, Any]) -> None:
    """If the model, the engine or the prompt differs, the stored reply is not used."""
    asked = passage("p", 2)
    flags = {"no_dep_cache": False, "dep_cache": tmp_path, "model_name": "some/model"}
    answer, requests = counting({asked.text: stated(asked, ())})
    for more in ({}, changed):
        drive([Job("dependency_parallel", asked)], VirtualPool(1, one_second, answer), **flags | more)
    assert len(requests) == 2


def test_given_a_damaged_cache_then_the_model_is_asked_again(tmp_path: Path) -> None:
    asked = passage("p", 2)
    flags = {"no_dep_cache": False, "dep_cache": tmp_path}
    answer, requests = counting({asked.text: stated(asked, ())})
    for text in (None, "{", '{"version": 99, "run": "x", "reply": "{}"}'):
        for file in tmp_path.rglob("*.json"):
            file.write_text(text or "")
        drive([Job("dependency_parallel", asked)], VirtualPool(1, one_second, answer), **flags)
    assert len(requests) == 3


def test_unwritable_cache_is_reported_once(tmp_path: Path) -> None:
    """If the cache cannot be written, the run says so once and goes on."""
    (tmp_path / "file").touch()
    passages = [passage(f"p{number}", 2) for number in range(3)]
    answer = asking({p.text: stated(p, ()) for p in passages})
    jobs = [Job("dependency_parallel", p) for p in passages]
    recorder = drive(
        jobs, VirtualPool(1, one_second, answer), no_dep_cache=False, dep_cache=tmp_path / "file" / "cache"
    )
    assert len(recorder.outcomes) == 6
    assert sum("not kept" in warning for warning in recorder.warnings) == 1


def test_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no home folder for the cache, the run says so once and goes on."""

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME")
    asked = passage("p", 2)
    pool = VirtualPool(1, one_second, asking({asked.text: stated(asked, ())}))
    recorder = drive([Job("dependency_parallel", asked)], pool, no_dep_cache=False)
    assert len(recorder.outcomes) == 2
    assert recorder.warnings == [
        "replies about edges are not kept: there is no home folder; set HOME or XDG_CACHE_HOME"
    ]


def test_cached_reply_of_another_system_message_is_not_used(tmp_path: Path) -> None:
    """If the system message differs, the stored reply is not used."""
    asked = passage("p", 2)
    answer, requests = counting({asked.text: stated(asked, ())})
    settings = load_settings({"dep_cache": tmp_path})
    for line in ("Be brief.", "Be long."):
        prompts = PromptBuilder(partial(system_message, line, 0, ()), 16)
        driven = EdgePlanner(settings, SamplingParams(), prompts, lambda text: None)
        driver = Driver(VirtualPool(1, one_second, answer), MemoryRecorder(), driven, prompts, 8)
        asyncio.run(driver.run(iter([Job("dependency_parallel", asked)])))
    assert len(requests) == 2


def test_second_run_has_the_plans_of_a_changing_model(tmp_path: Path) -> None:
    """If the model never replies the same, a second run still has the plans of the first."""
    asked = passage("p", 4)
    replies = (stated(asked, (edge("p", 0, number),)) for number in (1, 2, 3))

    def answer(prompt: Prompt) -> Completion:
        return Completion(prompt.id, next(replies)) if prompt.form == "edges" else answer_with_number(prompt)

    jobs = [Job("dependency_parallel", asked), Job("dependency_layered", asked)]
    first, second = (
        drive(jobs, VirtualPool(1, one_second, answer), 1, no_dep_cache=False, dep_cache=tmp_path) for _ in range(2)
    )
    kept = {place: chosen.selected for place, chosen in first.plans.items()}
    assert len(set(kept.values())) == 2
    assert {place: chosen.selected for place, chosen in second.plans.items()} == kept


def test_cache_works_for_a_folder_with_missing_weights(tmp_path: Path) -> None:
    """If a model folder lacks some of its weights, the cache still works."""
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "nowhere")
    asked = passage("p", 2)
    flags = {"no_dep_cache": False, "dep_cache": tmp_path / "cache", "model_name": str(tmp_path)}
    answer, requests = counting({asked.text: stated(asked, ())})
    for _ in range(2):
        drive([Job("dependency_parallel", asked)], VirtualPool(1, one_second, answer), **flags)
    assert len(requests) == 1


def file_of_reply(folder: Path, name: str, revision: str) -> str:
    """The name of the only file of a cache in which one reply of a model at a commit was stored."""
    asked = passage("p", 2)
    settings = load_settings({"dep_cache": folder, "model_name": name})
    prompts = PromptBuilder(lambda passage: "Be brief.", 16)
    planner = EdgePlanner(settings, SamplingParams(), prompts, lambda text: None, model_revision=revision)
    job = Job("dependency_parallel", asked)
    planner.extend(job, planner.begin(job)[0], stated(asked, ()), "")
    (file,) = folder.rglob("*.json")
    return f"{file.parent.name}/{file.name}"


def test_reply_is_kept_by_the_commit_of_the_model(tmp_path: Path) -> None:
    """If two names mean one commit, they share replies; two commits of one name do not."""
    names = {"plain": "some/model", "branch": "some/model@main"}
    files = {place: file_of_reply(tmp_path / place, name, "a" * 40) for place, name in names.items()}
    assert files["plain"] == files["branch"]
    assert files["plain"] != file_of_reply(tmp_path / "other", "some/model", "b" * 40)
    assert files["plain"] != file_of_reply(tmp_path / "unknown", "some/model", "")


def test_without_a_commit_replies_keep_their_names(tmp_path: Path) -> None:
    """If no commit is known, a reply's file is that of earlier versions."""
    found = file_of_reply(tmp_path, "some/model@v1", "")
    assert found == "31/8dcb692acf83d05842114dfc803c33c85c2395ad431ab252af2a814597cfb4.json"
