"""The embedded reader's training recipe: ``python -m depqa_ray.reader.train``."""
from __future__ import annotations

import argparse, random, time
from dataclasses import dataclass
import torch
import torch.nn.functional as F
from depqa_ray.passages.worlds import WorldShape, generate_world
from depqa_ray.reader.curriculum import lesson, Lesson, _exercise, _long
from depqa_ray.reader.tokenizer import train_tokenizer
from depqa_ray.reader.lessons import Encoder
from depqa_ray.reader.model import Layout, hidden_states, new_model
from depqa_ray.reader.priming import name_tokens, prime

@dataclass(frozen=True)
class Stage:
    shape: WorldShape
    single: int
    named: float
    long: bool
    lessons: int
    bare: bool = False

STAGES = (
    Stage(WorldShape(1, 1, 1, 2, 0), 6, 1.0, False, 32, True),
    Stage(WorldShape(1, 1, 1, 2, 0), 4, 1.0, False, 24),
    Stage(WorldShape(2, 2, 2, 2, 0), 6, 0.6, False, 32),
    Stage(WorldShape(3, 4, 2, 3, 0), 8, 0.4, False, 20),
    Stage(WorldShape(4, 4, 2, 3, 8), 10, 0.35, True, 12),
    Stage(WorldShape(5, 4, 2, 3, 12), 12, 0.35, True, 12),
)

def recall(g, vocab, B=32, pairs=12, rounds=2):
    """Key-value pairs, then the same in other orders: [B, 2 pairs (1 + rounds)]; gaps of noise vary the distance."""
    seqs, marks = [], []
    ids = torch.stack([torch.randperm(vocab - 300, generator=g)[: 2 * pairs] + 300 for _ in range(B)]).view(B, pairs, 2)
    parts = [ids] + [torch.stack([x[torch.randperm(pairs, generator=g)] for x in ids]) for _ in range(rounds)]
    seq = torch.cat(parts, 1).view(B, -1)
    lab = torch.full_like(seq, -100)
    lab[:, :-1] = seq[:, 1:]
    lab[:, 1::2] = -100
    lab[:, : 2 * pairs] = -100
    return seq, lab


