"""Hashed n-gram features of FORMAT.md, section 6 (byte-exact, reproduced by the Rust loader)."""

import re

import numpy as np

OFFSET = 0xCBF29CE484222325
PRIME = 0x100000001B3
MASK64 = (1 << 64) - 1
BUCKETS = 1 << 18
COLUMNS = 16
MAX_BYTES = 65536
WORD = re.compile(rb"[a-z0-9\x80-\xff]+")


def fnv1a(data, tag):
    """FNV-1a 64 over a tag byte and `data`."""
    h = ((OFFSET ^ tag) * PRIME) & MASK64
    for byte in data:
        h = ((h ^ byte) * PRIME) & MASK64
    return h


def fold(h, buckets):
    """Bucket of a hash."""
    return ((h >> 32) ^ h) & (buckets - 1)


_words = {}


def _word_bucket(word, tag, buckets):
    key = (word, tag, buckets)
    b = _words.get(key)
    if b is None:
        if len(_words) > 2_000_000:
            _words.clear()
        b = _words[key] = fold(fnv1a(word, tag), buckets)
    return b


def word_buckets(data, buckets=BUCKETS):
    """Buckets of words and word pairs, in text order: w0, w0w1, w1, w1w2, ..."""
    words = WORD.findall(data)
    out = []
    for i, w in enumerate(words):
        out.append(_word_bucket(w, 1, buckets))
        if i + 1 < len(words):
            out.append(_word_bucket(w + b" " + words[i + 1], 2, buckets))
    return np.array(out, dtype=np.int64)


def byte_buckets(data, buckets=BUCKETS):
    """Buckets of all 3-, then 4-, then 5-byte windows."""
    raw = np.frombuffer(data, dtype=np.uint8).astype(np.uint64)
    prime, out = np.uint64(PRIME), []
    with np.errstate(over="ignore"):
        for n in (3, 4, 5):
            count = len(raw) - n + 1
            if count <= 0:
                continue
            h = np.full(count, ((OFFSET ^ n) * PRIME) & MASK64, dtype=np.uint64)
            for k in range(n):
                h = (h ^ raw[k:k + count]) * prime
            out.append((((h >> np.uint64(32)) ^ h) & np.uint64(buckets - 1)).astype(np.int64))
    return np.concatenate(out) if out else np.zeros(0, dtype=np.int64)


def normalised_bytes(tok, text, max_bytes=MAX_BYTES):
    """UTF-8 bytes of the tokenizer's normalisation of `text`, without outer spaces, cut."""
    return tok.normalizer.normalize_str(text).strip(" ").encode("utf-8", "surrogatepass")[:max_bytes]


def features(tok, text, buckets=BUCKETS, max_bytes=MAX_BYTES):
    """(bucket ids, values) of both groups; a bucket occurs at most once per group."""
    data = normalised_bytes(tok, text, max_bytes)
    ids, values = [], []
    for group in (word_buckets(data, buckets), byte_buckets(data, buckets)):
        if len(group):
            b, c = np.unique(group, return_counts=True)
            ids.append(b)
            values.append(np.sqrt(c / len(group)))
    if not ids:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    return np.concatenate(ids), np.concatenate(values).astype(np.float32)
