"""Short texts from WordNet 3.0 (Princeton licence; Debian package `wordnet-base`): definitions, example sentences, terms with a subject.

`python3 glosses.py WORDNET_DIR OUT.jsonl.gz` writes rows {text} for distillation and {text, label} for terms whose WordNet topic is one of our domains.
"""

import gzip
import json
import random
import re
import sys
from pathlib import Path

SUBJECTS = {
    "biology": "biology botany zoology genetics ecology taxonomy microbiology cytology embryology physiology", "business": "business commerce accounting finance banking investment insurance marketing",
    "chemistry": "chemistry biochemistry", "computer science": "computer_science computing programming computer", "economics": "economics", "engineering": "engineering electronics mechanics architecture metallurgy",
    "health": "medicine pathology surgery anatomy dentistry psychiatry pharmacology", "history": "history antiquity", "law": "law criminal_law jurisprudence", "math": "mathematics geometry statistics arithmetic algebra logic",
    "philosophy": "philosophy ethics", "physics": "physics optics astronomy acoustics nuclear_physics", "psychology": "psychology psychoanalysis", "other": "sport music film_making cooking card_game baseball football theater literature",
}
TOPIC = {name: d for d, names in SUBJECTS.items() for name in names.split()}
ASK = ["What is {}?", "what does {} mean", "define {}", "Explain {} to me", "{} meaning", "what's {}", "Tell me about {}.", "Can you explain what {} is?", "{}?", "I need to understand {}"]


def synsets(directory):
    """(words, topic or None, definition, examples) of every synset."""
    names, raw = {}, []
    for part in ("noun", "verb", "adj", "adv"):
        for line in Path(directory, "data." + part).read_text(encoding="latin-1").splitlines():
            if line.startswith("  ") or "|" not in line:
                continue
            head, gloss = line.split("|", 1)
            f = head.split()
            words = [f[4 + 2 * i] for i in range(int(f[3], 16))]
            names[(f[0], f[2].replace("s", "a"))] = words[0].lower()
            raw.append((part, words, re.findall(r";c (\d{8}) (\w)", head), gloss.strip()))
    for part, words, topics, gloss in raw:
        topic = next((TOPIC[n] for t in topics for n in [names.get((t[0], t[1]))] if n in TOPIC), None)
        definition = re.sub(r"^\([^)]*\)\s*", "", gloss.split(';')[0].split('"')[0].strip(" ;"))
        yield part, [re.sub(r"\(.*\)", "", w).replace("_", " ") for w in words], topic, definition, re.findall(r'"([^"]{12,200})"', gloss)


def main():
    rng, plain, labelled = random.Random(6), [], []
    for part, words, topic, definition, examples in synsets(sys.argv[1]):
        if len(definition) > 12:
            plain.append(definition if rng.random() < 0.5 else f"{words[0]}: {definition}" if rng.random() < 0.6 else rng.choice(ASK).format(words[0]))
        plain += examples
        if topic and part == "noun":
            for w in words[:2]:
                labelled.append({"text": rng.choice(ASK).format(w), "label": topic})
            labelled.append({"text": rng.choice([definition, f"What do you call {definition}?", f"{words[0]}: {definition}", f"Which word means: {definition}"]), "label": topic})
    plain = [{"text": t} for t in rng.sample(plain, 75000)]
    with open(sys.argv[2], "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as f:
        f.write("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in plain + labelled).encode())
    count = {}
    for r in labelled:
        count[r["label"]] = count.get(r["label"], 0) + 1
    print(len(plain), len(labelled), count)


if __name__ == "__main__":
    main()
