"""The encoder: a ModernBERT trunk (names and arithmetic of `transformers`) with four heads."""

import json
import math

import torch
import torch.nn.functional as F
from torch import nn

from labels import CLS, DOMAINS, MASK, PAD, PII_LABELS, SEP
from tokenizer import CASES


def base_config(vocab_size, hidden=256, layers=4, heads=4, intermediate=256, embedding_dim=384):
    """config.json without the `tandem` object's tuned numbers."""
    return {
        "architectures": ["ModernBertModel"],
        "model_type": "modernbert",
        "vocab_size": vocab_size,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "hidden_activation": "gelu",
        "max_position_embeddings": 8192,
        "norm_eps": 1e-5,
        "norm_bias": False,
        "layer_norm_eps": 1e-5,
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "embedding_dropout": 0.0,
        "mlp_dropout": 0.0,
        "global_attn_every_n_layers": 3,
        "local_attention": 128,
        "global_rope_theta": 160000.0,
        "local_rope_theta": 10000.0,
        "pad_token_id": PAD,
        "cls_token_id": CLS,
        "bos_token_id": CLS,
        "sep_token_id": SEP,
        "eos_token_id": SEP,
        "mask_token_id": MASK,
        "torch_dtype": "float32",
        "tandem": {"format": 1, "case_embedding": True, "embedding": {"dim": embedding_dim}},
    }


def rope_table(length, head_dim, theta, device):
    """cos and sin tables [length, head_dim], halves repeated."""
    inv = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * inv[None]
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Apply RoPE, rotate-half style."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class Attention(nn.Module):
    """Self-attention with fused QKV and no biases."""

    def __init__(self, c):
        super().__init__()
        self.heads = c["num_attention_heads"]
        self.Wqkv = nn.Linear(c["hidden_size"], 3 * c["hidden_size"], bias=False)
        self.Wo = nn.Linear(c["hidden_size"], c["hidden_size"], bias=False)

    def forward(self, x, rope, mask):
        n, t, d = x.shape
        q, k, v = self.Wqkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        cos, sin = rope
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.Wo(o.transpose(1, 2).reshape(n, t, d))


class Mlp(nn.Module):
    """GeGLU."""

    def __init__(self, c):
        super().__init__()
        self.Wi = nn.Linear(c["hidden_size"], 2 * c["intermediate_size"], bias=False)
        self.Wo = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        a, gate = self.Wi(x).chunk(2, dim=-1)
        return self.Wo(F.gelu(a) * gate)


class Layer(nn.Module):
    """One pre-norm layer; the first has no attention norm."""

    def __init__(self, c, index, dropout):
        super().__init__()
        eps = c["layer_norm_eps"]
        norm = lambda: nn.LayerNorm(c["hidden_size"], eps=eps, bias=False)
        self.attn_norm = norm() if index else nn.Identity()
        self.attn = Attention(c)
        self.mlp_norm = norm()
        self.mlp = Mlp(c)
        self.drop = nn.Dropout(dropout)

    def forward(self, x, rope, mask):
        x = x + self.drop(self.attn(self.attn_norm(x), rope, mask))
        return x + self.drop(self.mlp(self.mlp_norm(x)))


class Embeddings(nn.Module):
    """Token embeddings, plus the case table when configured."""

    def __init__(self, c):
        super().__init__()
        self.tok_embeddings = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.case_embeddings = (nn.Embedding(CASES, c["hidden_size"])
                                if c.get("tandem", {}).get("case_embedding") else None)
        self.norm = nn.LayerNorm(c["hidden_size"], eps=c["layer_norm_eps"], bias=False)

    def forward(self, ids, cases):
        x = self.tok_embeddings(ids)
        if self.case_embeddings is not None:
            x = x + self.case_embeddings(cases)
        return self.norm(x)


