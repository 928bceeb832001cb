"""A key in the environment, and no address."""

from __future__ import annotations

import pytest

from tests.engines.openai.helpers import KEY
from tests.engines.servers import require_openai


@pytest.fixture(autouse=True)
def client_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    require_openai()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
