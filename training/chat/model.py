"""The model: a small Llama whose weights carry the Hugging Face names.

The training module flattens a batch to tokens, so that everything but the
attention sees one fixed shape whatever the lengths of the samples; batches are
sorted by length and right-padded, so a chat never sees another chat and causal
attention needs no mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from tokenizer import MAX_POSITIONS, VOCAB_SIZE


@dataclass(frozen=True)
class ModelShape:
    """The dimensions of the network."""

    vocab: int = VOCAB_SIZE
    hidden: int = 256
    layers: int = 9
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    intermediate: int = 704
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5


def llama_config(shape: ModelShape) -> dict:
    """config.json for transformers (and every other reader of Llama checkpoints)."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": MAX_POSITIONS,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "rms_norm_eps": shape.norm_eps,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "use_cache": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "bfloat16",
    }


GENERATION_CONFIG = {
    "do_sample": False,
    "eos_token_id": [2, 0],
    "pad_token_id": 0,
    "max_new_tokens": 512,
}


class RmsNorm(nn.Module):
    """Root-mean-square norm, computed in f32."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * self.weight).to(x.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Apply rotary positions to [tokens, heads, head_dim] (half-split layout)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    """The four projections of grouped-query attention."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden, queries, bias=False)
        self.k_proj = nn.Linear(shape.hidden, keys, bias=False)
        self.v_proj = nn.Linear(shape.hidden, keys, bias=False)
        self.o_proj = nn.Linear(queries, shape.hidden, bias=False)


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.up_proj = nn.Linear(shape.hidden, shape.intermediate, bias=False)
        self.down_proj = nn.Linear(shape.intermediate, shape.hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """One layer, split around the attention so that each half has a fixed shape."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.shape = shape
        self.input_layernorm = RmsNorm(shape.hidden, shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RmsNorm(shape.hidden, shape.norm_eps)
        self.mlp = FeedForward(shape)

    def before(self, x, cos, sin):
        """Queries, keys, values of every token, positions applied."""
        shape, attn = self.shape, self.self_attn
        h = self.input_layernorm(x)
        q = attn.q_proj(h).view(-1, shape.heads, shape.head_dim)
        k = attn.k_proj(h).view(-1, shape.kv_heads, shape.head_dim)
        v = attn.v_proj(h).view(-1, shape.kv_heads, shape.head_dim)
        group = shape.heads // shape.kv_heads
        q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        return q, k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)

    def after(self, x, attended):
        """Residual, then the feed-forward."""
        x = x + self.self_attn.o_proj(attended)
        return x + self.mlp(self.post_attention_layernorm(x))


class Trunk(nn.Module):
    """What transformers calls `model`."""

    def __init__(self, shape: ModelShape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.hidden, shape.norm_eps)


class NanoChat(nn.Module):
    """The causal language model with tied embeddings."""

    def __init__(self, shape: ModelShape = ModelShape()):
        super().__init__()
        self.shape = shape
        self.model = Trunk(shape)
        self.reset_parameters()
        half = torch.arange(0, shape.head_dim, 2).float() / shape.head_dim
        angles = torch.outer(torch.arange(MAX_POSITIONS).float(), shape.rope_theta ** -half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def reset_parameters(self) -> None:
        """Normal(0, 0.02); output projections shrink with depth."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            std = 0.02
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= math.sqrt(2 * self.shape.layers)
            nn.init.normal_(parameter, std=std)

    def compile_blocks(self, backend="inductor") -> None:
        """Compile the halves of every layer and the loss; only the token count varies."""
        torch._dynamo.config.recompile_limit = 64
        for block in self.model.layers:
            block.before = torch.compile(block.before, dynamic=True, backend=backend)
            block.after = torch.compile(block.after, dynamic=True, backend=backend)
        self.head_loss = torch.compile(self.head_loss, dynamic=True, backend=backend)

    def hidden_states(self, ids: torch.Tensor) -> torch.Tensor:
        """[batch, time] ids to [batch * time, hidden] states, final norm applied."""
        batch, time = ids.shape
        shape = self.shape
        x = self.model.embed_tokens(ids.reshape(-1))
        if torch.is_autocast_enabled(ids.device.type):
            x = x.to(torch.get_autocast_dtype(ids.device.type))
        cos = self.cos[:time].repeat(batch, 1)[:, None, :]
        sin = self.sin[:time].repeat(batch, 1)[:, None, :]
        for block in self.model.layers:
            q, k, v = (t.view(batch, time, shape.heads, shape.head_dim).transpose(1, 2)
                       for t in block.before(x, cos, sin))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = block.after(x, attended.transpose(1, 2).reshape(batch * time, -1))
        return self.model.norm(x)

    def head_loss(self, states, targets, weights):
        """Weighted next-token cross-entropy, summed; targets are already shifted."""
        logits = F.linear(states, self.model.embed_tokens.weight).float()
        return (F.cross_entropy(logits, targets, reduction="none") * weights).sum()

    def forward(self, ids, targets, weights):
        """Mean loss over the weighted tokens of a batch."""
        total = self.head_loss(self.hidden_states(ids), targets.reshape(-1), weights.reshape(-1))
        return total / weights.sum().clamp(min=1.0)

    def logits(self, ids):
        """Logits of every position: for the comparison with transformers."""
        states = self.hidden_states(ids)
        return F.linear(states, self.model.embed_tokens.weight).view(*ids.shape, -1)

    def parameter_count(self) -> int:
        """Parameters, embeddings counted once."""
        return sum(p.numel() for p in self.parameters())
