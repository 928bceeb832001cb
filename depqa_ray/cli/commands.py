"""The commands: parse, call, print, return the exit code. Each command imports the heavy packages that it needs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from depqa_ray.benchmark.settings import BenchSettings, load_bench_settings
from depqa_ray.cli.flags import Parser, add_flags, given_settings
from depqa_ray.cli.outputs import Output, check_output_files, check_run_outputs, run_outputs, write_all
from depqa_ray.cli.streams import command_streams
from depqa_ray.errors import DepqaError, InputError, SettingsError
from depqa_ray.report.text import counted, one_line
from depqa_ray.settings.load import GROUPS, Settings, load_settings
from depqa_ray.settings.sections import OutputSettings, StatisticsSettings
from depqa_ray.settings.types import EMBEDDED, StrategyName, user_path

if TYPE_CHECKING:
    from depqa_ray.core import Passage
    from depqa_ray.results.schema import RunResults

_INTERRUPTED: Final = 130
_DEMO: Final[Mapping[str, Any]] = {
    "dataset": EMBEDDED,
    "model_name": EMBEDDED,
    "context_count": 0,
    "strategies": ("sequential", "full_batch", "independent", "dependency_parallel", "dependency_layered"),
    "no_dep_cache": True,
}
"""The defaults of `demo`: the data and the model that ship with the package, and no kept replies."""
_RUN: Final[Mapping[str, Any]] = {"isolate": False}
"""`run` is for answers, `compare` for latencies."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. An error that a user can cause is one line on stderr, no traceback."""
    with command_streams() as output:
        code = _main(sys.argv[1:] if arguments is None else arguments)
        output.flush()
        return code or int(output.error is not None)


def _main(arguments: Sequence[str]) -> int:
    parsed = _parser().parse_args(arguments)
    parsed.words = list(arguments)
    command: Callable[[argparse.Namespace], int] = parsed.command
    try:
        return command(parsed)
    except DepqaError as error:
        _print_errors(error)
        return error.exit_code
    except KeyboardInterrupt:
        _print_to_stderr("depqa-ray: interrupted")
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="depqa-ray",
        description="Answers several questions about one passage: one by one, all in one prompt, or in parallel along "
        "their dependencies. Runs on Ray and reports the accuracy, tokens and latency of each strategy.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)
    _add_experiment(commands, "run", _run, "answer with one strategy", _RUN)
    _add_experiment(commands, "compare", _compare, "answer with several strategies and compare them", {})
    summary = "compare strategies on the embedded data with the embedded reader"
    _add_experiment(commands, "demo", partial(_compare, pages="html"), summary, _DEMO)
    _add_report(commands)
    _add_worlds(commands)
    _add_score(commands)
    _add_bench(commands)
    return parser


def _add_command(commands: Any, name: str, command: Any, summary: str, **options: Any) -> Parser:
    description = f"{summary[0].upper()}{summary[1:]}."
    parser: Parser = commands.add_parser(name, help=summary, description=description, **options)
    parser.set_defaults(command=command)
    return parser


def _add_experiment(commands: Any, name: str, command: Any, summary: str, defaults: Mapping[str, Any]) -> None:
    parser = _add_command(commands, name, command, summary, allow_abbrev=False)
    parser.add_argument(
        "--config",
        type=user_path,
        metavar="PATH",
        help="a TOML or YAML file of settings; flags and DEPQA_... environment variables override it",
    )
    for heading, section in GROUPS.items():
        add_flags(parser.add_argument_group(heading), section, defaults)
    parser.set_defaults(defaults=defaults)


def _add_report(commands: Any) -> None:
    summary = "make a run's table, pages and JSON again from its directory"
    parser = _add_command(commands, "report", _report, summary)
    parser.add_argument("run_dir", type=user_path, metavar="RUN_DIR", help="the directory of a run")
    parser.add_argument("--html-dir", type=user_path, metavar="PATH", help="write the pages here")
    parser.add_argument("--json-out", type=user_path, metavar="PATH", help="write the results as JSON here")
    parser.add_argument(
        "--parquet-out", type=user_path, metavar="PATH", help="write each question's record as Parquet here"
    )
    parser.add_argument("--all-passages", action="store_true", help="print the figures of every passage")
    add_flags(parser, StatisticsSettings, dict.fromkeys(StatisticsSettings.model_fields, "as in the run"))


