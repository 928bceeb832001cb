"""The commands and code in the documentation do what the documentation says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.benchmark.settings import BenchSettings
from depqa_ray.cli.commands import _parser, main
from depqa_ray.cli.flags import given_settings
from depqa_ray.planning.strategies import STRATEGIES
from depqa_ray.settings.load import Settings, flag_of, load_settings
from tests.sample_run import write_sample

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "cluster" / "README.md")
}
"""Every page of documentation, by its path."""


def commands_of(text: str) -> list[str]:
    """The program's commands in a page's bash blocks, each on one line; those for a cluster too."""
    return [
        re.sub(r"^.*cluster/submit.sh ", "depqa-ray ", line)
        for block in re.findall(r"^ *```bash\n(.*?)```", text, re.S | re.M)
        for line in block.replace("\\\n", "").splitlines()
        if re.match(r" *(depqa-ray|.*cluster/submit.sh) ", line)
    ]


COMMANDS = [command.strip() for text in PAGES.values() for command in commands_of(text)]
FLAG = r"--[a-z-]+"


def settings_of(command: str) -> Settings:
    parsed = _parser().parse_args(shlex.split(command)[1:])
    return load_settings(given_settings(parsed), parsed.config, parsed.defaults)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_documented_command_is_understood(command: str) -> None:
    parsed = _parser().parse_args(shlex.split(command)[1:])
    if hasattr(parsed, "defaults"):
        settings_of(command)


def test_examples_of_the_earlier_scripts_keep_their_meaning() -> None:
    """The examples of the earlier scripts keep their meaning."""
    run, compare = (
        next(line for line in commands_of(PAGES["docs/running.md"]) if line.startswith(f"depqa-ray {name}  "))
        for name in ("run", "compare")
    )
    expected: dict[str, Any] = {"model_name": "Qwen/Qwen3-4B", "min_questions": 3, "max_new_tokens": 128, "seed": 13}

    one = expected | {"context_count": 1, "max_questions": 3, "no_llm_deps": True}
    assert one.items() <= vars(settings_of(run)).items()
    shown = vars(settings_of(compare))
    paged = next(line for line in COMMANDS if "--cost-weight 0.015" in line)
    assert {"context_count": 5, "max_dependencies": 2, "html_dir": Path("outputs_html")}.items() <= vars(
        settings_of(paged)
    ).items()
    assert shown["json_out"] == Path("outputs_json/results.json")
    assert (expected | {"context_count": 3, "max_questions": 5, "no_llm_deps": False}).items() <= shown.items()


def test_there_are_two_set_up_commands() -> None:
    assert re.findall(r"^pip install .*", README, re.M) == [
        "pip install . && depqa-ray demo",
        "pip install '.[test]' && pytest",
    ]


def test_table_of_flags_matches_the_settings() -> None:
    """The flags and defaults on the settings page are those of the settings."""
    settings, _, bench = PAGES["docs/settings.md"].partition("\n## Benchmarks\n")
    for text, model, more in ((settings, Settings, {"--config"}), (bench, BenchSettings, set())):
        rows = re.findall(r"^\| (`--.*?) \| (.*?) \|", text, re.M)
        assert len(rows) > 10
        defaults = {flag_of(name): field.default for name, field in model.model_fields.items()}
        named = [name for flags, _ in rows for name in re.findall(FLAG, flags)]
        assert set(named) == {*defaults, *more}
        assert len(named) == len(set(named))
        for flags, shown in rows:
            values = [defaults.get(name) for name in re.findall(FLAG, flags)]
            if all(isinstance(value, int | float | str) and not isinstance(value, bool) for value in values):
                assert shown.replace(", ", ",") == ",".join(map(str, values))


def test_the_settings_page_is_the_generated_one() -> None:
    """`python docs/settings_page.py > docs/settings.md` writes it."""
    shown = subprocess.run(
        [sys.executable, "docs/settings_page.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert PAGES["docs/settings.md"] == shown.stdout


def test_every_strategy_and_link_of_the_readme_is_there() -> None:
    assert all(f"\n| `{name}` | " in README for name in STRATEGIES)
    assert "](docs/picture.svg)" in README
    for page, text in PAGES.items():
        for target, _, anchor in (found.partition("#") for found in re.findall(r"\]\(([^):]+)\)", text)):
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.is_file(), f"{page}: {target}"
            assert not anchor or anchor in anchors_of(path.read_text("utf-8")), f"{page}: #{anchor}"


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", text, re.M)
    }


def test_every_page_is_reached_from_the_readme() -> None:
    texts = README + PAGES["docs/architecture.md"]
    linked = {Path(target.partition("#")[0]).name for target in re.findall(r"\]\(([^):]+)\)", texts)}
    assert {Path(page).name for page in PAGES} <= {"README.md", *linked}


def test_worlds_and_score_work_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "predictions.json").write_text("{}", "utf-8")
    write_sample(tmp_path / "runs" / "first")
    (tmp_path / "runs" / "first" / "predictions-dependency_parallel.json").write_text("{}", "utf-8")
    for command in COMMANDS:
        name = command.split()[1]
        if name in ("worlds", "score"):
            assert main(shlex.split(command)[1:]) == 0
    assert '{"exact_match": 0.0, "f1": 0.0}' in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/running.md"])
def test_the_python_example_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGES[page], re.S)
    exec(compile(code, page, "exec"), {})
    shown = capsys.readouterr().out
    assert "\ndependency_parallel " in shown
    if page == "README.md":
        assert len(code.splitlines()) <= 15
        assert "ask:world-2026-0-q3 after ('ask:world-2026-0-q2',)" in shown
    else:
        assert "(('q1', 'q3'), ('q2',))" in shown
        assert len(list(tmp_path.glob("runs/*/html/index.html"))) == 1
