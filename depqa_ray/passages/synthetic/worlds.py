"""Generates passages about invented people, towns, rivers and companies whose questions depend on each other.

A world is a small set of entities and a table of facts about them. Its passage states each fact in one sentence.

- A question that names its subject ("Who founded Velcarn?") depends on no other.
- A question that refers to an earlier answer ("On which river does that town lie?") cannot be answered without it: the
  passage states the same kind of fact about the other towns.
- "That town" always means the answer of the latest earlier question that asks for a town, as in a conversation. So the
  gold DAG follows from the text alone.

A world depends only on the seed and its number: world 7 of seed 3 is the same on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from depqa_ray.core import Edge, Passage, Question
from depqa_ray.passages.synthetic.names import FIRST_NAMES, NAMES, SURNAMES, Kind, noun_phrase


@dataclass(frozen=True, slots=True)
class Relation:
    """A kind of fact between one or two subjects and an object, with the sentences and questions that express it.

    Templates use ``{s}`` (and ``{t}`` for a second subject) for the subjects and ``{o}`` for the object.
    """

    name: str
    subjects: tuple[Kind, ...]
    object: Kind
    sentences: tuple[str, ...]
    questions: tuple[str, ...]


# One relation a block: its name and kinds, sentences, questions.
# fmt: off
RELATIONS: Final = (
    Relation("founder", ("company",), "person",
             ("{s} was founded by {o}.", "{o} founded the company {s}."),
             ("Who founded {s}?", "Who was the founder of {s}?")),
    Relation("works", ("company",), "town",
             ("{s} has its works in {o}.", "The works of {s} stand in {o}."),
             ("In which town does {s} have its works?", "In which town do the works of {s} stand?")),
    Relation("product", ("company",), "product",
             ("{s} makes {o}.", "The company {s} is known for its {o}."),
             ("What does {s} make?", "What is {s} known for?")),
    Relation("birthplace", ("person",), "town",
             ("{s} was born in {o}.", "{o} is the birthplace of {s}."),
             ("In which town was {s} born?", "Which town is the birthplace of {s}?")),
    Relation("employer", ("person",), "company",
             ("{s} works for {o}.", "{o} employs {s}."),
             ("For which company does {s} work?", "Which company employs {s}?")),
    Relation("river", ("town",), "river",
             ("{s} lies on {o}.", "{o} flows through {s}."),
             ("On which river does {s} lie?", "Which river flows through {s}?")),
    Relation("mayor", ("town",), "person",
             ("The mayor of {s} is {o}.", "{o} is the mayor of {s}."),
             ("Who is the mayor of {s}?", "Who serves as the mayor of {s}?")),
    Relation("lake", ("river",), "lake",
             ("{s} flows into {o}.", "{o} is fed by {s}."),
             ("Into which lake does {s} flow?", "Which lake is fed by {s}?")),
    Relation("source", ("river",), "town",
             ("{s} rises near {o}.", "The source of {s} lies near {o}."),
             ("Near which town does {s} rise?", "Near which town does the source of {s} lie?")),
    Relation("joined", ("person", "company"), "year",
             ("{s} joined {t} in {o}.", "In {o}, {s} joined {t}."),
             ("In which year did {s} join {t}?", "When did {s} join {t}?")),
    Relation("branch", ("company", "town"), "year",
             ("{s} opened a shop in {t} in {o}.", "In {o}, {s} opened a shop in {t}."),
             ("In which year did {s} open a shop in {t}?", "When did {s} open a shop in {t}?")),
)
# fmt: on

_MAX_DRAWS: Final = 100
_SHAPE_RANGES: Final = {"questions": (1, 12), "depth": (1, 4), "fan_in": (1, 2), "entities": (2, 8), "facts": (0, 60)}
_ENTITY_KINDS: Final[tuple[Kind, ...]] = ("person", "town", "river", "company")


@dataclass(frozen=True, slots=True)
class WorldShape:
    """The shape of a world's passage and questions.

    - ``depth``: the longest chain of questions
    - ``fan_in``: the most parents of a question (1 or 2)
    - ``entities``: the number of people, of towns, of rivers and of companies; a guess is right once in that many
    - ``facts``: the fewest sentences of the passage

    Raises ValueError if a value is out of range.
    """

    questions: int = 5
    depth: int = 4
    fan_in: int = 2
    entities: int = 3
    facts: int = 12

    def __post_init__(self) -> None:
        for name, (low, high) in _SHAPE_RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, not {value}")


@dataclass(frozen=True, slots=True)
class Fact:
    """``relation`` holds between ``subjects`` and ``object`` (names)."""

    relation: Relation
    subjects: tuple[str, ...]
    object: str


@dataclass(frozen=True, slots=True)
class WorldQuestion:
    """A question about one fact. ``parents`` are the numbers (from 0) of the earlier questions that it refers to."""

    fact: Fact
    text: str
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class World:
    """A generated world: the facts and sentences of its passage and its questions, in order."""

    facts: tuple[Fact, ...]
    sentences: tuple[str, ...]
    questions: tuple[WorldQuestion, ...]

    def passage(self, passage_id: str) -> Passage:
        """The world as a passage with gold answers and gold edges; question ids are ``<passage_id>-q1`` and so on."""
        ids = [f"{passage_id}-q{number}" for number in range(1, len(self.questions) + 1)]
        return Passage(
            id=passage_id,
            title=passage_id,
            text=" ".join(self.sentences),
            questions=tuple(
                Question(id_, question.text, (question.fact.object,))
                for id_, question in zip(ids, self.questions, strict=True)
            ),
            gold_edges=tuple(
                Edge(ids[parent], id_, 1.0, "points at its answer", "gold")
                for id_, question in zip(ids, self.questions, strict=True)
                for parent in question.parents
            ),
        )


def express_question(rng: random.Random, relation: Relation, subjects: tuple[str | None, ...]) -> str:
    """A question for the relation's object; None as a subject gives a reference ("that town") instead of a name."""
    phrases = [
        f"that {kind}" if name is None else noun_phrase(kind, name)
        for kind, name in zip(relation.subjects, subjects, strict=True)
    ]
    return rng.choice(relation.questions).format(**dict(zip("st", phrases, strict=False)))


