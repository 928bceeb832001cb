"""Which replica a batch goes to: the one that has read the passage, unless reading it again costs less than waiting."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Router:
    """The outstanding work of each replica, in estimated tokens, and the replica that read each passage.

    Invariants: ``load`` has exactly the living replicas and is never negative; every home is a living replica.
    """

    load: dict[str, float] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)

    def join(self, replica: str) -> None:
        """A replica takes work from now on."""
        self.load.setdefault(replica, 0.0)

    def leave(self, replica: str) -> None:
        """A replica is gone, and the passages that it had read with it."""
        self.load.pop(replica, None)
        self.homes = {passage: home for passage, home in self.homes.items() if home != replica}

    def pick(self, passage_id: str, prefix_work: float) -> str | None:
        """The replica for a passage's next batch; None where there is none.

        The passage's home is left when its queue is longer than the shortest by more than ``prefix_work``, the cost of
        reading the passage once more. Ties go to the replica that joined first.
        """
        if not self.load:
            return None
        idlest = min(self.load, key=lambda replica: self.load[replica])
        home = self.homes.get(passage_id)
        if home is not None and self.load[home] - self.load[idlest] <= prefix_work:
            return home
        return idlest

    def sent(self, passage_id: str, replica: str, work: float) -> None:
        """Work on a passage has gone to a replica, which is its home now."""
        self.load[replica] += work
        self.homes[passage_id] = replica

    def done(self, replica: str, work: float) -> None:
        """Work that was sent has ended."""
        if replica in self.load:
            self.load[replica] = max(0.0, self.load[replica] - work)

    def clear_affinity(self, passage_id: str) -> None:
        """No more work on the passage is coming."""
        self.homes.pop(passage_id, None)

    def validate(self) -> None:
        """Raise AssertionError where an invariant is broken."""
        assert all(work >= 0 for work in self.load.values()), self
        assert set(self.homes.values()) <= set(self.load), self