def _add_worlds(commands: Any) -> None:
    summary = "generate passages whose questions depend on each other, as SQuAD v1.1 JSON with gold edges"
    parser = _add_command(commands, "worlds", _worlds, summary)
    parser.add_argument("--count", type=int, default=24, metavar="N", help="number of passages [%(default)s]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws [%(default)s]")
    parser.add_argument("--out", type=user_path, required=True, metavar="PATH", help="the file to write")
    parser.add_argument("--questions", type=int, metavar="N", help="questions per passage, 1 to 12 [5]")
    parser.add_argument("--depth", type=int, metavar="N", help="most questions on a chain of edges, 1 to 4 [4]")
    parser.add_argument("--fan-in", type=int, metavar="N", help="most parents of a question, 1 or 2 [2]")
    parser.add_argument("--entities", type=int, metavar="N", help="people, towns, rivers, companies: 2 to 8 each [3]")
    parser.add_argument("--facts", type=int, metavar="N", help="fewest sentences per passage, 0 to 60 [12]")


def _add_score(commands: Any) -> None:
    summary = "score an official {id: answer} prediction file with the official SQuAD rules"
    parser = _add_command(commands, "score", _score, summary)
    parser.add_argument("predictions", type=user_path, metavar="PREDICTIONS.json", help="answers by question id")
    parser.add_argument("dataset", metavar="DATASET", help="a data set as for run --dataset, or a run's directory")
    parser.add_argument("--split", default="train", metavar="NAME", help="split of the hub's data set [%(default)s]")


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure engines", description="Measures; no figure is simulated.")
    kinds = bench.add_subparsers(title="benchmarks", required=True, metavar="BENCHMARK", parser_class=Parser)
    summary = (
        "measure engines in turns on the same prompts; compare them with each other and with the machine's ceilings"
    )
    add_flags(_add_command(kinds, "engine", _bench_engine, summary, allow_abbrev=False), BenchSettings, {})


def _settings(arguments: argparse.Namespace) -> Settings:
    for word in arguments.words:
        if word != word.encode("utf-8", "replace").decode("utf-8"):
            fix = "give another name, or set PYTHONUTF8=1 if your terminal is UTF-8"
            raise SettingsError("is not UTF-8, and Ray takes no other command line", word, fix)
    return load_settings(given_settings(arguments), arguments.config, arguments.defaults)


