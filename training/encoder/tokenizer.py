"""Tokenizer of tandem-nano-encoder: training, and encoding with spans and case classes.

The tokenizer lower-cases (the training text is small, and a vocabulary without case variants
learns from every occurrence); letter case comes back as one class per token, see `case_class`.
"""

import sys

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from labels import SPECIALS

# Characters that are invisible and only serve to hide text from a classifier.
INVISIBLE = [
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF), (0xE0000, 0xE007F),
]
SPLIT = r" ?[\p{L}\p{M}]+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}]|\s+(?!\S)|\s+"
CASES = 5


def new_tokenizer():
    """An untrained byte-level BPE tokenizer with our normaliser and pre-tokeniser."""
    tok = Tokenizer(models.BPE())
    invisible = "[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in INVISIBLE) + "]"
    tok.normalizer = normalizers.Sequence([
        normalizers.Replace(Regex(invisible), ""),
        normalizers.NFKC(),
        normalizers.Lowercase(),
        normalizers.Strip(),
        normalizers.Prepend(" "),
    ])
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tok.decoder = decoders.ByteLevel()
    return tok


def train_tokenizer(texts, vocab_size):
    """Train the BPE on an iterator of texts."""
    tok = new_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=SPECIALS, show_progress=False, min_frequency=4,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), max_token_length=24)
    tok.train_from_iterator(texts, trainer)
    return tok


def load_tokenizer(path):
    """Read tokenizer.json; special strings inside texts are ordinary text."""
    tok = Tokenizer.from_file(str(path))
    tok.encode_special_tokens = True
    return tok


def case_class(piece):
    """0 caseless, 1 lower, 2 capitalised, 3 upper, 4 mixed (FORMAT.md, section 2)."""
    if piece.islower() and piece.isascii():
        return 1
    upper = lower = 0
    first_upper = False
    for ch in piece:
        if ch.lower() != ch:
            if upper + lower == 0:
                first_upper = True
            upper += 1
        elif ch.upper() != ch:
            lower += 1
    if upper == 0:
        return 1 if lower else 0
    if upper == 1 and first_upper:
        return 2
    return 3 if lower == 0 else 4


def describe(text, encoding):
    """ids, trimmed spans and case classes of one encoding of `text`."""
    ids = np.array(encoding.ids, dtype=np.uint16)
    spans = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    cases = np.zeros(len(ids), dtype=np.uint8)
    for i, (start, end) in enumerate(encoding.offsets):
        while start < end and text[start].isspace():
            start += 1
        while end > start and text[end - 1].isspace():
            end -= 1
        spans[i] = start, end
        if start < end:
            cases[i] = case_class(text[start:end])
    return ids, spans, cases


def encode(tok, texts):
    """Encode texts: a list of (ids, spans, cases)."""
    return [describe(t, e) for t, e in zip(texts, tok.encode_batch(texts, add_special_tokens=False))]


if __name__ == "__main__":
    from data import tokenizer_texts
    data_dir, out, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    train_tokenizer(tokenizer_texts(data_dir), size).save(out, pretty=False)
