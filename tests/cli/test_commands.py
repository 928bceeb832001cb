"""The command line: its flags, its one-line errors, and whole runs on Ray with simulated answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from depqa_ray.answering.predictions import read_predictions
from depqa_ray.cli.commands import _parser, main
from depqa_ray.cli.flags import given_settings
from depqa_ray.passages.sources import load_passages
from depqa_ray.results.schema import RunResults
from depqa_ray.results.store import RunStore
from depqa_ray.runtime.ray.connection import connected_ray
from depqa_ray.settings.load import Settings, flag_of
from tests.passages.documents import row, write_lines
from tests.sample_run import write_sample
from tests.settings.test_settings import LINEAGE

COMMANDS = ("run", "compare", "demo", "report", "worlds", "score")
SIMULATED = ("--engine", "simulated", "--dataset", "embedded", "--context-count", "2", "--log-level", "error")
TITLES = ("Velcarn", "Velcarn", "Velcarn#2")


def said_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and stderr of a command. If it fails, stderr must be one line."""
    try:
        code = main(arguments)
    except SystemExit as error:
        code = int(error.code or 0)
    text = capsys.readouterr().err
    assert code == 0 or len(text.strip().splitlines()) == 1, text
    return code, text


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: depqa-ray {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "compare", "demo"])
def test_every_setting_has_a_flag_and_shows_its_default(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    for name in (*Settings.model_fields, *LINEAGE):
        assert flag_of(name) in text
    for default in ("[13]", "[0.45]", "[96]", "[900]"):
        assert default in text


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        (["run"], {}),
        (["run", "--stop-at-json"], {"stop_at_json": True}),
        (["compare", "--no-stop-at-json", "--no-llm-deps"], {"stop_at_json": False, "no_llm_deps": True}),
        (["demo", "--stop", "a,b", "--top-p", "0.9"], {"stop": "a,b", "top_p": "0.9"}),
    ],
)
def test_flags_are_parsed_and_absent_ones_leave_no_setting(arguments: list[str], given: dict[str, object]) -> None:
    """Given flags become settings, and absent flags leave none."""
    assert given_settings(_parser().parse_args(arguments)) == given


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--no-no-llm-deps"], "--no-no-llm-deps"),
        (["run", "--temperature", "-1"], "--temperature"),
        (["run", "--nonsense"], "depqa-ray run --help"),
        (["nonsense"], "depqa-ray --help"),
        ([], "depqa-ray --help"),
        (["run", "--context-count", "many"], "--context-count"),
        (["run", "--context-coun", "1"], "--context-coun"),
        (["run", "--config", "none.toml"], "none.toml"),
        (["compare", "--strategies", "sequential,full_batch", "--baseline", "independent"], "--baseline"),
        (["compare", "--preset", "qwen4"], "--preset: Input should be 'qwen3-4b-squad-1000x5'"),
        (["run", "--system-prompt-file", "none.txt"], "none.txt: cannot be read"),
        (["run", "--dataset", "embedded", "--shots", "24"], "the data set has 24; lower --shots"),
        (["run", "--shots", "-1"], "--shots"),
        (["run", "--dataset", "none.json"], "none.json"),
        (["run", "--dataset", "words"], "words"),
        (["run", "--dataset", "embedded", "--min-questions", "50", "--max-questions", "60"], "lower --min-questions"),
        (["worlds", "--count", "1", "--out", "w.json", "--questions", "0"], "--questions"),
        (["score", "none.json", "embedded"], "none.json"),
    ],
)
def test_user_errors_are_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """If the command line is wrong, the error is one line with exit code 2, and no file is written."""
    code, text = said_by(capsys, *arguments)
    assert code == 2
    assert said in text
    assert list(tmp_path.iterdir()) == []


