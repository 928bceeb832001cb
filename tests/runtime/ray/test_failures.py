"""What Ray raises becomes one line, and only what every replica shares ends a run."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, ActorDiedErrorContext, ActorUnavailableError, RayTaskError

from depqa_ray.code_version import CodeVersion
from depqa_ray.errors import EngineError, InputError, StartError
from depqa_ray.runtime.ray import connection
from depqa_ray.runtime.ray.failures import failure_of
from depqa_ray.runtime.ray.replica import require_same_code

TRACEBACK = """\x1b[36mray::Replica.start()\x1b[39m (pid=7, ip=10.0.0.3)
  File "x.py", line 3, in start
ModuleNotFoundError: No module named 'tokenizers'
"""


def raised(cause: Exception, traceback: str = TRACEBACK) -> RayTaskError:
    return RayTaskError("Replica.start", traceback, cause, pid=7, ip="10.0.0.3")


@pytest.mark.parametrize("cause", [StartError("no weights"), InputError("no such model", "a/b", "check it")])
def test_fault_of_the_model_ends_the_run_with_its_own_line(cause: Exception) -> None:
    failure = failure_of(raised(cause))
    assert (failure.reason, failure.permanent) == (str(cause), cause)


def test_fault_of_the_machine_lets_another_replica_try() -> None:
    failure = failure_of(raised(EngineError("no memory\nin detail")))
    assert (failure.reason, failure.permanent) == ("no memory", None)


def test_broken_setup_names_its_last_line_and_its_node() -> None:
    failure = failure_of(raised(ModuleNotFoundError("No module named 'tokenizers'")))
    assert isinstance(failure.permanent, StartError)
    assert "node 10.0.0.3: ModuleNotFoundError: No module named 'tokenizers'" in str(failure.permanent)
    assert "\n" not in str(failure.permanent)


def test_replica_that_cannot_be_built_names_line_and_node() -> None:
    failure = failure_of(ActorDiedError(raised(ImportError("x"))))
    assert "node 10.0.0.3: ModuleNotFoundError: No module named 'tokenizers'" in str(failure.permanent)


@pytest.mark.parametrize("error", [ActorDiedError(), ActorUnavailableError("gone", None)])
def test_process_that_ended_is_replaced(error: Exception) -> None:
    failure = failure_of(error)  # type: ignore[arg-type]
    assert failure.reason == f"its process ended ({type(error).__name__})"
    assert failure.permanent is None


def test_node_that_died_is_the_machines_fault() -> None:
    """If Ray says that the node of a replica died, no prompt is blamed."""
    text = "The actor died because its node has died. Node Id: ab\n\tthe actor's node was preempted: reclaimed"
    context = ActorDiedErrorContext(error_message=text, actor_id=bytes(16), node_ip_address="10.0.0.3", pid=7)
    failure = failure_of(ActorDiedError(context))
    assert (failure.reason, failure.cause, failure.permanent) == ("its node 10.0.0.3 died", "machine", None)
    assert failure_of(ActorDiedError()).cause == "crash"


def test_messages_of_ray_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """What Ray has to say goes to stderr, and that a process died is left to the pool's own line."""
    for line in ("A worker died or was killed while executing a task", "Warning: a node is full"):
        connection._print_to_stderr({"lines": [line], "pid": "raylet", "is_err": False}, False)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a node is full" in shown.err and "worker died" not in shown.err


OWN = CodeVersion("0.2.0", "0123456789ab", "", "/site-packages/depqa_ray")


def test_same_sources_are_accepted_wherever_they_are() -> None:
    """If only the folder or the compiled kernel differ, the replica runs: its engine says if it lacks the kernel."""
    require_same_code(OWN, CodeVersion("0.2.0", "0123456789ab", "ffff", "/elsewhere"), "10.0.0.3")


@pytest.mark.parametrize(
    "driver", [CodeVersion("0.1.0", "0123456789ab", "", "/d"), CodeVersion("0.2.0", "ba", "", "/d")]
)
def test_other_code_is_refused_and_both_are_named(driver: CodeVersion) -> None:
    with pytest.raises(StartError, match=r"node 10\.0\.0\.3 .*0123456789ab.*/site-packages/depqa_ray.*/d") as caught:
        require_same_code(OWN, driver, "10.0.0.3")
    assert "\n" not in str(caught.value)
