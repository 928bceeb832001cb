"""Settings of the cluster: replicas, load and time limits."""

from __future__ import annotations

from typing import Literal

from depqa_ray.settings.section import Section, neutral
from depqa_ray.settings.types import Count, NonNegative, Positive


class ClusterSettings(Section):
    """How many replicas run, and how much they do at once."""

    replicas: Count | Literal["auto"] = neutral(
        "auto", "model replicas; auto = one per GPU of the cluster; one if there are no GPUs or with --isolate"
    )
    gpus_per_replica: NonNegative | Literal["auto"] = neutral(
        "auto", "GPUs that each replica holds; auto = 1 if the cluster has GPUs, else 0"
    )
    isolate: bool = neutral(
        True,
        "answer one passage at a time, on idle replicas with a cold cache, so that latencies can be compared; if off, "
        "passages run concurrently, and latencies are those under full load",
    )
    in_flight: Count | Literal["auto"] = neutral(
        "auto",
        "passages in progress at once, counted once for each strategy; auto = 1 with --isolate, else enough to fill "
        "the replicas; more than 1 ends isolation",
    )
    start_timeout: Positive = neutral(900.0, "seconds a replica may take to load its model")
    step_timeout: Positive = neutral(600.0, "seconds a replica may go without an answer")

    @property
    def isolated(self) -> bool:
        """Whether passages run one at a time, on idle replicas."""
        return self.isolate and self.in_flight in ("auto", 1)

    @property
    def max_in_flight(self) -> int | None:
        """How many passages may be in progress at once; None = as many as fill the replicas."""
        if self.in_flight == "auto":
            return 1 if self.isolate else None
        return self.in_flight
