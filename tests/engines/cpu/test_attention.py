"""The attention kernel against torch's operations and against attention by its definition."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from tests.engines.local.test_transformers import one_by_one
from tests.engines.shared_prefix.test_engine import complete, random_prompts
from tests.engines.tiny import save_tiny_model

if TYPE_CHECKING:
    from torch import Tensor

    from depqa_ray.engines.cpu.attention import Kernel
    from depqa_ray.engines.shared_prefix.batch import Chunk
    from depqa_ray.engines.shared_prefix.kv_pool import KVPool
    from depqa_ray.engines.shared_prefix.prefix_cache import PrefixNode

pytestmark = pytest.mark.slow

KV_HEADS = 2
SHAPES = [(1, 16), (2, 64), (4, 48), (7, 128), (2, 256)]
"""Query heads for each key-value head, and the size of a head."""


def filled_pool(dim: int, dtype: str, capacity: int = 2000) -> KVPool:
    import torch

    from depqa_ray.engines.shared_prefix.kv_pool import KVPool

    config = SimpleNamespace(num_key_value_heads=KV_HEADS, head_dim=dim, num_hidden_layers=1)
    pool = KVPool(config, capacity, getattr(torch, dtype), torch.device("cpu"))
    for tensor in (*pool.keys, *pool.values):
        tensor.normal_()
    return pool


def random_chunks(seed: int, capacity: int = 2000) -> list[Chunk]:
    """Chunks of leaves below none to three prefixes, decoding or not computed yet, and of such prefixes."""
    from depqa_ray.engines.shared_prefix.batch import Chunk
    from depqa_ray.engines.shared_prefix.prefix_cache import PrefixCache

    draw = random.Random(seed)
    cache = PrefixCache(capacity)
    prefixes = [[draw.randrange(9) for _ in range(draw.choice((1, 20, 64, 90)))] for _ in range(4)]
    leaves = []
    for _ in range(draw.randint(1, 14)):
        above = [draw.choice(prefixes[:2]), *prefixes[2:]][: draw.randint(0, 3)]
        leaf = cache.admit([*above, [1] * draw.choice((1, 2, 17, 40, 70))], 4)
        assert leaf is not None
        leaves.append(leaf)
    for node in (*leaves, *cache.prefixes.values()):
        node.copy_from = None  # copies are checked elsewhere
    for leaf in leaves:
        leaf.computed = draw.choice((0, len(leaf.tokens) // 2, len(leaf.tokens) - 1))
    for prefix in cache.prefixes.values():
        prefix.computed = draw.choice((len(prefix.tokens), 0, len(prefix.tokens) // 2))
    nodes: list[PrefixNode] = [*leaves, *cache.prefixes.values()]
    lefts = [(node, len(node.tokens) - node.computed) for node in nodes]
    return [Chunk(node, node.computed, draw.choice((left, max(1, left // 2)))) for node, left in lefts if left]


def random_states(tokens: int, group: int, dim: int, dtype: str) -> list[Tensor]:
    """Queries, keys and values [heads, tokens, dim], in memory as models lay them out: by token, then head."""
    import torch

    heads = (KV_HEADS * group, KV_HEADS, KV_HEADS)
    return [torch.randn(tokens, n, dim).to(getattr(torch, dtype)).transpose(0, 1) for n in heads]


def plain(pool: KVPool, chunks: list[Chunk], query: Tensor, group: int, scaling: float) -> Tensor:
    """Softmax attention of each chunk to all tokens up to its own, in double precision; [tokens, heads, dim]."""
    import torch

    found = []
    for chunk in chunks:
        lengths = [*((node, len(node.tokens)) for node in chunk.node.ancestors), (chunk.node, chunk.end)]
        views = [pool.view(0, node.start, node.capacity, length, 1) for node, length in lengths]
        key, value = (torch.cat(parts, 2)[0].double().repeat_interleave(group, 0) for parts in zip(*views, strict=True))
        scores = query[:, chunk.first : chunk.first + chunk.count].double() @ key.transpose(1, 2) * scaling
        later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(scores.shape[2] - chunk.count + 1)
        found.append((scores.masked_fill(later, -torch.inf).softmax(-1) @ value).transpose(0, 1))
    return torch.cat(found)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("group", "dim"), SHAPES)
def test_all_variants_and_torch_equal_plain_attention(kernel: Kernel, dtype: str, group: int, dim: int) -> None:
    """For random batches, every variant of the kernel and torch give plain attention."""
    import torch

    from depqa_ray.engines.shared_prefix.batch import native_attention, pack, torch_attention

    tolerance = {"rtol": 1e-4, "atol": 2e-5} if dtype == "float32" else {"rtol": 0.02, "atol": 0.02}
    for seed in range(12):
        torch.manual_seed(seed)
        pool, scaling = filled_pool(dim, dtype), dim**-0.5
        batch = pack(random_chunks(seed), pool, group)
        query, key, value = random_states(batch.tokens.shape[1], group, dim, dtype)
        by_torch = torch_attention(batch.chunks, group, torch.device("cpu"))
        outputs = [by_torch.attend(pool, 0, batch.metadata.slot_mapping, query, key, value, scaling)]
        expected = plain(pool, batch.chunks, query, group, scaling)
        native = native_attention(batch.chunks, kernel, group, query.dtype)
        for variant in range(kernel.variants(query.dtype)):
            for tensor in (*pool.keys, *pool.values):
                tensor[batch.metadata.slot_mapping] = 0.0  # so that missing writes show
            backend = replace(native, variant=variant)
            outputs.append(backend.attend(pool, 0, batch.metadata.slot_mapping, query, key, value, scaling))
        for output in outputs:
            torch.testing.assert_close(output.double(), expected, **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("of", ["query", "key", "value"])
def test_nan_stays_where_it_belongs_in_all_variants(kernel: Kernel, dtype: str, of: str) -> None:
    """A NaN in a token's query, key or value makes the output of this token NaN, and that of no other leaf."""
    import torch

    from depqa_ray.engines.shared_prefix.batch import native_attention, pack

    torch.manual_seed(0)
    group, dim = 2, 64
    pool = filled_pool(dim, dtype)
    batch = pack(random_chunks(5), pool, group)
    states = random_states(batch.tokens.shape[1], group, dim, dtype)
    leaves = [chunk for chunk in batch.chunks if chunk.node.slab is not None]
    struck = max(leaves, key=lambda chunk: chunk.count)
    at = struck.first + struck.count - 1
    states[("query", "key", "value").index(of)][:, at] = -torch.nan
    native = native_attention(batch.chunks, kernel, group, states[0].dtype)
    for variant in range(kernel.variants(states[0].dtype)):
        backend = replace(native, variant=variant)
        output = backend.attend(pool, 0, batch.metadata.slot_mapping, *states, dim**-0.5)
        assert output[at].isnan().all()
        others = [output[chunk.first : chunk.first + chunk.count] for chunk in leaves if chunk is not struck]
        assert torch.cat(others).isfinite().all()


