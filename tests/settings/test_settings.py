"""Settings: their defaults, their sources, and the errors for bad values."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from depqa_ray.errors import SettingsError
from depqa_ray.settings.load import GROUPS, Settings, flag_of, load_settings
from depqa_ray.settings.presets import PRESETS, PresetName

LINEAGE = {
    "model_name": "Qwen/Qwen3-4B",
    "split": "train",
    "context_count": 1,
    "min_questions": 3,
    "max_questions": 5,
    "seed": 13,
    "cost_weight": 0.01,
    "min_confidence": 0.45,
    "max_dependencies": 3,
    "total_cost_budget": None,
    "html_dir": None,
    "json_out": None,
    "no_llm_deps": False,
    "max_new_tokens": 96,
    "log_level": "info",
}


@pytest.fixture(autouse=True)
def no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DEPQA_{name.upper()}", raising=False)


def test_the_sections_hold_all_settings_in_order() -> None:
    in_sections = [name for section in GROUPS.values() for name in section.model_fields]
    assert in_sections == list(Settings.model_fields) == list(load_settings({}).model_dump())


@pytest.mark.parametrize(("name", "default"), LINEAGE.items())
def test_defaults_are_those_of_the_earlier_scripts(name: str, default: object) -> None:
    """The defaults are those of the earlier scripts."""
    assert getattr(load_settings({}), name) == default


@pytest.mark.parametrize(
    ("name", "text"), [("seed.toml", "seed = 3\nmin_questions = 2\n"), ("seed.yaml", "seed: 3\nmin_questions: 2\n")]
)
def test_a_value_comes_from_the_first_place_that_has_it(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / name
    config.write_text(text, "utf-8")
    command = {"seed": 2, "dataset": "embedded"}

    assert load_settings({}).seed == 13
    assert load_settings({}, None, command).seed == 2
    assert load_settings({}, config, command).seed == 3
    monkeypatch.setenv("DEPQA_SEED", "4")
    assert load_settings({}, config, command).seed == 4
    settings = load_settings({"seed": "5"}, config, command)
    assert (settings.seed, settings.min_questions, settings.dataset) == (5, 2, "embedded")


def test_loading_settings_leaves_no_state(tmp_path: Path) -> None:
    """If settings are loaded twice, the first loading does not affect the second."""
    config = tmp_path / "a.toml"
    config.write_text("seed = 3\n", "utf-8")
    load_settings({}, config, {"context_count": 9})
    assert (load_settings({}).seed, load_settings({}).context_count) == (13, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("context_count", "many"),
        ("context_count", "-1"),
        ("min_questions", "0"),
        ("min_confidence", "1.5"),
        ("min_confidence", "nan"),
        ("cost_weight", "-1"),
        ("cost_weight", "inf"),
        ("max_dependencies", "-1"),
        ("total_cost_budget", "x"),
        ("max_new_tokens", "0"),
        ("temperature", "-0.1"),
        ("temperature", "nan"),
        ("temperature", "warm"),
        ("top_p", "0"),
        ("top_p", "1.1"),
        ("shots", "-1"),
        ("preset", "qwen4"),
        ("engine", "steam"),
        ("request_timeout", "0"),
        ("strategy", "guessing"),
        ("strategies", ""),
        ("strategies", "sequential,guessing"),
        ("strategies", "sequential,sequential"),
        ("baseline", "guessing"),
        ("resamples", "99"),
        ("resamples", "100001"),
        ("confidence", "0"),
        ("confidence", "1"),
        ("confidence", "nan"),
        ("replicas", "0"),
        ("gpus_per_replica", "-1"),
        ("step_timeout", "0"),
        ("log_level", "loud"),
    ],
)
def test_a_bad_flag_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: value})
    assert flag_of(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_variable_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPQA_CONTEXT_COUNT", "many")
    with pytest.raises(SettingsError, match=r"DEPQA_CONTEXT_COUNT.*'many'"):
        load_settings({})


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.toml", "context_count = 'many'", "context_count"),
        ("a.toml", "no_such_setting = 1", "no_such_setting"),
        ("a.toml", "context_count = ", "a.toml"),
        ("a.yaml", "a: [", "a.yaml"),
        ("a.yaml", "- 1\n- 2", "a.yaml"),
        ("a.ini", "", "name it .toml, .yaml or .yml"),
    ],
)
def test_a_bad_file_is_named_in_one_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    config = tmp_path / name
    config.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, config)
    assert said in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    for name in ("a.toml", "a.yaml"):
        (tmp_path / name).write_text("", "utf-8")
        assert load_settings({}, tmp_path / name).seed == 13


def test_missing_settings_file_is_reported(tmp_path: Path) -> None:
    """If the file of settings is missing, the error says so."""
    with pytest.raises(SettingsError, match="no such file"):
        load_settings({}, tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"min_questions": "5", "max_questions": "3"}, "--max-questions (3) is below --min-questions (5)"),
        ({"no_llm_deps": True, "deps": "gold"}, "--no-llm-deps means --deps heuristic"),
        ({"engine": "openai", "request_timeout": "600"}, "--request-timeout (600) is not below --step-timeout (600)"),
    ],
)
def test_conflicting_values_are_refused(flags: dict[str, object], said: str) -> None:
    """If values conflict, the error names them."""
    with pytest.raises(SettingsError) as caught:
        load_settings(flags)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "stops"),
    [
        ("", ()),
        ("Question:", ("Question:",)),
        (r"\n\n,Q: ,", ("\n\n", "Q: ")),
        (r"a\,b,c\\,d", ("a,b", "c\\", "d")),
        ("é,日", ("é", "日")),
    ],
)
def test_stop_strings_are_separated_by_commas(text: str, stops: tuple[str, ...]) -> None:
    """Stop strings are separated by commas and keep their spaces; commas and line ends can be escaped."""
    assert load_settings({"stop": text}).stop == stops


def test_stop_strings_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    """Stop strings of a file are taken as they are, and an empty one is refused."""
    config = tmp_path / "a.toml"
    config.write_text('stop = ["a,b", "\\n"]\nstop_at_json = false\n', "utf-8")
    settings = load_settings({}, config)
    assert (settings.stop, settings.stop_at_json) == (("a,b", "\n"), False)
    config.write_text('stop = ["a", ""]\n', "utf-8")
    with pytest.raises(SettingsError, match=r"a.toml: stop: an empty text"):
        load_settings({}, config)


PRESET = "qwen3-4b-squad-1000x5"


def test_every_preset_has_valid_settings_and_rows() -> None:
    """Every preset has its name, valid settings, and a row for each of its strategies."""
    assert set(PRESETS) == set(get_args(PresetName))
    for name, preset in PRESETS.items():
        settings = load_settings({"preset": name})
        assert {key: getattr(settings, key) for key in preset.settings} == preset.settings
        assert set(preset.rows) == set(settings.strategies)


def test_preset_ranks_below_the_user_and_above_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset ranks below what the user sets and above the command's own values."""
    config = tmp_path / "a.toml"
    config.write_text("seed = 3\n", "utf-8")
    settings = load_settings(
        {"preset": PRESET, "context_count": "2"}, config, {"dataset": "embedded", "resamples": 200}
    )
    assert (settings.context_count, settings.seed, settings.dataset, settings.resamples) == (2, 3, "squad", 200)
    monkeypatch.setenv("DEPQA_MAX_NEW_TOKENS", "7")
    assert load_settings({"preset": PRESET}).max_new_tokens == 7


