"""The benchmark's course and figures, with workers that answer by rule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from depqa_ray.benchmark.run import run_benchmark
from depqa_ray.benchmark.schema import BenchResults
from depqa_ray.benchmark.settings import BenchSettings, load_bench_settings
from depqa_ray.benchmark.table import markdown
from depqa_ray.benchmark.workload import draw_passages, repeat_prompts
from depqa_ray.cli.commands import main
from depqa_ray.errors import EngineError
from tests.benchmark.fakes import FakeWorkers, answered, cut_short

FLAGS = {"dataset": "embedded", "context_count": "3", "min_questions": "4", "model_name": "embedded"}


def use(monkeypatch: pytest.MonkeyPatch, workers: FakeWorkers) -> FakeWorkers:
    for module in ("run", "engines"):
        monkeypatch.setattr(f"depqa_ray.benchmark.{module}.WorkerProcess", workers)
    return workers


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> FakeWorkers:
    return use(monkeypatch, FakeWorkers({}))


def settings(**flags: str) -> BenchSettings:
    return load_bench_settings(FLAGS | flags)


def measured(**flags: str) -> BenchResults:
    return run_benchmark(settings(**flags), "depqa-ray bench engine", lambda _: None)


def test_engines_alternate_and_end_together(workers: FakeWorkers) -> None:
    """If there are several engines, one runs at a time, the others are stopped, and all end together."""
    measured(engines="shared_prefix,transformers,one_by_one", repeats="2")
    names = ("shared_prefix", "transformers", "one_by_one")
    runs = [(label, what) for label, what in workers.log if what.startswith("Run")]
    assert runs == [(name, f"Run {repeat}") for repeat in range(3) for name in names]
    assert workers.beside == {name: set(names) - {name} for name in names}, "while one runs the others are stopped"
    assert not workers.stopped
    assert [what for _, what in workers.log[-3:]] == ["ended"] * 3
    assert workers.log.index(("the machine's measurement", "ended")) < workers.log.index(("shared_prefix", "start"))


def test_repeats_have_new_prompts_of_equal_length() -> None:
    """No prompt comes in two repeats, and the prompts of all repeats are equally long."""
    ten = settings(repeats="10")
    passages = draw_passages(ten)
    texts = [[p.system + p.passage_text + p.question_text for p in repeat_prompts(passages, ten, r)] for r in range(11)]
    assert len({text for repeat in texts for text in repeat}) == 11 * len(texts[0])
    assert len({tuple(map(len, repeat)) for repeat in texts}) == 1


def test_figures_follow_from_the_replies_of_workers(workers: FakeWorkers) -> None:
    """The figures of a benchmark follow from the replies of its workers."""
    results = measured(engines="shared_prefix,transformers", repeats="3")
    first = results.engines[0]
    figures = first.repeats[0]
    assert len(first.repeats) == 3
    assert figures.questions_per_second == results.questions / 2.0
    assert figures.generated_tokens_per_second == results.questions * 24 / 2.0
    assert figures.hit_rate == 50 / (first.prompt_tokens - first.fewest_tokens)
    assert figures.over_fewest == 100 / first.fewest_tokens
    assert figures.decode_step_seconds == pytest.approx(0.002)
    assert figures.first_token_seconds == 0.5
    assert figures.roofline_share == pytest.approx(figures.floor_seconds / 2.0)
    (ratio,) = results.ratios
    assert (ratio.engine, ratio.over, ratio.spread.median) == ("shared_prefix", "transformers", 2.0)
    assert results.notes == ()
    assert BenchResults.model_validate_json(results.model_dump_json()) == results


def test_limit_keeps_whole_passages_and_adds_a_note(workers: FakeWorkers) -> None:
    """If an engine has a limit, it answers whole passages and a note says so."""
    results = measured(engines="shared_prefix,one_by_one", one_by_one_limit="1")
    assert results.engines[1].passages == 1
    assert results.engines[1].questions < results.engines[0].questions
    assert any("first 1 of 3 passages" in note for note in results.notes)


def test_failed_prompts_and_early_ends_are_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """If prompts fail or answers end early, notes say so."""

    def half(prompt: object) -> object:
        done = answered(prompt)  # type: ignore[arg-type]
        return replace(done, error="refused") if done.prompt_tokens % 2 else replace(done, generated_tokens=3)

    use(monkeypatch, FakeWorkers({"transformers": half}))  # type: ignore[dict-item]
    results = measured(engines="shared_prefix,transformers", repeats="1")
    figures = results.engines[1].repeats[0]
    assert figures.failed and figures.questions + figures.failed == results.questions
    assert [note.split(" ")[1] for note in results.notes] == ["failed", "ended"]


def test_engine_that_answers_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If an engine answers no prompt, the benchmark raises EngineError instead of giving a figure."""
    use(monkeypatch, FakeWorkers({"vllm": lambda prompt: replace(answered(prompt), error="no")}))
    with pytest.raises(EngineError, match="vllm answered none of"):
        measured(engines="vllm")


def test_command_prints_and_writes_what_it_compared(
    workers: FakeWorkers, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The benchmark command prints its comparison and writes it as JSON and Markdown."""
    flags = [item for name, value in FLAGS.items() for item in (f"--{name.replace('_', '-')}", value)]
    files = ["--json-out", str(tmp_path / "b.json"), "--markdown-out", str(tmp_path / "b.md")]
    assert main(["bench", "engine", *flags, *files, "--repeats", "2"]) == 0
    shown = capsys.readouterr()
    for text in ("command: depqa-ray bench engine", "ceilings:", "torch 9", "max_batch_size 256", "2.00"):
        assert text in shown.out
    assert "repeat 2: transformers" in shown.err
    written = BenchResults.model_validate(json.loads((tmp_path / "b.json").read_text("utf-8")))
    assert markdown(written) == (tmp_path / "b.md").read_text("utf-8")


VERIFY = ("--dataset", "embedded", "--model-name", "embedded", "--verify", "20", "--dtype", "float32")


def test_verify_passes_for_an_engine_that_equals_generate(
    workers: FakeWorkers, capsys: pytest.CaptureFixture[str]
) -> None:
    """If an engine answers as generate does, --verify ends with exit code 0."""
    assert main(["bench", "engine", *VERIFY]) == 0
    assert "20 prompts" in capsys.readouterr().out


def test_verify_names_a_planted_difference(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If an answer differs, --verify names the place in one line and ends with exit code 1."""
    use(monkeypatch, FakeWorkers({"transformers": cut_short}))
    assert main(["bench", "engine", *VERIFY]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("transformers, first time: prompt verify-")
    assert "differs from character" in shown
    assert len(shown.splitlines()) == 1
