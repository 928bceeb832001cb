"""The embedded reader's training recipe: ``python -m depqa_ray.reader.train``."""
from __future__ import annotations

import math, random, sys, time, json
from dataclasses import dataclass
import torch
import torch.nn.functional as F
from transformers import AttentionInterface, Qwen3Config, Qwen3ForCausalLM
from transformers.masking_utils import AttentionMaskInterface
from depqa_ray.answering import prompts
from depqa_ray.passages.worlds import WorldShape, generate_world, generate_worlds
from depqa_ray.reader.curriculum import lesson, answer_json
from depqa_ray.reader.tokenizer import train_tokenizer, END_OF_TEXT, TURN_END

IMPL = "depqa_lessons"

@dataclass
class Layout:
    prefix: int
    groups: tuple  # (count, length) per group
    prefix_mask: torch.Tensor  # [B, Lp] bool


def lesson_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, layout=None, **kwargs):
    B, H, L, D = query.shape
    rep = H // key.shape[1]
    if rep > 1:
        key = key.repeat_interleave(rep, 1); value = value.repeat_interleave(rep, 1)
    P = layout.prefix
    out = [F.scaled_dot_product_attention(query[:, :, :P], key[:, :, :P], value[:, :, :P], is_causal=True, scale=scaling)]
    kp, vp = key[:, :, :P], value[:, :, :P]
    bias = torch.zeros(layout.prefix_mask.shape, dtype=query.dtype).masked_fill_(~layout.prefix_mask, float("-inf"))[:, None, None]
    at = P
    for count, length in layout.groups:
        n = count * length
        q = query[:, :, at:at + n]
        k = key[:, :, at:at + n].reshape(B, H, count, length, D); v = value[:, :, at:at + n].reshape(B, H, count, length, D)
        s_p = (q @ kp.transpose(-1, -2)) * scaling + bias  # B H n P
        s_o = (q.reshape(B, H, count, length, D) @ k.transpose(-1, -2)) * scaling
        causal = torch.ones(length, length, dtype=torch.bool).triu(1)
        s_o = s_o.masked_fill(causal, float("-inf"))
        w = torch.cat([s_p.reshape(B, H, count, length, P), s_o], -1).softmax(-1, dtype=torch.float32).to(query.dtype)
        o = (w[..., :P].reshape(B, H, n, P) @ vp) + (w[..., P:] @ v).reshape(B, H, n, D)
        out.append(o); at += n
    return torch.cat(out, 2).transpose(1, 2).contiguous(), None

AttentionInterface.register(IMPL, lesson_attention)
AttentionMaskInterface.register(IMPL, lambda *a, **k: None)


class Texts:
    """Pieces of chat template around the parts."""
    def __init__(self, tok):
        self.tok = tok
        mark = "\x00"
        text = tok.apply_chat_template([{"role": "system", "content": prompts.SYSTEM}, {"role": "user", "content": mark}], add_generation_prompt=True, enable_thinking=False, tokenize=False)
        self.before, self.after = text.split(mark)

    def encode(self, lessons):
        ids = lambda texts: self.tok(texts, add_special_tokens=False).input_ids
        prefix = ids([self.before + f"Passage: {l.passage}\n\n" for l in lessons])
        groups = []
        for get in (lambda l: l.short, lambda l: l.long):
            owns = ids([e.own + self.after for l in lessons for e in get(l)])
            tgts = ids([e.target + TURN_END for l in lessons for e in get(l)])
            groups.append((owns, tgts))
        return prefix, groups


def batch(texts, lessons):
    prefix, groups = texts.encode(lessons)
    B = len(lessons); pad = texts.tok.pad_token_id
    P = max(map(len, prefix))
    plen = torch.tensor([len(p) for p in prefix])
    ids = [torch.tensor([p + [pad] * (P - len(p)) for p in prefix])]
    pos = [torch.arange(P).expand(B, P)]
    mask = torch.arange(P)[None] < plen[:, None]
    lab = [torch.cat([torch.where(mask, ids[0], -100)[:, 1:], torch.full((B, 1), -100)], 1)]
    wt = [torch.full((B, P), 0.1)]
    shape = []
    for owns, tgts in groups:
        n = len(owns) // B
        if n == 0: continue
        L = max(len(o) + len(t) for o, t in zip(owns, tgts))
        i = torch.full((len(owns), L), pad); l = torch.full((len(owns), L), -100); w = torch.zeros(len(owns), L)
        for r, (o, t) in enumerate(zip(owns, tgts)):
            i[r, :len(o) + len(t)] = torch.tensor(o + t)
            l[r, len(o) - 1:len(o) + len(t) - 1] = torch.tensor(t)
            w[r, len(o) - 1:len(o) + len(t) - 1] = 1.0
        ids.append(i.reshape(B, n * L)); lab.append(l.reshape(B, n * L)); wt.append(w.reshape(B, n * L))
        pos.append((plen[:, None, None] + torch.arange(L)[None, None]).expand(B, n, L).reshape(B, n * L))
        shape.append((n, L))
    return torch.cat(ids, 1), torch.cat(pos, 1), torch.cat(lab, 1), torch.cat(wt, 1), Layout(P, tuple(shape), mask)


def make_model(vocab, hidden=256, layers=4, heads=4, kv=2, ffn=512, init=0.05, qk=1.5):
    cfg = Qwen3Config(vocab_size=vocab, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv,
        head_dim=64, intermediate_size=ffn, max_position_embeddings=4096, tie_word_embeddings=True, initializer_range=init, rope_theta=1e6)
    m = Qwen3ForCausalLM(cfg)
    for l in m.model.layers:
        l.self_attn.q_norm.weight.data.fill_(qk); l.self_attn.k_norm.weight.data.fill_(qk)
    m.set_attn_implementation(IMPL)
    return m


