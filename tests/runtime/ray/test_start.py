"""How replicas start: with the driver's code, and with one line if they cannot."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from depqa_ray.results.store import RunStore
from tests.processes import ROOT, depqa_ray

pytestmark = pytest.mark.slow

RUN = ("run", "--dataset", "embedded", "--context-count", "1", "--strategy", "independent", "--run-dir", "run")
EMBEDDED = ("--model-name", "embedded")

# Imported by each worker of Ray before anything else: it makes one module of the worker fail.
BROKEN_WORKER = """
import os, sys

class Broken:
    def find_spec(self, name, path=None, target=None):
        if name != "{module}":
            return None
        sys.stderr.write("a library's last words\\n")
        sys.stderr.flush()
        {act}

if any("default_worker" in word for word in sys.orig_argv):
    sys.meta_path.insert(0, Broken())
"""


def break_workers(folder: Path, module: str, act: str) -> dict[str, str]:
    """The environment in which importing ``module`` does ``act`` in the workers of Ray, and nowhere else."""
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(BROKEN_WORKER.format(module=module, act=act))
    return {"PYTHONPATH": f"{folder / 'site'}:{ROOT}"}


def test_replicas_never_import_from_the_current_folder(tmp_path: Path) -> None:
    """If the current folder holds files named like libraries, or a source tree, no replica imports them."""
    for name in ("tokenizers.py", "json_repair.py", "depqa_ray/__init__.py"):
        planted = tmp_path / name
        planted.parent.mkdir(exist_ok=True)
        planted.write_text(f"open({str(tmp_path / 'imported')!r}, 'w'); import os; os._exit(9)")
    ended = depqa_ray(*RUN, *EMBEDDED, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "imported").exists()
    records = RunStore.open(tmp_path / "run").read()
    (replica,) = records.manifest.replicas
    assert replica.code == records.manifest.code
    assert records.manifest.code is not None
    assert Path(records.manifest.code.folder).name == "depqa_ray"


def test_relative_folder_of_a_model_is_the_drivers(tmp_path: Path) -> None:
    """If a model is named by a relative path, it is that of the driver's folder."""
    (tmp_path / "here").symlink_to(ROOT / "depqa_ray" / "reader" / "weights")
    ended = depqa_ray(*RUN, "--model-name", "here", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("module", ["depqa_ray", "tokenizers"])
def test_replica_that_lacks_a_module_ends_the_run_at_once(tmp_path: Path, module: str) -> None:
    """If a replica cannot import something, the run ends with the last line of the error and the node."""
    act = "raise ModuleNotFoundError(f'No module named {name!r}')"
    started = time.monotonic()
    ended = depqa_ray(*RUN, *EMBEDDED, cwd=tmp_path, environment=break_workers(tmp_path, module, act))
    assert ended.returncode == 1
    (line,) = (line for line in ended.stderr.splitlines() if "error" in line)
    assert f"ModuleNotFoundError: No module named '{module}'" in line
    assert "cannot start on node " in line
    assert "Traceback" not in ended.stdout + ended.stderr
    assert time.monotonic() - started < 60


def test_replica_whose_process_ends_tells_its_last_line(tmp_path: Path) -> None:
    """If a replica's process ends while it loads, the reason holds the last line that it wrote."""
    environment = break_workers(tmp_path, "tokenizers", "os._exit(3)")
    ended = depqa_ray(*RUN, *EMBEDDED, cwd=tmp_path, environment=environment)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("depqa-ray: error: no replica is left")
    assert "2 replicas were lost" in ended.stderr.splitlines()[-1], "a load that fails is tried once more"
    assert "its last line: a library's last words" in ended.stderr.splitlines()[-1]
    assert ended.stdout == "", "Ray's own message about the process is not where tables go"
