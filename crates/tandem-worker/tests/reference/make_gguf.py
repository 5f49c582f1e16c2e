#!/usr/bin/env python3
"""Writes tiny random checkpoints as GGUF files, with the logits that transformers computes for the
weights that are in them.

Needs what make.py needs, and gguf, the library of the llama.cpp project, whose names, layout and
dequantisation these files are. Run it from anywhere; it writes beside itself.
"""

import json
import shutil
from pathlib import Path

import gguf
import numpy
import torch
from gguf.quants import dequantize, quantize
from make import PROMPTS, TINY, expect, old_style, randomise
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig, Phi3Config

HERE = Path(__file__).parent
Type = gguf.GGMLQuantizationType
RANDOM = numpy.random.default_rng(7)

# Formats by the ends of names; one-dimensional tensors are F32.
MIXED = {
    "attn_q.weight": Type.Q4_K,
    "attn_k.weight": Type.Q8_0,
    "attn_v.weight": Type.Q6_K,
    "attn_output.weight": Type.F16,
    "ffn_gate.weight": Type.Q4_K,
    "ffn_up.weight": Type.Q4_K,
    "ffn_down.weight": Type.Q6_K,
    "token_embd.weight": Type.Q6_K,
}
CASES = {
    "gguf-llama": (
        LlamaConfig,
        gguf.MODEL_ARCH.LLAMA,
        MIXED,
        dict(
            tie_word_embeddings=True,
            hidden_size=256,
            intermediate_size=256,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            vocab_size=128,
        ),
    ),
    "gguf-gemma2": (
        Gemma2Config,
        gguf.MODEL_ARCH.GEMMA2,
        {"weight": Type.F16},
        dict(
            tie_word_embeddings=True,
            num_hidden_layers=1,
            sliding_window=7,
            query_pre_attn_scalar=24,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=0.5,
        ),
    ),
    "gguf-phi3": (
        Phi3Config,
        gguf.MODEL_ARCH.PHI3,
        {"ffn_up.weight": Type.Q8_0, "weight": Type.BF16},
        dict(tie_word_embeddings=False, num_hidden_layers=1, sliding_window=None),
    ),
}


def random_q4_k(rows, columns):
    """Blocks as the format describes them, with random contents around 0."""
    count = rows * columns // 256
    scale = numpy.full((count, 1), 0.0006, numpy.float16)
    # 7.5 times the scale: the middle of 0..15 becomes 0 where both have the same 6 bits.
    least = (scale * 7.5).astype(numpy.float16)
    six = RANDOM.integers(8, 64, (count, 8)).astype(numpy.uint8)
    packed = numpy.zeros((count, 12), numpy.uint8)
    packed[:, 0:4] = six[:, :4] | (six[:, 4:] >> 4 << 6)
    packed[:, 4:8] = six[:, :4] | (six[:, 4:] >> 4 << 6)
    packed[:, 8:12] = (six[:, 4:] & 15) | ((six[:, 4:] & 15) << 4)
    quants = RANDOM.integers(0, 256, (count, 128)).astype(numpy.uint8)
    parts = [scale.view(numpy.uint8), least.view(numpy.uint8), packed, quants]
    return numpy.concatenate(parts, axis=1).reshape(rows, -1)


def random_q6_k(rows, columns):
    count = rows * columns // 256
    quants = RANDOM.integers(0, 256, (count, 192)).astype(numpy.uint8)
    scales = RANDOM.integers(-40, 41, (count, 16)).astype(numpy.int8).view(numpy.uint8)
    scale = numpy.full((count, 1), 0.0003, numpy.float16).view(numpy.uint8)
    return numpy.concatenate([quants, scales, scale], axis=1).reshape(rows, -1)


def to_file(arch, name, weight, heads):
    """What the converters of llama.cpp do to some tensors."""
    if arch == gguf.MODEL_ARCH.LLAMA and heads:
        shape = weight.shape
        return weight.reshape(heads, 2, shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(shape)
    if "gemma" in arch.name.lower() and name.endswith("norm.weight"):
        return weight + 1
    return weight


def from_file(arch, name, weight, heads):
    if arch == gguf.MODEL_ARCH.LLAMA and heads:
        shape = weight.shape
        return weight.reshape(heads, shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(shape)
    if "gemma" in arch.name.lower() and name.endswith("norm.weight"):
        return weight - 1
    return weight


def make(name, config_class, arch, formats, overrides):
    torch.manual_seed(len(name))
    config = config_class(**(TINY | overrides))
    # The other implementations of attention pass over the bounds of scores.
    model = AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    randomise(model)
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    writer = gguf.GGUFWriter(directory / "model.gguf", gguf.MODEL_ARCH_NAMES[arch])
    # Of each kind that a value can have, for the reader to pass over.
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_token_list(["a", "b"])
    writer.add_token_scores([0.5, -1.5])
    writer.add_add_bos_token(True)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    state = model.state_dict()
    samples = {}
    for key, value in state.items():
        if config.tie_word_embeddings and key == "lm_head.weight":
            continue
        target = names.get_name(key, try_suffixes=(".weight", ".bias"))
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        heads = heads.get(target.split(".")[-2])
        weight = to_file(arch, key, value.numpy(), heads)
        format = Type.F32
        if weight.ndim == 2:
            format = next(kind for end, kind in formats.items() if target.endswith(end))
        if format == Type.Q4_K:
            data = random_q4_k(*weight.shape)
        elif format == Type.Q6_K:
            data = random_q6_k(*weight.shape)
        else:
            data = quantize(weight.astype(numpy.float32), format)
        writer.add_tensor(target, data, raw_dtype=format)
        plain = dequantize(data, format)
        kept = plain
        if format == Type.Q6_K:
            # The engine reads them as 8 bits.
            kept = dequantize(quantize(plain.astype(numpy.float32), Type.Q8_0), Type.Q8_0)
        state[key].copy_(torch.from_numpy(from_file(arch, key, kept, heads).copy()))
        plain = from_file(arch, key, plain, heads)
        flat = plain.reshape(-1)
        places = RANDOM.integers(0, flat.size, 12).tolist()
        samples[key] = {
            "shape": list(plain.shape),
            "format": format.name,
            "numbers": [[place, float(flat[place])] for place in places],
        }
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    keep = set(TINY) | set(overrides) | {
        "architectures", "model_type", "hidden_act", "hidden_activation", "rms_norm_eps",
        "rope_parameters"
    }
    saved = {key: value for key, value in config.to_dict().items() if key in keep}
    saved["architectures"] = [type(model).__name__]
    (directory / "config.json").write_text(json.dumps(old_style(saved), indent=1) + "\n")
    cases = [expect(model, prompt) for prompt in PROMPTS]
    (directory / "expected.json").write_text(json.dumps(cases) + "\n")
    (directory / "samples.json").write_text(json.dumps(samples) + "\n")
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{name}: {size} bytes, greedy {cases[0]['greedy']}")
    assert size < 200_000


if __name__ == "__main__":
    for name, case in CASES.items():
        make(name, *case)
