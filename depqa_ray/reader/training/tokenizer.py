"""The embedded reader's tokenizer: a small byte-level BPE, trained on generated worlds.

It can encode any text, byte by byte if need be. Its one peculiarity is how it cuts text into words before merging: a
space before a name belongs to the word before it, so that a name is the same token at the start of a sentence, after a
word and inside JSON quotes. Otherwise `` Halden`` in the passage and ``Halden`` in the answer would be two tokens that
a small model has to learn to be one name.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Final

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from depqa_ray.answering import prompts
from depqa_ray.passages.synthetic.names import FIRST_NAMES, NAMES, SURNAMES
from depqa_ray.passages.synthetic.worlds import generate_worlds

END_OF_TEXT, TURN_START, TURN_END, THINK_START, THINK_END = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
)
CHAT_TEMPLATE: Final = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}"
    "{%- endif %}"
)
MODEL_MAX_LENGTH: Final = 4096

# Names begin with a capital letter, years with a digit; products, in small letters, end a sentence or an answer.
_BEFORE_NAME: Final = r"(?: (?=\p{Lu}|\p{N}|\p{Ll}+[.\"\n]))?"
_WORDS: Final = (
    rf" ?\p{{Ll}}+{_BEFORE_NAME}"
    r"|\p{Lu}\p{L}*(?: (?=\p{Lu}))?"
    r"|\p{N}{1,4}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+{_BEFORE_NAME}"
    r"|\n+"
    r"|\s"
    r"|\p{L}+"
)
_VOCABULARY: Final = 4096
_CORPUS_WORLDS: Final = 2000


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on worlds of that seed. The same seed gives the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        min_frequency=2,
        special_tokens=[END_OF_TEXT, TURN_START, TURN_END, THINK_START, THINK_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        chat_template=CHAT_TEMPLATE,
        model_max_length=MODEL_MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def _corpus(seed: int) -> Iterator[str]:
    """Every name often enough to become one token, then worlds in the project's own prompts."""
    rng = random.Random(seed)
    words = [*SURNAMES, *(name for names in NAMES.values() for name in names)]
    words += [f"{first} {rng.choice(SURNAMES)}" for first in FIRST_NAMES]
    rng.shuffle(words)
    for _ in range(20):
        yield f"{'. '.join(words)}."
    for passage in generate_worlds(_CORPUS_WORLDS, seed):
        questions = [question.text for question in passage.questions]
        answers = [question.answers[0] for question in passage.questions]
        yield prompts.SYSTEM
        yield prompts.shared_part(passage)
        yield prompts.edges_part(questions)
        for question, answer in zip(questions, answers, strict=True):
            yield prompts.question_part(question, [(question, answer)])
            yield json.dumps({"answer": answer}, ensure_ascii=False)
        yield json.dumps(dict(zip(map(prompts.label, range(9)), answers, strict=False)), ensure_ascii=False)
        yield "system\n\nuser\n\nassistant\n\n"
