"""A soak test of the shared-prefix engine, run by hand: callers come and leave for minutes; memory must stay flat.

    python -m tests.engines.soak --minutes 30

Prints a line a minute. Fails if the memory of the last third exceeds that of the second by more than 2 %, if the
cache breaks an invariant, or if a prompt gets no completion.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from depqa_ray.answering.prompts import SYSTEM, question_part, shared_part
from depqa_ray.core import Prompt
from depqa_ray.engines.base import EngineSpec, SamplingParams
from depqa_ray.engines.shared_prefix.engine import SharedPrefixEngine
from depqa_ray.passages.synthetic.worlds import WorldShape, generate_worlds
from depqa_ray.settings.types import EMBEDDED

_GROWTH = 1.02
_CALLERS = 6


@dataclass
class Tally:
    """The callers' counts, and the resident memory in MiB, minute by minute."""

    answered: int = 0
    missing: int = 0
    left: int = 0
    memory: list[float] = field(default_factory=list)


def resident() -> float:
    """This process's resident memory in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def prompts_of(draw: random.Random) -> list[Prompt]:
    """The questions of one to four new passages."""
    passages = generate_worlds(draw.randint(1, 4), draw.getrandbits(32), WorldShape())
    return [
        Prompt(f"{passage.id}/{q.id}", SYSTEM, shared_part(passage), question_part(q.text), draw.randint(1, 40))
        for passage in passages
        for q in passage.questions
    ]


async def call(engine: SharedPrefixEngine, draw: random.Random, until: float, tally: Tally) -> None:
    """Submit prompts until a time; in a quarter of the calls leave after the first group."""
    while time.monotonic() < until:
        prompts = prompts_of(draw)
        leaves = draw.random() < 0.25
        answers = engine.submit(prompts)
        seen = 0
        async for group in answers:
            seen += len(group)
            if leaves:
                break
        await answers.aclose()  # type: ignore[attr-defined]
        tally.answered += seen
        tally.left += leaves
        tally.missing += 0 if leaves else len(prompts) - seen


async def watch(engine: Any, until: float, tally: Tally) -> None:
    """Print a line a minute."""
    started = time.monotonic()
    while time.monotonic() < until:
        await asyncio.sleep(60)
        tally.memory.append(resident())
        cache = engine._batcher.cache
        print(
            f"{(time.monotonic() - started) / 60:5.1f} min  {tally.memory[-1]:8.1f} MiB  {tally.answered:8d} answered  "
            f"{tally.left:6d} callers left  {len(cache.prefixes):5d} prefixes  {cache.slots.free_slots:6d} slots free",
            flush=True,
        )


async def soak(minutes: float) -> Tally:
    """Run the embedded reader in a pool that is too small to keep every passage."""
    tally = Tally()
    engine = SharedPrefixEngine(
        EngineSpec("shared_prefix", EMBEDDED, "auto", 32, 0.02, 0.9, SamplingParams(stop_at_json=True))
    )
    await engine.start()
    until = time.monotonic() + 60 * minutes
    callers = [call(engine, random.Random(number), until, tally) for number in range(_CALLERS)]
    await asyncio.gather(watch(engine, until, tally), *callers)
    engine._batcher.cache.validate()
    await engine.close()
    return tally


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    tally = asyncio.run(soak(parser.parse_args().minutes))
    third = max(1, len(tally.memory) // 3)
    before, after = mean(tally.memory[-2 * third : -third] or tally.memory), mean(tally.memory[-third:])
    print(f"second third {before:.1f} MiB, last third {after:.1f} MiB, {tally.missing} prompts without a completion")
    return int(after > _GROWTH * before or tally.missing > 0)


if __name__ == "__main__":
    sys.exit(main())