@pytest.mark.parametrize("place", ["variable", "file"])
def test_a_preset_can_be_named_wherever_settings_are(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "a.yaml"
    config.write_text(f"preset: {PRESET}\n" if place == "file" else "", "utf-8")
    if place == "variable":
        monkeypatch.setenv("DEPQA_PRESET", PRESET)
    assert load_settings({}, config).context_count == 1000
    assert load_settings({}).preset == (PRESET if place == "variable" else None)


def test_a_system_prompt_is_read_when_settings_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_bytes("\ufeff Kurz: {answer} \n\n".encode())
    settings = load_settings({"system_prompt_file": str(path)})
    path.write_text("another", "utf-8")
    assert settings.system_prompt == "Kurz: {answer}"
    assert load_settings({}).system_prompt is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b" \n", "holds no text"),
        ("folder", "cannot be read"),
    ],
)
def test_unreadable_system_prompt_is_a_one_line_error(content: bytes | str | None, said: str, tmp_path: Path) -> None:
    """If the system prompt cannot be read or is empty, the error is one line."""
    path = tmp_path / "line.txt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(SettingsError, match=said) as caught:
        load_settings({"system_prompt_file": str(path)})
    assert "line.txt" in str(caught.value) and "--system-prompt-file" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_llm_deps_means_heuristic_edges() -> None:
    assert load_settings({"no_llm_deps": True}).dependency_source == "heuristic"
    assert load_settings({}).dependency_source == "model"
    with pytest.raises(SettingsError, match="cannot go with --deps gold"):
        load_settings({"no_llm_deps": True, "deps": "gold"})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"deps_engine": "openai"}, "--deps-engine and --deps-model go together"),
        ({"deps_model": "m"}, "--deps-engine and --deps-model go together"),
        ({"deps_engine": "openai", "deps_model": "m", "deps": "gold"}, "--deps gold asks none"),
        ({"deps_engine": "openai", "deps_model": "m", "no_llm_deps": True}, "--deps heuristic asks none"),
    ],
)
def test_conflicting_edge_settings_are_refused(flags: dict[str, object], said: str) -> None:
    """If the settings for edges conflict, SettingsError is raised."""
    with pytest.raises(SettingsError, match=said):
        load_settings(flags)


