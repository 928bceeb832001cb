"""SQuAD v1.1 from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from depqa_ray.errors import InputError
from depqa_ray.passages.base import Row
from depqa_ray.passages.rows import RowSource

HUB_ID: Final = "rajpurkar/squad"


def hub_rows(split: str) -> RowSource:
    """The rows of a split. They are downloaded once, then read from a memory-mapped file.

    Raises InputError if the split does not exist, or if the hub cannot be reached and nothing was downloaded before.
    """
    table = _load(split)

    def rows() -> Iterator[Row]:
        for number, value in enumerate(table, 1):
            yield Row(f"{HUB_ID} ({split}): row {number}", value)

    return rows


def _load(split: str) -> Any:
    import datasets

    try:
        return datasets.load_dataset(HUB_ID, split=split)
    except Exception as error:  # the network libraries' own types, which change between versions
        reason = " ".join(str(error).split())
        if isinstance(error, ValueError) and "split" in reason.lower():
            raise InputError(reason, HUB_ID, "choose another --split") from None
        raise InputError(
            f"cannot load {HUB_ID} from the hub: {reason}",
            fix="give a local file with --dataset PATH or use --dataset embedded",
        ) from error
