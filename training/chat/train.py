"""Trains tandem-nano-chat: `python3 train.py --data CORPUS --out DIR`.

One optimizer step sees a few micro-batches, each of samples of one length
class, so that no sample is cut, no chat sees another and little is padded.
Plain English takes part early and fades out.  The learning rate falls linearly
to zero, by steps (`--steps`) or by wall clock (`--budget-seconds`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from corpus import read_documents
from evaluate import evaluate_directory, print_metrics, write_results
from export import export_checkpoint
from generate import Sample, Shards
from model import ModelShape, NanoChat
from tokenizer import save_tokenizer, train_tokenizer

SEED = 20240917
LENGTH_CLASSES = [32, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1280, 1536, 1792, 2048, 2560, 3072, 4096]
TEXT_LENGTH = 1024
_worker: Shards | None = None


def start_worker(tokenizer_path: Path, corpus: Path | None) -> None:
    """Pool initializer."""
    global _worker
    torch.set_num_threads(1)
    _worker = Shards(tokenizer_path, corpus)


def work(index: int) -> list[Sample]:
    """Pool task: one shard."""
    assert _worker is not None
    return _worker.make(index)


def shard_stream(pool, ahead: int) -> Iterator[list[Sample]]:
    """Shards 0, 1, 2, ... in order, with `ahead` of them in the making."""
    waiting, index = [], 0
    while True:
        while len(waiting) < ahead:
            waiting.append(pool.apply_async(work, (index,)))
            index += 1
        yield waiting.pop(0).get()


def to_batch(samples: list[Sample], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right-padded inputs, shifted targets and target weights."""
    ids = np.zeros((len(samples), length), dtype=np.int64)
    targets, weights = np.zeros_like(ids), np.zeros((len(samples), length), dtype=np.float32)
    for row, sample in enumerate(samples):
        n = len(sample.ids)
        ids[row, :n] = sample.ids
        targets[row, :n - 1] = sample.ids[1:]
        weights[row, :n - 1] = sample.weights[1:]
    return ids, targets, weights


def chat_batches(shards: Iterator[list[Sample]], tokens: int, rng: random.Random, group: int) -> Iterator[tuple]:
    """Micro-batches of about `tokens` tokens, each of one length class, in random order."""
    leftovers: dict[int, list[Sample]] = {length: [] for length in LENGTH_CLASSES}
    while True:
        for _ in range(group):
            for sample in next(shards):
                leftovers[next(c for c in LENGTH_CLASSES if c >= len(sample.ids))].append(sample)
        ready = []
        for length, samples in leftovers.items():
            rows = max(1, tokens // length)
            while len(samples) >= rows:
                ready.append((samples[:rows], length))
                del samples[:rows]
        rng.shuffle(ready)
        for samples, length in ready:
            yield to_batch(samples, length)


def text_batch(text: np.ndarray, tokens: int, rng: random.Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random windows of the plain English."""
    length = min(TEXT_LENGTH, len(text) // 2)
    starts = [rng.randrange(len(text) - length - 1) for _ in range(max(1, tokens // length))]
    ids = np.stack([text[s:s + length] for s in starts]).astype(np.int64)
    targets = np.stack([text[s + 1:s + length + 1] for s in starts]).astype(np.int64)
    return ids, targets, np.full(ids.shape, 0.25, dtype=np.float32)


class Progress:
    """How far the run is, by steps or by wall clock."""

    def __init__(self, steps: int | None, seconds: float):
        self.steps, self.seconds, self.step, self.start = steps, seconds, 0, time.monotonic()

    def fraction(self) -> float:
        """0 at the start, 1 at the end."""
        if self.steps:
            return min(1.0, self.step / self.steps)
        return min(1.0, (time.monotonic() - self.start) / self.seconds)


def optimizer_for(model: NanoChat, device: str) -> torch.optim.Optimizer:
    """AdamW; no decay on norms."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
                             lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=device == "cuda")


def precision(device: str) -> torch.autocast:
    """bf16 on a GPU, f32 elsewhere."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=device == "cuda")


def try_compile(model: NanoChat, device: str) -> NanoChat:
    """The compiled model if the compiler works here, otherwise the model as it is."""
    compiled = NanoChat(model.shape).to(device)
    compiled.load_state_dict(model.state_dict(), strict=False)
    try:
        compiled.compile_blocks()
        for rows, length in ((64, 64), (8, 512), (24, 96)):
            ids = torch.randint(3, 4000, (rows, length), device=device)
            with precision(device):
                loss = compiled(ids, ids, torch.ones(ids.shape, device=device))
            loss.backward()
        compiled.zero_grad(set_to_none=True)
        return compiled
    except Exception as error:  # the plain model gives the same result, slower
        print(f"compile: not used ({type(error).__name__}: {str(error)[:200]})", flush=True)
        return model


def train(args: argparse.Namespace, directory: Path) -> None:
    """Train and leave the checkpoint and the log in `directory`."""
    began = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = True
    rng = random.Random(SEED)
    documents = read_documents(args.data)
    maker = Shards(args.tokenizer, args.data)
    text = maker.corpus_tokens(documents) if documents else np.zeros(0, dtype=np.uint16)
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(args.workers, start_worker, (args.tokenizer, args.data))
    batches = chat_batches(shard_stream(pool, args.workers + 2), args.micro_tokens, rng, args.group)
    model = NanoChat(ModelShape()).to(device)
    if not args.no_compile:
        model = try_compile(model, device)
    optimizer = optimizer_for(model, device)
    print(f"device {device}, parameters {model.parameter_count()}, text tokens {len(text)}, setup {time.monotonic() - began:.1f} s", flush=True)
    progress = Progress(args.steps, args.budget_seconds - (time.monotonic() - began) - args.reserve_seconds)
    log, tokens_seen, last, checkpointed = [], 0, time.monotonic(), False
    window: list[torch.Tensor] = []
    while (done := progress.fraction()) < 1.0:
        rate = args.lr * min(1.0, (progress.step + 1) / args.warmup) * max(0.0, 1.0 - done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        text_share = 0.25 * max(0.0, 1.0 - done / 0.8) if len(text) else 0.0
        drawn = [text_batch(text, args.micro_tokens, rng) if rng.random() < text_share else next(batches) for _ in range(args.micro)]
        scale = float(sum(weights.sum() for _, _, weights in drawn))
        step_loss = torch.zeros((), device=device)
        for ids, targets, weights in drawn:
            moved = [torch.from_numpy(a).to(device, non_blocking=True) for a in (ids, targets, weights)]
            with precision(device):
                loss = model(*moved) * (float(weights.sum()) / scale)
            loss.backward()
            step_loss += loss.detach()
            tokens_seen += ids.size
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        progress.step += 1
        window.append(step_loss)
        if progress.step % args.log_every == 0:
            mean = float(torch.stack(window).mean())
            window.clear()
            now = time.monotonic()
            entry = {"step": progress.step, "loss": round(mean, 4), "lr": round(rate, 6), "tokens": tokens_seen, "seconds": round(now - progress.start, 1)}
            log.append(entry)
            print(f"step {entry['step']} loss {mean:.4f} lr {rate:.5f} tokens {tokens_seen / 1e6:.1f}M {(now - last) / args.log_every * 1000:.0f} ms/step done {done:.2f}", flush=True)
            last = now
        if done > 0.6 and not checkpointed:
            export_checkpoint(model, directory)
            checkpointed = True
    export_checkpoint(model, directory)
    pool.terminate()
    run = {"steps": progress.step, "tokens": tokens_seen, "train_seconds": round(time.monotonic() - progress.start, 1),
           "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "log": log}
    (directory / "run.json").write_text(json.dumps(run, indent=1) + "\n")


def main() -> None:
    """Tokenizer if missing, training, export, evaluation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the plain English corpus (*.jsonl.gz)")
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint, the log and the results go")
    parser.add_argument("--tokenizer", type=Path, help="an existing tokenizer.json; trained anew otherwise")
    parser.add_argument("--steps", type=int, help="train for this many steps, whatever the time")
    parser.add_argument("--budget-seconds", type=float, default=480.0, help="wall clock for everything")
    parser.add_argument("--reserve-seconds", type=float, default=75.0, help="kept back for the evaluation")
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--micro-tokens", type=int, default=32768)
    parser.add_argument("--micro", type=int, default=2, help="micro-batches per step")
    parser.add_argument("--group", type=int, default=4, help="shards that are sorted by length together")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=150)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--skip-evaluation", action="store_true", help="leave that to evaluate.py")
    parser.add_argument("--smoke", action="store_true", help="a few small steps, to see that everything runs")
    args = parser.parse_args()
    if args.smoke:
        args.steps, args.micro_tokens, args.micro, args.group, args.log_every, args.no_compile = args.steps or 6, 2048, 1, 1, 2, True
        args.workers = min(args.workers, 1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.tokenizer is None:
        args.tokenizer = args.out / "tokenizer.json"
        save_tokenizer(train_tokenizer(tokenizer_texts(args.data)), args.out)
    elif not (args.out / "tokenizer.json").exists():
        from tokenizers import Tokenizer
        save_tokenizer(Tokenizer.from_file(str(args.tokenizer)), args.out)
    train(args, args.out)
    if not args.skip_evaluation:
        results = evaluate_directory(args.out, limit=8 if args.smoke else None)
        write_results(results, args.out)
        print_metrics(results)


def tokenizer_texts(data: Path) -> list[str]:
    """What the tokenizer is learnt from: generated chats and half as much plain English."""
    from chats import chat_sample, plain_sample
    rng = random.Random(SEED)
    chats = []
    for _ in range(60000):
        chats += [message["content"] for message in chat_sample(rng, None)]
    chats += [plain_sample(rng) for _ in range(5000)]
    size, documents = sum(map(len, chats)) // 2, []
    for document in read_documents(data):
        documents.append(document[:20000])
        size -= len(documents[-1])
        if size < 0:
            break
    return chats + documents


if __name__ == "__main__":
    main()
