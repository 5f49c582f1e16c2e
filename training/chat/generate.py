"""Writes the training text: deterministic shards of tokenized conversations.

Shard `i` depends on `i` alone, so any number of processes gives the same data.
Run as a script to read samples: `python3 generate.py --show 20`.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from chats import Chat, chat_sample, plain_sample
from corpus import Passages, read_documents
from tokenizer import TURN_END, TURN_START

SHARD_SAMPLES = 8000
MAX_TOKENS = 4096
END_OF_TEXT_ID, TURN_START_ID, TURN_END_ID = 0, 1, 2


@dataclass
class Sample:
    """Token ids and the weight of each token as a target."""

    ids: np.ndarray
    weights: np.ndarray


def render(chat: Chat) -> str:
    """The text that the chat template gives for these messages."""
    return "".join(f"{TURN_START}{m['role']}\n{m['content'].strip()}{TURN_END}\n" for m in chat)


class Shards:
    """Makes shards; one instance per process."""

    def __init__(self, tokenizer_path: Path, corpus: Path | None):
        self.tokenizer = Tokenizer.from_file(str(tokenizer_path))
        documents = read_documents(corpus) if corpus else []
        self.passages = Passages(documents) if documents else None
        self.assistant = self.tokenizer.encode("assistant\n").ids

    def chat_weights(self, ids: list[int]) -> np.ndarray:
        """1 for the tokens of assistant turns, their end included."""
        weights = np.zeros(len(ids), dtype=np.float32)
        header = len(self.assistant)
        start = 0
        while True:
            try:
                start = ids.index(TURN_START_ID, start)
            except ValueError:
                return weights
            body = start + 1 + header
            if ids[start + 1:body] == self.assistant:
                end = ids.index(TURN_END_ID, body)
                weights[body:end + 1] = 1.0
            start += 1

    def make(self, index: int, count: int = SHARD_SAMPLES) -> list[Sample]:
        """The samples of shard `index`."""
        rng = random.Random(1_000_003 * (index + 1))
        texts, kinds = [], []
        for _ in range(count):
            if rng.random() < 0.03:
                texts.append(plain_sample(rng))
                kinds.append(False)
            else:
                texts.append(render(chat_sample(rng, self.passages)))
                kinds.append(True)
        samples = []
        for encoding, is_chat in zip(self.tokenizer.encode_batch(texts), kinds):
            ids = encoding.ids
            if is_chat:
                if len(ids) > MAX_TOKENS:
                    continue
                weights = self.chat_weights(ids)
            else:
                ids = ids[:MAX_TOKENS - 1] + [END_OF_TEXT_ID]
                weights = np.full(len(ids), 0.5, dtype=np.float32)
            samples.append(Sample(np.array(ids, dtype=np.uint16), weights))
        return samples

    def corpus_tokens(self, documents: list[str]) -> np.ndarray:
        """The plain English as one row of ids, documents separated by the end token."""
        out = []
        for encoding in self.tokenizer.encode_batch(documents):
            out.append(np.array(encoding.ids + [END_OF_TEXT_ID], dtype=np.uint16))
        return np.concatenate(out)


def main() -> None:
    """Print samples of the mix."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", type=int, default=20, help="how many samples to print")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of the plain English corpus")
    args = parser.parse_args()
    passages = Passages(read_documents(args.data)) if args.data else None
    rng = random.Random(args.seed)
    for _ in range(args.show):
        print(render(chat_sample(rng, passages)), end="\n" + "-" * 60 + "\n")


if __name__ == "__main__":
    main()
