"""Repositories for the tests' hub: a tiny model in two shards, and a data set in the hub's columns.

::

    python -m tests.hub_repositories ROOT  # Qwen/Qwen3-4B and rajpurkar/squad
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.engines.tiny import save_tiny_model
from tests.passages.documents import row

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A chat template that shows the roles."""

SQUAD = "rajpurkar/squad"


def add_model(root: Path, name: str, **config: Any) -> Path:
    """Add a random model of two shards with a window of 8192; ``config`` as for save_tiny_model."""
    from transformers import AutoModelForCausalLM

    folder = root / "models" / name
    sizes: dict[str, Any] = {"chat_template": CHAT, "max_position_embeddings": 8192}
    save_tiny_model(folder, **(sizes | config))
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    total = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    model.save_pretrained(folder, max_shard_size=total * 2 // 3)
    (folder / "README.md").write_text(f"# {name}\n")
    return folder


def add_files(root: Path, name: str, files: Mapping[str, bytes], kind: str = "models") -> Path:
    """Add files to a repository, which may be new."""
    folder = root / kind / name
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def model_files(shard: int = 100_000) -> dict[str, bytes]:
    """Files that look like a model in two shards of ``shard`` bytes, and files that are not wanted."""
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {"weight_map": {f"tensor{at}": name for at, name in enumerate(names)}}
    return {
        "README.md": b"# A model",
        "config.json": b'{"model_type": "qwen3"}',
        "tokenizer.json": b"{}",
        "chat_template.jinja": b"{{ messages }}",
        "model.safetensors.index.json": json.dumps(index).encode(),
        **{name: random.Random(name).randbytes(shard) for name in names},
        "pytorch_model.bin": b"pickled",
        "modeling.py": b"raise SystemExit",
        "consolidated.safetensors": b"the same again",
        "original/model.safetensors": b"the same again",
    }


def add_data_set(root: Path, name: str = SQUAD, **splits: Sequence[dict[str, Any]]) -> Path:
    """Add a data set of the splits' rows, in the hub's columns (tests.passages.documents.row)."""
    import datasets

    folder = root / "datasets" / name
    (folder / "plain_text").mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        file = folder / "plain_text" / f"{split}-00000-of-00001.parquet"
        datasets.Dataset.from_list(list(rows)).to_parquet(file)
    (folder / "README.md").write_text(f"# {name}\n")
    return folder


def some_rows(passages: int = 4, questions: int = 3) -> list[dict[str, Any]]:
    """Rows of short passages, each with some questions."""
    texts = [f"Passage {at} is about the year {1900 + at} and a town called Town{at}." for at in range(passages)]
    return [row(f"p{at}q{of}", context=text) for at, text in enumerate(texts) for of in range(questions)]


def main() -> None:
    root = Path(sys.argv[1])
    add_model(root, "Qwen/Qwen3-4B")
    add_data_set(root, train=some_rows(20, 6), validation=some_rows(4))


if __name__ == "__main__":
    main()
