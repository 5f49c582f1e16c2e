"""Reading the training data: corpus passages and the labelled JSON-lines files."""

import gzip
import json
from pathlib import Path

# Reference material of little use for everyday language is thinned out.
CORPUS_SHARE = {
    "ethereum-eips": 3, "python-peps": 3, "rust-rfcs": 3, "swift-evolution": 4, "helm-docs": 2,
    "opentelemetry-docs": 2, "prometheus-docs": 1,
}


def read_rows(path):
    """All rows of a .jsonl or .jsonl.gz file."""
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def corpus_documents(data_dir):
    """Texts of the corpus, thinned by CORPUS_SHARE, in file order."""
    for path in sorted(Path(data_dir, "corpus").glob("*.jsonl*")):
        step = 1 if ".thin." in path.name else CORPUS_SHARE.get(path.name.split(".")[0], 1)
        for i, row in enumerate(read_rows(path)):
            if i % step == 0:
                yield row["text"]


def _labelled(data_dir, name, part):
    """Path of a labelled file, compressed or not."""
    path = Path(data_dir, "train", f"{name}.{part}.jsonl.gz")
    return path if path.exists() else path.with_suffix("")


def train_rows(data_dir, name):
    """Rows of train/NAME.train.jsonl.gz."""
    return read_rows(_labelled(data_dir, name, "train"))


def valid_rows(data_dir, name):
    """Rows of train/NAME.valid.jsonl.gz."""
    return read_rows(_labelled(data_dir, name, "valid"))


def tokenizer_texts(data_dir):
    """Texts the tokenizer is trained on: every prompt three times, every corpus document once."""
    for name in ("category", "jailbreak", "pii", "cache_pairs"):
        for row in train_rows(data_dir, name):
            for key in ("text", "text_a", "text_b"):
                if key in row:
                    for _ in range(3):
                        yield row[key]
    yield from corpus_documents(data_dir)
