"""LoRA adapters for the model inside the binary, in the files of PEFT."""

from __future__ import annotations

import json
import random
import struct
from array import array
from pathlib import Path

LAYERS, HIDDEN, HEADS, RANK = 9, 256, 256, 4


def write_adapter(directory: Path, seed: int) -> Path:
    """Random additions to queries and outputs of attention, strong enough to change any answer."""
    rng = random.Random(seed)
    header, data = {}, array("f")
    for layer in range(LAYERS):
        for projection in ("q_proj", "o_proj"):
            for part, shape in (("A", [RANK, HIDDEN]), ("B", [HEADS, RANK])):
                name = f"base_model.model.model.layers.{layer}.self_attn.{projection}.lora_{part}.weight"
                start = len(data) * 4
                data.extend(rng.gauss(0, 0.3) for _ in range(shape[0] * shape[1]))
                header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, len(data) * 4]}
    directory.mkdir()
    text = json.dumps(header).encode()
    weights = struct.pack("<Q", len(text)) + text + data.tobytes()
    (directory / "adapter_model.safetensors").write_bytes(weights)
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 2 * RANK, "target_modules": ["q_proj", "o_proj"]}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory
