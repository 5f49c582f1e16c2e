"""vLLM in one process, without its server, under the work of the bench `engine`.

    .venv-vllm/bin/python bench/vllm_engine.py --model DIRECTORY --decode 32 --prefill 512 --rounds 3

`make bench-engine` runs it. The checkpoint needs no tokenizer: tokens go in and come out. As the last
line, prints the figures as JSON, in the form in which the bench reads those of its own processes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from processes import cpu_seconds, rss_mib
from vllm import LLM, SamplingParams

BATCH = 8
CONTEXT = 32
MAX_LENGTH = 1024
BLOCK = 32
VOCABULARY = 32000


def prompt(length: int, seed: int) -> list[int]:
    """The tokens that the bench gives all engines."""
    return [(i * 7919 + seed * 104_729 + 13) % VOCABULARY for i in range(length)]


def processes() -> list[int]:
    """This process and all that come from it."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu() -> float:
    return sum(cpu_seconds(pid) for pid in processes())


def since_start() -> float:
    """Seconds since this process started, to 10 ms."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


class Engine:
    """The engine's own loop, one step at a time."""

    def __init__(self, model: Path) -> None:
        llm = LLM(
            model=str(model),
            skip_tokenizer_init=True,
            dtype="bfloat16",
            enforce_eager=True,
            enable_prefix_caching=False,
            distributed_executor_backend="uni",
            max_model_len=MAX_LENGTH,
            max_num_seqs=BATCH,
            max_num_batched_tokens=MAX_LENGTH,
            block_size=BLOCK,
            num_gpu_blocks_override=BATCH * MAX_LENGTH // BLOCK,
        )
        self.engine = llm.llm_engine
        self.requests = 0

    def submit(self, tokens: list[int], count: int) -> str:
        self.requests += 1
        name = str(self.requests)
        sampling = SamplingParams(
            temperature=0.0, max_tokens=count, ignore_eos=True, detokenize=False
        )
        self.engine.add_request(name, {"prompt_token_ids": tokens}, sampling)
        return name

    def generated(self) -> dict[str, int]:
        """Tokens so far of the requests that a step went on with."""
        return {one.request_id: len(one.outputs[0].token_ids) for one in self.engine.step()}

    def finish(self) -> int:
        """Steps until no request is left; tokens of the longest answer."""
        longest = 0
        while self.engine.has_unfinished_requests():
            longest = max([longest, *self.generated().values()])
        return longest

    def prefill(self, length: int) -> tuple[float, float]:
        begin = time.monotonic(), cpu()
        self.submit(prompt(length, 0), 1)
        if self.finish() != 1:
            raise SystemExit("malfunction: no token came")
        return time.monotonic() - begin[0], cpu() - begin[1]

    def decode(self, count: int, batch: int) -> tuple[float, float, int]:
        """Wall and CPU seconds, and tokens, of what comes once every prompt is computed."""
        seen = dict.fromkeys((self.submit(prompt(CONTEXT, i), count + 1) for i in range(batch)), 0)
        while min(seen.values()) == 0:
            seen |= self.generated()
        begin = time.monotonic(), cpu()
        if self.finish() != count + 1:
            raise SystemExit("malfunction: an answer is too short")
        wall, used = time.monotonic() - begin[0], cpu() - begin[1]
        return wall, used, sum(count + 1 - tokens for tokens in seen.values())


def best(rounds: int, tokens: int, run: Callable[[], tuple[float, ...]]) -> dict[str, float]:
    spent = [run() for _ in range(max(rounds, 1))]
    for _, _, *came in spent:
        if came and came[0] != tokens:
            raise SystemExit(f"malfunction: {came[0]} tokens came, not {tokens}")
    return {
        "tokens": tokens,
        "wall": min(one[0] for one in spent),
        "cpu": min(one[1] for one in spent),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--decode", type=int, default=32, help="tokens to decode per sequence")
    parser.add_argument("--prefill", type=int, default=512, help="tokens of the prompt")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions; the best counts")
    args = parser.parse_args()
    engine = Engine(args.model.resolve())
    engine.prefill(16)
    first_token = since_start()
    figures = {
        "decode": best(args.rounds, args.decode, lambda: engine.decode(args.decode, 1)),
        "decode_batch": best(
            args.rounds, args.decode * BATCH, lambda: engine.decode(args.decode, BATCH)
        ),
        "prefill": best(args.rounds, args.prefill, lambda: engine.prefill(args.prefill)),
        "first_token": first_token,
        "memory": round(sum(rss_mib(pid) for pid in processes())),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