class Trunk(nn.Module):
    """ModernBERT without heads."""

    def __init__(self, c, dropout=0.0):
        super().__init__()
        self.config = c
        self.embeddings = Embeddings(c)
        self.layers = nn.ModuleList(Layer(c, i, dropout) for i in range(c["num_hidden_layers"]))
        self.final_norm = nn.LayerNorm(c["hidden_size"], eps=c["layer_norm_eps"], bias=False)
        self.drop = nn.Dropout(dropout)
        self._ropes = {}

    def ropes(self, t, device):
        """RoPE tables for global and local layers, cached per length."""
        key = (t, str(device))
        if key not in self._ropes:
            d = self.config["hidden_size"] // self.config["num_attention_heads"]
            self._ropes[key] = (rope_table(t, d, self.config["global_rope_theta"], device),
                                rope_table(t, d, self.config["local_rope_theta"], device))
        return self._ropes[key]

    def forward(self, ids, cases, mask):
        """Hidden states [N, T, hidden]; `mask` is True on real tokens."""
        t = ids.shape[1]
        wide, narrow = self.ropes(t, ids.device)
        at = torch.arange(t, device=ids.device)
        near = (at[:, None] - at[None]).abs() <= self.config["local_attention"] // 2
        full = mask[:, None, None, :]
        # A fully masked row gives NaN in some kernels, so every position sees itself.
        local = full & near | torch.eye(t, dtype=torch.bool, device=ids.device)
        x = self.drop(self.embeddings(ids, cases))
        for i, layer in enumerate(self.layers):
            if i % self.config["global_attn_every_n_layers"] == 0:
                x = layer(x, wide, full)
            else:
                x = layer(x, narrow, local)
        return self.final_norm(x)


class SequenceHead(nn.Module):
    """Attention pooling, one hidden layer, logits."""

    def __init__(self, hidden, outputs, dropout):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(hidden))
        self.dense = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, outputs)
        self.drop = nn.Dropout(dropout)

    def forward(self, h, mask):
        score = (h.float() @ self.query).masked_fill(~mask, -1e9)
        pooled = torch.einsum("nt,nth->nh", score.softmax(-1).to(h.dtype), h)
        return self.out(self.drop(F.gelu(self.dense(self.drop(pooled)))))


class Heads(nn.Module):
    """Domain, jailbreak, PII and embedding heads."""

    def __init__(self, c, dropout):
        super().__init__()
        hidden = c["hidden_size"]
        self.domain = SequenceHead(hidden, len(DOMAINS), dropout)
        self.jailbreak = SequenceHead(hidden, 1, dropout)
        self.pii = nn.Linear(hidden, len(PII_LABELS))
        self.embedding = nn.Linear(hidden, c["tandem"]["embedding"]["dim"], bias=False)


class Encoder(nn.Module):
    """Trunk and heads; parameter names are the names in model.safetensors."""

    def __init__(self, config, dropout=0.0):
        super().__init__()
        self.config = config
        self.model = Trunk(config, dropout)
        self.heads = Heads(config, dropout)
        self.drop = nn.Dropout(dropout)
        self.apply(self._init)

    @staticmethod
    def _init(m):
        if isinstance(m, nn.Linear):
            nn.init.trunc_normal_(m.weight, std=1.0 / math.sqrt(m.in_features), a=-2, b=2)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight, std=0.02 if m.num_embeddings > CASES else 0.005)

    def hidden(self, ids, cases, mask):
        """Final hidden states."""
        return self.model(ids, cases, mask)

    def embed(self, h, mask):
        """L2-normalised sentence embeddings."""
        m = mask[..., None].to(h.dtype)
        mean = (h * m).sum(1) / m.sum(1)
        return F.normalize(self.heads.embedding(mean).float(), dim=-1)

    def mlm_logits(self, h):
        """Masked-language-model logits through the tied embedding table."""
        return F.linear(h, self.model.embeddings.tok_embeddings.weight)


def load_config(path):
    """Read config.json."""
    with open(path) as f:
        return json.load(f)
