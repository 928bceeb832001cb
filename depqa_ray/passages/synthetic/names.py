"""The finite lists of invented names that generated worlds draw from.

The lists are finite on purpose: the embedded reader's tokenizer holds each name as one token, so that a model of a few
million parameters can learn to look names up. No name is in two lists.
"""

from __future__ import annotations

from itertools import product
from typing import Final, Literal

Kind = Literal["person", "town", "river", "company", "lake", "product", "year"]

_FIRST_NAMES = (
    "Ada Alva Anselm Arno Bela Bram Carla Cosmo Dora Edda Egon Elin Emil Enzo Esra Falk Finn Flora Gerda Greta Hanno "
    "Hedda Henk Ilse Imre Ines Ivo Jana Joris Judith Kaja Karel Kira Lars Leif Lena Levi Lotte Luca Maja Mara Marek "
    "Mila Milo Nele Nils Nora Oda Olaf Oskar Paula Petra Quint Rasmus Rika Ruben Selma Signe Sven Tara Teo Tilda Ulla "
    "Urs Vera Viggo Wanda Wim Yara Zeno"
).split()
_SURNAME_STEMS = "Bren Dahl Eck Falken Grau Hart Kess Lind Marl Norr Ost Rosen Stein Thal".split()
_SURNAME_ENDINGS = "berg er feld man ström".split()
_TOWN_STEMS = "Al Bar Cor Dun El Hal Kel Mar Nor Os Ro Sel Tarn Wes".split()
_TOWN_ENDINGS = "bridge den ford ham mouth wick".split()
_RIVER_STEMS = "Ar Brel Cal Dorn Is Lor Mor Nev Or Sil Tav Vess".split()
_RIVER_ENDINGS = "a enne is ow".split()
_COMPANY_STEMS = "Amb Brix Cand Delt Fer Gant Hex Lumen Nov Opt Quor Ster Tec Vant".split()
_COMPANY_ENDINGS = "ara ex ico on um".split()
_LAKE_STEMS = "Ash Birch Crane Elder Fox Heron Larch Otter Pike Raven Swan Willow".split()
_PRODUCTS = (
    "bells boots bread bricks brooms candles carpets chairs cheese clocks combs fans gloves hats honey ink knives "
    "lamps locks mirrors needles nets ovens paint paper pipes rope saddles soap spoons tiles toys"
).split()

_FIRST_YEAR, _LAST_YEAR = 1850, 1949


def _compound(stems: list[str], endings: list[str]) -> tuple[str, ...]:
    return tuple(stem + ending for stem, ending in product(stems, endings))


SURNAMES: Final = _compound(_SURNAME_STEMS, _SURNAME_ENDINGS)
FIRST_NAMES: Final = tuple(_FIRST_NAMES)

NAMES: Final[dict[Kind, tuple[str, ...]]] = {
    "town": _compound(_TOWN_STEMS, _TOWN_ENDINGS),
    "river": _compound(_RIVER_STEMS, _RIVER_ENDINGS),
    "company": _compound(_COMPANY_STEMS, _COMPANY_ENDINGS),
    "lake": tuple(f"Lake {stem}" for stem in _LAKE_STEMS),
    "product": tuple(_PRODUCTS),
    "year": tuple(str(year) for year in range(_FIRST_YEAR, _LAST_YEAR + 1)),
}
"""All names of each kind but persons, whose full names are a first name and a surname."""


def noun_phrase(kind: Kind, name: str) -> str:
    """The name as a sentence uses it: rivers take the article."""
    return f"the {name}" if kind == "river" else name
