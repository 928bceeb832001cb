"""The cache of the replies to requests for edges."""

from __future__ import annotations

from pathlib import Path

from depqa_ray.core import Prompt
from depqa_ray.edges.cache import EdgeCache

PROMPT = Prompt("id", "System.", "Passage: P.", "Q1: Who?", 96, form="edges", reply_keys=("Q1",))


def test_a_stored_reply_keeps_its_file_name(tmp_path: Path) -> None:
    """Given a reply that an earlier version stored, then it is found: its file's name is part of the format."""
    EdgeCache(tmp_path, {"name": "some/model"}, "earlier").put("dependency_parallel", PROMPT, "{}")
    (file,) = tmp_path.rglob("*.json")
    assert str(file.relative_to(tmp_path)) == "89/f7b1fca111c902730003defbbf1f88c771c6bab56f543a9f95297871b9038e.json"
    assert EdgeCache(tmp_path, {"name": "some/model"}, "later").get("dependency_parallel", PROMPT) == "{}"
