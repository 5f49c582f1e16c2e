"""The two training stages: language modelling with distillation, then all heads together."""

import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from labels import MASK, PII_LABELS, PII_TYPES
from packed import Sampler
from teacher import autocast


class Schedule:
    """Learning rate by wall clock: short warm-up, cosine to zero at the deadline."""

    def __init__(self, opt, peak, start, deadline, warmup=60, floor=0.0):
        self.opt, self.peak, self.start, self.deadline, self.warmup, self.floor = opt, peak, start, deadline, warmup, floor
        self.step = 0

    def progress(self):
        return min(1.0, (time.time() - self.start) / max(1e-9, self.deadline - self.start))

    def tick(self):
        """Set the rate for the next step; the share of time used."""
        self.step += 1
        p = self.progress()
        rate = self.peak * min(1, self.step / self.warmup) * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * p)))
        for g in self.opt.param_groups:
            g["lr"] = rate * g.get("scale", 1.0)
        return p


def optimizer(net, rate, decay):
    """AdamW; no decay on vectors."""
    matrix = [p for p in net.parameters() if p.dim() > 1]
    vector = [p for p in net.parameters() if p.dim() <= 1]
    return torch.optim.AdamW([{"params": matrix, "weight_decay": decay}, {"params": vector, "weight_decay": 0.0}],
                             lr=rate, betas=(0.9, 0.98), fused=next(net.parameters()).is_cuda)


def masked_lm(net, ids, cases, mask, share=0.25):
    """Masked-language-model loss on one batch."""
    # A fixed number of positions, so that the host need not wait for a count.
    score = torch.rand(ids.shape, device=ids.device) * (mask & (ids > MASK))
    chosen = score.flatten().topk(int(ids.numel() * share * 0.8)).indices
    pick = torch.zeros(ids.numel(), dtype=torch.bool, device=ids.device).index_fill_(0, chosen, True).view(ids.shape)
    action = torch.rand(ids.shape, device=ids.device)
    noisy = torch.where(pick & (action < 0.85), MASK, ids)
    noisy = torch.where(pick & (action > 0.93), torch.randint(MASK + 1, net.config["vocab_size"], ids.shape, device=ids.device), noisy)
    h = net.hidden(noisy, cases, mask)
    return F.cross_entropy(net.mlm_logits(h.flatten(0, 1)[chosen]).float(), ids.flatten()[chosen])


def distill(student, teacher):
    """Cosine to the teacher, plus agreement of the similarities inside the batch."""
    loss = 1 - (student * teacher).sum(-1).mean()
    s, t = student @ student.T / 0.06, teacher @ teacher.T / 0.06
    eye = torch.eye(len(s), dtype=torch.bool, device=s.device)
    s, t = s.masked_fill(eye, -1e4), t.masked_fill(eye, -1e4)
    return loss * 4 + F.kl_div(s.log_softmax(-1), t.log_softmax(-1), log_target=True, reduction="batchmean")


def blank(ids, mask, share=0.1):
    """Hide a random share of the tokens, against memorising the small labelled sets."""
    hide = (torch.rand(ids.shape, device=ids.device) < share * torch.rand(len(ids), 1, device=ids.device) * 2) & mask & (ids > MASK)
    return torch.where(hide, MASK, ids)


def pretrain(net, sets, teacher_emb, deadline, log, sizes, peak=2.5e-3):
    """Masked language modelling on the corpus and prompts, and embedding distillation on short texts."""
    device = sets.corpus.device
    opt = optimizer(net, peak, 0.05)
    schedule = Schedule(opt, peak, time.time(), deadline, floor=0.08)
    corpus, pool = Sampler(sets.corpus, sizes["corpus"], 11), Sampler(sets.pool, sizes["pool"] * 2, 12)
    net.train()
    while time.time() < deadline:
        p = schedule.tick()
        with autocast(device):
            rows, width = corpus.next()
            ids, cases, mask, _ = sets.corpus.batch(rows, width)
            lm = masked_lm(net, ids, cases, mask)
        lm.backward()
        with autocast(device):
            rows, width = pool.next()
            ids, cases, mask, _ = sets.pool.batch(rows, width)
            emb = distill(net.embed(net.hidden(ids, cases, mask), mask), teacher_emb[rows].float())
        emb.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        if schedule.step % 100 == 0:
            log(f"pretrain step {schedule.step} time {p:.2f} mlm {lm.item():.3f} distill {emb.item():.3f}")
    log(f"pretrain done, {schedule.step} steps")


