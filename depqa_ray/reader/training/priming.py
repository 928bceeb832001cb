"""Initial weights that hold, roughly, the circuit that answering by looking up needs.

From random weights a small network learns the form of the answers within 200 steps and then makes no progress for
long: to choose the right one of a passage's candidates, heads in three layers have to work together, and none is of use
before the others are. So training starts from heads that already do what the lookup needs, badly:

1. In the first layer, heads look back by 1 to 7 tokens and note the words they find: each token then carries a **bag**
   of the words before it. The token after a sentence carries the sentence, the one after a question the question.
2. In the next two layers, the token that the answer comes after fetches the bag of the question's end, and words that
   follow "Answer:" (those known), into its **query**.
3. From the third layer on, heads compare the query with the bags of sentence ends, and copy the words of the sentence
   that fits best.

Words, bags and queries live in three subspaces of the residual stream, orthogonal to each other. Training sharpens all
of this and adds what is missing (which relation is meant, which answer "that town" is).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, Qwen3ForCausalLM

from depqa_ray.passages.synthetic.names import FIRST_NAMES, NAMES, SURNAMES

# The heads of the first layer: (tokens to look back, first and last + 1 of the rotary frequencies that say so).
_LOOKS_BACK = ((1, 0, 5), (3, 3, 7), (5, 3, 8), (7, 4, 9))
_FAST = 14  # rotary frequencies from here on turn little within a prompt: content is compared in their dimensions
_NOISE = 0.02
_COMMON = 6.0  # length of the part that all tokens' embeddings share, against 13 to 16 of a name's own part
_MATCH = 1.2  # how strongly comparing heads keep to sentence ends
_QK_GAIN = 1.5
_FINAL_GAIN = 0.06
_WORD = 0.4  # length of other words' embeddings in terms of a name's


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token ids that the circuit is built around.

    ``names``: [vocabulary], True for (parts of) names. ``quote``: what an answer comes after. ``question``: "?".
    ``stops``: full stops, within a passage and at its end. ``answer``: "Answer".
    """

    names: Tensor
    quote: int
    question: int
    stops: tuple[int, ...]
    answer: int


def vocabulary_of(tokenizer: PreTrainedTokenizerBase, size: int) -> Vocabulary:
    """The ids for a model whose vocabulary has ``size`` entries."""
    persons = [f"{first} {surname}" for first in FIRST_NAMES for surname in SURNAMES]
    names = torch.zeros(size, dtype=torch.bool)
    for ids in _encode(tokenizer, persons + [name for listed in NAMES.values() for name in listed]):
        names[ids] = True
    (quote, *_), (*_, question), (*_, last), (_, stop, *_), (answer, *_) = _encode(
        tokenizer, [' "', "a?", "a.", "a. A", "Answer"]
    )
    return Vocabulary(names, quote, question, (last, stop), answer)


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False).input_ids
    return ids


@torch.no_grad()
def prime(model: Qwen3ForCausalLM, vocabulary: Vocabulary) -> None:
    """Overwrite all weights, drawing from torch's global generator."""
    _Primer(model, vocabulary).run()


