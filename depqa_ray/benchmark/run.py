"""The benchmark: measure the ceilings, start every engine, warm each up, then let them take turns, repeat by repeat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone

from depqa_ray.benchmark.client import WorkerProcess
from depqa_ray.benchmark.engines import Report, RunningEngine, resolve_model, start_engine
from depqa_ray.benchmark.figures import Task, paired_ratio, repeat_figures, summary
from depqa_ray.benchmark.machine import this_machine
from depqa_ray.benchmark.prefix_tree import prompt_work
from depqa_ray.benchmark.protocol import ProbeReply, probe_from_json
from depqa_ray.benchmark.schema import BenchResults, EngineEntry, Ratio, RepeatFigures
from depqa_ray.benchmark.settings import BenchSettings, EngineChoice
from depqa_ray.benchmark.workload import draw_passages, repeat_prompts
from depqa_ray.core import Passage, Prompt
from depqa_ray.errors import EngineError
from depqa_ray.results.privacy import public_settings


@dataclass(frozen=True, slots=True)
class _Contender:
    """A running engine with its passages and its task. ``repeats`` grows by one entry a repeat."""

    engine: RunningEngine
    passages: Sequence[Passage]
    task: Task
    repeats: list[RepeatFigures] = field(default_factory=list)

    @property
    def label(self) -> str:
        return self.engine.choice.text


def run_benchmark(settings: BenchSettings, command: str, report: Report) -> BenchResults:
    """Compare the engines that the settings name. ``command`` is recorded. Raises DepqaError."""
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    passages = draw_passages(settings, report)
    with ExitStack() as stack:
        model = resolve_model(settings, stack, report)
        probe = _probe(model, repeat_prompts(passages, settings, 1), settings, report)
        engines = [start_engine(choice, model, settings, stack, report) for choice in settings.engines]
        contenders = [_contender(engine, passages, settings, probe) for engine in engines]
        for contender in contenders:
            report(f"{contender.label}: warming up")
            warm_up = repeat_prompts(contender.passages[: settings.warm_up], settings, 0)
            contender.engine.worker.run([warm_up])
        _take_turns(contenders, settings, report)
    entries = tuple(map(_entry, contenders))
    return BenchResults(
        command=command,
        started=started,
        model=f"random weights of {settings.random_weights.name}" if settings.random_weights else settings.model_name,
        settings=public_settings(settings.model_dump(mode="json")),
        machine=this_machine(),
        shape=probe.shape,
        ceilings=probe.ceilings,
        passages=len(passages),
        questions=sum(len(passage.questions) for passage in passages),
        engines=entries,
        ratios=_ratios(entries),
        notes=tuple(
            note
            for entry, choice in zip(entries, settings.engines, strict=True)
            for note in _notes(entry, choice, settings, len(passages))
        ),
    )


def _probe(model: str, prompts: Sequence[Prompt], settings: BenchSettings, report: Report) -> ProbeReply:
    """The ceilings, the shape and the prompts' tokens, from a process that ends before an engine starts."""
    report("measuring the machine's ceilings")
    with WorkerProcess("the machine's measurement") as worker:
        sent = [asdict(prompt) for prompt in prompts]
        return probe_from_json(worker.ask("probe", model=model, dtype=settings.dtype, prompts=sent))


def _contender(
    engine: RunningEngine, passages: Sequence[Passage], settings: BenchSettings, probe: ProbeReply
) -> _Contender:
    choice = engine.choice
    part = passages[: choice.passages or (settings.one_by_one_limit if choice.name == "one_by_one" else None)]
    prompts = repeat_prompts(part, settings, 1)  # the first of those that were probed
    rows = {prompt.id: row for prompt, row in zip(prompts, probe.rows, strict=False)}
    work = prompt_work(list(rows.values()))
    return _Contender(engine, part, Task(rows, work, engine.settings["max_batch_size"], probe.shape, probe.ceilings))


def _take_turns(contenders: Sequence[_Contender], settings: BenchSettings, report: Report) -> None:
    """A B C, A B C, ...: drift in time affects all of them alike. The others are stopped while one runs."""
    for repeat in range(1, settings.repeats + 1):
        for contender in contenders:
            prompts = repeat_prompts(contender.passages, settings, repeat)
            with ExitStack() as stopped:
                for other in contenders:
                    if other is not contender:
                        stopped.enter_context(other.engine.worker.stopped())
                reply = contender.engine.worker.run([prompts])
            figures = repeat_figures(repeat, reply, contender.task)
            if not figures.questions:
                raise EngineError(f"{contender.label} answered none of {len(prompts)} prompts")
            contender.repeats.append(figures)
            report(f"repeat {repeat}: {contender.label}: {figures.questions_per_second:.2f} questions/s")


def _entry(contender: _Contender) -> EngineEntry:
    engine, task, info = contender.engine, contender.task, contender.engine.reply.info
    return EngineEntry(
        label=contender.label,
        ran=info.engine,
        device=info.device,
        dtype=info.dtype,
        parameters=info.parameters,
        settings=engine.settings,
        python=engine.reply.python,
        versions=engine.reply.versions,
        passages=len(contender.passages),
        questions=len(task.rows),
        prompt_tokens=task.work.tokens,
        fewest_tokens=task.work.fewest,
        repeats=tuple(contender.repeats),
        figures=summary(contender.repeats),
    )


def _ratios(entries: Sequence[EngineEntry]) -> tuple[Ratio, ...]:
    first, *others = entries
    return tuple(
        Ratio(engine=first.label, over=other.label, spread=paired_ratio(first.repeats, other.repeats))
        for other in others
    )


def _notes(entry: EngineEntry, choice: EngineChoice, settings: BenchSettings, available: int) -> Iterator[str]:
    """Notes that qualify the figures of an engine."""
    if entry.ran != choice.engine:
        yield f"{entry.label} does not cover this model: what ran is {entry.ran}"
    if entry.passages < available:
        yield f"{entry.label} answered the first {entry.passages} of {available} passages: rates are of those"
    failed = sum(figures.failed for figures in entry.repeats)
    if failed:
        yield f"{entry.label} failed {failed} prompts, which are not counted"
    short = sum(f.questions * settings.max_new_tokens - f.generated_tokens for f in entry.repeats)
    if settings.lengths == "fixed" and short:
        yield f"{entry.label} ended answers early: {short} tokens of the fixed length are missing"
    if any(figures.prompt_tokens != entry.prompt_tokens for figures in entry.repeats if not figures.failed):
        yield f"{entry.label} counts other prompt tokens than the model's tokenizer in this process"
