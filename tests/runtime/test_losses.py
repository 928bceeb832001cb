"""Prompts that break replicas, and machines that are lost, over random plans in a virtual clock."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from depqa_ray.core import Completion, Job, Prompt
from depqa_ray.planning.strategies import STRATEGIES
from depqa_ray.runtime.driver import Driver
from depqa_ray.runtime.pool import PoolEvent
from depqa_ray.runtime.virtual import VirtualPool
from depqa_ray.scheduling.events import LossCause, ReplicaLost
from tests.runtime.helpers import PROMPTS, MemoryRecorder, answer_with_number, passage, planner, stated
from tests.runtime.helpers import passages_with_edges as drawn_passages


class CountingPool(VirtualPool):
    """Counts the losses, how often each prompt was sent, and the prompts that broke a replica."""

    def __init__(self, *args, **flags) -> None:  # type: ignore[no-untyped-def]
        self.losses, self.sent = 0, Counter[str]()
        super().__init__(*args, **flags)

    def send(self, replica: str, prompts: Sequence[Prompt]) -> None:
        self.sent.update(prompt.id for prompt in prompts)
        super().send(replica, prompts)

    async def events(self) -> list[PoolEvent]:
        events = await super().events()
        self.losses += sum(isinstance(event, ReplicaLost) for event in events)
        return events


@settings(max_examples=150)
@given(
    st.data(),
    st.integers(1, 4),
    st.integers(0, 1),
    st.sampled_from(["machine", "crash"]),
    st.integers(1, 8),
    st.none() | st.integers(1, 3),
)
def test_bad_prompts_fail_and_all_others_are_answered(
    data: st.DataObject, replicas: int, edge_replicas: int, cause: LossCause, room: int, in_flight: int | None
) -> None:
    """Whatever breaks replicas, good questions are answered, bad ones fail, and losses are few."""
    drawn = [data.draw(drawn_passages(name)) for name in "pqr"]
    chosen = data.draw(st.lists(st.sampled_from(sorted(STRATEGIES)), min_size=1, max_size=3, unique=True))
    jobs = [Job(strategy, passage_) for passage_, _ in drawn for strategy in chosen]
    replies = {f"Passage: {passage_.text}\n\n": stated(passage_, edges) for passage_, edges in drawn}
    speeds = data.draw(st.lists(st.floats(0.1, 9.0), min_size=5, max_size=5))
    bad_passages = data.draw(st.sets(st.sampled_from("pqr")))
    bad_numbers = data.draw(st.sets(st.integers(0, 7), max_size=3))
    bad_replies = data.draw(st.booleans())
    # Of losses without a known cause there is one: two of them could hit the same prompt alone.
    lost_at = data.draw(st.lists(st.floats(0.0, 40.0), max_size=4 if cause == "machine" else 1))
    lost = {f"replica-{number}": at for number, at in enumerate(lost_at)}
    bad: set[str] = set()

    def breaks(prompt: Prompt) -> bool:
        """A passage or a question can be bad; a question is by its own number, not by one that the prompt shows."""
        _, passage_id, step_id = json.loads(prompt.id)
        asks = prompt.form == "single" and int(step_id.rpartition("q")[2]) in bad_numbers
        found = passage_id in bad_passages if prompt.form != "edges" else passage_id in bad_passages and bad_replies
        if found or asks:
            bad.add(prompt.id)
        return found or asks

    def answer(prompt: Prompt) -> Completion:
        if prompt.form == "edges":
            return Completion(prompt.id, replies[prompt.passage_text], 1, 1)
        return answer_with_number(prompt)

    pool = CountingPool(
        replicas,
        lambda prompt: speeds[len(prompt.question_text) % 5],
        answer,
        lost,
        10_000,
        loss_cause=cause,
        breaks=breaks,
        edge_replicas=edge_replicas,
    )
    recorder = MemoryRecorder()
    asyncio.run(Driver(pool, recorder, planner(recorder), PROMPTS, room, in_flight).run(iter(jobs)))

    assert len(recorder.finishes) == len(jobs)
    assert len(recorder.outcomes) == sum(len(job.passage.questions) for job in jobs), "nothing is lost"
    for result in recorder.results:
        id_ = json.dumps([result.strategy, result.passage_id, result.step_id])
        for outcome in result.outcomes:
            assert outcome.status != "answered" or (id_ not in bad and outcome.answer), "good ones are answered"
            if outcome.status == "failed":
                assert id_ in bad and "had only this prompt" in outcome.reason, "only bad ones fail, with the reason"
    most = 4 + (len(lost) if cause == "machine" else 0)
    assert max(pool.sent.values(), default=0) <= most, "each prompt is sent a few times"
    assert pool.losses <= 3 * len(bad) + len(lost), "losses are bounded by what is bad"


def test_two_bad_passages_among_a_hundred_cost_few_losses() -> None:
    """A bad passage of three questions costs five losses: one together, two for the first question, one each."""
    jobs = [Job("independent", passage(f"p{number}", 3)) for number in range(100)]
    pool = CountingPool(
        1,
        lambda prompt: 1.0,
        answer_with_number,
        None,
        100,
        breaks=lambda prompt: prompt.passage_text in ("Passage: The text of p10.\n\n", "Passage: The text of p70.\n\n"),
    )
    recorder = MemoryRecorder()
    asyncio.run(Driver(pool, recorder, planner(recorder), PROMPTS, 16).run(iter(jobs)))
    statuses = Counter(outcome.status for outcome in recorder.outcomes.values())
    assert statuses == {"answered": 294, "failed": 6}
    assert pool.losses <= 10
    assert max(pool.sent.values()) <= 4
    first, *_ = recorder.warnings
    assert first.startswith("replica-0 was lost: broken by a prompt; its ")
    assert first.endswith(" prompts are sent again one by one")
    assert "replica-1 was lost: broken by a prompt; it had one prompt, about the passage p10" in recorder.warnings
