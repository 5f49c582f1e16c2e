"""Write the tiny random checkpoint that format tests use: `python3 make_tiny.py DATA OUT`."""

import sys
from pathlib import Path

import torch

import ngram
from data import tokenizer_texts
from export import write_config, write_tensors
from infer import write_golden
from labels import DOMAINS, PII_LABELS, PII_TYPES
from model import Encoder, base_config
from tokenizer import train_tokenizer

BUCKETS = 512


def main(data_dir, out):
    """Random weights with visible effects, small windows so that merging is exercised."""
    torch.manual_seed(1)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    texts = (t for i, t in enumerate(tokenizer_texts(data_dir)) if i % 40 == 0)
    tok = train_tokenizer(texts, 800)
    tok.save(str(out / "tokenizer.json"))
    c = base_config(tok.get_vocab_size(), hidden=32, layers=2, heads=2, intermediate=48, embedding_dim=24)
    c.update(local_attention=16, max_position_embeddings=128)
    c["tandem"].update(
        window={"size": 128, "stride": 96},
        embedding={"dim": 24, "cache_threshold": 0.8},
        domain={"labels": DOMAINS},
        jailbreak={"labels": ["benign", "jailbreak"], "threshold": 0.5},
        pii={"labels": PII_LABELS, "bias": 0.5, "thresholds": {t: 0.05 for t in PII_TYPES}, "trim": " \t\r\n,.;:!?\"'()[]{}<>"},
        ngram={"buckets": BUCKETS, "columns": ngram.COLUMNS, "max_bytes": ngram.MAX_BYTES})
    net = Encoder(c)
    with torch.no_grad():
        for name, p in net.named_parameters():
            if name.endswith("norm.weight"):
                p.copy_(1 + 0.2 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) * (0.5 if p.dim() == 1 else 1.5 / p.shape[1] ** 0.5))
        net.heads.pii.weight.mul_(1.5)
    table = torch.randn(BUCKETS, ngram.COLUMNS) * 0.3
    table[:, 15] = 0
    bias = torch.randn(ngram.COLUMNS) * 0.1
    bias[15] = 0
    write_tensors(out / "model.safetensors", net.state_dict(), table, bias)
    write_config(out / "config.json", c)
    write_golden(out)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
