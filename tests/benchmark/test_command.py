"""The whole command with real engines: the embedded reader, and a random model of a given shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depqa_ray.benchmark.roofline import ModelShape
from depqa_ray.cli.commands import main
from tests.engines.tiny import save_tiny_model

EMBEDDED = ("--dataset", "embedded", "--model-name", "embedded", "--context-count", "2", "--min-questions", "4")

pytestmark = pytest.mark.slow


def test_given_the_embedded_reader_then_two_engines_are_measured(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    flags = ("--engines", "shared_prefix,transformers:batch=4", "--repeats", "1", "--lengths", "real")
    assert main(["bench", "engine", *EMBEDDED, *flags, "--json-out", str(out)]) == 0
    results = json.loads(out.read_text("utf-8"))
    assert [entry["ran"] for entry in results["engines"]] == ["shared_prefix", "transformers"]
    for entry in results["engines"]:
        (figures,) = entry["repeats"]
        assert figures["questions"] == results["questions"] and not figures["failed"]
        assert figures["prompt_tokens"] == entry["prompt_tokens"] > entry["fewest_tokens"]
        assert 0 < figures["roofline_share"] < 1
    assert results["ceilings"]["flops"] > 1e9


def test_answers_of_two_engines_equal_generate() -> None:
    """If two engines are verified, the answers of both equal those of generate."""
    flags = ("--engines", "shared_prefix,transformers:batch=4", "--lengths", "real", "--verify", "12")
    assert main(["bench", "engine", *EMBEDDED, *flags, "--dtype", "float32"]) == 0


def test_random_weights_take_the_shape_of_a_configuration(tmp_path: Path) -> None:
    """If only a configuration is given, a model of its shape gets random weights and is measured."""
    from depqa_ray.benchmark.ceilings import model_shape

    folder = save_tiny_model(tmp_path / "tiny", max_position_embeddings=4096)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    shape = model_shape(str(folder), "float32")
    assert shape == ModelShape(2, 2, 1, 16, shape.body_parameters, 258 * 32, 4)
    assert shape.body_parameters == 2 * (32 * 16 * (2 + 1 + 1 + 2) + 3 * 32 * 64 + 2 * 32 + 2 * 16) + 32

    out = tmp_path / "bench.json"
    flags = (
        "--random-weights",
        str(folder),
        "--engines",
        "transformers_continuous:batch=4:kv_gib=0.02",
        "--repeats",
        "1",
    )
    assert main(["bench", "engine", *EMBEDDED[:2], "--context-count", "1", *flags, "--json-out", str(out)]) == 0
    (entry,) = json.loads(out.read_text("utf-8"))["engines"]
    (figures,) = entry["repeats"]
    assert figures["generated_tokens"] == 24 * figures["questions"]
    assert figures["cached_tokens"] > 0


def test_missing_configuration_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the folder for random weights has no configuration, the last line of the error says so."""
    assert main(["bench", "engine", *EMBEDDED[:2], "--random-weights", str(tmp_path)]) == 1
    assert "has no config.json" in capsys.readouterr().err.splitlines()[-1]
