"""Runs with models and data from a hub on this machine: what works, and the one line if something does not."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from depqa_ray.core import StepResult
from depqa_ray.errors import DepqaError
from depqa_ray.hub import FetchProgress
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import RunRecords
from depqa_ray.results.store import RunStore
from depqa_ray.runtime.ray.connection import connected_ray
from depqa_ray.runtime.ray.fetch import fetch_on_nodes
from depqa_ray.runtime.recorder import Recorder, RunRecord
from depqa_ray.runtime.run import run_experiment
from depqa_ray.settings.load import load_settings
from tests.hub_repositories import SQUAD, add_data_set, add_model, some_rows
from tests.hub_server import Fault, Hub, running_hub
from tests.processes import depqa_ray

pytestmark = pytest.mark.slow


class Watcher(Recorder):
    """A recorder that keeps what a user would see."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.fetched: list[FetchProgress] = []
        self.answers = 0

    def on_fetch(self, progress: FetchProgress) -> None:
        self.fetched.append(progress)

    def record(self, record: RunRecord) -> None:
        if isinstance(record, StepResult):
            self.answers += sum(outcome.status == "answered" for outcome in record.outcomes)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub that the workers of Ray know: they take it from the environment in which Ray starts."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch, running_hub(folder / "hub") as hub:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "2")
        add_data_set(hub.root, train=some_rows(4, 6), validation=some_rows(2))
        with connected_ray():
            yield hub


def run(model: str, folder: Path, **flags: Any) -> tuple[RunRecords, Watcher]:
    """Run the embedded data set with a model of the hub."""
    given = {"dataset": "embedded", "context_count": 1, "max_new_tokens": 8, "no_dep_cache": True} | flags
    watcher = Watcher()
    settings = load_settings({**given, "model_name": model, "run_dir": folder / "run"})
    run_experiment(settings, ("independent",), watcher)
    return RunStore.open(folder / "run").read(), watcher


def cached_files(hub: Hub, model: str, name: str) -> list[Path]:
    cache = hub.root.parent / "hf" / "hub" / f"models--{model.replace('/', '--')}"
    return list(cache.glob(f"snapshots/*/{name}"))


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def each_tensor(folder: Path, change: Callable[[str, Any], Any]) -> None:
    """Write each shard again with its tensors changed; those changed to None are left out."""
    from safetensors.torch import load_file, save_file

    for shard in folder.glob("*.safetensors"):
        tensors = {name: change(name, tensor) for name, tensor in load_file(shard).items()}
        kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        save_file(kept, shard, metadata={"format": "pt"})


def leave_out_a_layer(folder: Path) -> None:
    each_tensor(folder, lambda name, tensor: None if ".layers.1." in name else tensor)