class _Primer:
    """The subspaces ([dimensions, hidden]) and marked directions ([hidden]) of one priming."""

    def __init__(self, model: Qwen3ForCausalLM, vocabulary: Vocabulary) -> None:
        self.model = model
        self.size: int = model.config.head_dim
        self.hidden: int = model.config.hidden_size
        if self.hidden != 4 * self.size or model.config.num_key_value_heads != model.config.num_attention_heads:
            raise ValueError("the circuit is laid out for four heads that span the hidden size and share nothing")
        basis = torch.linalg.qr(torch.randn(self.hidden, self.hidden)).Q.T
        self.words, self.bag, self.query, self.rest = basis.split(self.size)
        self.common = self.rest[0]
        self._embed(vocabulary.names)
        self.quote = self._direction(vocabulary.quote)
        self.question = self._direction(vocabulary.question)
        self.stops = sum((self._direction(stop) for stop in vocabulary.stops), torch.zeros(self.hidden))
        self.noted = self.bag.T @ (self.words @ model.model.embed_tokens.weight[vocabulary.answer])
        # Dimensions that turn little, except the two that turn least: those flag sentence ends.
        half = self.size // 2
        self.flag = torch.zeros(self.size)
        self.flag[half - 2 : half] = 1
        self.slow = torch.ones(self.size, 1)
        self.slow[:_FAST] = self.slow[half : half + _FAST] = 0
        self.slow[self.flag > 0] = 0

    def run(self) -> None:
        self.model.model.norm.weight.fill_(_FINAL_GAIN)
        for number, layer in enumerate(self.model.model.layers):
            layer.mlp.gate_proj.weight.normal_(std=self.hidden**-0.5)
            layer.mlp.up_proj.weight.normal_(std=self.hidden**-0.5)
            layer.mlp.down_proj.weight.normal_(std=0.1 * self.hidden**-0.5)
            attention = layer.self_attn
            attention.q_norm.weight.fill_(_QK_GAIN)
            attention.k_norm.weight.fill_(_QK_GAIN)
            for head in range(4):
                rows = slice(head * self.size, (head + 1) * self.size)
                q, k, v, o = self._head(number, head)
                attention.q_proj.weight[rows], attention.k_proj.weight[rows] = q, k
                attention.v_proj.weight[rows], attention.o_proj.weight[:, rows] = v, o.T

    def _embed(self, names: Tensor) -> None:
        weight = self.model.model.embed_tokens.weight
        count = len(weight)
        weight.copy_(
            torch.randn(count, self.size) @ self.words
            + 0.7 * torch.randn(count, self.size) @ self.rest
            + 0.2 * torch.randn(count, 2 * self.size) @ torch.cat([self.bag, self.query])
        )
        weight[~names] *= _WORD
        weight.sub_((weight @ self.common)[:, None] * self.common)
        weight.add_(self.common * _COMMON)

    def _direction(self, token: int) -> Tensor:
        """What distinguishes a token's embedding."""
        own: Tensor = self.model.model.embed_tokens.weight[token] - self.common * _COMMON
        length: Tensor = own.norm()
        return own / length

    def _head(self, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A head's weights, each [D, hidden]: what it asks, what it is found by, what it reads, where it writes."""
        q, k = (_NOISE * torch.randn(self.size, self.hidden) for _ in range(2))
        if layer == 0:
            return *self._looking_back(q, k, *_LOOKS_BACK[head]), self.words, self.bag
        if layer < 3 and head == 0:
            return *self._fetching(q, k), self.bag, self.query
        if layer < 3 and head == 1:
            asks = 2 * (self.flag / self.flag.norm())[:, None]
            return q + asks * self.quote, k + asks * self.noted / self.noted.norm(), self.words, self.query
        if layer == 2 or (layer > 2 and head < 2):
            q += self.slow * self.query + _MATCH * self.flag[:, None] * self.common
            k += self.slow * self.bag + 2 * _MATCH * self.flag[:, None] * (self.stops - self.question)
            return q, k, self.bag if head % 2 else self.words, self.words
        q, k = (torch.randn(self.size, self.hidden) * self.hidden**-0.5 for _ in range(2))
        v, o = (torch.linalg.qr(torch.randn(self.hidden, self.size)).Q.T for _ in range(2))
        return q, k, v, 0.3 * o

    def _looking_back(self, q: Tensor, k: Tensor, offset: int, low: int, high: int) -> tuple[Tensor, Tensor]:
        """Rotary embedding turns a key by its position: turned ``offset`` steps ahead, it fits that far behind."""
        phase = torch.rand(high - low) * 6.283
        turned = phase + self.model.model.rotary_emb.inv_freq[low:high] * offset
        return q + self._wave(phase, low)[:, None] * self.common, k + self._wave(turned, low)[:, None] * self.common

    def _fetching(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        half = self.size // 2
        asks = torch.zeros(self.size)
        asks[half - 8 : half] = torch.randn(8)
        asks = 2 * (asks / asks.norm())[:, None]
        return q + asks * self.quote, k + asks * self.question

    def _wave(self, phase: Tensor, low: int) -> Tensor:
        """[D]: a vector of length 1 at these angles in the planes of the frequencies from ``low`` on."""
        wave = torch.zeros(self.size)
        half = self.size // 2
        wave[low : low + len(phase)], wave[half + low : half + low + len(phase)] = phase.cos(), phase.sin()
        length: Tensor = wave.norm()
        return wave / length
