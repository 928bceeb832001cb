"""Engines with their own options, and one-line errors for bad values."""

from __future__ import annotations

from pathlib import Path

import pytest

from depqa_ray.benchmark.settings import BenchSettings, load_bench_settings, parse_engine
from depqa_ray.cli.commands import main
from depqa_ray.errors import SettingsError
from depqa_ray.settings.load import flag_of


def test_given_options_then_they_are_the_engines_own() -> None:
    choice = parse_engine("transformers_continuous:page=32:batch=8:kv_gib=0.5")
    assert (choice.name, choice.page, choice.batch, choice.kv_gib) == ("transformers_continuous", 32, 8, 0.5)


def test_one_by_one_is_a_batch_of_one() -> None:
    assert parse_engine("one_by_one:passages=3").batch == 1


def test_engine_with_two_sets_of_options_is_kept_twice() -> None:
    """If an engine is named twice with different options, both choices are kept."""
    settings = load_bench_settings({"engines": "transformers:batch=8,transformers:batch=32"})
    assert [choice.batch for choice in settings.engines] == [8, 32]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"engines": "simulated"}, "no engine 'simulated'"),
        ({"engines": "transformers:size=3"}, "no option 'size'"),
        ({"engines": "transformers:batch=x"}, "batch is no number"),
        ({"engines": "transformers:batch=0"}, "above 0"),
        ({"engines": "one_by_one:batch=2"}, "transformers:batch=2"),
        ({"engines": "vllm,vllm"}, "named twice"),
        ({"engines": ","}, "at least one"),
        ({"repeats": "0"}, "--repeats"),
        ({"lengths": "long"}, "--lengths"),
        ({"verify": "5"}, "--dtype float32"),
        ({"max_questions": "3"}, "--min-questions"),
    ],
)
def test_senseless_settings_are_a_one_line_error(flags: dict[str, str], said: str) -> None:
    """If the settings of a benchmark make no sense, the error is one line."""
    with pytest.raises(SettingsError) as caught:
        load_bench_settings(flags)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_setting_has_a_flag_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "engine", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(flag_of(name) in text for name in BenchSettings.model_fields)
    assert all(field.description for field in BenchSettings.model_fields.values())


def test_every_flag_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")
    text = page.partition("\n## Benchmarks\n")[2]
    assert [name for name in BenchSettings.model_fields if f"`{flag_of(name)}" not in text] == []
