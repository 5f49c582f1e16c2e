"""Train tandem-nano-encoder with one command:

    python3 training/encoder/train.py --data ../shared/data --teacher MINILM_DIR --out OUT

The stages share a wall-clock budget and shrink with it. OUT receives model.safetensors, config.json,
tokenizer.json, metrics.json and train.log; a first complete model is there after 60 % of fine-tuning.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch

import dev_eval
import evaluate
import fusion
import metrics
import ngram
import prepare
import stages
from data import read_rows
from export import read_tensors, write_config, write_tensors
from infer import TRIM
from labels import DOMAIN_ID, DOMAINS, PII_LABELS, PII_TYPES
from model import Encoder, base_config
from teacher import MiniLM, finetune as finetune_teacher, load_tokenizer as load_teacher_tokenizer

SIZES = {"corpus": 256, "pool": 640, "jailbreak": 320, "long": 20, "pii": 512, "pairs": 512, "pair_width": 40}
SMOKE = {"corpus": 8, "pool": 16, "jailbreak": 8, "long": 2, "pii": 16, "pairs": 16, "pair_width": 40}


class Log:
    """Progress lines with seconds since the start, on stdout and in a file."""

    def __init__(self, path):
        self.start, self.file = time.time(), open(path, "w")

    def __call__(self, text):
        line = f"[{time.time() - self.start:6.1f}s] {text}"
        print(line, flush=True)
        self.file.write(line + "\n")
        self.file.flush()


def calibration_texts(sets, seed):
    """Held-out jailbreak rows, plain and augmented: (texts, labels, is_plain)."""
    import augment_jailbreak
    g = augment_jailbreak.JailbreakGenerator(seed, prepare.SHARED["benign_pool"], prepare.SHARED["passages"])
    texts, labels, plain = [], [], []
    for row in sets.jail_cal:
        for k in range(2):
            texts.append(row["text"] if k == 0 else g.vary(row["text"], 0.8, 0.3))
            labels.append(row["label"])
            plain.append(k == 0)
    return texts, np.array(labels), np.array(plain)


def calibrate(predictor, sets, seed):
    """Stacking scalars, the jailbreak threshold and the PII thresholds, all on held-out training rows; the table keeps the shift of `other`."""
    n, (plain, everyday) = len(sets.category_cal), (sets.category_cal, sets.everyday_cal)
    r = predictor.run([x["text"] for x in plain + everyday], ("domain", "table"))
    y = np.array([DOMAIN_ID[x["label"]] for x in plain + everyday])
    domain = fusion.stack_domain(r["domain"], r["table"][:, :len(DOMAINS)], y)
    logits, _ = evaluate.fused(r, (domain, (1, 1, 0)))
    shift = fusion.other_offset(logits[:n], y[:n], logits[n:], y[n:])
    predictor.shift_other(shift / max(domain[1], 1e-3))
    texts, labels, plain = calibration_texts(sets, seed + 5)
    r = predictor.run(texts, ("jailbreak", "table"))
    jail = fusion.stack_jailbreak(r["jailbreak"], r["table"][:, len(DOMAINS)], labels)
    _, score = evaluate.fused(r, (domain, jail))
    threshold = metrics.threshold_at_fpr(score[plain], labels[plain], 0.015)
    threshold = float(np.clip(1 / (1 + np.exp(-threshold)), 0.05, 0.95))
    return (domain, jail), threshold, calibrate_pii(predictor, sets)


def calibrate_pii(predictor, sets):
    """(bias, per-type thresholds) with the best strict F1 on held-out templates and texts, counting false spans in texts without PII twice."""
    rows = sets.pii_cal
    clean = np.array([not x["spans"] for x in rows])
    texts, gold = [x["text"] for x in rows], [evaluate.gold_spans(x) for x in rows]
    r = predictor.run(texts, ("pii",))
    scopes = [x["scope"] for x in rows]

    def count(bias, thresholds):
        found = evaluate.pii_spans(r, texts, {"pii": {"bias": bias, "thresholds": thresholds, "trim": TRIM}})
        c = metrics.span_f1(gold, found, scopes, PII_TYPES)
        for i in np.flatnonzero(clean):
            for _, _, k in found[i]:
                if scopes[i] == "ALL" or k in scopes[i]:
                    c[k][1] += 2
        return c
    total = lambda c: metrics.f1(*np.sum([c[t] for t in PII_TYPES], axis=0))
    flat = lambda x: {t: x for t in PII_TYPES}
    bias = max((0.7, 1.0, 1.5, 2.2), key=lambda b: total(count(b, flat(0.5))))
    levels = {x: count(bias, flat(x)) for x in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97)}
    # Names have no form of their own: a high level fitted to a few templates would lose them elsewhere.
    highest = lambda t: 0.8 if t in ("PERSON", "ORGANIZATION", "GPE", "NRP", "STREET_ADDRESS") else 1.0
    best = {t: max((x for x in levels if x <= highest(t)), key=lambda x: (metrics.f1(*levels[x][t]), -abs(x - 0.5))) for t in PII_TYPES}
    return bias, best


def config_for(vocab, threshold, pii, cache_threshold):
    """config.json."""
    c = base_config(vocab)
    c["tandem"].update(
        name="tandem-nano-encoder", window={"size": 256, "stride": 192},
        embedding={"dim": 384, "cache_threshold": round(cache_threshold, 4)}, domain={"labels": DOMAINS},
        jailbreak={"labels": ["benign", "jailbreak"], "threshold": round(threshold, 4)},
        pii={"labels": PII_LABELS, "bias": pii[0], "thresholds": pii[1], "trim": TRIM},
        ngram={"buckets": ngram.BUCKETS, "columns": ngram.COLUMNS, "max_bytes": ngram.MAX_BYTES})
    return c


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--out", required=True)
    parser.add_argument("--teacher", required=True, help="directory of all-MiniLM-L6-v2 (model.safetensors, config.json, tokenizer.json)")
    parser.add_argument("--tokenizer", help="tokenizer.json; trained from the data when absent")
    parser.add_argument("--extra", help="directory with lexicon.json.gz (lexicon.py; made when absent), ner.jsonl.gz (ner_corpus.py), glosses.jsonl.gz (glosses.py), interface.jsonl.gz (interface_texts.py); by default OUT")
    parser.add_argument("--init", help="model.safetensors of an earlier run to start from; pretraining then is short")
    parser.add_argument("--budget-seconds", type=float, default=900)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="tiny sets and steps, to test the pipeline")
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    log = Log(out / "train.log")
    begin, budget = time.time(), args.budget_seconds
    sizes = SMOKE if args.smoke else SIZES
    tokenizer = args.tokenizer or str(out / "tokenizer.json")
    if not Path(tokenizer).exists():
        from data import tokenizer_texts
        from tokenizer import train_tokenizer
        train_tokenizer(tokenizer_texts(args.data), 32000).save(tokenizer, pretty=False)
        log("tokenizer trained")
    if Path(tokenizer).resolve() != (out / "tokenizer.json").resolve():
        shutil.copy(tokenizer, out / "tokenizer.json")
    valid = prepare.valid_sets(args.data, Path(__file__).with_name("everyday.jsonl"))
    avoid = [x["text"] for x in valid["everyday"] + read_rows(Path(__file__).with_name("everyday_fresh.jsonl")) + dev_eval.domain_rows() + dev_eval.jailbreak_rows()]
    if args.smoke:
        valid = {k: v[::60] for k, v in valid.items()}
    sets = prepare.build(args.data, tokenizer, args.extra or str(out),
                         load_teacher_tokenizer(args.teacher), args.seed, 0.01 if args.smoke else 1, args.processes,
                         avoid)
    if args.smoke:
        sets.category_cal, sets.everyday_cal, sets.jail_cal, sets.pii_cal, sets.pairs_cal = (
            x[::40] for x in (sets.category_cal, sets.everyday_cal, sets.jail_cal, sets.pii_cal, sets.pairs_cal))
    log(f"sets: pool {len(sets.pool)} jailbreak {len(sets.jailbreak)} long {len(sets.long)} pii {len(sets.pii)} pairs {len(sets.pairs_a)} "
        f"corpus {len(sets.corpus)} ({sets.corpus.lengths.sum() / 1e6:.1f} M tokens)")

    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    for s in (sets.corpus, sets.pool, sets.jailbreak, sets.long, sets.pii, sets.pairs_a, sets.pairs_b, sets.teacher_a, sets.teacher_b):
        s.to(device)
    everyday = {x["text"].lower().strip(" ?.!") for x in valid["everyday"]}
    log(f"everyday questions also in the training pool: {sum(t.lower().strip(' ?.!') in everyday for t in sets.pool_texts)}")
    final = begin + budget - (34 if not args.smoke else 5)

    teacher = MiniLM(args.teacher).to(device)
    t_pool, t_tok = sets.teacher_pool.to(device), load_teacher_tokenizer(args.teacher)
    emb_t = teacher.infer(t_pool)[0]
    pair_t = (teacher.infer(sets.teacher_a)[0].float() * teacher.infer(sets.teacher_b)[0].float()).sum(1)
    baseline = minilm_pairs(teacher, t_tok, valid["cache_pairs"], device)
    log(f"teacher embeddings ready; MiniLM cache best F1 {baseline[0]:.4f}")
    left = final - time.time()
    finetune_teacher(teacher, t_pool, time.time() + 0.09 * left, log, size=384 if not args.smoke else 8)
    dom_t = teacher.infer(t_pool)[1]
    log(f"fine-tuned teacher: domain accuracy on valid {teacher_valid(teacher, t_tok, valid, device):.4f}")
    del teacher, t_pool

    pool_bags, jail_bags = fusion.Bags(sets.pool_hash, device), fusion.Bags(sets.jailbreak_hash, device)
    origin = sets.pool.extra["origin"][:len(pool_bags)].cpu().numpy()
    table = fusion.train_table(pool_bags, sets.pool.extra["label"][:len(pool_bags)], np.where(origin == 1, 4.0, np.where(origin == 2, 0.6, 0.8)), jail_bags,
                               sets.jailbreak.extra["label"], time.time() + 0.05 * (final - time.time()), log, 20 if args.smoke else 2500)
    del pool_bags, jail_bags
    log("n-gram table ready")

    net = Encoder(base_config(sets.tok.get_vocab_size()), dropout=0.1).to(device)
    trunk = sum(p.numel() for n, p in net.named_parameters() if n.startswith("model.layers"))
    log(f"encoder: {trunk / 1e6:.3f} M trunk parameters")
    left = final - time.time()
    if args.init:
        state = {k: x for k, x in read_tensors(args.init).items() if not k.startswith("ngram.")}
        net.load_state_dict(state)
        log("weights of the earlier run loaded")
    stages.pretrain(net, sets, emb_t, time.time() + (0.10 if args.init else 0.33) * left, log, sizes, peak=1.2e-3 if args.init else 2.5e-3)

    def finish(state, quick):
        plain = Encoder(net.config).to(device)
        plain.load_state_dict(state)
        predictor = evaluate.Predictor(plain, table, sets.tok, device)
        scalars, threshold, pii = calibrate(predictor, sets, args.seed)
        cache = evaluate.evaluate_pairs(predictor, sets.pairs_cal)
        config = config_for(sets.tok.get_vocab_size(), threshold, pii, cache["cache_best_threshold"])
        write_tensors(out / "model.safetensors", *fusion.folded(plain, table, *scalars))
        write_config(out / "config.json", config)
        log(f"exported; stacking {scalars} jailbreak threshold {threshold:.3f} pii bias {pii[0]}")
        if not quick:
            m = evaluate.evaluate(predictor, valid, scalars, config["tandem"], baseline, 20 if not args.smoke else 2)
            m["stacking"] = scalars
            m["dev"] = dev_eval.measure(*evaluate.load_predictor(out, device))
            m["seconds"] = round(time.time() - begin, 1)
            (out / "metrics.json").write_text(json.dumps(m, indent=1))
            log(json.dumps(m))

    state = stages.finetune(net, sets, (emb_t, dom_t, pair_t), final, log, sizes, lambda s: finish(s, True))
    finish(state, False)
    log("done")


def minilm_pairs(teacher, tok, rows, device):
    """(best F1, AUROC) of the original MiniLM on question pairs."""
    a, b = (teacher.infer(prepare.teacher_pack(tok, [r[k] for r in rows]).to(device))[0].float() for k in ("text_a", "text_b"))
    score, y = (a * b).sum(1).cpu().numpy(), np.array([r["label"] for r in rows])
    return metrics.best_f1(score, y)[0], metrics.auroc(score, y)


def teacher_valid(teacher, tok, valid, device):
    """Domain accuracy of the fine-tuned teacher, for comparison."""
    logits = teacher.infer(prepare.teacher_pack(tok, [r["text"] for r in valid["category"]]).to(device))[1]
    y = np.array([DOMAIN_ID[r["label"]] for r in valid["category"]])
    return float((logits.float().argmax(1).cpu().numpy() == y).mean())


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
