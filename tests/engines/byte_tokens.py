"""A tokenizer whose tokens are any byte strings: characters may be split anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

EOS, PAD, THINK_OPEN, THINK_CLOSE = "<eos>", "<pad>", "<think>", "</think>"


def byte_tokenizer(pieces: Sequence[bytes] = (), *special: str, chat_template: str | None = None) -> Any:
    """Tokens: ``<eos>`` (0), ``<pad>`` (1), one for each byte, and the ``pieces``, which encoding never produces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = dict.fromkeys([EOS, PAD, *sorted(_letters()), *(token_of(piece) for piece in pieces)])
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(special))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=PAD, chat_template=chat_template
    )


def ids_of(tokenizer: Any, pieces: Sequence[bytes]) -> list[int]:
    """The ids of the tokenizer's pieces or single bytes."""
    return [tokenizer.convert_tokens_to_ids(token_of(piece)) for piece in pieces]


def token_of(piece: bytes) -> str:
    """The vocabulary's spelling of a byte string."""
    letters = _letters()
    return "".join(letters[byte] for byte in piece)


def _letters() -> list[str]:
    """The letter for each byte: itself if it is printable, otherwise one from 256 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
