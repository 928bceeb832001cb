"""Prefix-affinity routing: a batch goes to the replica that read its passage, unless waiting there costs more."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Router:
    """The outstanding work of each replica, in estimated tokens, and the replica that read each passage.

    Invariants:

    - ``load`` has exactly the living replicas and is never negative;
    - every value of ``affinity`` (by passage id) is a living replica;
    - ``reserved``, which no batch is routed to, is a living replica or "".
    """

    load: dict[str, float] = field(default_factory=dict)
    affinity: dict[str, str] = field(default_factory=dict)
    reserved: str = ""

    def join(self, replica: str) -> None:
        """Take a replica in."""
        self.load.setdefault(replica, 0.0)

    def leave(self, replica: str) -> None:
        """Drop a replica, and with it the passages that it read."""
        self.load.pop(replica, None)
        if self.reserved == replica:
            self.reserved = ""
        self.affinity = {passage: home for passage, home in self.affinity.items() if home != replica}

    def route(self, passage_id: str, prefix_work: float) -> str | None:
        """The replica for a passage's next batch; None if none is open.

        The batch leaves the replica that read the passage if that one's load exceeds the smallest by more than
        ``prefix_work``, the cost of reading the passage again. Ties go to the replica that joined first.
        """
        idlest = min((name for name in self.load if name != self.reserved), key=self.load.__getitem__, default=None)
        home = self.affinity.get(passage_id)
        if idlest is None or home is None or home == self.reserved:
            return idlest
        return home if self.load[home] - self.load[idlest] <= prefix_work else idlest

    def assign(self, passage_id: str, replica: str, work: float) -> None:
        """Count work on a passage for a replica, which the passage is bound to from now on."""
        self.load[replica] += work
        self.affinity[passage_id] = replica

    def release(self, replica: str, work: float) -> None:
        """Take assigned work back: it ended."""
        if replica in self.load:
            self.load[replica] = max(0.0, self.load[replica] - work)

    def clear_affinity(self, passage_id: str) -> None:
        """Unbind a passage from its replica: no more work on it is coming."""
        self.affinity.pop(passage_id, None)

    def validate(self) -> None:
        """Raise AssertionError if an invariant is broken."""
        assert all(work >= 0.0 for work in self.load.values()), f"negative load: {self.load}"
        assert not self.reserved or self.reserved in self.load, f"{self.reserved} is reserved and gone"
        assert set(self.affinity.values()) <= set(self.load), f"passages bound to no replica: {self.affinity}"