def generate_world(rng: random.Random, shape: WorldShape = WorldShape()) -> World:
    """Draw one world. The same state of ``rng`` and the same shape give the same world.

    Raises ValueError if the entities are too few for that many questions.
    """
    for _ in range(_MAX_DRAWS):
        names = _draw_names(rng, shape.entities)
        facts = {relation.name: _draw_facts(rng, relation, names) for relation in RELATIONS}
        questions = _draw_questions(rng, facts, shape)
        if len(questions) == shape.questions:
            break
    else:
        asked = f"{shape.questions} questions; ask for fewer"
        raise ValueError(f"no world of {shape.entities} entities a kind holds {asked}")
    stated = {question.fact.relation.name for question in questions}
    others = [relation.name for relation in RELATIONS if relation.name not in stated]
    rng.shuffle(others)
    while others and sum(len(facts[name]) for name in stated) < shape.facts:
        stated.add(others.pop())
    passage = [fact for relation in RELATIONS if relation.name in stated for fact in facts[relation.name]]
    passage = _group_by_subject(rng, passage)
    return World(tuple(passage), tuple(_express_fact(rng, fact) for fact in passage), tuple(questions))


def generate_worlds(count: int, seed: int, shape: WorldShape = WorldShape(), first: int = 0) -> Iterator[Passage]:
    """Passages of the worlds numbered ``first`` to ``first + count - 1`` of a seed, one at a time."""
    for number in range(first, first + count):
        yield generate_world(random.Random(f"{seed}/{number}"), shape).passage(f"world-{seed}-{number}")


def worlds_to_squad(passages: Iterable[Passage]) -> dict[str, Any]:
    """Passages in the official SQuAD v1.1 JSON schema; ``depends_on`` (question ids) is the one extra field."""
    return {"version": "1.1", "data": [_article(passage) for passage in passages]}


def _article(passage: Passage) -> dict[str, Any]:
    qas = [
        {
            "id": question.id,
            "question": question.text,
            "answers": [{"text": answer, "answer_start": passage.text.index(answer)} for answer in question.answers],
            "depends_on": [edge.parent for edge in passage.gold_edges or () if edge.child == question.id],
        }
        for question in passage.questions
    ]
    return {"title": passage.title, "paragraphs": [{"context": passage.text, "qas": qas}]}


def _draw_names(rng: random.Random, entities: int) -> dict[Kind, list[str]]:
    names: dict[Kind, list[str]] = {}
    for kind in _ENTITY_KINDS:
        if kind == "person":
            firsts, surnames = rng.sample(FIRST_NAMES, entities), rng.sample(SURNAMES, entities)
            names[kind] = [f"{first} {surname}" for first, surname in zip(firsts, surnames, strict=True)]
        else:
            names[kind] = rng.sample(NAMES[kind], entities)
    return names


