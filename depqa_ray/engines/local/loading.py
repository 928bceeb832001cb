"""Loads a model's configuration, tokenizer and weights from a folder, and refuses what is not whole."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from depqa_ray.engines.local.memory import is_out_of_memory
from depqa_ray.engines.local.model_files import (
    MODEL_ADVICE,
    UnusableModelError,
    check_files,
    examples,
    missing_tokenizer_files,
    model_source,
    one_line,
    read_config,
)
from depqa_ray.errors import DepqaError, EngineError, StartError

_SENTENCE: Final = "The library of Halden was founded in 1887, and Ada Moen was its first librarian."
_FETCH_TOKENIZER: Final = "fetch the model's own tokenizer.json and tokenizer_config.json"
_CAUSAL_ENDINGS: Final = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
_FAULTS_OF_A_MACHINE: Final = frozenset(
    {errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.ESTALE, errno.ETIMEDOUT}
)


@contextmanager
def as_start_error(model_name: str) -> Iterator[None]:
    """Turns any error of loading into one line: what cannot be loaded, why, and what to do.

    It is a StartError, which ends a run, unless another machine might succeed: then it is another EngineError.
    """
    what = f"cannot load the model {model_name!r}"
    try:
        yield
    except DepqaError:
        raise
    except UnusableModelError as error:
        raise error.of(model_name) from error
    except Exception as error:  # transformers, tokenizers and safetensors raise what they like
        if is_out_of_memory(error):
            advice = "choose a smaller model, --dtype bfloat16 or fewer --replicas"
            raise EngineError(f"{what}: not enough memory ({one_line(error)}); {advice}") from error
        kind = EngineError if is_fault_of_machine(error) else StartError
        raise kind(f"{what}: {one_line(error)} ({MODEL_ADVICE})") from error


def is_fault_of_machine(error: BaseException) -> bool:
    """Whether an error says that this machine failed, so that another one might succeed."""
    failed = isinstance(error, OSError) and error.errno in _FAULTS_OF_A_MACHINE
    on_gpu = isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error)
    return failed or on_gpu or is_out_of_memory(error)


def load_config(model_name: str, revision: str = "") -> Any:
    """The configuration of a causal LM, whose weights need not be there. Raises as :func:`as_start_error` says."""
    with as_start_error(model_name):
        return checked_config(model_source(model_name, revision))


def checked_folder(model_name: str, revision: str = "") -> tuple[Path, Any]:
    """The folder of a model whose files are there and whole, and its configuration, which is of a causal LM.

    Raises UnusableModelError, or InputError if the hub does not give it.
    """
    folder = model_source(model_name, revision)
    check_files(folder)
    return folder, checked_config(folder)


def checked_config(folder: Path) -> Any:
    """The configuration in a folder. Raises UnusableModelError if it is missing or not of a causal LM."""
    _check_architecture(read_config(folder))
    return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def vocabulary_of(config: Any) -> int | None:
    """The number of tokens that a model has embeddings for; None if its configuration does not say it."""
    size = getattr(config.get_text_config(), "vocab_size", None)
    return None if size is None else int(size)


def _check_architecture(config: dict[str, Any]) -> None:
    model_type = config.get("model_type")
    attention = str(config.get("attn_implementation"))
    if "/" in attention:
        raise UnusableModelError(f"its config.json asks for code from the hub ({attention}), which is never run")
    if not model_type:
        raise UnusableModelError("its config.json names no model_type", "fetch the model's own config.json")
    if model_type not in CONFIG_MAPPING:
        if "auto_map" in config:
            raise UnusableModelError("its architecture is code among its own files (auto_map), which is never run")
        unknown = f"transformers {transformers.__version__} does not know its architecture {model_type!r}"
        raise UnusableModelError(unknown, f"pip install -U transformers, or {MODEL_ADVICE}")
    names = [str(name) for name in config.get("architectures") or ()]
    causal = model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not config.get("is_encoder_decoder")
    if not causal or (names and not any(name.endswith(_CAUSAL_ENDINGS) for name in names)):
        raise UnusableModelError(f"{examples(names) or model_type} is no causal language model")


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder. Raises UnusableModelError if it cannot be loaded or does not give a text back."""
    missing = missing_tokenizer_files(folder)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, padding_side="left", trust_remote_code=False, local_files_only=True
        )
        ids = tokenizer(_SENTENCE, add_special_tokens=False).input_ids
        again = str(tokenizer.decode(ids, skip_special_tokens=True))
    except Exception as error:
        if is_fault_of_machine(error):
            raise
        reason = f"its tokenizer cannot be loaded: {one_line(error)}{missing}"
        raise UnusableModelError(reason, _FETCH_TOKENIZER) from error
    if _squeezed(again) != _squeezed(_SENTENCE):
        lost = f"{_SENTENCE[:23]!r} comes back as {again[:23]!r}"
        reason = f"its tokenizer does not give a text back: {lost}{missing or ' (files of another model?)'}"
        raise UnusableModelError(reason, _FETCH_TOKENIZER)
    return tokenizer


def _squeezed(text: str) -> str:
    """What every tokenizer keeps of a text: some drop its case or its spaces."""
    return "".join(text.casefold().split())


def load_weights(folder: Path, dtype: torch.dtype) -> tuple[Any, tuple[str, ...]]:
    """The model in a folder, and notes about it. Raises UnusableModelError if its weights are not whole."""
    with _quiet_transformers():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            ignore_mismatched_sizes=True,  # they are named below, better than by transformers' own error
            output_loading_info=True,
        )
    model, found = loaded
    _check_whole(found["missing_keys"], found["unexpected_keys"])
    _check_sizes({name: (tuple(of_file), tuple(of_model)) for name, of_file, of_model in found["mismatched_keys"]})
    return model, _unused(found["unexpected_keys"])


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without transformers' progress bars and its reports, which say what our own errors and notes say."""
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_whole(missing: Set[str], unexpected: Set[str]) -> None:
    """Raises UnusableModelError if tensors are missing: transformers fills them with random numbers."""
    if not missing:
        return
    renamed = next(((new, old) for new in sorted(missing) for old in unexpected if old.endswith("." + new)), None)
    shorter = next(((new, old) for new in sorted(missing) for old in unexpected if new.endswith("." + old)), None)
    hint = ""
    if renamed:
        hint = f"; its files name them with the prefix {renamed[1].removesuffix(renamed[0])!r}"
    elif shorter:
        hint = f"; its files name them without the prefix {shorter[0].removesuffix(shorter[1])!r}"
    raise UnusableModelError(
        f"its files lack {_tensors(missing)} of its architecture, such as {examples(missing)}{hint}",
        "fetch the model again, or correct its config.json",
    )


def _check_sizes(mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    if mismatched:
        name, (of_file, of_model) = min(mismatched.items())
        raise UnusableModelError(
            f"{_tensors(mismatched.keys())} of its files have another size than config.json asks for, such as "
            f"{name}: {list(of_file)} instead of {list(of_model)}",
            "fetch the model again, or correct its config.json",
        )


def _unused(unexpected: Set[str]) -> tuple[str, ...]:
    if not unexpected:
        return ()
    unused = f"{_tensors(unexpected)} that its architecture does not use, such as {examples(unexpected)}"
    return (f"The model's files hold {unused}.",)


def _tensors(names: Set[str]) -> str:
    return f"{len(names)} tensor{'s' if len(names) != 1 else ''}"