def scope_masks(scopes, device):
    """[scope, label]: True where a label's type was not annotated (never for O)."""
    out = torch.zeros(len(scopes), len(PII_LABELS), dtype=torch.bool)
    for i, scope in enumerate(scopes):
        if scope != "ALL":
            for k, t in enumerate(PII_TYPES):
                if t not in scope.split(","):
                    out[i, 1 + 2 * k] = out[i, 2 + 2 * k] = True
    return out.to(device)


def pii_loss(logits, tags, scope, masks):
    """Token loss; where a type was not annotated, `O` means "O or one of those types"."""
    keep, tags = tags >= 0, tags.clamp(min=0)
    logp = logits.float().log_softmax(-1)
    free = masks[scope].clone()
    free[:, 0] = True
    merged = torch.logsumexp(logp.masked_fill(~free[:, None], -1e4), dim=-1)
    picked = logp.gather(2, tags[..., None])[..., 0]
    loss = -torch.where(tags == 0, merged, picked)
    weight = torch.where(tags == 0, 1.0, 1.3) * keep
    return (loss * weight).sum() / keep.sum()


def scramble(ids, tags, vocab, rows=0.45, share=0.35):
    """Hide or replace context tokens (never parts of spans) in some rows, so that carriers are not memorised."""
    device = ids.device
    rate = torch.rand(len(ids), 1, device=device) * share * (torch.rand(len(ids), 1, device=device) < rows)
    hit = (torch.rand(ids.shape, device=device) < rate) & (tags == 0) & (ids > MASK)
    other = torch.where(torch.rand(ids.shape, device=device) < 0.4, MASK, torch.randint(300, vocab, ids.shape, device=device))
    return torch.where(hit, other, ids)


def pair_loss(a, b, label, teacher):
    """Cosine of a pair against the teacher's, moved towards 1 for the same answer and down for another, and in-batch contrast for the positives.

    The teacher's cosine is kept as the anchor, because the pairs come from patterns: a plain yes-or-no loss would teach the patterns
    and lose what the teacher knows of other pairs.
    """
    cos = (a * b).sum(-1)
    target = torch.where(label == 1, teacher + 0.6 * (1 - teacher), teacher - 0.35 * (teacher - 0.2).clamp(min=0))
    loss = 25 * (cos - target).square().mean()
    pos = (label == 1).float()
    contrast = F.cross_entropy(a @ b.T / 0.05, torch.arange(len(a), device=a.device), reduction="none")
    return loss + 0.1 * (contrast * pos).sum() / pos.sum().clamp(min=1)


def shares(origin, wanted):
    """Sampling weights of rows such that each origin gets its wanted share of the draws."""
    weights = np.zeros(len(origin))
    for k, share in wanted.items():
        weights[origin == k] = share / max(1, (origin == k).sum())
    return weights


class Ema:
    """Exponential moving average of the weights."""

    def __init__(self, net, decay):
        self.net, self.decay, self.steps = net, decay, 0
        self.shadow = {k: x.detach().clone() for k, x in net.state_dict().items()}

    @torch.no_grad()
    def update(self):
        self.steps += 1
        d = min(self.decay, self.steps / (self.steps + 10))
        names = list(self.shadow)
        state = self.net.state_dict()
        torch._foreach_lerp_([self.shadow[k] for k in names], [state[k] for k in names], 1 - d)


def domain_loss(logits, label, soft, has_teacher=True):
    """Hard labels where known, the fine-tuned teacher's distribution everywhere."""
    logits = logits.float()
    known = label >= 0
    hard = F.cross_entropy(logits, label.clamp(min=0), reduction="none", label_smoothing=0.05)
    target = (soft.float() / 1.5).softmax(-1)
    kd = -(target * (logits / 1.5).log_softmax(-1)).sum(-1)
    return (torch.where(known, 0.6 * hard + 0.6 * kd, 0.5 * kd)).mean()


