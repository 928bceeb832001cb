"""The generated worlds that ship with the package.

After a change of the generator, ``python -m depqa_ray.passages.synthetic.embedded`` writes them again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depqa_ray.passages.synthetic.export import write_worlds

EMBEDDED_COUNT: Final = 24
EMBEDDED_SEED: Final = 2026
"""The embedded reader is never trained on worlds of this seed."""


def embedded_file() -> Path:
    """The path of the file, in the SQuAD schema with ``depends_on``."""
    return Path(__file__).parent / "data" / "worlds.json"


def write_embedded() -> None:
    """Write the file again."""
    write_worlds(embedded_file(), EMBEDDED_COUNT, EMBEDDED_SEED)


if __name__ == "__main__":
    write_embedded()
