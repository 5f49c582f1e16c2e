"""First-token time of 2,048-token prompts on GPUs: computed, kept, and handed from one to another.

    python bench/gpu.py --binary target/release/tandem --devices cuda:0 cuda:1

A model with TinyLlama's dimensions and random weights is served twice: by one worker on the last
device, and by a prefill worker on the first device with a decode worker on the last. Each is asked
every prompt twice: the first time it is computed, the second time it is there. Both must give the
same answers. Prints a table and, as the last line, the same figures as JSON. Exits with 1 only if
something does not work.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from cluster import Node, eventually, wait_for_instances
from raw_http import EventStream

GOAL = 4.0
TOKENS = 2048
ANSWER = 16
VOCAB = 32000
HIDDEN, WIDE, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 2048, 5632, 22, 32, 4, 64
BLOCKS = 8192


def write_model(directory: Path, layers: int) -> None:
    """A checkpoint in bf16: numbers of random signs between 2^-6 and 2^-5, about as large as those
    of a model of this width, and words as tokens."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "eos_token_id": VOCAB - 1,
        "tie_word_embeddings": False,
    }
    (directory / "config.json").write_text(json.dumps(config))
    words = {f"w{token}": token for token in range(VOCAB)}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "w0"},
    }
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    shapes = {"model.embed_tokens": (VOCAB, HIDDEN), "lm_head": (VOCAB, HIDDEN), "model.norm": (HIDDEN,)}
    for layer in range(layers):
        for part, shape in {
            "input_layernorm": (HIDDEN,),
            "post_attention_layernorm": (HIDDEN,),
            "self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN),
            "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
            "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
            "self_attn.o_proj": (HIDDEN, HEADS * HEAD_DIM),
            "mlp.gate_proj": (WIDE, HIDDEN),
            "mlp.up_proj": (WIDE, HIDDEN),
            "mlp.down_proj": (HIDDEN, WIDE),
        }.items():
            shapes[f"model.layers.{layer}.{part}"] = shape
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[f"{name}.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = random.Random(7)
    # A row of numbers at a time: sign and fraction are random, the exponent is not.
    keep = int.from_bytes(b"\x7f\x80" * HIDDEN, "little")
    exponent = int.from_bytes((121 << 7).to_bytes(2, "little") * HIDDEN, "little")
    one = (0x3F80).to_bytes(2, "little")
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            if len(shape) == 1:
                file.write(one * shape[0])
                continue
            for _ in range(shape[0] * shape[1] // HIDDEN):
                row = rng.getrandbits(16 * HIDDEN) & keep | exponent
                file.write(row.to_bytes(2 * HIDDEN, "little"))


@dataclass
class Answer:
    """One streamed answer."""

    first_token: float
    last_token: float
    text: str
    cached_tokens: int


def ask(frontend: Node, prompt: list[int]) -> Answer:
    body = {"model": "random", "prompt": prompt, "temperature": 0, "max_tokens": ANSWER}
    body |= {"ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}}
    first, last, usage, text = None, 0.0, None, ""
    with EventStream(frontend.frontend, "/v1/completions", body) as stream:
        for seconds, chunk in stream.chunks():
            for line in chunk.decode().splitlines():
                data = line.removeprefix("data: ").strip()
                if not data or data == "[DONE]":
                    continue
                event = json.loads(data)
                usage = event.get("usage") or usage
                if piece := "".join(one["text"] for one in event.get("choices", [])):
                    first, last = first or seconds, seconds
                    text += piece
    if first is None or usage is None or not stream.complete:
        raise SystemExit(f"malfunction: the answer was not complete\n{frontend.story()}")
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return Answer(first, last, text, cached)


@dataclass
class Figures:
    """Seconds, one number for each prompt."""

    computed: list[float]
    kept: list[float]
    step: list[float]
    texts: list[str]


def measure(frontend: Node, prompts: list[list[int]]) -> Figures:
    figures = Figures([], [], [], [])
    ask(frontend, prompts[0][::-1])
    for prompt in prompts:
        first = ask(frontend, prompt)
        # What was computed is told to the frontend in the background.
        time.sleep(0.2)
        again = ask(frontend, prompt)
        if first.text != again.text:
            raise SystemExit(f"malfunction: {first.text!r} is not {again.text!r}")
        if again.cached_tokens < TOKENS - 32:
            raise SystemExit(f"malfunction: only {again.cached_tokens} tokens were kept")
        figures.computed.append(first.first_token)
        figures.kept.append(again.first_token)
        figures.step.append((again.last_token - again.first_token) / (ANSWER - 1))
        figures.texts.append(first.text)
    return figures


def serve(stack: ExitStack, args: argparse.Namespace, roles: dict[str, str]) -> tuple[Node, dict[str, Node]]:
    """A frontend, and a worker on a device for each role."""
    directory = stack.enter_context(tempfile.TemporaryDirectory())
    flags = ("--discovery-backend", "file", "--discovery-dir", directory, "--event-plane", "zmq")
    flags += ("--log", "warn")
    binary = str(args.binary.resolve())
    more = ("--model", str(args.model), "--served-model-name", "random", "--kv-blocks", str(BLOCKS))
    more += ("--max-num-batched-tokens", str(TOKENS), "--system-port", "0")
    workers = {
        role: stack.enter_context(
            Node(binary, "worker", "--worker-type", role, "--device", device, *more, *flags)
        )
        for role, device in roles.items()
    }
    frontend = stack.enter_context(Node(binary, "frontend", "--http-port", "0", *flags))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: node.wait_until_ready(600), (*workers.values(), frontend)))
    wait_for_instances(frontend, len(roles))
    return frontend, workers


def ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:>9.2f} ms {min(seconds) * 1000:>9.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--binary", type=Path, required=True, help="a release build of tandem")
    parser.add_argument("--devices", nargs="+", default=["cuda:0"], help="of prefill, and of decode")
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--layers", type=int, default=LAYERS)
    args = parser.parse_args()
    rng = random.Random(11)
    prompts = [[rng.randrange(VOCAB - 1) for _ in range(TOKENS)] for _ in range(args.prompts)]
    with tempfile.TemporaryDirectory() as directory:
        args.model = Path(directory)
        write_model(args.model, args.layers)
        with ExitStack() as stack:
            frontend, _ = serve(stack, args, {"both": args.devices[-1]})
            alone = measure(frontend, prompts)
        with ExitStack() as stack:
            roles = {"prefill": args.devices[0], "decode": args.devices[-1]}
            frontend, workers = serve(stack, args, roles)
            apart = measure(frontend, prompts)
            fetched = workers["decode"].figure("remote_prefills_total")
    if alone.texts != apart.texts:
        raise SystemExit("malfunction: one worker and two give different answers")
    if fetched < len(prompts):
        raise SystemExit(f"malfunction: only {fetched:.0f} prompts came from the prefill worker")
    print(f"{args.prompts} prompts of {TOKENS} tokens{'':22}{'p50':>12}{'best':>13}")
    print(f"{'one worker, first token, computed':45}{ms(alone.computed)}")
    print(f"{'one worker, first token, kept':45}{ms(alone.kept)}")
    print(f"{'one worker, each further token':45}{ms(alone.step)}")
    print(f"{'two workers, first token, computed':45}{ms(apart.computed)}")
    print(f"{'two workers, first token, kept':45}{ms(apart.kept)}")
    ratio = statistics.median(alone.computed) / statistics.median(alone.kept)
    apart_ratio = statistics.median(apart.computed) / statistics.median(apart.kept)
    verdict = "reached" if min(ratio, apart_ratio) >= GOAL else "missed"
    print(f"\ncomputed / kept: {ratio:.1f}x and {apart_ratio:.1f}x; the goal of {GOAL:.0f}x is {verdict}\n")
    print(json.dumps({"bench": "gpu", "one_worker": round(ratio, 2), "two_workers": round(apart_ratio, 2)}))


if __name__ == "__main__":
    main()