def _run(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    return _run_and_report(settings, (settings.strategy,))


def _compare(arguments: argparse.Namespace, pages: str | None = None) -> int:
    from depqa_ray.results.intervals import check_baseline

    settings = _settings(arguments)
    check_baseline(settings.baseline, settings.strategies)
    return _run_and_report(settings, settings.strategies, pages)


def _run_and_report(settings: Settings, strategies: Sequence[StrategyName], pages: str | None = None) -> int:
    """Run, then write the outputs. If ``html_dir`` is not set, pages go to ``pages`` in the run directory."""
    check_run_outputs(settings)

    from rich.console import Console

    from depqa_ray.cli.progress import LiveProgress, start_logging
    from depqa_ray.runtime.run import run_experiment

    console = Console(stderr=True)
    start_logging(settings.log_level, console)
    with LiveProgress(console) as progress:
        try:
            folder = run_experiment(settings, strategies, progress)
        except KeyboardInterrupt:
            if progress.folder is not None:
                _print_to_stderr(f"depqa-ray report {progress.folder} shows the answers so far")
            raise
    html_dir = settings.html_dir or (folder / pages if pages else None)
    outputs = settings.model_copy(update={"html_dir": html_dir})
    results, code = _write_and_print(folder, outputs, {}, all_passages=settings.log_level == "debug")
    return code if any(summary.counts.answered for summary in results.strategies.values()) else 1


def _report(arguments: argparse.Namespace) -> int:
    outputs = OutputSettings(**given_settings(arguments, OutputSettings))
    statistics = given_settings(arguments, StatisticsSettings)
    return _write_and_print(arguments.run_dir, outputs, statistics, all_passages=arguments.all_passages)[1]


def _write_and_print(
    folder: Path, outputs: OutputSettings, statistics: Mapping[str, Any], *, all_passages: bool
) -> tuple[RunResults, int]:
    """Write what follows from a run's records, then print its table. ``statistics`` override the run's own settings.

    Also returns the exit code: 1 if a file could not be written.
    """
    from rich.console import Console

    from depqa_ray.report.terminal import print_results
    from depqa_ray.results.intervals import check_baseline, resampling_of
    from depqa_ray.results.metrics import compute_results, strategy_names
    from depqa_ray.results.store import RunStore

    store = RunStore.open(folder)
    records = store.read()
    check_baseline(statistics.get("baseline"), strategy_names(records))
    results = compute_results(records, resampling_of(records.manifest.settings, statistics))
    lines, errors = write_all(run_outputs(store, outputs, records, results))
    print_results(results, Console(), all_passages=all_passages, warnings=records.warnings)
    print(f"Run directory: {folder}", *lines, sep="\n")
    return results, _print_errors(*errors)


def _worlds(arguments: argparse.Namespace) -> int:
    from depqa_ray.passages.synthetic.export import write_worlds
    from depqa_ray.passages.synthetic.worlds import WorldShape

    names = ("questions", "depth", "fan_in", "entities", "facts")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    try:
        shape = WorldShape(**given)
    except ValueError as error:
        raise InputError(str(error), "--" + str(error).split()[0].replace("_", "-")) from None
    check_output_files({"--out": arguments.out})
    write_worlds(arguments.out, arguments.count, arguments.seed, shape)
    print(f"{counted(arguments.count, 'world', 'worlds')} of seed {arguments.seed}: {arguments.out}")
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from depqa_ray.answering.predictions import read_predictions
    from depqa_ray.answering.scoring import score_predictions
    from depqa_ray.cli.scored import score_lines

    predictions = read_predictions(arguments.predictions)
    passages, name = _scored_data(arguments.dataset, arguments.split)
    scores = score_predictions(predictions, passages)
    for line in score_lines(scores, name, len(predictions)):
        _print_to_stderr(one_line(line))
    print(json.dumps({"exact_match": scores.exact_match, "f1": scores.f1}))
    return 0


def _scored_data(dataset: str, split: str) -> tuple[Iterable[Passage], str]:
    """The passages of a data set, or those that a run asked about, and what to call them."""
    from depqa_ray.cli.scored import data_set_text
    from depqa_ray.hub import FetchLog
    from depqa_ray.passages.sources import fetch_dataset, load_passages
    from depqa_ray.results.store import MANIFEST, RunStore

    if (Path(dataset) / MANIFEST).is_file():
        run = RunStore.open(Path(dataset)).read()
        commit = run.manifest.commits.get("dataset", "")
        name = data_set_text(run.manifest.labels.dataset, run.manifest.settings.get("split", ""), commit)
        return [record.passage for record in run.passages], f"{name}, as run {dataset} asked"
    snapshot = fetch_dataset(dataset, split, FetchLog(_print_to_stderr))
    name = data_set_text(dataset, split, snapshot.commit if snapshot else "")
    return load_passages(dataset, split=split, snapshot=snapshot), name


def _bench_engine(arguments: argparse.Namespace) -> int:
    import shlex

    from rich.console import Console

    from depqa_ray.benchmark.run import run_benchmark
    from depqa_ray.benchmark.table import markdown, print_bench
    from depqa_ray.benchmark.verify import verify_engines
    from depqa_ray.results.store import write_atomically

    settings = load_bench_settings(given_settings(arguments, BenchSettings))
    if settings.verify is not None:
        difference = verify_engines(settings, settings.verify, _print_to_stderr)
        prompts = counted(settings.verify, "prompt", "prompts")
        print(difference or f"{prompts}: every engine's answers are those of generate")
        return 1 if difference else 0
    check_output_files({"--json-out": settings.json_out, "--markdown-out": settings.markdown_out})
    results = run_benchmark(settings, shlex.join(["depqa-ray", *arguments.words]), _print_to_stderr)
    texts = {settings.json_out: results.model_dump_json(indent=1), settings.markdown_out: markdown(results)}
    lines, errors = write_all(
        Output(f"Written: {path}", partial(write_atomically, path, text)) for path, text in texts.items() if path
    )
    print_bench(results, Console())
    for line in lines:
        print(line)
    return _print_errors(*errors)


def _print_errors(*errors: DepqaError) -> int:
    """Print a line for each error. Returns 1 if there are any."""
    for error in errors:
        # A server's message or a file's name may hold line feeds and escape sequences.
        _print_to_stderr(f"depqa-ray: error: {one_line(str(error))}")
    return int(bool(errors))


def _print_to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