def test_bad_variable_is_a_one_line_error(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If an environment variable is bad, the error is one line that names it."""
    monkeypatch.setenv("DEPQA_SEED", "x")
    code, text = said_by(capsys, "run")
    assert code == 2
    assert "DEPQA_SEED" in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "this is no JSON"),
        ("a.json", '{"data": [{"title": "t"}]}'),
        ("a.json", '{"version": "1.1"}'),
        ("a.jsonl", '{"id": "1"}\n'),
        ("a.parquet", "PAR?"),
    ],
)
def test_bad_data_file_is_one_line_and_leaves_no_run(
    name: str, text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """If a data file is bad, the error is one line that names it, and no run is left."""
    (tmp_path / name).write_text(text, "utf-8")
    code, said = said_by(capsys, "run", "--dataset", name, "--engine", "simulated", "--run-dir", "r")
    assert code == 2
    assert name in said
    assert not (tmp_path / "r").exists()


def test_report_without_a_run_is_a_one_line_error(capsys: pytest.CaptureFixture[str]) -> None:
    """If there is no run to report, the error is one line that names the path."""
    code, text = said_by(capsys, "report", "none")
    assert code == 1
    assert "none" in text


def test_given_a_run_then_its_report_can_have_other_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(Path("r"))

    assert main(["report", "r", "--baseline", "full_batch", "--resamples", "200", "--confidence", "0.9"]) == 0

    assert "Differences to full_batch, 90 % intervals over 2 passages, 200 resamples" in capsys.readouterr().out
    assert json.loads(Path("r/results.json").read_text("utf-8"))["bootstrap"]["baseline"] == "full_batch"


def test_flags_that_are_on_can_be_turned_off(capsys: pytest.CaptureFixture[str]) -> None:
    """A flag that may be on can be turned off, and no flag is doubly negated."""
    for command in ("run", "compare", "demo"):
        assert _parser().parse_args([command, "--no-isolate"]).isolate is False
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--no-no-" not in capsys.readouterr().out


def test_given_a_run_then_its_report_can_be_a_table_too(capsys: pytest.CaptureFixture[str]) -> None:
    write_sample(Path("r"))
    assert main(["report", "r", "--parquet-out", "a.parquet"]) == 0
    assert Path("a.parquet").read_bytes()[:4] == b"PAR1"
    assert "Records: a.parquet" in capsys.readouterr().out

    code, text = said_by(capsys, "report", "r", "--parquet-out", "r")
    assert (code, "cannot write r" in text) == (1, True)


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [("--baseline", "independent", "takes no part"), ("--resamples", "1", "100"), ("--confidence", "x", "number")],
)
def test_bad_report_flag_is_one_line_and_changes_nothing(
    flag: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """If report cannot use a flag, the error is one line and no results are written."""
    write_sample(Path("r"))

    code, text = said_by(capsys, "report", "r", flag, value)

    assert (code, flag in text, said in text) == (2, True, True)
    assert not Path("r/results.json").exists()


def test_gold_answers_of_worlds_score_100(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """If the predictions are the gold answers of worlds, they score 100."""
    assert main(["worlds", "--count", "3", "--seed", "7", "--out", "w.json"]) == 0
    assert capsys.readouterr().out == "3 worlds of seed 7: w.json\n"
    golds = {q.id: q.answers[0] for passage in load_passages("w.json") for q in passage.questions}
    Path("p.json").write_text(json.dumps(golds), "utf-8")
    capsys.readouterr()

    assert main(["score", "p.json", "w.json", "--split", "dev"]) == 0
    assert json.loads(capsys.readouterr().out) == {"exact_match": 100.0, "f1": 100.0}


def test_one_world_is_one_world(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worlds", "--count", "1", "--out", "w.json"]) == 0
    assert capsys.readouterr().out == "1 world of seed 0: w.json\n"


def test_the_module_runs_as_the_program_does() -> None:
    shown = subprocess.run([sys.executable, "-m", "depqa_ray", "run", "--seed", "x"], capture_output=True, text=True)
    assert shown.returncode == 2
    assert shown.stderr.startswith("depqa-ray: error: --seed")
    assert "Traceback" not in shown.stderr


@pytest.fixture(scope="module")
def a_ray() -> Iterator[None]:
    with connected_ray():
        yield


def assert_complete(folder: Path, strategies: tuple[str, ...]) -> None:
    """Every question of every passage has one outcome under each strategy."""
    records = RunStore.open(folder).read()
    asked = sorted(question.id for record in records.passages for question in record.passage.questions)
    for strategy in strategies:
        steps = [step for step in records.steps if step.strategy == strategy]
        assert sorted(outcome.question_id for step in steps for outcome in step.outcomes) == asked
        assert sorted(read_predictions(folder / f"predictions-{strategy}.json")) == asked


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
@pytest.mark.parametrize(
    ("command", "strategies"),
    [
        ("run", ("dependency_parallel",)),
        ("compare", ("sequential", "full_batch", "independent", "dependency_parallel")),
        ("demo", ("sequential", "full_batch", "independent", "dependency_parallel", "dependency_layered")),
    ],
)
def test_run_is_complete_and_its_report_repeats_to_the_byte(
    command: str, strategies: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A command leaves a complete run, and report makes the same results and index again to the byte."""
    flags = ("--run-dir", "r", "--html-dir", "h", "--json-out", "j.json", "--parquet-out", "a.parquet")
    assert main([command, *SIMULATED, *flags]) == 0
    shown = capsys.readouterr().out
    results = Path("r/results.json").read_bytes()

    assert_complete(Path("r"), strategies)
    assert Path("j.json").read_bytes() == results
    assert list(json.loads(results)["strategies"]) == list(strategies)
    assert Path("a.parquet").read_bytes()[:4] == b"PAR1"
    assert len(list(Path("h").glob("*.html"))) == 3
    for text in (*strategies, "Averages over 2 passages", "Note: The figures are simulated", "Run directory: r"):
        assert text in shown

    Path("r/results.json").unlink()
    assert main(["report", "r", "--html-dir", "h2"]) == 0
    assert Path("r/results.json").read_bytes() == results
    assert Path("h2/index.html").read_bytes() == Path("h/index.html").read_bytes()
    assert capsys.readouterr().out.startswith(shown.split("Run directory")[0])


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
@pytest.mark.parametrize("isolation", ["--isolate", "--no-isolate"])
def test_titles_that_look_like_ids_lose_no_passage(isolation: str, capsys: pytest.CaptureFixture[str]) -> None:
    """If titles look like ids of other passages, each passage is asked and counted; what is left out is said."""
    rows = [row(f"q{at}-{number}", f"Text {at}.", title) for at, title in enumerate(TITLES) for number in range(4)]
    write_lines(Path("set.jsonl"), *rows, row("q9", "Short."), row("q8", question=""))
    flags = ("--engine", "simulated", "--deps", "heuristic", "--max-questions", "3", "--on-bad-input", "skip")
    assert main(["run", *flags, "--context-count", "0", "--dataset", "set.jsonl", "--run-dir", "r", isolation]) == 0
    assert_complete(Path("r"), ("dependency_parallel",))
    assert len(RunStore.open(Path("r")).read().passages) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Note: 3 of 5 passages: 2 left out: 1 without a usable question, 1 below --min-questions. "
        "9 of 12 questions of these passages: 3 left out, beyond --max-questions. Note: 1 row of the data set left out"
    ) in said


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
def test_given_the_demo_then_its_pages_are_in_its_run_directory(tmp_path: Path) -> None:
    assert main(["demo", *SIMULATED]) == 0
    assert len(list(tmp_path.glob("runs/*/html/index.html"))) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
