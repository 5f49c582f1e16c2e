"""The teacher: all-MiniLM-L6-v2 (Apache-2.0), for sentence embeddings and, fine-tuned, for soft labels.

`python3 teacher.py MODEL_DIR OUT_DIR` stores the model with int8 weights (a quarter of the size).
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import nn

from export import quantise_rows, read_tensors
from labels import DOMAINS
from packed import Packed, Sampler, ordered


def shrink(source, out):
    """Copy a MiniLM directory with int8 matrices."""
    source, out = Path(source), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, w in read_tensors(source / "model.safetensors").items():
        if name.endswith("position_ids"):
            continue
        if w.dim() == 2:
            tensors[name], tensors[name + ".scale"] = quantise_rows(w)
        else:
            tensors[name] = w
    save_file(tensors, str(out / "model.safetensors"))
    for name in ("config.json", "tokenizer.json"):
        (out / name).write_bytes((source / name).read_bytes())


class MiniLM(nn.Module):
    """BERT trunk with mean pooling, and a linear domain head for fine-tuning."""

    def __init__(self, directory):
        super().__init__()
        from transformers import BertConfig, BertModel
        config = json.loads(Path(directory, "config.json").read_text())
        keep = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings",
                "type_vocab_size", "layer_norm_eps", "hidden_act")
        self.bert = BertModel(BertConfig(**{k: config[k] for k in keep if k in config}), add_pooling_layer=False)
        state = read_tensors(Path(directory, "model.safetensors"))
        missing = self.bert.load_state_dict({k.removeprefix("bert."): x for k, x in state.items()}, strict=False).missing_keys
        assert not [m for m in missing if "position_ids" not in m], missing
        self.domain = nn.Linear(config["hidden_size"], len(DOMAINS))

    def pooled(self, ids, mask):
        """Mean-pooled hidden states."""
        h = self.bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        m = mask[..., None].to(h.dtype)
        return (h * m).sum(1) / m.sum(1)

    @torch.no_grad()
    def infer(self, packed, size=1024):
        """(unit embeddings fp16 [N, 384], domain logits) of all rows."""
        self.eval()
        n = len(packed)
        emb = torch.empty(n, self.domain.in_features, dtype=torch.float16, device=packed.device)
        dom = torch.empty(n, len(DOMAINS), dtype=torch.float16, device=packed.device)
        for rows, width in ordered(packed, size):
            ids, _, mask, _ = packed.batch(rows, width)
            with autocast(ids.device):
                p = self.pooled(ids, mask)
            p = p.float()
            emb[rows] = F.normalize(p, dim=-1).half()
            dom[rows] = self.domain(p).half()
        return emb, dom


def autocast(device):
    """bf16 on a GPU, f32 on a CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def load_tokenizer(directory):
    """The teacher's tokenizer, without padding."""
    tok = Tokenizer.from_file(str(Path(directory, "tokenizer.json")))
    tok.no_padding()
    return tok


def finetune(net, pool, deadline, log, size=384, lr=2e-4):
    """Fine-tune the domain head and the trunk on labelled pool rows until `deadline`."""
    origin = pool.extra["origin"].cpu().numpy()
    weights = np.where(origin == 1, 3.0, np.where(origin == 2, 0.6, 0.0))
    batches = Sampler(pool, size, 1, weights=weights)
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01, fused=pool.device.type == "cuda")
    net.train()
    start, step = time.time(), 0
    while time.time() < deadline:
        part = (time.time() - start) / max(1e-9, deadline - start)
        for g in opt.param_groups:
            g["lr"] = lr * min(1, (step + 1) / 100) * max(0.02, 1 - part)
        with autocast(pool.device):
            rows, width = batches.next()
            ids, _, mask, _ = pool.batch(rows, width)
            loss = F.cross_entropy(net.domain(net.pooled(ids, mask)).float(), pool.extra["label"][rows], label_smoothing=0.05)
        loss.backward()
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        if step % 100 == 0:
            log(f"teacher step {step} domain {loss.item():.3f}")
    log(f"teacher done, {step} steps")


if __name__ == "__main__":
    shrink(sys.argv[1], sys.argv[2])
