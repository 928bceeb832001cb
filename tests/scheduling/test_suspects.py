"""After a loss: who is suspected, who goes alone, and who goes free."""

from __future__ import annotations

from depqa_ray.core import Plan, Step
from depqa_ray.scheduling.events import (
    Action,
    Admitted,
    Completed,
    Dispatch,
    EndSteps,
    LossCause,
    ReplicaJoined,
    ReplicaLost,
    RoleExhausted,
)
from depqa_ray.scheduling.scheduler import DependencyScheduler


def job(passage: str, *steps: str) -> Admitted:
    """A job whose steps depend on nothing; a step named "b<a" needs step a."""
    parts = [name.partition("<") for name in steps]
    made = tuple(Step(id_, (f"{passage}-{id_}",), parents=(parent,) if parent else ()) for id_, _, parent in parts)
    return Admitted(Plan("s", passage, tuple(q for step in made for q in step.questions), made))


class Cluster:
    """A scheduler and its replicas: ``running`` has their steps as "passage.step", in the order sent."""

    def __init__(self, *replicas: str) -> None:
        self.scheduler = DependencyScheduler()
        self.running: dict[str, list[str]] = {}
        self.sent: list[str] = []
        self.failed: dict[str, str] = {}
        for replica in replicas:
            self.join(replica)

    def do(self, event: Admitted | Completed | ReplicaJoined | ReplicaLost | RoleExhausted) -> list[Action]:
        actions = self.scheduler.handle(event, 0.0)
        self.scheduler.validate()
        for action in actions:
            if isinstance(action, Dispatch):
                names = [f"{action.key[1]}.{step.id}" for step in action.steps]
                self.running[action.replica] += names
                self.sent += names
            elif isinstance(action, EndSteps):
                self.failed |= {f"{action.key[1]}.{step.id}": action.reason for step in action.steps}
        return actions

    def join(self, replica: str) -> None:
        self.running[replica] = []
        self.do(ReplicaJoined(replica))

    def complete(self, *names: str) -> None:
        for name in names:
            (place,) = (replica for replica, steps in self.running.items() if name in steps)
            self.running[place].remove(name)
            passage, _, step = name.partition(".")
            self.do(Completed(("s", passage), (step,)))

    def lose(self, replica: str, cause: LossCause = "crash", then: str = "") -> None:
        del self.running[replica]
        self.do(ReplicaLost(replica, "boom", cause))
        if then:
            self.join(then)


def test_suspects_go_one_by_one_and_the_last_sent_goes_first() -> None:
    """A replica broke with three steps: they go to the next one alone, the one that was sent last first."""
    cluster = Cluster("r0")
    cluster.do(job("p", "a", "b"))
    cluster.do(job("q", "c"))
    cluster.lose("r0", then="r1")
    assert cluster.running == {"r1": ["q.c"]}
    cluster.complete("q.c")
    assert cluster.running == {"r1": ["p.b"]}
    cluster.complete("p.b", "p.a")
    assert cluster.scheduler.jobs == 0


def test_after_a_time_out_the_step_sent_first_goes_first() -> None:
    cluster = Cluster("r0")
    cluster.do(job("p", "a"))
    cluster.do(job("q", "c"))
    cluster.lose("r0", "timeout", then="r1")
    assert cluster.running == {"r1": ["p.a"]}


def test_single_replica_tries_the_suspects_before_other_work() -> None:
    cluster = Cluster("r0")
    cluster.do(job("p", "a", "b"))
    cluster.lose("r0", then="r1")
    cluster.do(job("q", "c", "d"))
    assert cluster.running == {"r1": ["p.b"]}
    cluster.complete("p.b")
    assert cluster.running == {"r1": ["p.a"]}
    cluster.complete("p.a")
    assert cluster.running == {"r1": ["q.c", "q.d"]}


def test_other_replicas_go_on_while_suspects_are_tried() -> None:
    """With several replicas, one that is empty tries the suspects and the others take all other work."""
    cluster = Cluster("r0", "r1")
    cluster.do(job("p", "a", "b"))
    cluster.do(job("q", "c"))
    assert cluster.running == {"r0": ["p.a", "p.b"], "r1": ["q.c"]}
    cluster.lose("r0")
    assert cluster.running == {"r1": ["q.c"]}, "a replica that has work gets no suspect"
    cluster.do(job("r", "d"))
    assert cluster.running == {"r1": ["q.c", "r.d"]}
    cluster.join("r2")
    cluster.do(job("s", "e"))
    assert cluster.running == {"r1": ["q.c", "r.d", "s.e"], "r2": ["p.b"]}
    cluster.complete("p.b", "p.a")
    cluster.do(job("t", "f"))
    assert cluster.running["r2"] == ["t.f"], "without suspects it takes all work again"


