"""A model that is not whole, or not of the kind that it is taken for, is refused in one line that says what to do."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from depqa_ray.engines.base import EngineSpec
from depqa_ray.engines.local import loading
from depqa_ray.engines.local.causal_lm import CausalLM, window_of
from depqa_ray.errors import EngineError, InputError, StartError
from tests.engines.byte_tokens import byte_tokenizer
from tests.engines.damage import (
    change_config,
    change_tensors,
    drop_tensors,
    prefix_tensors,
    remove_tokenizer,
    split_weights,
    truncate,
)
from tests.engines.tiny import BARE, save_tiny_model

pytestmark = pytest.mark.slow


def load(folder: Path, **spec: Any) -> CausalLM:
    return CausalLM(EngineSpec("transformers", str(folder), "float32", 4, 0.01, 0.9, **spec))


def halve_norm(tensors: dict[str, Any]) -> dict[str, Any]:
    tensors["model.norm.weight"] = tensors["model.norm.weight"][:16].clone()
    return tensors


def other_tokenizer(folder: Path) -> None:
    """A tokenizer with more tokens than the weights have embeddings."""
    byte_tokenizer([bytes([65, n]) for n in range(99)]).save_pretrained(folder)


def template_of_unknown_tokens(folder: Path) -> None:
    """A tokenizer whose chat template writes a token that was added and has no embedding."""
    byte_tokenizer([], "<turn>", chat_template="<turn>" + BARE).save_pretrained(folder)


def wrong_tokenizer(folder: Path) -> None:
    """A tokenizer that loads and knows only one character."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["model"]["vocab"] = {"<eos>": 0, "<pad>": 1, "x": 2}
    path.write_text(json.dumps(content), "utf-8")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a layer left out": (
        lambda f: drop_tensors(f, "layers.1."),
        r"lack 11 tensors of its architecture, such as model\.layers\.1\.input_layernorm\.weight, .* and 8 more; fetch",
    ),
    "no final norm": (
        lambda f: drop_tensors(f, "model.norm"),
        r"lack 1 tensor of its architecture, such as model\.norm",
    ),
    "no output layer": (lambda f: change_config(f, tie_word_embeddings=False), r"lack 1 tensor .* lm_head\.weight"),
    "another prefix": (lambda f: prefix_tensors(f, "text."), r"lack 2\d tensors .* with the prefix 'text\.'; fetch"),
    "one layer more": (lambda f: change_config(f, num_hidden_layers=3, layer_types=None), r"lack 11 .*layers\.2\."),
    "another size": (
        lambda f: change_tensors(f, halve_norm),
        r"1 tensor of its files have another size .*, such as model\.norm\.weight: \[16\] instead of \[32\]",
    ),
    "a cut shard": (lambda f: truncate(f / split_weights(f)[1]), r"model-00002-of-00002\.safetensors is damaged"),
    "own code": (
        lambda f: change_config(f, model_type="mine", auto_map={"AutoConfig": "mine.Config"}),
        "code among its own files .* never run",
    ),
    "unknown architecture": (
        lambda f: change_config(f, model_type="qwen99"),
        "does not know its architecture 'qwen99'",
    ),
    "no architecture": (lambda f: change_config(f, model_type=None), "its config.json names no model_type"),
    "a classifier": (
        lambda f: change_config(f, architectures=["Qwen3ForSequenceClassification"]),
        "Qwen3ForSequenceClassification is no causal language model",
    ),
    "an encoder-decoder": (
        lambda f: change_config(f, model_type="t5", architectures=["T5ForConditionalGeneration"]),
        "T5ForConditionalGeneration is no causal language model",
    ),
    "attention from the hub": (lambda f: change_config(f, attn_implementation="a/b"), r"code from the hub \(a/b\)"),
    "no tokenizer": (
        remove_tokenizer,
        r"does not give a text back: .* has none of tokenizer\.json.*; fetch the model's",
    ),
    "no vocabulary file": (
        lambda f: (f / "tokenizer.json").unlink(),
        r"tokenizer cannot be loaded: .* has none of tokenizer\.json",
    ),
    "a tokenizer without letters": (wrong_tokenizer, "tokenizer does not give a text back"),
    "a template of other tokens": (template_of_unknown_tokens, "its weights have 258: .*different models"),
    "a larger tokenizer": (other_tokenizer, r"its tokenizer has 357 tokens, its weights have 258: .*different models"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_model_that_cannot_be_used_is_refused(tmp_path: Path, damage: str) -> None:
    """If a model is not whole or of another kind, the error ends the run: one line with model, reason and advice."""
    do, expected = DAMAGES[damage]
    do(save_tiny_model(tmp_path, chat_template=BARE))
    with pytest.raises(StartError, match=expected) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"cannot load the model {str(tmp_path)!r}: ")


