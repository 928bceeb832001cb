"""The benchmark: measure the ceilings, start every engine, warm each up, then let them take turns, repeat by repeat."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import datetime, timezone

from depqa_ray.benchmark.client import WorkerProcess
from depqa_ray.benchmark.engines import Say, Started, is_local, model_of, passages_of, start_engine
from depqa_ray.benchmark.figures import Task, paired_ratio, repeat_figures, summary, task_of
from depqa_ray.benchmark.machine import processor, variables
from depqa_ray.benchmark.protocol import ProbeReply, probe_from_json, run_from_json
from depqa_ray.benchmark.schema import BenchResults, EngineEntry, Machine, Ratio, RepeatFigures
from depqa_ray.benchmark.settings import BenchSettings
from depqa_ray.benchmark.workload import draw_passages, repeat_prompts
from depqa_ray.core import Passage, Prompt
from depqa_ray.errors import EngineError
from depqa_ray.results.manifest import public_settings


def run_benchmark(settings: BenchSettings, command: str, say: Say) -> BenchResults:
    """Compare the engines that the settings name. ``command`` is recorded. Raises DepqaError."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    passages = draw_passages(settings)
    with ExitStack() as stack:
        model = model_of(settings, stack, say)
        probe = _probe(model, repeat_prompts(passages, settings, 1), settings, say)
        engines = [start_engine(choice, model, settings, stack, say) for choice in settings.engines]
        asked = [passages[: passages_of(engine.choice, settings, len(passages))] for engine in engines]
        tasks = [_task(engine, part, settings, probe) for engine, part in zip(engines, asked, strict=True)]
        for engine, part in zip(engines, asked, strict=True):
            say(f"{engine.choice.text}: warming up")
            engine.worker.run([repeat_prompts(part[: settings.warm_up], settings, 0)])
        repeats = _take_turns(engines, tasks, asked, settings, say)
    pairs = zip(engines, tasks, asked, repeats, strict=True)
    entries = tuple(_entry(engine, task, part, figures) for engine, task, part, figures in pairs)
    return BenchResults(
        command=command,
        started=started,
        model=f"random weights of {settings.random_weights.name}" if settings.random_weights else settings.model_name,
        settings=public_settings(settings.model_dump(mode="json")),
        machine=Machine(
            processor=processor(),
            cpus=os.cpu_count() or 0,
            system=f"{platform.system()} {platform.machine()}",
            variables=variables(),
        ),
        shape=probe.shape,
        ceilings=probe.ceilings,
        passages=len(passages),
        questions=sum(len(passage.questions) for passage in passages),
        engines=entries,
        ratios=_ratios(entries),
        notes=tuple(_notes(entries, engines, settings, len(passages))),
    )


def _probe(model: str, prompts: Sequence[Prompt], settings: BenchSettings, say: Say) -> ProbeReply:
    """The ceilings, the shape and the prompts' tokens, from a process that is gone before an engine starts."""
    say("measuring the machine's ceilings")
    with WorkerProcess("the machine's measurement", offline=is_local(model)) as worker:
        sent = [asdict(prompt) for prompt in prompts]
        return probe_from_json(worker.ask("probe", model=model, dtype=settings.dtype, prompts=sent))


def _task(engine: Started, passages: Sequence[Passage], settings: BenchSettings, probe: ProbeReply) -> Task:
    prompts = repeat_prompts(passages, settings, 1)
    rows = {prompt.id: row for prompt, row in zip(prompts, probe.rows, strict=False)}
    return task_of(rows, engine.settings["max_batch_size"], probe.shape, probe.ceilings)


def _take_turns(
    engines: Sequence[Started],
    tasks: Sequence[Task],
    asked: Sequence[Sequence[Passage]],
    settings: BenchSettings,
    say: Say,
) -> list[list[RepeatFigures]]:
    """A B C, A B C, ...: what drifts in time touches all of them alike."""
    repeats: list[list[RepeatFigures]] = [[] for _ in engines]
    for repeat in range(1, settings.repeats + 1):
        for index, engine in enumerate(engines):
            prompts = repeat_prompts(asked[index], settings, repeat)
            with ExitStack() as stopped:
                for other in engines:
                    if other is not engine:
                        stopped.enter_context(other.worker.stopped())
                reply = engine.worker.run([prompts])
            figures = repeat_figures(repeat, run_from_json(reply), tasks[index])
            if not figures.questions:
                raise EngineError(f"{engine.choice.text} answered none of {len(prompts)} prompts")
            repeats[index].append(figures)
            say(f"repeat {repeat}: {engine.choice.text}: {figures.questions_per_second:.2f} questions/s")
    return repeats


def _entry(engine: Started, task: Task, passages: Sequence[Passage], repeats: Sequence[RepeatFigures]) -> EngineEntry:
    return EngineEntry(
        label=engine.choice.text,
        ran=engine.info.engine,
        device=engine.info.device,
        dtype=engine.info.dtype,
        parameters=engine.info.parameters,
        settings=engine.settings,
        python=engine.python,
        versions=engine.versions,
        passages=len(passages),
        questions=len(task.rows),
        prompt_tokens=task.work.tokens,
        fewest_tokens=task.work.fewest,
        repeats=tuple(repeats),
        figures=summary(repeats),
    )


def _ratios(entries: Sequence[EngineEntry]) -> tuple[Ratio, ...]:
    first, *others = entries
    return tuple(
        Ratio(engine=first.label, over=other.label, spread=paired_ratio(first.repeats, other.repeats))
        for other in others
    )


def _notes(
    entries: Sequence[EngineEntry], engines: Sequence[Started], settings: BenchSettings, there: int
) -> list[str]:
    """What a reader of the figures has to know beside them."""
    notes = []
    for entry, engine in zip(entries, engines, strict=True):
        expected = "transformers" if engine.choice.name == "one_by_one" else engine.choice.name
        if entry.ran != expected:
            notes.append(f"{entry.label} does not cover this model: what ran is {entry.ran}")
        if entry.passages < there:
            notes.append(f"{entry.label} answered the first {entry.passages} of {there} passages: rates are of those")
        failed = sum(figures.failed for figures in entry.repeats)
        if failed:
            notes.append(f"{entry.label} failed {failed} prompts, which are not counted")
        short = sum(f.questions * settings.max_new_tokens - f.generated_tokens for f in entry.repeats)
        if settings.lengths == "fixed" and short:
            notes.append(f"{entry.label} ended answers early: {short} tokens of the fixed length are missing")
        if any(figures.prompt_tokens != entry.prompt_tokens for figures in entry.repeats if not figures.failed):
            notes.append(f"{entry.label} counts other prompt tokens than the model's tokenizer in this process")
    return notes
