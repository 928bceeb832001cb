"""The generated worlds that ship with the package.

They are written again, after a change of the generator, by ``python -m depqa_ray.passages.synthetic.embedded``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from depqa_ray.passages.synthetic.export import write_worlds

EMBEDDED_COUNT: Final = 24
EMBEDDED_SEED: Final = 2026
"""The embedded reader is never trained on worlds of this seed."""


def embedded_file() -> Path:
    """Where the file lies, in the SQuAD schema with ``depends_on``."""
    return Path(__file__).parent / "data" / "worlds.json"


def write_embedded() -> None:
    """Write the file anew."""
    write_worlds(embedded_file(), EMBEDDED_COUNT, EMBEDDED_SEED)


if __name__ == "__main__":
    write_embedded()
