"""The embedded reader: a small Qwen3-architecture model that answers generated worlds, and how it was trained."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def weights_folder() -> Path:
    """The folder of the shipped checkpoint: configuration, weights, tokenizer and model card."""
    return Path(str(files(__name__))) / "weights"
