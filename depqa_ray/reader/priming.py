"""Structured initial weights: the circuits that the task needs, roughly in place before training starts."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Qwen3ForCausalLM

# (offset, lowest, highest frequency) of a head that looks back by position; the heads of layer 0.
_WINDOWS = ((1, 0, 5), (3, 3, 7), (5, 3, 8), (7, 4, 9))


def prime(model: Qwen3ForCausalLM, names: Tensor, quote: int, mark: int, stops: list[int], answer: int, qk: float = 1.5, copy: float = 1.0, final: float = 0.06, word: float = 0.4, match: float = 0.6) -> None:
    c = model.config
    hidden, heads, size = c.hidden_size, c.num_attention_heads, c.head_dim
    basis = torch.linalg.qr(torch.randn(hidden, hidden)).Q.T
    P, R, R2, rest = basis[:size], basis[size : 2 * size], basis[2 * size : 3 * size], basis[3 * size :]
    common = rest[0]
    E = model.model.embed_tokens.weight.data
    n = len(E)
    E.copy_(torch.randn(n, size) @ P + 0.7 * torch.randn(n, len(rest)) @ rest + 0.2 * torch.randn(n, 2 * size) @ basis[size : 3 * size])
    E[~names] *= word
    E.sub_((E @ common)[:, None] * common)
    E.add_(common * 6)
    model.model.norm.weight.data.fill_(final)
    theta = model.model.rotary_emb.inv_freq
    half = size // 2
    eq, em = (E[quote] - common * 6), (E[mark] - common * 6)
    eq, em = eq / eq.norm(), em / em.norm()
    es = sum((E[i] - common * 6) / (E[i] - common * 6).norm() for i in stops)
    slow = torch.ones(size, 1)
    slow[:14] = slow[half : half + 14] = 0
    flag = torch.zeros(size)
    flag[half - 2 : half] = 1
    slow[flag > 0] = 0
    for number, layer in enumerate(model.model.layers):
        at = layer.self_attn
        layer.mlp.gate_proj.weight.data.normal_(std=hidden**-0.5)
        layer.mlp.up_proj.weight.data.normal_(std=hidden**-0.5)
        layer.mlp.down_proj.weight.data.normal_(std=0.1 * hidden**-0.5)
        at.q_norm.weight.data.fill_(qk)
        at.k_norm.weight.data.fill_(qk)
        for head in range(heads):
            rows = slice(head * size, (head + 1) * size)
            wq, wk = 0.02 * torch.randn(size, hidden), 0.02 * torch.randn(size, hidden)
            if number == 0:
                offset, low, high = _WINDOWS[head % 4]
                phase = torch.rand(high - low) * 6.283
                turned = phase + theta[low:high] * offset
                wq += _wave(phase, low, high, size)[:, None] * common
                wk += _wave(turned, low, high, size)[:, None] * common
                v, o = P, R
            elif head == 0 and number < 3:
                u = torch.zeros(size)
                u[half - 8 : half] = torch.randn(8)
                u /= u.norm()
                wq += 2 * u[:, None] * eq
                wk += 2 * u[:, None] * em
                v, o = R, R2
            elif head == 1 and number in (1, 2):
                # names after "Answer:" join the query
                u = flag / flag.norm()
                ea = R.T @ (P @ E[answer])
                wq += 2 * u[:, None] * eq
                wk += 2 * u[:, None] * ea / ea.norm()
                v, o = P, R2
            elif number >= 2 and head < (4 if number == 2 else 2):
                wq += slow * R2 + match * flag[:, None] * common
                wk += slow * R + match * 2 * flag[:, None] * (es - em)
                v, o = (R, P) if head % 2 else (P, P)
            else:
                wq, wk = torch.randn(size, hidden) * hidden**-0.5, torch.randn(size, hidden) * hidden**-0.5
                v = torch.linalg.qr(torch.randn(hidden, size)).Q.T
                o = 0.3 * torch.linalg.qr(torch.randn(hidden, size)).Q.T
            at.q_proj.weight.data[rows] = wq
            at.k_proj.weight.data[rows] = wk
            at.v_proj.weight.data[rows] = v
            at.o_proj.weight.data[:, rows] = copy * o.T


def _wave(phase: Tensor, low: int, high: int, size: int) -> Tensor:
    out = torch.zeros(size)
    out[low:high], out[low + size // 2 : high + size // 2] = phase.cos(), phase.sin()
    return out / out.norm()


def name_tokens(tokenizer) -> Tensor:
    """[vocabulary] True where the token is (part of) a name."""
    from depqa_ray.passages.names import FIRST_NAMES, NAMES, SURNAMES

    ids = tokenizer([f"{f} {s}" for f in FIRST_NAMES for s in SURNAMES] + [n for ns in NAMES.values() for n in ns], add_special_tokens=False).input_ids
    out = torch.zeros((len(tokenizer) + 63) // 64 * 64, dtype=torch.bool)
    for i in ids:
        out[i] = True
    return out
