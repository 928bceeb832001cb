"""What the README tells people to type does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.cli.commands import _parser, main
from depqa_ray.cli.flags import given_settings
from depqa_ray.planning.strategies import STRATEGIES
from depqa_ray.settings.load import Settings, flag_of, load_settings
from tests.sample_run import write_sample

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("depqa-ray ")
]


def settings_of(command: str) -> Settings:
    parsed = _parser().parse_args(shlex.split(command)[1:])
    return load_settings(given_settings(parsed), parsed.config, parsed.defaults)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_documented_command_is_understood(command: str) -> None:
    parsed = _parser().parse_args(shlex.split(command)[1:])
    if hasattr(parsed, "defaults"):
        settings_of(command)


def test_the_examples_of_the_scripts_before_keep_their_meaning() -> None:
    run, compare = (
        next(line for line in COMMANDS if line.startswith(f"depqa-ray {name}  ")) for name in ("run", "compare")
    )
    expected: dict[str, Any] = {"model_name": "Qwen/Qwen3-4B", "min_questions": 3, "max_new_tokens": 128, "seed": 13}

    one = expected | {"context_count": 1, "max_questions": 3, "no_llm_deps": True}
    assert one.items() <= vars(settings_of(run)).items()
    shown = vars(settings_of(compare))
    assert shown["json_out"] == Path("outputs_json/results.json")
    assert (expected | {"context_count": 3, "max_questions": 5, "no_llm_deps": False}).items() <= shown.items()


def test_there_are_two_set_up_commands() -> None:
    assert re.findall(r"^pip install .*", README, re.M) == [
        "pip install . && depqa-ray demo",
        "pip install '.[test]' && pytest",
    ]


def test_the_flags_and_defaults_of_the_table_are_those_of_the_settings() -> None:
    rows = re.findall(r"^\| (`--.*?) \| (.*?) \|", README, re.M)
    assert len(rows) > 10
    defaults = {flag_of(name): field.default for name, field in Settings.model_fields.items()}
    named = [name for flags, _ in rows for name in re.findall(r"--[a-z-]+", flags)]
    assert set(named) == {*defaults, "--config"}
    assert len(named) == len(set(named))
    for flags, shown in rows:
        names = re.findall(r"--[a-z-]+", flags)
        values = [defaults.get(name) for name in names]
        if all(isinstance(value, int | float | str) and not isinstance(value, bool) for value in values):
            assert shown == ", ".join(dict.fromkeys(map(str, values)))


def test_every_strategy_and_link_of_the_readme_is_there() -> None:
    assert all(f"\n{name} " in README for name in STRATEGIES)
    for target in re.findall(r"\]\(([^):]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_worlds_and_score_work_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictions.json").write_text("{}", "utf-8")
    write_sample(tmp_path / "runs" / "first")
    (tmp_path / "runs" / "first" / "predictions-independent.json").write_text("{}", "utf-8")
    for command in COMMANDS:
        name = command.split()[1]
        if name in ("worlds", "score"):
            assert main(shlex.split(command)[1:]) == 0
    assert '{"exact_match": 0.0, "f1": 0.0}' in capsys.readouterr().out


@pytest.mark.slow
def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "(('q1', 'q3'), ('q2',))" in shown
    assert len(list(tmp_path.glob("runs/*/html/index.html"))) == 1
