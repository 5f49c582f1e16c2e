"""Average several exported models of one line of training (a later run started from the earlier one's weights).

`python3 average.py OUT MODEL=SHARE... [--domain-table 2.5] [--threshold 0.5]`: weights and n-gram tables are averaged with the shares; config and
tokenizer come from the first model. `--domain-table` scales the domain columns of the table, `--threshold` sets the jailbreak threshold.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

from export import read_tensors, write_config, write_tensors
from labels import DOMAINS


def read(directory):
    """(state, table weight, table bias), dequantised."""
    tensors = read_tensors(Path(directory, "model.safetensors"))
    weight = tensors.pop("ngram.weight").float() * tensors.pop("ngram.scale")
    return tensors, weight, tensors.pop("ngram.bias")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("models", nargs="+", metavar="MODEL=SHARE")
    parser.add_argument("--domain-table", type=float, default=1.0)
    parser.add_argument("--threshold", type=float)
    args = parser.parse_args()
    parts = [(m.rsplit("=", 1)[0], float(m.rsplit("=", 1)[1])) for m in args.models]
    total = sum(share for _, share in parts)
    loaded = [(*read(path), share / total) for path, share in parts]
    with torch.no_grad():
        state = {k: sum(s[k] * share for s, _, _, share in loaded) for k in loaded[0][0]}
        weight, bias = (sum(x[i] * x[3] for x in loaded) for i in (1, 2))
        weight[:, :len(DOMAINS)] *= args.domain_table
        bias[:len(DOMAINS)] *= args.domain_table
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    write_tensors(out / "model.safetensors", state, weight, bias)
    config = json.loads(Path(parts[0][0], "config.json").read_text(encoding="utf-8"))
    if args.threshold is not None:
        config["tandem"]["jailbreak"]["threshold"] = args.threshold
    write_config(out / "config.json", config)
    if Path(parts[0][0]).resolve() != out.resolve():
        shutil.copy(Path(parts[0][0], "tokenizer.json"), out / "tokenizer.json")


if __name__ == "__main__":
    main()
