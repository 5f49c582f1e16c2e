#!/usr/bin/env python3
"""Writes the tiny random checkpoints of the model tests, with the logits that transformers
computes for them.

Needs torch (CPU), transformers and safetensors. Run it from anywhere; it writes beside itself.
The checkpoints are committed: run it again only to add a case, with the case's name as argument.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

HERE = Path(__file__).parent
PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2], [11], [127, 0, 64]]
# Longer than the context of Phi-3's first training.
LONG_PROMPT = [(i * i * 7 + 3) % 128 for i in range(70)]
GREEDY_TOKENS = 24

TINY = dict(
    vocab_size=128,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=256,
    # Large enough that tokens differ and attention is not flat.
    initializer_range=0.2,
    pad_token_id=None,
    bos_token_id=None,
    eos_token_id=2,
)

CASES = {
    "llama": (
        LlamaConfig,
        dict(
            tie_word_embeddings=True,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=10000.0,
                factor=4.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
    ),
    "qwen2": (Qwen2Config, dict(tie_word_embeddings=False)),
    "qwen3": (Qwen3Config, dict(tie_word_embeddings=True)),
    "llama-linear": (
        LlamaConfig,
        dict(
            tie_word_embeddings=True,
            num_hidden_layers=1,
            rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0),
        ),
    ),
    "qwen3-yarn": (
        Qwen3Config,
        dict(
            tie_word_embeddings=True,
            num_hidden_layers=1,
            rope_parameters=dict(
                rope_type="yarn",
                rope_theta=10000.0,
                factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
    ),
    "mistral-sharded-bf16": (MistralConfig, dict(tie_word_embeddings=False, sliding_window=None)),
    # Shorter than a block, and than the prompt.
    "mistral-window": (
        MistralConfig,
        dict(tie_word_embeddings=True, num_hidden_layers=1, sliding_window=9),
    ),
    "gemma": (GemmaConfig, dict(tie_word_embeddings=True, num_key_value_heads=1)),
    "gemma2": (
        Gemma2Config,
        dict(
            tie_word_embeddings=True,
            sliding_window=7,
            query_pre_attn_scalar=24,
            # Low enough that they matter.
            attn_logit_softcapping=2.0,
            final_logit_softcapping=0.5,
        ),
    ),
    "gemma3": (
        Gemma3TextConfig,
        dict(
            tie_word_embeddings=True,
            num_hidden_layers=2,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
            query_pre_attn_scalar=20,
            rope_parameters=dict(
                full_attention=dict(rope_type="linear", rope_theta=1000000.0, factor=8.0),
                sliding_attention=dict(rope_type="default", rope_theta=10000.0),
            ),
        ),
    ),
    "phi3": (
        Phi3Config,
        dict(
            tie_word_embeddings=True,
            hidden_size=64,
            intermediate_size=48,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            num_hidden_layers=1,
            sliding_window=None,
            max_position_embeddings=256,
            original_max_position_embeddings=64,
            rope_parameters=dict(
                rope_type="longrope",
                rope_theta=10000.0,
                partial_rotary_factor=0.5,
                original_max_position_embeddings=64,
                short_factor=[1.0, 1.1, 1.2, 1.3, 1.5, 1.7, 2.0, 2.5],
                long_factor=[1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 6.0, 8.0],
            ),
        ),
    ),
}
# These keep the layout of transformers 5.
NEW_STYLE = {"qwen3", "gemma3"}


def randomise(model):
    """Biases and norms too, which are constant after initialisation."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("norm.weight"):
                parameter.uniform_(0.5, 1.5)
                if model.config.model_type.startswith("gemma"):
                    parameter.sub_(1.0)
            elif name.endswith("bias"):
                parameter.uniform_(-0.5, 0.5)
            elif name.endswith("embed_tokens.weight") and model.config.model_type.startswith("gemma"):
                # Or the token itself would outweigh everything that the layers add.
                parameter.div_(model.config.hidden_size**0.5)


def old_style(config):
    """The layout that most published checkpoints have."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    return config


def write_weights(directory, weights, shards):
    names = sorted(weights)
    if shards == 1:
        save_file(weights, directory / "model.safetensors")
        return
    index = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = {name: weights[name] for name in names[shard::shards]}
        save_file(part, directory / file)
        index |= dict.fromkeys(part, file)
    text = json.dumps({"metadata": {}, "weight_map": index}, indent=1)
    (directory / "model.safetensors.index.json").write_text(text + "\n")


def expect(model, prompt):
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1]
        tokens = list(prompt)
        for _ in range(GREEDY_TOKENS):
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
    return {
        "prompt": prompt,
        "logits": [round(value, 6) for value in logits.tolist()],
        "greedy": tokens[len(prompt) :],
    }


def make(name, config_class, overrides):
    torch.manual_seed(len(name))
    config = config_class(**(TINY | overrides))
    # The other implementations of attention pass over the bounds of scores.
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    randomise(model)
    bf16 = name.endswith("bf16")
    if bf16:
        # Parameters only: rounding the rotary frequencies would not be the same model.
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(parameter.bfloat16())
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    weights = {
        key: value.contiguous().to(torch.bfloat16 if bf16 else torch.float32)
        for key, value in model.state_dict().items()
        if not (config.tie_word_embeddings and key == "lm_head.weight")
    }
    write_weights(directory, weights, 2 if "sharded" in name else 1)
    keep = set(TINY) | set(overrides) | {
        "architectures", "model_type", "hidden_act", "hidden_activation", "rms_norm_eps",
        "rope_parameters", "layer_types"
    }
    saved = {key: value for key, value in config.to_dict().items() if key in keep}
    saved["architectures"] = [type(model).__name__]
    if name not in NEW_STYLE:
        saved = old_style(saved)
        saved.pop("layer_types", None)
    (directory / "config.json").write_text(json.dumps(saved, indent=1) + "\n")
    cases = [expect(model, prompt) for prompt in PROMPTS]
    (directory / "expected.json").write_text(json.dumps(cases) + "\n")
    if name == "phi3":
        cases = [expect(model, LONG_PROMPT)]
        (directory / "expected-long.json").write_text(json.dumps(cases) + "\n")
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{name}: {size} bytes, greedy {cases[0]['greedy']}")
    assert size < 150_000


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name, *CASES[name])
