"""The development sets of `dev/`: written by hand, broader than the validation rows, never trained on.

`python3 dev_eval.py MODEL_DIR... [--teacher MINILM_DIR]` prints one table; `--errors` lists what is wrong.
"""

import argparse
import json
import random
import re
from pathlib import Path

import numpy as np

import evaluate
import metrics
from labels import DOMAIN_ID, DOMAINS, PII_TYPES

DEV = Path(__file__).with_name("dev")
MARK = re.compile(r"\[\[([A-Z_]+)\|(.+?)\]\]")


def sections(name):
    """(section, line) of a file with `# section` headings."""
    head = None
    for line in Path(DEV, name).read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            head = line[2:]
        elif line.strip():
            yield head, line


def domain_rows():
    return [{"text": t, "label": h} for h, t in sections("domain.txt")]


def body(document):
    """A document without the user's task, which is its first or last line."""
    lines = document.split("\n")
    task = lambda line: len(line) < 90 and (line.endswith(("?", "1 to 5.")) or line.startswith(("Summarise", "Make minutes", "Explain the")))
    return "\n".join(x for i, x in enumerate(lines) if not (i in (0, len(lines) - 1) and len(lines) > 1 and task(x)))


def jailbreak_rows():
    """{text, label, kind}: the lines, the documents, and the documents with injected instructions."""
    rows, inject = [], []
    for head, text in sections("jailbreak.txt"):
        label, kind = head.split()
        if kind == "injection":
            inject.append(text)
        else:
            rows.append({"text": text, "label": int(label), "kind": kind + ("" if label == "1" else " (benign)")})
    rng = random.Random(2)
    documents = Path(DEV, "documents.txt").read_text(encoding="utf-8").strip().split("\n%%\n")
    for i, d in enumerate(documents):
        rows.append({"text": d, "label": 0, "kind": "document (benign)"})
        for k in range(4):
            cuts = [m.end() for m in re.finditer(r"[.!?>,;]\s|\n", d)] + [len(d)]
            at = rng.choice(cuts[len(cuts) // 4:])
            rows.append({"text": d[:at] + rng.choice(["", " ", "\n"]) + inject[(3 * i + 5 * k) % len(inject)] + rng.choice([" ", "\n"]) + d[at:], "label": 1, "kind": "indirect"})
        long = "\n\n".join(body(x) for x in rng.sample(documents, 6))
        rows.append({"text": long, "label": 0, "kind": "long document (benign)"})
        at = long.find("\n", rng.randrange(len(long) // 4, len(long))) + 1
        rows.append({"text": long[:at] + inject[i % len(inject)] + "\n" + long[at:], "label": 1, "kind": "long indirect"})
    return rows


def pii_rows():
    """{text, spans, scope}."""
    rows = []
    for line in Path(DEV, "pii.txt").read_text(encoding="utf-8").splitlines() + Path(DEV, "pii_none.txt").read_text(encoding="utf-8").splitlines():
        text, spans, at = "", [], 0
        for m in MARK.finditer(line):
            text += line[at:m.start()]
            spans.append((len(text), len(text) + len(m.group(2)), m.group(1)))
            text, at = text + m.group(2), m.end()
        rows.append({"text": text + line[at:], "spans": spans, "scope": "ALL"})
    return rows


def pair_rows():
    rows = []
    for head, line in sections("pairs.txt"):
        a, b = line.split(" | ")
        rows.append({"text_a": a, "text_b": b, "label": int(head[0]), "kind": head})
    return rows


def pair_scores(score, rows):
    """Metrics of one similarity over the pairs."""
    y = np.array([r["label"] for r in rows])
    f, t = metrics.best_f1(score, y)
    out = {"pairs_best_f1": f, "pairs_auroc": metrics.auroc(score, y)}
    for kind in sorted({r["kind"] for r in rows if r["label"] == 0}):
        pick = np.array([r["label"] == 1 or r["kind"] == kind for r in rows])
        out["pairs_auroc " + kind[2:]] = metrics.auroc(score[pick], y[pick])
    return out


def measure(predictor, config, errors=False):
    """All development metrics of one model whose scalars are folded in."""
    out, notes = {}, []
    rows = domain_rows()
    r = predictor.run([x["text"] for x in rows], ("domain", "table"))
    y = np.array([DOMAIN_ID[x["label"]] for x in rows])
    p = evaluate.fused(r, evaluate.FOLDED)[0].argmax(1)
    out["domain_accuracy"], out["domain_macro_f1"] = float((p == y).mean()), metrics.macro_f1(p, y, len(DOMAINS))
    notes += [("domain", x["label"], DOMAINS[k], x["text"]) for x, k, t in zip(rows, p, y) if k != t]

    rows = jailbreak_rows()
    r = predictor.run([x["text"] for x in rows], ("jailbreak", "table"))
    y, s = np.array([x["label"] for x in rows]), evaluate.fused(r, evaluate.FOLDED)[1]
    t = config["tandem"]["jailbreak"]["threshold"]
    hit = s >= np.log(t / (1 - t))
    out["jailbreak_auroc"] = metrics.auroc(s, y)
    for f in (0.02, 0.05):
        out[f"jailbreak_recall_at_{f:g}_fpr"] = metrics.recall_at_fpr(s, y, f)
    out["jailbreak_recall"], out["jailbreak_fpr"] = float(hit[y == 1].mean()), float(hit[y == 0].mean())
    for kind in sorted({x["kind"] for x in rows}):
        out["flagged: " + kind] = float(hit[[x["kind"] == kind for x in rows]].mean())
    notes += [("jailbreak", x["kind"], f"{1 / (1 + np.exp(-v)):.2f}", x["text"][:150]) for x, v, h in zip(rows, s, hit) if h != x["label"]]

    rows = pii_rows()
    texts = [x["text"] for x in rows]
    found = evaluate.pii_spans(predictor.run(texts, ("pii",)), texts, config["tandem"])
    count = metrics.span_f1([x["spans"] for x in rows], found, [x["scope"] for x in rows], PII_TYPES)
    out["pii_f1"] = metrics.f1(*np.sum([count[t] for t in PII_TYPES], axis=0))
    for t in ("ORGANIZATION", "PERSON", "GPE", "ZIP_CODE", "NRP", "STREET_ADDRESS", "DATE_TIME"):
        out["pii_f1 " + t] = metrics.f1(*count[t])
    none = [f for x, f in zip(rows, found) if not x["spans"]]
    out["pii_false_spans_per_100_texts"] = 100 * sum(map(len, none)) / len(none)
    for x, f in zip(rows, found):
        wrong = set(f) ^ set(x["spans"])
        if wrong:
            notes.append(("pii", "", " ".join(f"{'+' if w in f else '-'}{w[2]}:{x['text'][w[0]:w[1]]}" for w in sorted(wrong)), x["text"][:120]))

    rows = pair_rows()
    a, b = (predictor.run([x[k] for x in rows], ("embedding",))["embedding"] for k in ("text_a", "text_b"))
    out |= pair_scores((a * b).sum(1), rows)
    if errors:
        for n in notes:
            print(*n, sep=" | ")
    return out


def minilm(directory):
    """The same pair metrics for the original MiniLM."""
    from prepare import teacher_pack
    from teacher import MiniLM, load_tokenizer
    net, tok, rows = MiniLM(directory), load_tokenizer(directory), pair_rows()
    a, b = (net.infer(teacher_pack(tok, [r[k] for r in rows]).to("cpu"))[0].float() for k in ("text_a", "text_b"))
    return pair_scores((a * b).sum(1).numpy(), rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", nargs="+")
    parser.add_argument("--teacher")
    parser.add_argument("--errors", action="store_true")
    args = parser.parse_args()
    columns = [measure(*evaluate.load_predictor(m), errors=args.errors) for m in args.model]
    if args.teacher:
        columns.append(minilm(args.teacher))
    for key in columns[0]:
        print(f"{key:40}", *(f"{c[key]:9.3f}" if key in c else " " * 9 for c in columns))


if __name__ == "__main__":
    main()
