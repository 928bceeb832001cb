"""The most that sharing prefixes can save, counted from the prompts' tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter


class PrefixTree:
    """A tree with a node for each distinct prefix of the rows added."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[int, int], int] = {}

    def add(self, row: Sequence[int]) -> int:
        """Add a row; returns how many of its prefixes are new. Those are its longest ones."""
        node, before = 0, len(self._nodes)
        for token in row:
            node = self._nodes.setdefault((node, token), len(self._nodes) + 1)
        return len(self._nodes) - before


@dataclass(frozen=True, slots=True)
class PromptWork:
    """Number of prompts, their tokens, the ``fewest`` tokens to compute, and the keys that those attend to."""

    prompts: int
    tokens: int
    fewest: int
    keys: int

    @property
    def shareable(self) -> int:
        """The most tokens that a cache can serve."""
        return self.tokens - self.fewest


def prompt_work(rows: Sequence[Sequence[int]]) -> PromptWork:
    """Count the work of reading rows (none of them empty).

    Each distinct prefix is computed once, but a prompt's last token once for each prompt, since its answer starts
    there: the last token of k equal prompts counts k times. The token at position p (from 1) attends to p keys.
    """
    tree = PrefixTree()
    fewest = keys = 0
    # Short before long: a row that is a prefix of another has then paid for its own last token.
    for row in sorted(rows, key=len):
        new = max(tree.add(row), 1)
        fewest += new
        keys += sum(range(len(row) - new + 1, len(row) + 1))
    return PromptWork(len(rows), sum(map(len, rows)), fewest, keys)


def fewest_prefix_reads(rows: Sequence[Sequence[int]], steps: Sequence[int]) -> int:
    """The fewest reads of a prompt token's keys and values if row i decodes for ``steps[i]`` steps.

    All rows decode together, and a step reads a shared prefix once: a node of the tree is read in as many steps as the
    longest of the rows below it decodes.
    """
    tree = PrefixTree()
    longest_first = sorted(zip(rows, steps, strict=True), key=itemgetter(1), reverse=True)
    return sum(tree.add(row) * count for row, count in longest_first)