@torch.no_grad()
def probe(model, enc, n, seed, stage):
    rng = random.Random(f"eval{seed}")
    ok = {k: [0, 0] for k in ("root", "dep", "ind", "batch", "edges")}
    for _ in range(max(1, n // 16)):
        for nq in [stage.shape.questions]:
            ls, tags = [], []
            for _ in range(16):
                w = generate_world(rng, stage.shape)
                hist = [(q.text, q.fact.object) for q in w.questions]
                ex, tg = [], []
                for q in w.questions:
                    ex.append(_exercise(q.text, [hist[p] for p in sorted(q.parents)], q.fact)); tg.append("dep" if q.parents else "root")
                    ex.append(_exercise(q.text, [], q.fact)); tg.append("ind" if q.parents else "")
                if stage.long:
                    ex += _long(w); tg += ["batch", "edges"]
                ls.append(Lesson(" ".join(w.sentences), tuple(ex))); tags.append(tg)
        b = enc.batch(ls, stage.bare)
        h = hidden_states(model, b.ids, b.positions, b.layout)
        good = torch.ones_like(b.answers)
        good[b.answers] = F.linear(h[b.answers], model.lm_head.weight.to(h.dtype)).argmax(-1) == b.labels[b.answers]
        at = b.layout.passage; j = 0
        for c, L in b.layout.groups:
            g = good[:, at:at + c * L].reshape(16, c, L).all(-1); at += c * L
            for i in range(16):
                for e in range(c):
                    t = tags[i][b.order[i][j + e]]
                    if t: ok[t][0] += g[i, e].item(); ok[t][1] += 1
            j += c
    return {k: round(a / max(b, 1), 3) for k, (a, b) in ok.items() if b}


def main():
    ap = argparse.ArgumentParser()
    for k, v in dict(steps=2000, lr=3e-3, mlr=0.02, hidden=256, layers=4, heads=4, kv=4, hd=64, ffn=512, init=0.05, qk=1.5, theta=1e6, seed=0, stage=0, out="", opt="muon", threads=2, warm=50, lm=0.1, adv=0.9, b=0, load="", every=100, cool=0.5, mix=0.25, recall=0, mode="", copy=1.0, word=0.4, match=1.2, final=0.06, elr=0.02).items():
        ap.add_argument("--" + k, type=type(v), default=v)
    a = ap.parse_args()
    torch.manual_seed(a.seed); torch.set_num_threads(a.threads)
    rng = random.Random(a.seed + 1)
    tok = train_tokenizer(0); enc = Encoder(tok)
    vocab = (len(tok) + 63) // 64 * 64
    model = new_model(vocab, a.hidden, a.layers, a.heads, a.kv, a.hd, a.ffn, a.init, a.qk, a.theta)
    ids = lambda t, i: tok(t, add_special_tokens=False).input_ids[i]
    if a.mode: prime(model, name_tokens(tok), ids(' "', 0), ids("a?", -1), [ids("a.", -1), ids("a. A", 1)], ids("Answer", 0), a.qk, a.copy, a.final, a.word, a.match)
    print(a, "params", sum(p.numel() for p in model.parameters()), flush=True)
    mats = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if not (p.ndim == 2 and "embed" not in n)]
    if a.opt == "muon":
        opts = [torch.optim.Muon(mats, lr=a.mlr, momentum=0.95, weight_decay=0.0, adjust_lr_fn="original"), torch.optim.AdamW(rest[:1], lr=a.elr, betas=(0.9, 0.95), weight_decay=0.0), torch.optim.AdamW(rest[1:], lr=a.lr, betas=(0.9, 0.95), weight_decay=0.0)]; assert rest[0].ndim == 2
    else:
        opts = [torch.optim.AdamW(mats + rest, lr=a.lr, betas=(0.9, 0.95), weight_decay=0.0)]
    base = [o.param_groups[0]["lr"] for o in opts]
    at = a.stage
    t0 = time.time()
    g = torch.Generator().manual_seed(a.seed)
    for step in range(a.recall):
        for o, v in zip(opts, base): o.param_groups[0]["lr"] = v * min(1, (step + 1) / 30)
        seq, lab = recall(g, len(tok))
        pos = torch.arange(seq.shape[1]).expand_as(seq) + int(torch.randint(0, 300, (1,), generator=g))
        h = hidden_states(model, seq, pos, Layout(seq.shape[1], (), torch.ones_like(seq, dtype=torch.bool)))
        ok = lab != -100
        lg = F.linear(h[ok], model.lm_head.weight.to(h.dtype)).float()
        loss = F.cross_entropy(lg, lab[ok]); loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in opts: o.step(); o.zero_grad(set_to_none=True)
        if step % 20 == 19: print("recall", step + 1, round(loss.item(), 3), (lg.argmax(-1) == lab[ok]).float().mean().item(), f"{time.time()-t0:.0f}s", flush=True)
    t0 = time.time(); toks = 0; ema = None
    for step in range(a.steps):
        frac = step / a.steps
        f = min(1, (step + 1) / a.warm) * (1 if frac < a.cool else max(0.01, (1 - frac) / (1 - a.cool)))
        for o, v in zip(opts, base): o.param_groups[0]["lr"] = v * f
        s = STAGES[at if rng.random() > a.mix else rng.randrange(at + 1)]
        b = enc.batch([lesson(rng, generate_world(rng, s.shape), s.single, s.named, s.long) for _ in range(s.lessons)], s.bare)
        h = hidden_states(model, b.ids, b.positions, b.layout)
        W = model.lm_head.weight.to(h.dtype)
        ce = F.cross_entropy(F.linear(h[b.answers], W).float(), b.labels[b.answers])
        loss = ce
        if a.lm:
            s2 = b.labels[:, :b.layout.passage] != -100
            lm = F.cross_entropy(F.linear(h[:, :b.layout.passage][s2], W).float(), b.labels[:, :b.layout.passage][s2])
            loss = ce + a.lm * lm
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for o in opts: o.step(); o.zero_grad(set_to_none=True)
        toks += b.ids.numel()
        ema = ce.item() if ema is None else 0.95 * ema + 0.05 * ce.item()
        if step % a.every == a.every - 1:
            dt = time.time() - t0
            r = probe(model, enc, 64, 1, STAGES[at])
            print(f"{step+1} stage {at} ans {ema:.4f} lm {lm.item() if a.lm else 0:.3f} {toks / dt:.0f} tok/s {dt:.0f}s {r}", flush=True)
            if at < len(STAGES) - 1 and r["root"] > a.adv and r.get("dep", 1) > a.adv: at += 1
            if a.out: model.save_pretrained(a.out); tok.save_pretrained(a.out)
    print("final", probe(model, enc, 256, 2, STAGES[-1]))

if __name__ == "__main__":
    main()
