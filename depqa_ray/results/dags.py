"""The dependencies of a passage and of a whole run, in figures. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from depqa_ray.core import Edge, Passage
from depqa_ray.edges.graph import DependencyGraph
from depqa_ray.edges.quality import EdgeQuality, edge_quality
from depqa_ray.errors import StoreError
from depqa_ray.results.averages import mean
from depqa_ray.results.records import EdgeRecord
from depqa_ray.results.schema import AnswerEntry, EdgeEntry, EdgeQualityEntry, EdgeSummary, PassageEdges, encodable


def passage_edges(dag: EdgeRecord, passage: Passage, answers: Sequence[AnswerEntry], *, asked: bool) -> PassageEdges:
    """The dependencies of one passage; the answers, one for each of its questions, say what each question cost.

    Raises StoreError where the kept edges cannot be those of a plan.
    """
    chosen = dag.chosen
    ids = [question.id for question in passage.questions]
    try:
        graph = DependencyGraph(ids, chosen.selected)
    except ValueError as error:
        raise StoreError(f"the run's edges of passage {passage.id} were damaged ({error}); run it again") from error
    tokens = [answer.prompt_tokens + answer.generated_tokens for answer in answers]
    return PassageEdges(
        source=chosen.source,
        fallback=chosen.fallback,
        asked=asked,
        cached=chosen.cached,
        proposed=list(map(_edge_entry, chosen.proposed)),
        edges=list(map(_edge_entry, chosen.selected)),
        dropped=dict(chosen.dropped_counts),
        depth=graph.depth,
        width=graph.width,
        parallelism=graph.parallelism(dict(zip(ids, tokens, strict=True))),
    )


def edge_summary(passages: Iterable[tuple[Passage, PassageEdges | None]]) -> EdgeSummary | None:
    """The dependencies of a strategy over its passages; None where it goes by none."""
    found = [(passage, dag) for passage, dag in passages if dag is not None]
    if not found:
        return None
    dags = [dag for _, dag in found]
    dropped: Counter[str] = Counter()
    for dag in dags:
        dropped.update(dag.dropped)
    return EdgeSummary(
        passages=len(dags),
        asked=sum(dag.asked for dag in dags),
        cached=sum(dag.cached for dag in dags),
        fallbacks=sum(bool(dag.fallback) for dag in dags),
        edges=mean(len(dag.edges) for dag in dags),
        depth=mean(dag.depth for dag in dags),
        width=mean(dag.width for dag in dags),
        parallelism=mean(dag.parallelism for dag in dags),
        dropped=dict(sorted(dropped.items())),
        # What the heuristic proposed instead is not the model's merit.
        proposed_quality=_quality([(passage, [] if dag.fallback else dag.proposed) for passage, dag in found]),
        selected_quality=_quality([(passage, dag.edges) for passage, dag in found]),
    )


def _quality(pairs: Iterable[tuple[Passage, Sequence[EdgeEntry]]]) -> EdgeQualityEntry | None:
    """How well the edges of passages with gold ones match these; None where there is no such passage."""
    found = EdgeQuality()
    for passage, entries in pairs:
        if passage.gold_edges is not None:
            edges = [Edge(entry.parent, entry.child) for entry in entries]
            gold = [Edge(encodable(edge.parent), encodable(edge.child)) for edge in passage.gold_edges]
            found += edge_quality([encodable(question.id) for question in passage.questions], edges, gold)
    if not found.questions:
        return None
    return EdgeQualityEntry(
        edges=found.proposed,
        gold=found.gold,
        precision=found.precision if found.proposed else None,
        recall=found.recall if found.gold else None,
        f1=found.f1 if found.proposed or found.gold else None,
        right_share=found.right_share,
    )


def _edge_entry(edge: Edge) -> EdgeEntry:
    return EdgeEntry(
        parent=edge.parent,
        child=edge.child,
        confidence=edge.confidence,
        origin=edge.origin,
        rationale=edge.rationale,
    )
