"""What tests of more than one package need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the project; a test that needs it is skipped where it is absent."""
    folder = Path(os.environ.get("DEPQA_SHARED_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("needs the shared data: set DEPQA_SHARED_DATA to its folder")
    return folder