def _draw_facts(rng: random.Random, relation: Relation, names: dict[Kind, list[str]]) -> list[Fact]:
    """Facts for all subjects of the relation, so that none is special, each with an object of its own."""
    if len(relation.subjects) == 1:
        subjects: list[tuple[str, ...]] = [(name,) for name in names[relation.subjects[0]]]
    else:
        # Each first subject is paired with two second ones and vice versa, so that neither alone gives the object.
        first, second = names[relation.subjects[0]], names[relation.subjects[1]]
        subjects = [
            pair
            for index, name in enumerate(first)
            for pair in ((name, second[index]), (name, second[(index + 1) % len(second)]))
        ]
    objects = rng.sample(names.get(relation.object) or NAMES[relation.object], len(subjects))
    return [Fact(relation, subject, object_) for subject, object_ in zip(subjects, objects, strict=True)]


def _draw_questions(rng: random.Random, facts: dict[str, list[Fact]], shape: WorldShape) -> list[WorldQuestion]:
    """Questions that each either name their subjects or refer to the latest fitting answers."""
    questions: list[WorldQuestion] = []
    depths: list[int] = []
    while len(questions) < shape.questions:
        latest = {question.fact.relation.object: number for number, question in enumerate(questions)}
        candidates = _candidates(facts, questions, latest, depths, shape)
        pointing = [candidate for candidate in candidates if candidate[1]]
        naming = [candidate for candidate in candidates if not candidate[1]]
        # Two thirds of the later questions refer to an earlier answer; a join is rarer, so its odds are higher.
        joins = [candidate for candidate in pointing if len(candidate[1]) == 2]
        if joins and rng.random() < 0.5:
            pool = joins
        elif pointing and (rng.random() < 0.67 or not naming):
            pool = pointing
        elif naming:
            pool = naming
        else:
            break
        fact, parents = rng.choice(_one_per_relation(rng, pool))
        subjects = tuple(None if parents else name for name in fact.subjects)
        questions.append(WorldQuestion(fact, express_question(rng, fact.relation, subjects), parents))
        depths.append(1 + max((depths[parent] for parent in parents), default=0))
    return questions


_Candidate = tuple[Fact, tuple[int, ...]]


def _candidates(
    facts: dict[str, list[Fact]],
    questions: list[WorldQuestion],
    latest: dict[Kind, int],
    depths: list[int],
    shape: WorldShape,
) -> list[_Candidate]:
    """The possible next facts with their parents, such that no question gives away the answer of another."""
    answered = {question.fact.object for question in questions}
    named = {name for question in questions if not question.parents for name in question.fact.subjects}
    found: list[_Candidate] = []
    for relation_facts in facts.values():
        relation = relation_facts[0].relation
        parents = tuple(latest[kind] for kind in relation.subjects if kind in latest)
        can_point = (
            len(parents) == len(relation.subjects)
            and len(parents) <= shape.fan_in
            and 1 + max(depths[parent] for parent in parents) <= shape.depth
        )
        pointed = tuple(questions[parent].fact.object for parent in parents)
        for fact in relation_facts:
            if fact.object in answered or fact.object in named:
                continue
            if can_point and fact.subjects == pointed:
                found.append((fact, parents))
            if not answered.intersection(fact.subjects):
                found.append((fact, ()))
    return found


def _one_per_relation(rng: random.Random, candidates: list[_Candidate]) -> list[_Candidate]:
    """One candidate of each relation, so that relations with many facts are not drawn more often."""
    by_relation: dict[str, list[_Candidate]] = {}
    for candidate in candidates:
        by_relation.setdefault(candidate[0].relation.name, []).append(candidate)
    return [rng.choice(group) for group in by_relation.values()]


def _group_by_subject(rng: random.Random, facts: list[Fact]) -> list[Fact]:
    """The facts grouped by their first subject, subjects and facts shuffled."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.subjects[0], []).append(fact)
    order = list(groups)
    rng.shuffle(order)
    for group in groups.values():
        rng.shuffle(group)
    return [fact for subject in order for fact in groups[subject]]


def _express_fact(rng: random.Random, fact: Fact) -> str:
    relation = fact.relation
    phrases = [noun_phrase(kind, name) for kind, name in zip(relation.subjects, fact.subjects, strict=True)]
    values = dict(zip("st", phrases, strict=False)) | {"o": noun_phrase(relation.object, fact.object)}
    sentence = rng.choice(relation.sentences).format(**values)
    return sentence[0].upper() + sentence[1:]