@torch.no_grad()
def evaluate(model, texts, n, seed, shape):
    """Teacher-forced all-tokens-right share by kind, quick probe."""
    from depqa_ray.reader.curriculum import Lesson, Exercise, _exercise
    rng = random.Random(f"eval{seed}")
    kinds = {"root": [], "dep": [], "ind": []}
    ok = {k: [0, 0] for k in (*kinds, "batch", "edges")}
    model.eval()
    for _ in range(n // 16):
        ls, tags = [], []
        for _ in range(16):
            w = generate_world(rng, shape)
            hist = [(q.text, q.fact.object) for q in w.questions]
            ex, tg = [], []
            for i, q in enumerate(w.questions):
                ex.append(_exercise(q.text, [hist[p] for p in sorted(q.parents)], q.fact)); tg.append("dep" if q.parents else "root")
                ex.append(_exercise(q.text, [], q.fact)); tg.append("ind" if q.parents else "")
            l = lesson(rng, w, 2)
            ls.append(Lesson(l.passage, tuple(ex), l.long)); tags.append(tg)
        ids, pos, lab, wt, lay = batch(texts, ls)
        with torch.autocast("cpu", torch.bfloat16):
            h = model.model(input_ids=ids, position_ids=pos, use_cache=False, layout=lay).last_hidden_state
            pred = model.lm_head(h).argmax(-1)
        good = (pred == lab) | (lab == -100)
        at = lay.prefix
        for g, (c, L) in enumerate(lay.groups):
            gg = good[:, at:at + c * L].reshape(16, c, L).all(-1); at += c * L
            for b in range(16):
                for j in range(c):
                    tag = tags[b][j] if g == 0 else ("batch", "edges")[j]
                    if tag: ok[tag][0] += gg[b, j].item(); ok[tag][1] += 1
    model.train()
    return {k: round(a / max(b, 1), 3) for k, (a, b) in ok.items()}


def main():
    import argparse
    ap = argparse.ArgumentParser()
    for k, v in dict(steps=2000, B=16, short=10, lr=3e-3, mlr=0.02, hidden=256, layers=4, heads=4, kv=2, ffn=512, init=0.05, qk=1.5, seed=0, stage=0, out="", opt="muon", threads=2, warm=100, minutes=1e9).items():
        ap.add_argument("--" + k, type=type(v), default=v)
    a = ap.parse_args()
    torch.manual_seed(a.seed); torch.set_num_threads(a.threads)
    rng = random.Random(a.seed + 1)
    tok = train_tokenizer(0)
    texts = Texts(tok)
    vocab = (len(tok) + 63) // 64 * 64
    model = make_model(vocab, a.hidden, a.layers, a.heads, a.kv, a.ffn, a.init, a.qk)
    print("params", sum(p.numel() for p in model.parameters()), flush=True)
    mats = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "embed" not in n)]
    if a.opt == "muon":
        opts = [torch.optim.Muon(mats, lr=a.mlr, momentum=0.95, weight_decay=0.0, adjust_lr_fn="original"), torch.optim.AdamW(rest, lr=a.lr, betas=(0.9, 0.95), weight_decay=0.0)]
    else:
        opts = [torch.optim.AdamW(mats + rest, lr=a.lr, betas=(0.9, 0.95), weight_decay=0.0)]
    base = [o.param_groups[0]["lr"] for o in opts]
    stages = [WorldShape(3, 4, 2, 2, 0), WorldShape(4, 4, 2, 3, 0), WorldShape(5, 4, 2, 3, 12)]
    stage = a.stage
    t0 = time.time(); toks = 0; ema = None; tgen = 0
    for step in range(a.steps):
        frac = step / a.steps
        f = min(1, (step + 1) / a.warm) * (1 if frac < 0.6 else max(0.02, (1 - frac) / 0.4))
        for o, b in zip(opts, base): o.param_groups[0]["lr"] = b * f
        t1 = time.time()
        ls = [lesson(rng, generate_world(rng, stages[stage]), a.short) for _ in range(a.B)]
        ids, pos, lab, wt, lay = batch(texts, ls)
        tgen += time.time() - t1
        with torch.autocast("cpu", torch.bfloat16):
            h = model.model(input_ids=ids, position_ids=pos, use_cache=False, layout=lay).last_hidden_state
            sel = lab != -100
            logits = model.lm_head(h[sel])
        ce = F.cross_entropy(logits.float(), lab[sel], reduction="none")
        w = wt[sel]
        loss = (ce * w).sum() / w.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in opts: o.step(); o.zero_grad(set_to_none=True)
        toks += ids.numel()
        al = ce[w == 1].mean().item()
        ema = al if ema is None else 0.95 * ema + 0.05 * al
        if step % 50 == 0:
            print(f"{step} stage {stage} ans {ema:.4f} lm {ce[w < 1].mean().item():.3f} {toks / (time.time() - t0):.0f} tok/s gen {tgen / (time.time() - t0):.2f} {time.time() - t0:.0f}s", flush=True)
        if step % 200 == 199:
            r = evaluate(model, texts, 64, 1, stages[stage])
            print("  eval", stage, r, flush=True)
            if stage < len(stages) - 1 and r["root"] > 0.9 and r["dep"] > 0.85: stage += 1
    print("final", evaluate(model, texts, 256, 2, stages[-1]))
    if a.out: model.save_pretrained(a.out); tok.save_pretrained(a.out)

if __name__ == "__main__":
    main()