def test_preset_shows_published_figures_next_to_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """If a preset is given, the published figures are shown next to those of the run."""
    preset = ("--preset", "qwen3-4b-squad-1000x5", "--deps", "heuristic")
    assert main(["compare", *SIMULATED, *preset, "--run-dir", "r", "--html-dir", "h"]) == 0
    shown = capsys.readouterr().out

    strategies = ("independent", "full_batch", "sequential_shuffled", "sequential_ordered")
    assert_complete(Path("r"), strategies)
    assert json.loads(Path("r/manifest.json").read_text("utf-8"))["settings"]["preset"] == "qwen3-4b-squad-1000x5"
    page = Path("h/index.html").read_text("utf-8")
    for text in (*strategies, "0.677", "1444.0"):
        assert text in shown and text in page
    assert "--context-count 2 instead of 1000" in " ".join(shown.split())


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
def test_manifest_keeps_system_prompt_and_examples() -> None:
    """If a system prompt and examples are asked for, the manifest keeps them."""
    Path("line.txt").write_text("Answer briefly.\n", "utf-8")
    assert main(["run", *SIMULATED, "--system-prompt-file", "line.txt", "--shots", "2", "--run-dir", "r"]) == 0
    settings = json.loads(Path("r/manifest.json").read_text("utf-8"))["settings"]
    assert settings["system_prompt"] == "Answer briefly."
    assert len(set(settings["examples"])) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
def test_existing_run_directory_is_refused_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """If the run directory holds a run, the command refuses it and leaves the run unchanged."""
    assert main(["run", *SIMULATED, "--run-dir", "r"]) == 0
    before = Path("r/outcomes.jsonl").read_bytes()
    capsys.readouterr()

    code, text = said_by(capsys, "run", *SIMULATED, "--run-dir", "r")
    assert code == 1
    assert "r" in text
    assert Path("r/outcomes.jsonl").read_bytes() == before


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
def test_skipped_bad_rows_are_left_out_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """If bad rows are skipped, they are left out and counted; otherwise no run is made."""
    assert main(["worlds", "--count", "4", "--out", "w.json"]) == 0
    data = json.loads(Path("w.json").read_text("utf-8"))
    del data["data"][1]["paragraphs"][0]["context"]
    Path("w.json").write_text(json.dumps(data), "utf-8")
    flags = ("--engine", "simulated", "--dataset", "w.json", "--context-count", "0", "--log-level", "error")

    assert said_by(capsys, "run", *flags, "--run-dir", "r")[0] == 2
    assert not Path("r").exists()
    assert main(["run", *flags, "--run-dir", "r", "--on-bad-input", "skip", "--shots", "1"]) == 0
    assert json.loads(Path("r/results.json").read_text("utf-8"))["run"]["bad_rows"] == 1
    assert "1 row of the data set left out" in capsys.readouterr().out
    assert_complete(Path("r"), ("dependency_parallel",))


@pytest.mark.slow
@pytest.mark.usefixtures("a_ray")
def test_cut_replies_are_told_in_table_pages_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    """If the limit on tokens cuts all replies, the table, the pages and the results say so, and what to do."""
    flags = ("--dataset", "embedded", "--model-name", "embedded", "--context-count", "1", "--no-dep-cache")
    assert main(["run", *flags, "--max-new-tokens", "1", "--run-dir", "r", "--html-dir", "h"]) == 0
    results = RunResults.model_validate_json(Path("r/results.json").read_text("utf-8"))
    (summary,) = results.strategies.values()
    steps = RunStore.open(Path("r")).read().steps
    assert summary.replies.replies == summary.replies.cut == len(steps) == 6
    assert summary.counts.cut == summary.counts.answered == 5
    advice = "100 % of the replies (6 of 6) were cut off at --max-new-tokens 1: raise it."
    assert results.advice == [advice]
    assert f"Note: {advice}" in " ".join(capsys.readouterr().out.split())
    for page in Path("h").glob("*.html"):
        assert advice in page.read_text("utf-8")