def test_step_lost_alone_twice_fails_and_frees_the_others() -> None:
    """A step with which two replicas were lost alone fails; the others of its first loss go together again."""
    cluster = Cluster("r0")
    cluster.do(job("p", "a", "b"))
    cluster.do(job("q", "c", "d<c"))
    cluster.lose("r0", then="r1")
    cluster.lose("r1", then="r2")
    assert (cluster.running, cluster.failed) == ({"r2": ["q.c"]}, {})
    cluster.lose("r2", then="r3")
    assert cluster.failed == {
        "q.c": "a replica was lost each of 2 times that it had only this prompt: boom",
        "q.d": "c failed",
    }
    assert cluster.running == {"r3": ["p.a", "p.b"]}


def test_rest_of_a_guilty_passage_waits_and_goes_alone() -> None:
    """Other steps of the passage go alone, after all other work, and fail at one loss or are answered."""
    cluster = Cluster("r0")
    cluster.do(job("p", "a", "b", "c"))
    cluster.do(job("q", "d"))
    cluster.lose("r0", "timeout", then="r1")
    cluster.lose("r1", then="r2")
    cluster.lose("r2", then="r3")
    assert cluster.failed.keys() == {"p.c"} or cluster.failed.keys() == {"p.a"}
    assert cluster.running == {"r3": ["q.d"]}
    cluster.complete("q.d")
    (tried,) = cluster.running["r3"]
    cluster.lose("r3", then="r4")
    assert cluster.failed[tried] == (
        "a replica was lost that had only this prompt, as before with another one about this passage: boom"
    )
    (tried,) = cluster.running["r4"]
    cluster.complete(tried)
    assert cluster.scheduler.jobs == 0
    cluster.do(Admitted(job("p", "e", "f").plan))
    assert len(cluster.running["r4"]) == 1, "a later job of the passage goes alone too"


def test_step_lost_twice_with_others_is_freed_by_its_reply_alone() -> None:
    """Two losses together with others: the step goes alone although another one is found guilty."""
    cluster = Cluster("r0")
    cluster.do(job("p", "a"))
    cluster.do(job("q", "c"))
    cluster.do(job("r", "e"))
    for number in range(3):
        cluster.lose(f"r{number}", then=f"r{number + 1}")
    assert cluster.failed.keys() == {"r.e"}
    assert cluster.running == {"r3": ["p.a", "q.c"]}, "freed"
    cluster.do(job("s", "g"))
    for number in range(3, 6):
        cluster.lose(f"r{number}", then=f"r{number + 1}")
    assert cluster.failed.keys() == {"r.e", "s.g"}
    assert cluster.running == {"r6": ["q.c"]}, "still alone"
    cluster.complete("q.c", "p.a")
    assert cluster.sent.count("p.a") == 3


def test_machine_that_is_gone_makes_no_suspects() -> None:
    """If the machine died, all steps go together again and none is nearer to failing."""
    cluster = Cluster("r0")
    cluster.do(job("p", "a", "b"))
    for number in range(5):
        cluster.lose(f"r{number}", "machine", then=f"r{number + 1}")
    assert cluster.running == {"r5": ["p.a", "p.b"]}
    cluster.lose("r5", then="r6")
    cluster.lose("r6", "machine", then="r7")
    assert cluster.running == {"r7": ["p.b"]}, "a suspect remains one"
    cluster.complete("p.b", "p.a")
    assert cluster.failed == {}


def test_machines_that_keep_going_end_a_step_after_ten_losses() -> None:
    cluster = Cluster("r0")
    cluster.do(job("p", "a"))
    for number in range(10):
        cluster.lose(f"r{number}", "machine", then=f"r{number + 1}")
    assert cluster.failed == {"p.a": "sent 10 times, the replica was lost each time: boom"}


def test_suspects_fail_with_the_others_if_no_replica_is_left() -> None:
    cluster = Cluster("r0")
    cluster.do(job("p", "a", "b"))
    cluster.lose("r0")
    cluster.do(job("q", "c"))
    cluster.do(RoleExhausted("no more"))
    assert cluster.failed == dict.fromkeys(("p.a", "p.b", "q.c"), "no more")
    assert (cluster.scheduler.jobs, cluster.scheduler.busy("answer")) == (0, 0)
