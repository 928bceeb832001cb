"""Tiny models with a byte tokenizer, saved in a folder as a user's model is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.engines.byte_tokens import byte_tokenizer, ids_of

BARE = "{% for m in messages %}{{ m.content }}{% endfor %}"
"""A chat template that adds nothing, so that a prompt ends with its question."""


def save_tiny_model(folder: Path, chat_template: str | None = None, architecture: str = "Qwen3", **config: Any) -> Path:
    """Save a random model of two layers and a window of 512, with a chat template only if one is given."""
    import torch
    import transformers

    tokenizer = byte_tokenizer(chat_template=chat_template)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    if architecture == "Mistral":
        sizes["sliding_window"] = None
    of_model = getattr(transformers, f"{architecture}Config")(**(sizes | config))
    getattr(transformers, f"{architecture}ForCausalLM")(of_model).save_pretrained(folder)
    return folder


def save_scripted_model(
    folder: Path, scripts: dict[str, list[bytes]], *special: str, chat_template: str = BARE
) -> Path:
    """Save a model that generates known tokens: ``scripts`` by the letter that a prompt ends with, then EOS.

    Each token determines its successor, so it may occur only once, in a script or as a letter. The window is 512.
    ``special`` are the pieces that are special tokens.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    pieces = [piece for script in scripts.values() for piece in script]
    tokenizer = byte_tokenizer(pieces, *special, chat_template=chat_template)
    tokenizer.save_pretrained(folder)
    size = len(tokenizer)
    config = Qwen3Config(
        vocab_size=size,
        hidden_size=size + size % 2,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        intermediate_size=16,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        eos_token_id=0,
        pad_token_id=1,
    )
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        for parameter in (
            model.lm_head.weight,
            model.model.layers[0].self_attn.o_proj.weight,
            model.model.layers[0].mlp.down_proj.weight,
        ):
            parameter.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size, config.hidden_size))
        for letter, script in scripts.items():
            ids = ids_of(tokenizer, [letter.encode(), *script])
            model.lm_head.weight[[*ids[1:], 0], ids] = 1.0
    model.save_pretrained(folder)
    return folder


def add_tokens_without_embedding(folder: Path, *names: str) -> Path:
    """Add tokens to a model's tokenizer and not to its weights, as a careless training script does."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(names))
    tokenizer.save_pretrained(folder)
    return folder


def require_vllm() -> None:
    """Skip the test if vLLM is not installed."""
    pytest.importorskip("vllm", reason="vllm is not installed: pip install vllm, or cluster/install_vllm_cpu.sh")


def save_tiny_model_for_vllm(folder: Path, **config: Any) -> Path:
    """Save a tiny model with a head size that vLLM's CPU kernels support."""
    return save_tiny_model(folder, head_dim=32, **config)
