"""From a prompt to the tokens that a model reads, and the refusal of a prompt that it cannot read. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Final

from depqa_ray.answering.thoughts import opens_thought
from depqa_ray.core import Completion, Prompt
from depqa_ray.engines.local.control_tokens import ControlTokens
from depqa_ray.engines.local.model_files import UnusableModelError, examples, one_line
from depqa_ray.engines.local.prompt_encoder import PromptEncoder, UnreadablePromptError
from depqa_ray.engines.local.templates import ChatTemplate, RenderedPrompt

WARM_UP: Final = Prompt("warm-up", "Answer.", "Passage: none.\n\n", "Question: none?", 2)
"""The prompt that an engine answers before it reports that it is ready."""


class Chat:
    """Turns prompts into the tokens that a model reads.

    Only the chat template writes control tokens. In a passage, a question or an answer their names are plain text, and
    whatever such a text says, the template around it stays the same. All other prompts have exactly the tokens that the
    tokenizer gives for the whole text.

    ``embeddings`` is the number of tokens that the model has embeddings for, None if unknown. ``notes`` are for
    EngineInfo. Raises UnusableModelError if the template cannot be used or needs tokens without embeddings.
    """

    def __init__(self, tokenizer: Any, embeddings: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._template = ChatTemplate(tokenizer)
        controls = ControlTokens(tokenizer)
        self._encoder = PromptEncoder(tokenizer, controls, self._template.render(WARM_UP))
        self.notes = self._template.notes
        self._unembedded: frozenset[int] = frozenset()
        # Siblings have their prefixes in common.
        self._prefix_ids = lru_cache(maxsize=512)(self._encoder.ids)
        if embeddings is not None:
            self._unembedded = self._check_vocabulary(controls, embeddings)

    @cached_property
    def opens_thought(self) -> bool:
        """Whether the chat template opens a thought although thinking is off; some always do."""
        return opens_thought(self.text(WARM_UP))

    def text(self, prompt: Prompt) -> str:
        """All that the model reads of a prompt, as text."""
        return self._template.render(prompt).text

    def ids(self, prompt: Prompt) -> list[int]:
        """The prompt's tokens. Raises UnreadablePromptError if there are none."""
        return self._read(prompt)[1]

    def segments(self, prompt: Prompt) -> list[list[int]]:
        """The prompt's tokens, cut where others may begin to differ: system line, passage, known answers, rest.

        The whole prompt is tokenized, then cut: cuts never change what the model reads. Raises as :meth:`ids`.
        """
        rendered, ids = self._read(prompt)
        cuts = [0]
        for end in _borders(prompt, rendered):
            cut = common_length(self._prefix_ids(rendered.until(end)), ids[:-1])
            if cut > cuts[-1]:
                cuts.append(cut)
        return [ids[a:b] for a, b in pairwise([*cuts, len(ids)])]

    def _read(self, prompt: Prompt) -> tuple[RenderedPrompt, list[int]]:
        try:
            rendered = self._template.render(prompt)
            ids = self._encoder.ids(rendered)
        except UnreadablePromptError:
            raise
        except Exception as error:  # a model's own template may raise anything
            raise UnreadablePromptError(_why(error, prompt)) from error
        if not self._unembedded.isdisjoint(ids):
            names = self._tokenizer.convert_ids_to_tokens(sorted(self._unembedded.intersection(ids)))
            raise UnreadablePromptError(f"the model has no embedding for {examples(map(repr, names))}")
        return rendered, ids

    def _check_vocabulary(self, controls: ControlTokens, embeddings: int) -> frozenset[int]:
        """The added tokens without embeddings: in a prompt, such a token would end the engine.

        Raises UnusableModelError if the vocabulary itself or the template has one.
        """
        used = max(self.ids(WARM_UP), default=0)
        tokens = max(self._tokenizer.vocab_size, used + 1)
        if tokens > embeddings:
            counts = f"its tokenizer has {tokens:,} tokens, its weights have {embeddings:,}"
            raise UnusableModelError(f"{counts}: they are of different models", "fetch the model's own tokenizer.json")
        return frozenset(id_ for id_ in controls.added if id_ >= embeddings)


def _borders(prompt: Prompt, rendered: RenderedPrompt) -> list[int]:
    """The ends of a prompt's system line, passage and known answers, in characters of its text."""
    if not rendered.separated:
        return []
    text = prompt.passage_text + prompt.question_text
    start = len("".join(rendered.parts[:-2]))
    user = rendered.text.find(text.rstrip(), start)  # some templates strip the text
    passage = user + len(prompt.passage_text)
    return [user, passage, passage + prompt.context_chars] if user >= 0 else []


def _why(error: Exception, prompt: Prompt) -> str:
    try:
        f"{prompt.system}{prompt.passage_text}{prompt.question_text}".encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which is no text"
    return one_line(error)


def refusal(prompt: Prompt, error: UnreadablePromptError) -> Completion:
    """The completion of a prompt that the model cannot read."""
    return Completion(prompt.id, error=f"the prompt cannot be turned into tokens: {error}")


def read_prompt(chat: Chat, prompt: Prompt, window: int) -> list[int] | Completion:
    """The prompt's tokens, or its refusal."""
    try:
        ids = chat.ids(prompt)
    except UnreadablePromptError as error:
        return refusal(prompt, error)
    return too_long(prompt, len(ids), window) or ids


def too_long(prompt: Prompt, tokens: int, window: int) -> Completion | None:
    """The refusal of a prompt that, with its answer, exceeds the model's window; None if it fits."""
    if tokens + prompt.max_new_tokens <= window:
        return None
    return Completion(
        prompt.id,
        error=f"prompt of {tokens} tokens and {prompt.max_new_tokens} new ones exceed the model's window of {window}",
    )


def common_length(a: Sequence[object], b: Sequence[object]) -> int:
    """The length of the longest common prefix of two sequences."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