def rename_tensors(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    for shard in folder.glob("*.safetensors"):
        save_file({f"base.{name}": t for name, t in load_file(shard).items()}, shard, metadata={"format": "pt"})


def make_nan(folder: Path) -> None:
    each_tensor(folder, lambda name, tensor: tensor * float("nan") if "norm" in name else tensor)


def ask_for_one_more_layer(folder: Path) -> None:
    edit_json(folder / "config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3)


def need_remote_code(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="own", auto_map={"AutoModelForCausalLM": "modeling.Own"})
    (folder / "modeling.py").write_text("raise SystemExit('remote code ran')")


def drop_vocabulary(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"] |= {"vocab": {"<eos>": 0, "<pad>": 1}, "merges": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def remove_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def keep_only_bin(folder: Path) -> None:
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def be_a_classifier(folder: Path) -> None:
    edit_json(folder / "config.json", architectures=["Qwen3ForSequenceClassification"])


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "layer-missing": (leave_out_a_layer, r"lack 11 tensors .*layers\.1\."),
    "one-layer-more": (ask_for_one_more_layer, r"lack 11 tensors .*layers\.2\."),
    "prefix": (rename_tensors, r"lack .* tensors .*prefix 'base\.'"),
    "nan": (make_nan, r"not numbers"),
    "remote-code": (need_remote_code, r"auto_map"),
    "no-vocabulary": (drop_vocabulary, r"does not give a text back"),
    "no-tokenizer": (remove_tokenizer, r"no tokenizer"),
    "no-safetensors": (keep_only_bin, r"no safetensors .*\.bin"),
    "classifier": (be_a_classifier, r"no causal language model"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_model_that_cannot_be_used_ends_the_run_in_one_line(hub: Hub, tmp_path: Path, damage: str) -> None:
    """If a model is not whole, cannot be read or needs code, the run ends once, names it and answers nothing."""
    model, (spoil, reason) = f"broken/{damage}", DAMAGES[damage]
    spoil(add_model(hub.root, model))
    started = time.monotonic()
    with pytest.raises(DepqaError, match=reason) as caught:
        run(model, tmp_path, replicas=2)
    assert "\n" not in str(caught.value)
    assert model in str(caught.value)
    assert time.monotonic() - started < 60


def test_missing_and_gated_models_say_what_to_do(hub: Hub, tmp_path: Path) -> None:
    """If the hub has no such model, or gives it only to some, the line says so and no replica starts."""
    with pytest.raises(DepqaError, match=r"no/such: .*or it is private; check the spelling"):
        run("no/such", tmp_path)
    add_model(hub.root, "gated/model")
    hub.faults.append(Fault(match="gated/model", status=403, code="GatedRepo"))
    with pytest.raises(DepqaError, match=r"gated/model: .*accept its terms at .*HF_TOKEN"):
        run("gated/model", tmp_path)


def test_file_that_is_damaged_in_the_cache_is_named(hub: Hub, tmp_path: Path) -> None:
    """If a file in the cache is damaged, the line names it and says to delete it."""
    add_model(hub.root, "good/once")
    fetch("good/once")
    (shard, _) = sorted(cached_files(hub, "good/once", "*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[8:200] = bytes(192)
    shard.resolve().write_bytes(content)
    with pytest.raises(DepqaError, match=r"\.safetensors is damaged: .*; delete /") as caught:
        run("good/once", tmp_path)
    assert str(shard.resolve()) in str(caught.value)


def test_fallback_and_commit_reach_manifest_and_results(hub: Hub, tmp_path: Path) -> None:
    """If the default engine does not cover a model, its name, the reason and the commit are in the results."""
    add_model(hub.root, "sliding/window", architecture="Mistral", sliding_window=64)
    records, watcher = run("sliding/window@main", tmp_path)
    (replica,) = records.manifest.replicas
    assert replica.engine == "transformers"
    assert records.manifest.commits == {"model": hub.commit("sliding/window")}
    results = compute_results(records).run
    (note,) = [note for entry in results.replicas for note in entry.notes if "sliding-window" in note]
    assert any(note in warning for warning in watcher.warnings)
    assert watcher.answers > 0


def fetch(model: str, timeout: float = 60.0) -> tuple[str, Watcher]:
    watcher = Watcher()
    commits = fetch_on_nodes({model}, gpus=False, timeout=timeout, on_progress=watcher.on_fetch, warn=watcher.warn)
    return commits[model], watcher


def test_start_timeout_does_not_end_a_long_download(hub: Hub) -> None:
    """If a download takes longer than --start-timeout and is cut, it goes on, and its progress is reported."""
    model = "slow/model"
    add_model(hub.root, model)
    hub.faults.append(Fault(match=f"/cdn/.*{model}.*model-00001", cut=20_000, times=1))
    hub.faults.append(Fault(match=f"{model}.*safetensors", rate=8_000))
    started = time.monotonic()
    commit, watcher = fetch(model, timeout=6.0)
    assert time.monotonic() - started > 6.0
    assert commit == hub.commit(model)
    done = [progress.done for progress in watcher.fetched]
    assert done == sorted(done)
    assert len(set(done)) > 3
    assert done[-1] == watcher.fetched[-1].total
    assert "bytes=20000-" in hub.bodies(f"{model}.*model-00001")


def test_documented_command_cold_warm_and_offline(hub: Hub, tmp_path: Path) -> None:
    """`compare` fetches model and data once, shows bytes and share, and later needs no hub."""
    add_model(hub.root, "Qwen/Qwen3-4B")
    flags = ["compare", "--model-name", "Qwen/Qwen3-4B", "--dataset", "squad", "--context-count", "2"]
    flags += ["--strategies", "independent,full_batch", "--max-new-tokens", "8", "--no-dep-cache"]
    environment = {"HF_HOME": str(tmp_path / "hf")}
    cold = depqa_ray(*flags, "--run-dir", "cold", cwd=tmp_path, environment=environment)
    assert cold.returncode == 0, cold.stderr
    lines = [line.strip() for line in cold.stderr.splitlines()]
    for pattern in (r"fetching rajpurkar/squad: .*\(100%\)", r"starting Ray", r"looking for Qwen"):
        assert any(re.match(pattern, line) for line in lines), (pattern, lines)
    assert any(re.match(r"fetching Qwen/Qwen3-4B: .* of .* \(100%\)", line) for line in lines)
    assert any(line.startswith("replica-0 is ready") for line in lines)
    hub.requests.clear()
    warm = depqa_ray(*flags, "--run-dir", "warm", cwd=tmp_path, environment=environment)
    assert warm.returncode == 0, warm.stderr
    assert hub.requests
    assert hub.bodies() == []
    hub.requests.clear()
    offline = depqa_ray(*flags, "--run-dir", "off", cwd=tmp_path, environment={**environment, "HF_HUB_OFFLINE": "1"})
    assert offline.returncode == 0, offline.stderr
    assert hub.requests == []
    manifests = [RunStore.open(tmp_path / name).manifest for name in ("cold", "warm", "off")]
    commits = {"model": hub.commit("Qwen/Qwen3-4B"), "dataset": hub.commit(SQUAD, "datasets")}
    assert [manifest.commits for manifest in manifests] == [commits] * 3