@pytest.mark.parametrize(
    ("flags", "isolated", "most"),
    [
        ({}, True, 1),
        ({"in_flight": "1"}, True, 1),
        ({"in_flight": "8"}, False, 8),
        ({"isolate": False}, False, None),
        ({"isolate": False, "in_flight": "1"}, False, 1),
    ],
)
def test_one_passage_in_flight_is_isolated(flags: dict[str, object], isolated: bool, most: int | None) -> None:
    """If one passage is in flight, it is isolated, unless isolation is turned off."""
    settings = load_settings(flags)
    assert (settings.isolated, settings.max_in_flight) == (isolated, most)


def test_settings_that_affect_no_answer_are_left_out() -> None:
    """If a setting affects no answer, it is not among the answer-affecting ones."""
    assert {"seed", "model_name", "max_new_tokens", "dataset"} <= Settings.answer_affecting()
    assert {"temperature", "top_p", "stop", "stop_at_json"} <= Settings.answer_affecting()
    assert {"system_prompt_file", "shots", "deps"} <= Settings.answer_affecting()
    assert "preset" not in Settings.answer_affecting()
    assert not {"baseline", "resamples", "confidence"} & Settings.answer_affecting()
    assert not {"replicas", "run_dir", "html_dir", "log_level", "max_batch_size"} & Settings.answer_affecting()


def test_home_folder_is_filled_in_for_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ~ that no shell replaced, as in --run-dir=~/x or in a variable, is the home folder."""
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("DEPQA_JSON_OUT", "~/a.json")
    settings = load_settings({"run_dir": "~/r", "model_name": "~/m", "html_dir": "a/~/b"})
    assert [settings.run_dir, settings.json_out] == [Path("/home/ada/r"), Path("/home/ada/a.json")]
    assert (settings.model_name, settings.html_dir) == ("/home/ada/m", Path("a/~/b"))
