"""Runs the held-out prompts through transformers and writes the table of results.

    python3 evaluate.py --model ../../models/tandem-nano-chat --out DIR
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import torch

from heldout import all_cases

MAX_NEW_TOKENS = 256


class Chatter:
    """Greedy or sampled replies in batches."""

    def __init__(self, directory: Path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self.model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).to(self.device).eval()

    @torch.no_grad()
    def reply(self, conversations: list[list[dict]], temperature: float = 0.0) -> list[tuple[str, bool]]:
        """For each conversation the reply and whether it ended by itself."""
        prompts = [self.tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
        encoded = [self.tokenizer(p, add_special_tokens=False)["input_ids"] for p in prompts]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        batch = 256 if self.device == "cuda" else 32
        out: list[tuple[str, bool]] = [("", False)] * len(encoded)
        for start in range(0, len(order), batch):
            rows = order[start:start + batch]
            width = max(len(encoded[i]) for i in rows)
            ids = torch.zeros((len(rows), width), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, i in enumerate(rows):
                ids[row, width - len(encoded[i]):] = torch.tensor(encoded[i])
                mask[row, width - len(encoded[i]):] = 1
            sampling = {"do_sample": True, "temperature": temperature, "top_p": 0.95} if temperature else {"do_sample": False}
            made = self.model.generate(input_ids=ids.to(self.device), attention_mask=mask.to(self.device), max_new_tokens=MAX_NEW_TOKENS, **sampling)
            for row, i in enumerate(rows):
                tokens = made[row, width:].tolist()
                ends = [k for k, token in enumerate(tokens) if token in (0, 2)]
                stop = ends[0] if ends else len(tokens)
                out[i] = (self.tokenizer.decode(tokens[:stop]), bool(ends) and tokens[stop] == 2)
        return out


def evaluate_directory(directory: Path, limit: int | None = None) -> dict:
    """Metrics by group, every failure, and a few sampled replies."""
    torch.manual_seed(11)
    chatter = Chatter(directory)
    cases = all_cases()
    if limit:
        cases = cases[::max(1, len(cases) // limit)]
    replies = chatter.reply([messages for _, messages, _ in cases])
    right, total, stopped = defaultdict(int), defaultdict(int), 0
    failures = []
    for (group, messages, check), (reply, clean) in zip(cases, replies):
        total[group] += 1
        good = check(reply)
        right[group] += good
        stopped += clean
        if not good:
            failures.append({"group": group, "prompt": messages[-1]["content"][-160:], "system": messages[0]["content"][:80] if messages[0]["role"] == "system" else None, "reply": reply[:200]})
    metrics = {group: {"correct": right[group], "of": total[group], "share": round(right[group] / total[group], 4)} for group in total}
    metrics["stops cleanly (all greedy replies)"] = {"correct": stopped, "of": len(cases), "share": round(stopped / len(cases), 4)}
    short = [case for case in cases if case[0].startswith(("arithmetic: held-out wording", "facts", "greeting"))]
    if short:
        warm = chatter.reply([messages for _, messages, _ in short], temperature=0.8)
        good = sum(check(reply) for (_, _, check), (reply, _) in zip(short, warm))
        clean = sum(ended for _, ended in warm)
        metrics["sampled at temperature 0.8: correct"] = {"correct": good, "of": len(short), "share": round(good / len(short), 4)}
        metrics["sampled at temperature 0.8: stops cleanly"] = {"correct": clean, "of": len(short), "share": round(clean / len(short), 4)}
    run = directory / "run.json"
    return {"metrics": metrics, "failures": failures, "run": json.loads(run.read_text()) if run.exists() else None}


def write_results(results: dict, directory: Path) -> None:
    """results.json and RESULTS.md."""
    (directory / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    lines = ["# Results of tandem-nano-chat", "", "Greedy decoding in f32 from the bf16 checkpoint, unless a row says otherwise.  The prompts are",
             "in `heldout.py`: wordings that the training templates do not use.", "", "| group | correct | of | share |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {group} | {m['correct']} | {m['of']} | {m['share'] * 100:.1f} % |" for group, m in results["metrics"].items()]
    if run := results.get("run"):
        lines += ["", f"Training: {run['steps']} steps, {run['tokens'] / 1e6:.0f} M tokens, {run['train_seconds']:.0f} s on one {run['device']}.", "",
                  "| step | loss | learning rate | tokens (M) | seconds |", "| ---: | ---: | ---: | ---: | ---: |"]
        every = max(1, len(run["log"]) // 20)
        lines += [f"| {e['step']} | {e['loss']} | {e['lr']} | {e['tokens'] / 1e6:.1f} | {e['seconds']} |" for e in run["log"][::every]]
    (directory / "RESULTS.md").write_text("\n".join(lines) + "\n")


def print_metrics(results: dict) -> None:
    """One line a group."""
    for group, metric in results["metrics"].items():
        print(f"{group}: {metric['correct']}/{metric['of']}", flush=True)


def main() -> None:
    """Evaluate a finished checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="about this many prompts only")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = evaluate_directory(args.model, args.limit)
    write_results(results, args.out)
    print_metrics(results)


if __name__ == "__main__":
    main()
