"""The decoder for GPUs against attention by its definition and ``generate``: on a GPU, else interpreted on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.engines.cpu.test_attention import KV_HEADS, filled_pool, plain, random_chunks, random_states
from tests.engines.shared_prefix import test_engine

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def kernels_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels are chosen for a pool on the CPU too."""
    for module in ("batch", "engine"):
        monkeypatch.setattr(f"depqa_ray.engines.shared_prefix.{module}.supports_kernels", lambda pool, group: True)


@pytest.mark.parametrize(("group", "dim"), [(1, 64), (4, 128), (7, 16)])
def test_attention_equals_its_definition(group: int, dim: int) -> None:
    """For random batches of prompts and decoding sequences below nested prefixes, the kernel gives plain attention."""
    from depqa_ray.engines.cuda.inputs import Layout
    from depqa_ray.engines.cuda.kernels import attention
    from depqa_ray.engines.cuda.plan import run_queries
    from depqa_ray.engines.shared_prefix.batch import pack

    for seed in range(2):
        torch.manual_seed(seed)
        pool, scaling = filled_pool(dim, "float32"), dim**-0.5
        batch = pack(random_chunks(seed), pool, group)
        query, _, _ = random_states(batch.tokens.shape[1], group, dim, "float32")
        layout = Layout.of(batch, KV_HEADS, 1)
        buffer = torch.full((layout.size,), 1 << 40)  # what is not filled shows
        layout.fill(buffer, batch, [0])
        plan = layout.split(buffer.to(DEVICE)).plan
        packed, keys, values = (states.to(DEVICE) for states in (query.transpose(0, 1), pool.keys[0], pool.values[0]))
        found = attention(packed.contiguous(), keys, values, plan, scaling, KV_HEADS, run_queries(group))
        expected = plain(pool, batch.chunks, query, group, scaling)
        torch.testing.assert_close(found.cpu().double(), expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("architecture", ["Qwen3", "Qwen2"])
def test_tokens_of_the_packed_layers_equal_generate(tmp_path: Path, architecture: str) -> None:
    """With head norms (Qwen3) and with biases (Qwen2), the whole engine gives the tokens of generate."""
    test_engine.test_tokens_equal_generate_in_any_batch(tmp_path, architecture, 3)


def test_unused_room_of_a_layout_is_marked() -> None:
    """A step in a larger buffer: unused tokens have no slot, unused runs no tokens, and the rest is the step's."""
    from depqa_ray.engines.cuda.inputs import Layout
    from depqa_ray.engines.shared_prefix.batch import pack

    batch = pack(random_chunks(1), filled_pool(16, "float32"), 4)
    small = Layout.of(batch, KV_HEADS, 1)
    large = Layout(small.tokens + 3, KV_HEADS, small.runs + 2, small.ranges + 1, small.chunks + 4, 2)
    assert small.fits(large) and not large.fits(small)
    parts = []
    for layout in (small, large):
        buffer = torch.full((layout.size,), 7)
        layout.fill(buffer, batch, [0])
        parts.append(layout.split(buffer))
    exact, padded = parts
    tokens, runs = small.tokens, small.runs
    assert torch.equal(padded.tokens[:tokens], exact.tokens) and not padded.tokens[tokens:].any()
    slots = padded.slots.view(KV_HEADS, -1)
    assert torch.equal(slots[:, :tokens], exact.slots.view(KV_HEADS, -1)) and (slots[:, tokens:] == -1).all()
    assert torch.equal(padded.plan[0][:runs], exact.plan[0]) and not padded.plan[0][runs:].any()
    for own, room in zip(exact.plan[1:], padded.plan[1:], strict=True):
        assert torch.equal(room[: len(own)], own)
