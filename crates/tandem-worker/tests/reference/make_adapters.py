#!/usr/bin/env python3
"""Writes random LoRA adapters of the tiny checkpoints beside this file, as PEFT saves them, with
the logits that transformers and PEFT compute for checkpoint and adapter together.

Needs what make.py needs, and peft. Run it from anywhere; it writes into adapters/ beside itself.
The adapters are committed: run it again only to add a case, with the case's name as argument.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from make import PROMPTS, expect
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# Of each adapter: the checkpoint it belongs to, and its configuration.
CASES = {
    "llama-all": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL)),
    "llama-attention": (
        "llama",
        dict(
            r=8,
            lora_alpha=4,
            use_rslora=True,
            target_modules=["q_proj", "v_proj"],
            rank_pattern={"layers.1.self_attn.q_proj": 3},
            alpha_pattern={"layers.1.self_attn.q_proj": 6},
        ),
    ),
    "qwen2-all": ("qwen2", dict(r=2, lora_alpha=4, target_modules=ALL)),
    "qwen3-all": ("qwen3", dict(r=3, lora_alpha=6, target_modules=ALL)),
    "gemma2-all": ("gemma2", dict(r=4, lora_alpha=4, target_modules=ALL)),
    "gemma3-all": ("gemma3", dict(r=2, lora_alpha=5, target_modules=ALL)),
    "phi3-fused": (
        "phi3",
        dict(
            r=4,
            lora_alpha=8,
            target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
        ),
    ),
    "mistral-bf16": ("mistral-sharded-bf16", dict(r=4, lora_alpha=8, target_modules=ALL)),
    # For the engine to refuse, so nothing is computed with them.
    "refused/dora": (
        "llama",
        dict(r=2, lora_alpha=4, use_dora=True, target_modules=["q_proj"]),
    ),
}


def load(base):
    """The checkpoint in float32, checked against what make.py wrote for it."""
    # The other implementations of attention pass over the bounds of scores.
    model = AutoModelForCausalLM.from_pretrained(
        HERE / base, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    written = json.loads((HERE / base / "expected.json").read_text())
    for case in written:
        computed = expect(model, case["prompt"])
        difference = torch.tensor(computed["logits"]) - torch.tensor(case["logits"])
        assert difference.abs().max() < 1e-4, f"{base} is not the model that was written"
        assert computed["greedy"] == case["greedy"]
    return model, written


def randomise(model, dtype):
    """Both factors: PEFT starts the second at 0, where an adapter changes nothing."""
    for name, parameter in model.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            # The products are about as large as the weights of the checkpoints.
            parameter.data = torch.empty_like(parameter).uniform_(-0.4, 0.4).to(dtype)


def save(model, base, directory):
    config = model.peft_config["default"]
    config.base_model_name_or_path = base
    # A set otherwise, whose order differs from run to run.
    config.target_modules = sorted(config.target_modules)
    model.save_pretrained(directory, save_embedding_layers=False)
    (directory / "README.md").unlink()


def make(name, base, settings):
    torch.manual_seed(len(name))
    model, unadapted = load(base)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))
    randomise(model, torch.bfloat16 if name.endswith("bf16") else torch.float32)
    directory = HERE / "adapters" / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    save(model, base, directory)
    if not name.startswith("refused/"):
        # From the files, so that what is expected is of what they hold; PEFT makes it float32.
        model = PeftModel.from_pretrained(load(base)[0], directory).eval()
        cases = [expect(model, prompt) for prompt in PROMPTS]
        for adapted, plain in zip(cases, unadapted, strict=True):
            assert adapted["greedy"] != plain["greedy"], f"{name} changes too little"
            assert max(map(abs, adapted["logits"])) < 30, f"{name} changes too much"
        (directory / "expected.json").write_text(json.dumps(cases) + "\n")
    size = sum(file.stat().st_size for file in directory.iterdir())
    print(f"{name}: {size} bytes")
    assert size < 60_000


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name, *CASES[name])
    files = (HERE / "adapters").rglob("*")
    assert sum(file.stat().st_size for file in files if file.is_file()) < 350_000
