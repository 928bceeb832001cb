"""Packs what a step computes: the pieces of many spans, side by side, and who of them attends to what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from depqa_ray.engines.cpu.attention import RUN_QUERIES, Kernel, NativePlan, kernel_for
from depqa_ray.engines.shared_prefix.allocator import Slab
from depqa_ray.engines.shared_prefix.attention import PackedStep, Reach, SlabReach, TorchPlan, causal_mask
from depqa_ray.engines.shared_prefix.kv_pool import KVStore
from depqa_ray.engines.shared_prefix.prefix_cache import Span


@dataclass(slots=True)
class Piece:
    """The ``count`` tokens from ``place`` on in a span that a step computes; ``first`` is where it packs them.

    What the span borrows is copied before, in turn ``turn``: it may come from a span that borrows in this step, too.
    """

    span: Span
    place: int
    count: int
    turn: int = 0
    first: int = 0

    @property
    def last(self) -> int:
        """The packed index of its last token."""
        return self.first + self.count - 1


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A step's pieces in packed order, its tokens and positions (each [1, tokens]), and its attention."""

    pieces: list[Piece]
    tokens: Tensor
    positions: Tensor
    step: PackedStep


def pack(pieces: Sequence[Piece], store: KVStore, group: int) -> PackedBatch:
    """Lay the pieces out: those below one prefix side by side. ``group``: query heads of a key-value head."""
    ordered = sorted(pieces, key=lambda piece: [node.start for node in (*piece.span.lineage, piece.span)])
    table: list[tuple[int, int, int, int, int]] = []  # token, position, start, room, place
    for piece in ordered:
        piece.first = len(table)
        span, place = piece.span, piece.place
        table += [
            (span.tokens[i], span.offset + i, span.start, span.room, i) for i in range(place, place + piece.count)
        ]
    device = store.keys[0].device
    tokens, positions, starts, rooms, places = torch.tensor(table, device=device).T
    kernel = kernel_for(store, group)
    plan = native_plan(ordered, kernel, group, store.keys[0].dtype) if kernel else torch_plan(ordered, group, device)
    step = PackedStep(store, store.vectors(starts, rooms, places), _copies(ordered, store), plan)
    return PackedBatch(ordered, tokens[None], positions[None], step)


def native_plan(ordered: Sequence[Piece], kernel: Kernel, group: int, dtype: torch.dtype) -> NativePlan:
    """Runs of tokens below one span, short enough for a task; a piece may be cut between two of them."""
    most = RUN_QUERIES // group
    runs: list[list[int]] = []
    ranges: list[tuple[int, int, int]] = []
    pieces: list[tuple[int, int, int, int, int]] = []
    parent: Span | None = None
    above = (0, 0)
    for piece in ordered:
        span, done = piece.span, 0
        siblings = bool(runs) and span.parent is parent
        if not siblings:
            parent, above = span.parent, (len(ranges), len(ranges) + len(span.lineage))
            # The innermost first: what all runs have in common is near anyway, and the rest is fetched meanwhile.
            ranges += [(node.start, node.room, len(node.tokens)) for node in reversed(span.lineage)]
        while done < piece.count:
            if not siblings or runs[-1][1] == most:
                runs.append([piece.first + done, 0, *above, len(pieces), len(pieces)])
                siblings = True
            count = min(piece.count - done, most - runs[-1][1])
            pieces.append((piece.first + done, count, span.start, span.room, piece.place + done))
            runs[-1][1] += count
            runs[-1][-1] += 1
            done += count
    return NativePlan(kernel, group, kernel.variants(dtype) - 1, *map(torch.tensor, (runs, ranges, pieces)))


def torch_plan(ordered: Sequence[Piece], group: int, device: torch.device) -> TorchPlan:
    """The same for torch's operations."""
    reaches, by_slab = _reaches(ordered, group, device)
    slabs = [_slab_reach(slab, members, device) for slab, members in by_slab.items()]
    return TorchPlan(1 + max(len(piece.span.lineage) for piece in ordered), reaches, slabs)


def _copies(pieces: Sequence[Piece], store: KVStore) -> list[tuple[Tensor, Tensor]]:
    """From where to where keys and values are copied for the spans that borrow, turn by turn."""
    turns: dict[int, list[tuple[int, int, int, int, int]]] = {}
    for piece in pieces:
        span, source = piece.span, piece.span.source
        if source is not None:
            turns.setdefault(piece.turn, []).extend(
                (source.start, source.room, span.start, span.room, place) for place in range(span.borrowed)
            )
    copies = []
    for _, table in sorted(turns.items()):
        froms, from_rooms, tos, to_rooms, places = torch.tensor(table, device=store.keys[0].device).T
        copies.append((store.vectors(froms, from_rooms, places), store.vectors(tos, to_rooms, places)))
    return copies


def _reaches(ordered: Sequence[Piece], group: int, device: torch.device) -> tuple[list[Reach], dict[Slab, list[Piece]]]:
    """The runs of tokens that attend together, and the pieces of one token that their slabs can answer for."""
    reaches: list[Reach] = []
    by_slab: dict[Slab, list[Piece]] = {}
    below: dict[Span, list[int]] = {}
    for piece in ordered:
        span, last = piece.span, piece.last + 1
        for node in span.lineage:
            below.setdefault(node, [piece.first, 0])[1] = last
        if piece.count == 1 and span.slab is not None:
            by_slab.setdefault(span.slab, []).append(piece)
        else:
            length = piece.place + piece.count
            mask = causal_mask(piece.count, length, group, device)
            reaches.append(Reach(piece.first, last, span.start, span.room, length, 0, mask))
    reaches += [
        Reach(first, last, node.start, node.room, len(node.tokens), 1 + len(node.lineage))
        for node, (first, last) in below.items()
    ]
    return reaches, by_slab


def _slab_reach(slab: Slab, pieces: Sequence[Piece], device: torch.device) -> SlabReach:
    places = [slab.place(piece.span.start) for piece in pieces]
    lowest, highest = min(places), max(places)
    count = highest - lowest + 1
    lengths = torch.zeros(count, dtype=torch.long)
    queries = torch.full((count,), pieces[0].first)
    place = torch.tensor(places) - lowest
    tokens = torch.tensor([piece.first for piece in pieces])
    queries[place] = tokens
    lengths[place] = torch.tensor([piece.place + 1 for piece in pieces])
    length = int(lengths.max())
    # A place without a row still sees its first slot: a softmax over nothing would be NaN.
    hidden = torch.arange(length) >= lengths.clamp(min=1)[:, None]
    mask = torch.zeros(count, length).masked_fill(hidden, -torch.inf)[:, None, None]
    return SlabReach(
        tokens.to(device),
        place.to(device),
        queries.to(device),
        slab.start + lowest * slab.room,
        slab.room,
        count,
        length,
        mask.to(device),
    )