@pytest.mark.parametrize("change", ["none", "two shards", "tied and named", "bfloat16", "no prefix"])
def test_whole_model_is_loaded_without_notes(tmp_path: Path, change: str) -> None:
    """Shards, a tied output layer that is stored, another dtype and a base model's names are no fault and no note."""
    save_tiny_model(tmp_path, chat_template=BARE)
    if change == "two shards":
        split_weights(tmp_path)
    elif change == "tied and named":
        change_tensors(tmp_path, lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"].clone()})
    elif change == "bfloat16":
        change_tensors(tmp_path, lambda t: {name: tensor.bfloat16() for name, tensor in t.items()})
    elif change == "no prefix":
        change_tensors(tmp_path, lambda t: {name.removeprefix("model."): tensor for name, tensor in t.items()})
    assert load(tmp_path).info("x").notes == ()


def test_padding_without_an_embedding_is_not_used(tmp_path: Path) -> None:
    """If the padding token was added without an embedding, another token pads: the model still answers."""
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<padding>"})
    tokenizer.save_pretrained(save_tiny_model(tmp_path))
    assert tokenizer.pad_token_id == 258
    assert load(tmp_path).pad == 0


def test_tensors_without_use_are_noted(tmp_path: Path) -> None:
    """If the files hold more than the architecture uses, the model runs and a note counts and names the rest."""
    save_tiny_model(tmp_path, chat_template=BARE)
    change_config(tmp_path, num_hidden_layers=1, layer_types=None)
    (note,) = load(tmp_path).info("x").notes
    assert "11 tensors that its architecture does not use, such as model.layers.1." in note


@pytest.mark.parametrize("raised", [RuntimeError("odd\nthing"), Exception("odd\nthing"), AssertionError("odd thing")])
def test_any_error_of_loading_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception) -> None:
    """Whatever a library raises, the error is one line with the model's name and what to do."""
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", raiser(raised))
    with pytest.raises(StartError, match=r"cannot load the model .*: odd thing \(give a folder") as caught:
        load(save_tiny_model(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory .*choose a smaller model"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("unable to mmap: Cannot allocate memory (12)"), "not enough memory"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), "CUBLAS"),
        (torch.AcceleratorError("CUDA error: uncorrectable ECC error"), "uncorrectable"),
    ],
)
def test_fault_of_the_machine_may_be_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, reason: str
) -> None:
    """If the machine fails while it loads a model, another may try: this is no StartError."""
    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", raiser(raised))
    with pytest.raises(EngineError, match=reason) as caught:
        load(save_tiny_model(tmp_path))
    assert not isinstance(caught.value, StartError)


def test_refusal_of_the_hub_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the hub does not give a model, its own error comes through."""
    monkeypatch.setattr(loading, "model_source", raiser(InputError("gated", "owner/name", "accept its terms")))
    with pytest.raises(InputError, match="owner/name: gated; accept its terms"):
        load(Path("owner/name"))


def raiser(error: Exception) -> Callable[..., Any]:
    def raise_it(*_: object, **__: object) -> Any:
        raise error

    return raise_it


def test_nothing_is_asked_of_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model is loaded from its folder alone: no address is looked up, not even for what is missing."""
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", raiser(AssertionError("asks the network")))
    load(save_tiny_model(tmp_path))
    (tmp_path / "generation_config.json").unlink()
    load(tmp_path)


@pytest.mark.parametrize(
    ("rope", "window"),
    [
        ({"rope_type": "default"}, 512),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}, 2048),
        ({"rope_type": "yarn", "factor": 4.0}, 2048),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 512),
        ({"rope_type": "linear", "factor": 4.0}, 512),
    ],
)
def test_window_of_yarn_is_original_times_factor(tmp_path: Path, rope: dict[str, Any], window: int) -> None:
    """YaRN's window is the original one times its factor, and no less than the configuration names."""
    folder = save_tiny_model(tmp_path)
    change_config(folder, rope_parameters=None, rope_theta=10000.0, rope_scaling=rope)
    assert load(folder).window == window


def test_window_of_a_part_is_the_model_s() -> None:
    """If the language model is a part of the configuration, its window counts; one without a limit has 2^30."""
    text = SimpleNamespace(max_position_embeddings=99)
    assert window_of(SimpleNamespace(get_text_config=lambda: text)) == 99
    assert window_of(SimpleNamespace(get_text_config=SimpleNamespace)) == 1 << 30


def test_verbosity_of_transformers_is_left_as_it_was(tmp_path: Path) -> None:
    """Loading is quiet, and afterwards transformers logs as before."""
    before = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    load(save_tiny_model(tmp_path))
    assert (transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()) == before
