"""Plain English for the pretraining mix: public-domain books and CC-BY textbooks."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path

# Public domain (Standard Ebooks) and CC-BY-4.0 (OpenStax); the model card names them.
SOURCES = [
    "standardebooks-bertrand-russell-the-problems-of-philosophy",
    "standardebooks-charles-darwin-the-origin-of-species",
    "standardebooks-charles-dickens-bleak-house",
    "standardebooks-herman-melville-moby-dick",
    "standardebooks-jane-austen-pride-and-prejudice",
    "standardebooks-john-stuart-mill-on-liberty",
    "openstax-astronomy",
    "openstax-introduction-business",
    "openstax-introduction-philosophy",
    "openstax-introduction-political-science",
    "openstax-introduction-python-programming",
    "openstax-world-history",
]


def clean(text: str) -> str:
    """Straight quotes, single spaces, no empty lines: one style for the model to learn."""
    for curly, plain in (("“", '"'), ("”", '"'), ("‘", "'"), ("’", "'"), ("\u2060", ""), ("\u00a0", " ")):
        text = text.replace(curly, plain)
    text = re.sub(r"[ \t]+", " ", text)
    return re.sub(r"\n\s*\n+", "\n", text).strip()


def read_documents(directory: Path) -> list[str]:
    """Every document of every source that is present, in a fixed order."""
    documents = []
    for name in SOURCES:
        path = directory / f"{name}.jsonl.gz"
        if not path.exists():
            continue
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            documents += [clean(json.loads(line)["text"]) for line in lines]
    return [document for document in documents if len(document) > 400]


class Passages:
    """Draws passages of whole paragraphs, for pretraining and as long documents."""

    def __init__(self, documents: list[str]):
        self.paragraphs = [
            [p for p in document.split("\n") if 60 < len(p) < 1500 and p[0].isalpha() or p.startswith('"')]
            for document in documents
        ]
        self.paragraphs = [ps for ps in self.paragraphs if len(ps) > 3]

    def draw(self, rng: random.Random, characters: int) -> list[str]:
        """Consecutive paragraphs of one document, about `characters` long."""
        paragraphs = rng.choice(self.paragraphs)
        start = rng.randrange(len(paragraphs))
        out, size = [], 0
        for paragraph in paragraphs[start:]:
            out.append(paragraph)
            size += len(paragraph) + 1
            if size >= characters:
                break
        return out
