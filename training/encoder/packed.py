"""Tokenised texts as flat arrays, and batches cut from them on the device."""

import numpy as np
import torch

from labels import CLS, PAD, SEP


class Packed:
    """Many token sequences in flat arrays; `extra` holds per-row arrays, `tags` per-token labels."""

    def __init__(self, ids, cases, lengths, extra=None, tags=None):
        self.ids, self.cases, self.lengths = ids, cases, lengths
        self.extra, self.tags = extra or {}, tags

    @staticmethod
    def build(encoded, limit, extra=None, tags=None):
        """From (ids, spans, cases) triples: adds [CLS]/[SEP], cuts at `limit` ids."""
        body = limit - 2
        ids = [np.concatenate([[CLS], i[:body], [SEP]]).astype(np.int32) for i, _, _ in encoded]
        cases = [np.concatenate([[0], c[:body], [0]]).astype(np.uint8) for _, _, c in encoded]
        flat_tags = None
        if tags is not None:
            flat_tags = np.concatenate([np.concatenate([[-1], t[:body], [-1]]) for t in tags]).astype(np.int8)
        lengths = np.array([len(i) for i in ids], dtype=np.int64)
        return Packed(np.concatenate(ids), np.concatenate(cases), lengths, extra, flat_tags)

    @staticmethod
    def join(parts):
        """Concatenate."""
        parts = [p for p in parts if len(p.lengths)]
        extra = {k: np.concatenate([p.extra[k] for p in parts]) for k in parts[0].extra}
        tags = np.concatenate([p.tags for p in parts]) if parts[0].tags is not None else None
        return Packed(np.concatenate([p.ids for p in parts]), np.concatenate([p.cases for p in parts]),
                      np.concatenate([p.lengths for p in parts]), extra, tags)

    def __len__(self):
        return len(self.lengths)

    def to(self, device):
        """Move everything to the device as tensors."""
        self.device = device
        self.offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(self.lengths)[:-1]])).to(device)
        self.host_lengths = self.lengths
        self.lengths = torch.from_numpy(self.lengths).to(device)
        self.ids = torch.from_numpy(self.ids).to(device)
        self.cases = torch.from_numpy(self.cases).to(device)
        self.extra = {k: torch.from_numpy(np.ascontiguousarray(x)).to(device) for k, x in self.extra.items()}
        if self.tags is not None:
            self.tags = torch.from_numpy(self.tags).to(device)
        return self

    def batch(self, rows, width):
        """(ids, cases, mask, tags) of rows [N], padded to `width`, a number the host knows."""
        at = torch.arange(width, device=self.device)
        mask = at[None] < self.lengths[rows][:, None]
        index = torch.where(mask, self.offsets[rows][:, None] + at[None], 0)
        ids = torch.where(mask, self.ids[index], PAD).long()
        cases = torch.where(mask, self.cases[index], 0).long()
        tags = torch.where(mask, self.tags[index], -1).long() if self.tags is not None else None
        return ids, cases, mask, tags


class Sampler:
    """Endless batches of similar length: shuffled, sorted within pools, pools in random order."""

    def __init__(self, packed, size, seed, limit=None, pool=24, weights=None):
        self.packed, self.size, self.limit, self.pool = packed, size, limit or 10**9, pool
        self.rng = np.random.default_rng(seed)
        self.weights = weights / weights.sum() if weights is not None else None
        self.queue = []

    def _refill(self):
        n, want = len(self.packed), self.size * self.pool
        if self.weights is not None:
            rows = self.rng.choice(n, want, p=self.weights)
        else:
            rows = self.rng.permutation(n)[:want] if n >= want else self.rng.choice(n, want)
        rows = rows[np.argsort(self.packed.host_lengths[rows], kind="stable")]
        batches = np.split(rows, self.pool)
        self.queue = [batches[i] for i in self.rng.permutation(self.pool)]

    def next(self):
        """(row ids as tensor, width)."""
        if not self.queue:
            self._refill()
        rows = self.queue.pop()
        width = int(min(self.limit, self.packed.host_lengths[rows].max()))
        width = (width + 7) // 8 * 8
        return torch.from_numpy(rows).to(self.packed.device, non_blocking=True), width


def ordered(packed, size):
    """Batches over all rows, longest last: (rows, width)."""
    order = np.argsort(packed.host_lengths, kind="stable")
    for a in range(0, len(order), size):
        rows = order[a:a + size]
        width = (int(packed.host_lengths[rows].max()) + 7) // 8 * 8
        yield torch.from_numpy(rows).to(packed.device), width