def finetune(net, sets, teacher, deadline, log, sizes, checkpoint, peak=1.1e-3):
    """All four heads, distillation and a little language modelling; returns the averaged weights."""
    device = sets.pool.device
    emb_t, dom_t, pair_t = teacher
    origin = sets.pool.extra["origin"].cpu().numpy()
    pool = Sampler(sets.pool, sizes["pool"], 21, weights=shares(origin, {0: 0.40, 1: 0.26, 2: 0.29, 3: 0.05}))
    jail, long = Sampler(sets.jailbreak, sizes["jailbreak"], 22), Sampler(sets.long, sizes["long"], 23, pool=4)
    pii_origin = sets.pii.extra["origin"].cpu().numpy()
    pii_weights = np.where(pii_origin == 2, 2.5, np.where(pii_origin == 4, 0.5, np.where(pii_origin == 0, 1.0, 0.8)))
    pii, pairs = Sampler(sets.pii, sizes["pii"], 24, weights=pii_weights), Sampler(sets.pairs_a, sizes["pairs"], 25, pool=8)
    corpus = Sampler(sets.corpus, sizes["corpus"] // 2, 26)
    masks = scope_masks(sets.scopes, device)
    opt = optimizer(net, peak, 0.02)
    schedule = Schedule(opt, peak, time.time(), deadline)
    ema, saved = Ema(net, 0.9985), False
    net.train()
    while time.time() < deadline:
        p = schedule.tick()
        losses = {}
        with autocast(device):
            rows, width = pool.next()
            ids, cases, mask, _ = sets.pool.batch(rows, width)
            h = net.hidden(blank(ids, mask), cases, mask)
            losses["domain"] = domain_loss(net.heads.domain(h, mask), sets.pool.extra["label"][rows], dom_t[rows])
            losses["distill"] = 0.8 * distill(net.embed(h, mask), emb_t[rows].float())
        (losses["domain"] + losses["distill"]).backward()
        with autocast(device):
            rows, width = jail.next()
            ids, cases, mask, _ = sets.jailbreak.batch(rows, width)
            logit = net.heads.jailbreak(net.hidden(blank(ids, mask, 0.05), cases, mask), mask)[:, 0].float()
            y = sets.jailbreak.extra["label"][rows].float()
            losses["jailbreak"] = F.binary_cross_entropy_with_logits(logit, 0.02 + 0.96 * y)
        losses["jailbreak"].backward()
        if schedule.step % 2 == 0:
            with autocast(device):
                rows, width = long.next()
                ids, cases, mask, _ = sets.long.batch(rows, width)
                logit = net.heads.jailbreak(net.hidden(ids, cases, mask), mask)[:, 0].float()
                losses["long"] = 0.5 * F.binary_cross_entropy_with_logits(logit, sets.long.extra["label"][rows].float())
            losses["long"].backward()
        with autocast(device):
            rows, width = pii.next()
            ids, cases, mask, tags = sets.pii.batch(rows, width)
            h = net.drop(net.hidden(scramble(ids, tags, net.config["vocab_size"]), cases, mask))
            losses["pii"] = 1.5 * pii_loss(net.heads.pii(h), tags, sets.pii.extra["scope"][rows], masks)
        losses["pii"].backward()
        with autocast(device):
            rows, _ = pairs.next()
            width = sizes["pair_width"]
            a, b = (net.embed(net.hidden(*x[:3]), x[2]) for x in (s.batch(rows, width) for s in (sets.pairs_a, sets.pairs_b)))
            losses["pairs"] = pair_loss(a, b, sets.pairs_a.extra["label"][rows], pair_t[rows])
        losses["pairs"].backward()
        if schedule.step % 3 == 0:
            with autocast(device):
                rows, width = corpus.next()
                ids, cases, mask, _ = sets.corpus.batch(rows, width)
                losses["mlm"] = 0.3 * masked_lm(net, ids, cases, mask)
            losses["mlm"].backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        ema.update()
        if schedule.step % 100 == 0:
            log(f"finetune step {schedule.step} time {p:.2f} " + " ".join(f"{k} {x.item():.3f}" for k, x in losses.items()))
        if p > 0.6 and not saved:
            saved = True
            checkpoint(ema.shadow)
            net.train()
    log(f"finetune done, {schedule.step} steps")
    return ema.shadow
