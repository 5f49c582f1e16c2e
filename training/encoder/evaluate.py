"""Predictions in batches and the metrics table over the validation sets.

`python3 evaluate.py MODEL_DIR --data DIR` evaluates a shipped directory on the CPU.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch

import metrics
import ngram
from fusion import Bags, Table
from infer import decode_pii
from jailbreak_words import BENIGN_SENTENCES
from labels import DOMAIN_ID, DOMAINS, PII_TYPES
from packed import Packed, ordered
from tokenizer import encode

STRUCTURED = ("US_SSN", "CREDIT_CARD", "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "IP_ADDRESS")


class Predictor:
    """Runs an Encoder and an n-gram table over texts (one window of at most 2,048 ids each)."""

    def __init__(self, net, table, tok, device):
        self.net, self.table, self.tok, self.device = net, table, tok, device

    def shift_other(self, shift):
        """Add to the table's bias of the `other` column."""
        with torch.no_grad():
            self.table.bias[DOMAIN_ID["other"]] += shift

    @torch.no_grad()
    def run(self, texts, want, tokens_per_batch=32768, limit=2048):
        """{name: array} for the wanted of domain, jailbreak (logits without table), embedding, pii (list), table."""
        self.net.eval()
        enc = encode(self.tok, texts)
        packed = Packed.build(enc, limit).to(self.device)
        out = {"enc": enc}
        if "domain" in want:
            out["domain"] = np.zeros((len(texts), len(DOMAINS)), np.float32)
        if "jailbreak" in want:
            out["jailbreak"] = np.zeros(len(texts), np.float32)
        if "embedding" in want:
            out["embedding"] = np.zeros((len(texts), self.net.config["tandem"]["embedding"]["dim"]), np.float32)
        if "pii" in want:
            out["pii"] = [None] * len(texts)
        size = max(8, tokens_per_batch // 256)
        for rows, width in ordered(packed, size):
            ids, cases, mask, _ = packed.batch(rows, width)
            h = self.net.hidden(ids, cases, mask)
            r = rows.cpu().numpy()
            if "domain" in want:
                out["domain"][r] = self.net.heads.domain(h, mask).float().cpu().numpy()
            if "jailbreak" in want:
                out["jailbreak"][r] = self.net.heads.jailbreak(h, mask)[:, 0].float().cpu().numpy()
            if "embedding" in want:
                out["embedding"][r] = self.net.embed(h, mask).float().cpu().numpy()
            if "pii" in want:
                p = self.net.heads.pii(h).float().softmax(-1).cpu().numpy()
                for k, i in enumerate(r):
                    out["pii"][i] = p[k, 1:1 + len(enc[i][0])]
        if "table" in want:
            parts = [ngram.features(self.tok, t) for t in texts]
            arrays = (np.concatenate([p[0] for p in parts]).astype(np.int32), np.concatenate([p[1] for p in parts]).astype(np.float32),
                      np.array([len(p[0]) for p in parts], dtype=np.int64))
            out["table"] = self.table.predict(Bags(arrays, self.device)).cpu().numpy()
        return out


def pii_spans(result, texts, tandem):
    """Decoded spans [(start, end, type)] per text."""
    t = tandem["pii"]
    out = []
    for text, (ids, spans, _), probs in zip(texts, result["enc"], result["pii"]):
        probs = probs if len(probs) == len(spans) else np.concatenate([probs, np.tile(np.eye(1, probs.shape[1]), (len(spans) - len(probs), 1))])
        out.append([(s["start"], s["end"], s["type"]) for s in decode_pii(text, spans, probs, t["bias"], t["thresholds"], t["trim"])])
    return out


def gold_spans(row):
    return [(s["start"], s["end"], s["label"]) if isinstance(s, dict) else tuple(s) for s in row["spans"]]


def fused(result, scalars):
    """(domain logits, jailbreak logits) with stacking scalars ((a, b), (a, b, c))."""
    d, j = scalars
    n = len(DOMAINS)
    return (d[0] * result["domain"] + d[1] * result["table"][:, :n] if "domain" in result else None,
            j[0] * result["jailbreak"] + j[1] * result["table"][:, n] + j[2] if "jailbreak" in result else None)


def evaluate(predictor, valid, scalars, tandem, baseline_pairs=None, suffixes=20):
    """All metrics on the validation sets as one dictionary."""
    m = {}
    rows = valid["category"]
    r = predictor.run([x["text"] for x in rows], ("domain", "table"))
    y = np.array([DOMAIN_ID[x["label"]] for x in rows])
    logits, _ = fused(r, scalars)
    m["domain_accuracy"] = float((logits.argmax(1) == y).mean())
    m["domain_macro_f1"] = metrics.macro_f1(logits.argmax(1), y, len(DOMAINS))
    m["domain_encoder_only"] = float((r["domain"].argmax(1) == y).mean())
    m["domain_ngram_only"] = float((r["table"][:, :len(DOMAINS)].argmax(1) == y).mean())
    m["domain_per_class"] = {d: round(float((logits.argmax(1)[y == i] == i).mean()), 3) for i, d in enumerate(DOMAINS)}
    if valid["everyday"]:
        r = predictor.run([x["text"] for x in valid["everyday"]], ("domain", "table"))
        y = np.array([DOMAIN_ID[x["label"]] for x in valid["everyday"]])
        logits, _ = fused(r, scalars)
        m["everyday_accuracy"] = float((logits.argmax(1) == y).mean())
        m["everyday_errors"] = [[x["text"], x["label"], DOMAINS[p]] for x, p, t in zip(valid["everyday"], logits.argmax(1), y) if p != t]
    rows = valid["jailbreak"]
    texts, y = [x["text"] for x in rows], np.array([x["label"] for x in rows])
    r = predictor.run(texts, ("jailbreak", "table"))
    _, score = fused(r, scalars)
    m["jailbreak_auroc"] = metrics.auroc(score, y)
    m["jailbreak_auroc_encoder"] = metrics.auroc(r["jailbreak"], y)
    m["jailbreak_auroc_ngram"] = metrics.auroc(r["table"][:, len(DOMAINS)], y)
    for f in (0.01, 0.02, 0.05):
        m[f"jailbreak_recall_at_{f:g}_fpr"] = metrics.recall_at_fpr(score, y, f)
    threshold = metrics.threshold_at_fpr(score, y, 0.02)
    operating = tandem["jailbreak"]["threshold"]
    operating = np.log(operating / (1 - operating))
    m["jailbreak_at_threshold"] = {"recall": float((score[y == 1] >= operating).mean()), "fpr": float((score[y == 0] >= operating).mean())}
    pos = [t for t, k in zip(texts, y) if k == 1]
    base = float((score[y == 1] >= threshold).mean())
    drops = []
    for sentence in BENIGN_SENTENCES[:suffixes]:
        _, s = fused(predictor.run([t + " " + sentence for t in pos], ("jailbreak", "table")), scalars)
        drops.append(base - float((s >= threshold).mean()))
    _, s = fused(predictor.run([t + " " + " ".join(BENIGN_SENTENCES[:20]) for t in pos], ("jailbreak", "table")), scalars)
    m["jailbreak_suffix_drop_max"], m["jailbreak_suffix_drop_mean"] = max(drops), float(np.mean(drops))
    m["jailbreak_suffix_drop_all20"] = base - float((s >= threshold).mean())
    m.update(evaluate_pii(predictor, valid["pii"], tandem))
    m.update(evaluate_pairs(predictor, valid["cache_pairs"]))
    if baseline_pairs is not None:
        m["cache_best_f1_minilm"], m["cache_auroc_minilm"] = baseline_pairs
    return m


def evaluate_pii(predictor, rows, tandem):
    """Strict span scores of the token head alone (without recognizers)."""
    texts = [x["text"] for x in rows]
    found = pii_spans(predictor.run(texts, ("pii",)), texts, tandem)
    gold = [gold_spans(x) for x in rows]
    out = {}
    count = metrics.span_f1(gold, found, [x["scope"] for x in rows], PII_TYPES)
    out["pii_f1"] = metrics.f1(*np.sum([count[t] for t in PII_TYPES], axis=0))
    out["pii_f1_per_type"] = {t: round(metrics.f1(*count[t]), 4) for t in PII_TYPES}
    out["pii_f1_structured"] = metrics.f1(*np.sum([count[t] for t in STRUCTURED], axis=0))
    for kind in ("held_out_template", "in_template", "real_text"):
        pick = [i for i, x in enumerate(rows) if x.get("valid_kind") == kind]
        if pick:
            c = metrics.span_f1([gold[i] for i in pick], [found[i] for i in pick], [rows[i]["scope"] for i in pick], PII_TYPES)
            out[f"pii_f1_{kind}"] = metrics.f1(*np.sum([c[t] for t in PII_TYPES], axis=0))
    negative = [i for i, x in enumerate(rows) if not x["spans"] and x["scope"] == "ALL"]
    if negative:
        out["pii_false_spans_per_100_negatives"] = 100 * sum(len(found[i]) for i in negative) / len(negative)
    return out


def evaluate_pairs(predictor, rows):
    """Cosine of the sentence embeddings on question pairs."""
    a = predictor.run([x["text_a"] for x in rows], ("embedding",))["embedding"]
    b = predictor.run([x["text_b"] for x in rows], ("embedding",))["embedding"]
    y, s = np.array([x["label"] for x in rows]), (a * b).sum(1)
    f, t = metrics.best_f1(s, y)
    return {"cache_best_f1": f, "cache_best_threshold": t, "cache_auroc": metrics.auroc(s, y)}


def load_predictor(directory, device="cpu"):
    """(Predictor, config) of a shipped directory; its scalars are folded, so use ((1, 1), (1, 1, 0))."""
    from export import read_tensors
    from model import Encoder, load_config
    from tokenizer import load_tokenizer
    config = load_config(Path(directory, "config.json"))
    tensors = read_tensors(Path(directory, "model.safetensors"))
    table = Table()
    with torch.no_grad():
        table.weight.copy_(tensors.pop("ngram.weight").float() * tensors.pop("ngram.scale"))
        table.bias.copy_(tensors.pop("ngram.bias"))
    net = Encoder(config)
    net.load_state_dict(tensors)
    return Predictor(net.eval().to(device), table.to(device), load_tokenizer(Path(directory, "tokenizer.json")), torch.device(device)), config


FOLDED = ((1, 1), (1, 1, 0))


if __name__ == "__main__":
    from prepare import valid_sets
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--everyday", default=str(Path(__file__).with_name("everyday.jsonl")))
    args = parser.parse_args()
    random.seed(0)
    predictor, config = load_predictor(args.model)
    print(json.dumps(evaluate(predictor, valid_sets(args.data, args.everyday), FOLDED, config["tandem"]), indent=1))
