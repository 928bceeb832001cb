"""Generated worlds as files in the SQuAD schema, among them the one that ships with the package.

After a change of the generator, ``python -m depqa_ray.passages.synthetic.export`` writes that file again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from depqa_ray.errors import InputError
from depqa_ray.files import replace_file
from depqa_ray.passages.synthetic.worlds import WorldShape, generate_worlds, worlds_to_squad

EMBEDDED_FILE: Final = Path(__file__).parent / "data" / "worlds.json"
EMBEDDED_COUNT: Final = 24
EMBEDDED_SEED: Final = 2026
"""The embedded reader is never trained on worlds of this seed."""

_DEFAULT_SHAPE: Final = WorldShape()


def write_worlds(path: Path, count: int, seed: int, shape: WorldShape = _DEFAULT_SHAPE) -> None:
    """Write the first ``count`` worlds of a seed atomically; missing folders are created.

    Raises InputError if the count is below 1, no world has the shape, or the file cannot be written.
    """
    if count < 1:
        raise InputError(f"cannot write {count} worlds", fix="ask for at least 1")
    try:
        replace_file(path, worlds_text(count, seed, shape), durable=False)
    except ValueError as error:  # too few entities for that many questions
        raise InputError(str(error)) from None
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", str(path), "choose another path") from None


def worlds_text(count: int, seed: int, shape: WorldShape = _DEFAULT_SHAPE) -> str:
    """The content of such a file."""
    document = worlds_to_squad(generate_worlds(count, seed, shape))
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    write_worlds(EMBEDDED_FILE, EMBEDDED_COUNT, EMBEDDED_SEED)
