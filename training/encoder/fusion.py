"""The hashed n-gram head: training, and stacking with the encoder on held-out rows."""

import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import ngram
from labels import DOMAINS

N_DOMAIN = len(DOMAINS)


class Bags:
    """Sparse feature rows on the device."""

    def __init__(self, arrays, device):
        ids, values, counts = arrays
        self.device = device
        self.ids = torch.from_numpy(ids).to(device)
        self.values = torch.from_numpy(values).to(device)
        self.counts = torch.from_numpy(counts).to(device)
        self.offsets = torch.cumsum(self.counts, 0) - self.counts

    def __len__(self):
        return len(self.counts)

    def take(self, rows):
        """(ids, values, bag offsets) of the rows, flat."""
        counts = self.counts[rows]
        ends = torch.cumsum(counts, 0)
        starts = ends - counts
        total = int(ends[-1])
        owner = torch.repeat_interleave(torch.arange(len(rows), device=self.device), counts, output_size=total)
        at = torch.arange(total, device=self.device) - starts[owner] + self.offsets[rows][owner]
        return self.ids[at].long(), self.values[at].float(), starts


class Table(nn.Module):
    """Linear map from hashed n-grams to 16 columns."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(ngram.BUCKETS, ngram.COLUMNS))
        self.bias = nn.Parameter(torch.zeros(ngram.COLUMNS))

    def forward(self, ids, values, offsets):
        return F.embedding_bag(ids, self.weight, offsets, mode="sum", per_sample_weights=values) + self.bias

    @torch.no_grad()
    def predict(self, bags, size=4096):
        """Logits [N, 16] of all rows."""
        out = [self(*bags.take(torch.arange(a, min(a + size, len(bags)), device=bags.device))) for a in range(0, len(bags), size)]
        return torch.cat(out)


def train_table(pool_bags, pool_label, pool_weight, jail_bags, jail_label, deadline, log, steps, size=1024, lr=0.02, decay=1e-3, noise=0.3):
    """Softmax over the domain columns and a logistic loss on the jailbreak column."""
    device = pool_bags.device
    table = Table().to(device)
    opt = torch.optim.AdamW(table.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=decay)
    weights = torch.tensor(pool_weight, device=device, dtype=torch.float)
    gen = torch.Generator(device=device).manual_seed(7)
    for step in range(steps):
        if time.time() > deadline:
            break
        for g in opt.param_groups:
            g["lr"] = lr * max(0.02, 1 - step / steps)
        rows = torch.multinomial(weights, size, replacement=True, generator=gen)
        ids, values, offsets = pool_bags.take(rows)
        keep = (torch.rand(values.shape, device=device, generator=gen) > noise).float() / (1 - noise)
        loss = F.cross_entropy(table(ids, values * keep, offsets)[:, :N_DOMAIN], pool_label[rows], label_smoothing=0.05)
        rows = torch.randint(len(jail_bags), (size // 2,), device=device, generator=gen)
        ids, values, offsets = jail_bags.take(rows)
        keep = (torch.rand(values.shape, device=device, generator=gen) > noise).float() / (1 - noise)
        loss2 = F.binary_cross_entropy_with_logits(table(ids, values * keep, offsets)[:, N_DOMAIN], jail_label[rows].float())
        (loss + loss2).backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        if step % 500 == 0:
            log(f"n-gram step {step} domain {loss.item():.3f} jailbreak {loss2.item():.3f}")
    with torch.no_grad():
        table.weight[:, N_DOMAIN + 1:] = 0
        table.bias[N_DOMAIN + 1:] = 0
    return table


def fit_scalars(loss, start, steps=300):
    """Minimise a smooth loss over a few scalars."""
    p = torch.tensor(start, dtype=torch.double, requires_grad=True)
    opt = torch.optim.LBFGS([p], max_iter=steps, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        value = loss(p)
        value.backward()
        return value
    opt.step(closure)
    return p.detach().tolist()


def stack_domain(encoder, table, label):
    """(a, b) such that softmax(a * encoder + b * table) fits the held-out labels."""
    e, t, y = torch.tensor(encoder).double(), torch.tensor(table).double(), torch.tensor(label)
    a, b = fit_scalars(lambda p: F.cross_entropy(p[0] * e + p[1] * t, y) + 1e-4 * (p ** 2).sum(), [0.7, 0.5])
    return max(a, 0.05), max(b, 0.0)


def other_offset(logits, label, extra_logits, extra_label):
    """Shift of the `other` column that maximises the mean accuracy of both sets; the table's bias takes it.

    `other` is a catch-all whose frequency in the labelled sets exceeds its share of short questions in a subject.
    """
    column = DOMAINS.index("other")

    def accuracy(x, y, shift):
        x = np.array(x, dtype=float)
        x[:, column] += shift
        return (x.argmax(1) == np.asarray(y)).mean()
    return max((0.0, -0.15, -0.3, -0.45, -0.6, -0.8, -1.0), key=lambda s: accuracy(logits, label, s) + accuracy(extra_logits, extra_label, s))


def stack_jailbreak(encoder, table, label, weight=None):
    """(a, b, c) such that sigmoid(a * encoder + b * table + c) fits the held-out labels."""
    e, t, y = (torch.tensor(np.asarray(x)).double() for x in (encoder, table, label))
    w = torch.ones_like(y) if weight is None else torch.tensor(weight).double()
    a, b, c = fit_scalars(lambda p: F.binary_cross_entropy_with_logits(p[0] * e + p[1] * t + p[2], y, w) + 1e-4 * (p ** 2).sum(), [0.7, 0.5, 0.0])
    return max(a, 0.05), max(b, 0.0), c


@torch.no_grad()
def folded(net, table, domain, jailbreak):
    """(state dict, table weight, table bias) with the stacking scalars folded in."""
    state = {k: x.detach().clone().float().cpu() for k, x in net.state_dict().items()}
    weight, bias = table.weight.detach().float().cpu().clone(), table.bias.detach().float().cpu().clone()
    for k in ("weight", "bias"):
        state[f"heads.domain.out.{k}"] *= domain[0]
        state[f"heads.jailbreak.out.{k}"] *= jailbreak[0]
    state["heads.jailbreak.out.bias"] += jailbreak[2]
    weight[:, :N_DOMAIN] *= domain[1]
    bias[:N_DOMAIN] *= domain[1]
    weight[:, N_DOMAIN] *= jailbreak[1]
    bias[N_DOMAIN] *= jailbreak[1]
    return state, weight, bias
