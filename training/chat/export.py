"""Write a checkpoint directory that any reader of Hugging Face Llama models loads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import GENERATION_CONFIG, ModelShape, NanoChat, llama_config


def export_checkpoint(model: NanoChat, directory: Path) -> None:
    """Save the weights in bf16 beside config.json and generation_config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.detach().to("cpu", torch.bfloat16).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(tensors, str(directory / "model.safetensors"), metadata={"format": "pt"})
    (directory / "model.safetensors").chmod(0o644)
    write_configs(model.shape, directory)


def write_configs(shape: ModelShape, directory: Path) -> None:
    """config.json and generation_config.json."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(llama_config(shape), indent=2) + "\n")
    (directory / "generation_config.json").write_text(json.dumps(GENERATION_CONFIG, indent=2) + "\n")
