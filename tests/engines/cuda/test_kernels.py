"""The kernels of a GPU, interpreted on a CPU or run on a GPU, against attention and layers by their definition."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("triton")
os.environ.setdefault("TRITON_INTERPRET", "1")

from tests.engines.cpu.test_attention import KV_HEADS, filled_pool, plain, random_chunks, random_states
from tests.engines.shared_prefix import test_engine

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def kernels_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are chosen for a pool on the CPU too."""
    for module in ("shared_prefix.batch", "shared_prefix.decoder"):
        monkeypatch.setattr(f"depqa_ray.engines.{module}.supports_kernels", lambda pool, group: True)


@pytest.mark.parametrize(("group", "dim"), [(1, 64), (4, 128), (7, 16)])
def test_attention_equals_plain_attention(group: int, dim: int) -> None:
    import torch

    from depqa_ray.engines.cuda.inputs import Layout
    from depqa_ray.engines.cuda.kernels import attention
    from depqa_ray.engines.cuda.plan import run_queries
    from depqa_ray.engines.shared_prefix.batch import pack

    for seed in range(4):
        torch.manual_seed(seed)
        pool, scaling = filled_pool(dim, "float32"), dim**-0.5
        batch = pack(random_chunks(seed), pool, group)
        query, _, _ = random_states(batch.tokens.shape[1], group, dim, "float32")
        layout = Layout.of(batch, KV_HEADS, 1)
        buffer = torch.empty(layout.size, dtype=torch.long)
        layout.fill(buffer, batch, [0])
        packed = query.transpose(0, 1).contiguous()
        plan = layout.split(buffer).plan
        found = attention(packed, pool.keys[0], pool.values[0], plan, scaling, KV_HEADS, run_queries(group))
        torch.testing.assert_close(
            found.double(), plain(pool, batch.chunks, query, group, scaling), rtol=1e-4, atol=2e-5
        )


@pytest.mark.parametrize("architecture", ["Qwen3", "Llama", "Qwen2"])
def test_tokens_equal_generate(tmp_path: Path, architecture: str) -> None:
    test_engine.test_tokens_equal_generate_in_any_batch(tmp_path, architecture, 40)


def test_slots_of_a_failed_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    test_engine.test_slots_of_a_failed_row_do_no_harm(tmp_path, monkeypatch, True)
