"""Write and read the shipped files: int8 weights, config, tokenizer."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

INT8 = ("tok_embeddings.weight", "Wqkv.weight", "Wo.weight", "Wi.weight", "dense.weight",
        "heads.embedding.weight")


def quantise_rows(w):
    """int8 with one scale per row."""
    scale = w.abs().amax(dim=1).clamp(min=1e-8) / 127.0
    return torch.round(w / scale[:, None]).clamp(-127, 127).to(torch.int8), scale


def quantise_columns(w):
    """int8 with one scale per column (the n-gram table)."""
    scale = w.abs().amax(dim=0).clamp(min=1e-8) / 127.0
    return torch.round(w / scale).clamp(-127, 127).to(torch.int8), scale


def write_tensors(path, state, ngram_weight, ngram_bias):
    """model.safetensors from an Encoder's state dict and the fused n-gram table [buckets, 16]."""
    out = {}
    for name, w in state.items():
        w = w.detach().float().cpu().contiguous()
        if name.endswith(INT8):
            out[name], out[name + ".scale"] = quantise_rows(w)
        else:
            out[name] = w
    out["ngram.weight"], out["ngram.scale"] = quantise_columns(ngram_weight.float().cpu())
    out["ngram.bias"] = ngram_bias.float().cpu()
    save_file(out, str(path), metadata={"format": "pt"})


def read_tensors(path):
    """State dict with int8 matrices expanded; the n-gram table stays int8 beside its scale."""
    raw = load_file(str(path))
    out = {}
    for name, w in raw.items():
        if name.startswith("ngram."):
            out[name] = w
        elif name.endswith(".scale"):
            continue
        elif name + ".scale" in raw:
            out[name] = w.float() * raw[name + ".scale"][:, None]
        else:
            out[name] = w.float()
    return out


def write_config(path, config):
    """config.json."""
    Path(path).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