@pytest.mark.parametrize("with_kernel", [True, False])
def test_tokens_equal_generate_with_and_without_the_kernel(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_kernel: bool
) -> None:
    """For random prompts, tokens equal those of generate with the kernel and without it."""
    from transformers import AutoTokenizer

    used = kernel if with_kernel else None
    monkeypatch.setattr("depqa_ray.engines.shared_prefix.batch.kernel_for", lambda pool, group: used)
    folder = save_tiny_model(tmp_path, num_attention_heads=4, num_key_value_heads=2)
    prompts = random_prompts(40, seed=4)
    texts = [f"{p.system}\n\n{p.passage_text}{p.question_text}\n\n" for p in prompts]
    expected = one_by_one(folder, texts, [p.max_new_tokens for p in prompts])
    _, found, _ = complete(folder, [prompts[:9], prompts[9:]])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for prompt, row in zip(prompts, expected, strict=True):
        assert found[prompt.id].text == tokenizer.decode(row, skip_special_tokens=True), f"prompt {prompt.id}"


@pytest.mark.parametrize(
    ("group", "dim", "dtype"), [(2, 24, "float32"), (2, 272, "float32"), (65, 16, "float32"), (2, 16, "float16")]
)
def test_kernel_is_not_used_for_unsupported_shapes(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, group: int, dim: int, dtype: str
) -> None:
    """If the kernel does not support a group, size or dtype, it is not used."""
    from depqa_ray.engines.cpu import attention as cpu_attention

    monkeypatch.setattr(cpu_attention, "load", lambda: kernel)
    assert cpu_attention.kernel_for(filled_pool(16, "float32"), 2) is kernel
    assert cpu_attention.kernel_for(filled_pool(dim, dtype), group) is None


def test_missing_or_broken_library_means_no_kernel(tmp_path: Path) -> None:
    """If the library is missing or broken, there is no kernel."""
    from importlib.machinery import EXTENSION_SUFFIXES

    from depqa_ray.engines.cpu.attention import load, load_error

    assert load(tmp_path / "empty") is None
    assert "has not been built; install depqa-ray again" in load_error(tmp_path / "empty")
    (tmp_path / f"_packed_attention{EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    assert load(tmp_path) is None
    assert "cannot be loaded" in load_error(tmp_path)


@pytest.mark.parametrize(("has_old_layout", "has_old_sources"), [(True, False), (False, True)])
def test_library_of_another_version_is_refused(tmp_path: Path, has_old_layout: bool, has_old_sources: bool) -> None:
    """If the library was built from other sources, or for another layout of a call, the reason says so."""
    import ctypes
    import subprocess
    from importlib.machinery import EXTENSION_SUFFIXES

    from depqa_ray.code_version import kernel_sources
    from depqa_ray.engines.cpu.attention import _Call, load, load_error

    built_from = "0123456789ab" if has_old_sources else kernel_sources()
    bytes_of_call = 8 if has_old_layout else ctypes.sizeof(_Call)
    source = tmp_path / "old.c"
    names = ("packed_attention", "rms_norm_rows", "argmax_rows")
    source.write_text(
        f"int packed_attention_call_size(void) {{ return {bytes_of_call}; }}"
        f'const char *packed_attention_sources(void) {{ return "{built_from}"; }}'
        + "".join(f"void {n}(void) {{}}" for n in names)
    )
    library = tmp_path / f"_packed_attention{EXTENSION_SUFFIXES[0]}"
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    except FileNotFoundError:
        pytest.skip("no compiler here")
    assert load(tmp_path) is None
    assert "built from another version of its source; install" in load_error(tmp_path)


def test_missing_kernel_is_noted_where_it_would_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no kernel on a CPU, a note says why and what to do; for other shapes there is nothing to say."""
    from depqa_ray.engines.cpu import attention as cpu_attention

    monkeypatch.setattr(cpu_attention, "_load", lambda folder: "it has not been built; build it")
    (note,) = cpu_attention.kernel_note(filled_pool(16, "float32"), 2)
    assert note.endswith("without its compiled kernel, several times slower: it has not been built; build it.")
    assert cpu_attention.kernel_note(filled_pool(24, "float32"), 2) == ()
