"""Builds all training sets: generates, augments, tokenises and hashes in parallel processes.

Everything is seeded, so the same data directory and seed give the same sets on any machine with the
same number of jobs (the job list does not depend on the number of processes).
"""

import multiprocessing
import os
import random
import re
from pathlib import Path

import numpy as np

import augment_domain
import augment_jailbreak
import augment_pairs
import augment_pii
import domain_world
import lexicon
import ngram
from data import corpus_documents, read_rows, train_rows, valid_rows
from labels import DOMAIN_ID, PII_ID, PII_TYPES
from packed import Packed
from tokenizer import encode, load_tokenizer

LIMIT = {"pool": 256, "jailbreak": 512, "long": 2048, "pii": 192, "pairs": 64, "corpus": 256}
SHARED = {}


def scope_key(scope):
    return "ALL" if scope == "ALL" else ",".join(sorted(scope))


def tag_tokens(spans, token_spans):
    """BIO label ids per token; -1 for tokens without text."""
    tags = np.zeros(len(token_spans), dtype=np.int8)
    tags[token_spans[:, 0] >= token_spans[:, 1]] = -1
    for start, end, kind in sorted(spans):
        inside = np.flatnonzero((token_spans[:, 0] < end) & (token_spans[:, 1] > start))
        inside = inside[(tags[inside] == 0)]
        if len(inside):
            tags[inside] = PII_ID["I-" + kind]
            tags[inside[0]] = PII_ID["B-" + kind]
    return tags


def sentences(text, rng):
    """Snippets of one to three sentences from a document."""
    parts = [s for s in re.split(r"(?<=[.!?])\s+|\n+", text) if 25 < len(s) < 500]
    out, i = [], 0
    while i < len(parts):
        k = rng.choice([1, 1, 1, 2, 3])
        out.append(" ".join(parts[i:i + k])[:700])
        i += k
    return out


def plain_snippets(documents, rng, count):
    """Lower-case word windows without names or numbers."""
    out = []
    for d in documents:
        out += re.findall(r"(?<![A-Za-z'-])(?:[a-z']+,? ){3,14}[a-z]+(?![A-Za-z'-])", d[:6000])[:40]
    return rng.sample(out, min(len(out), count))


FRAMES = ["what is {}", "what is a {}?", "what are {}", "how does {} work", "why is {} so {}", "my {} is {}", "how do i {} a {}", "how do I {}?", "explain {}", "{} vs {}", "{}", "is {} {}?", "why do {} {}", "can i {} my {}",
          "tell me about {}", "the {} {} {}", "{} and {}", "do {} {}?", "what does {} mean", "how much {} for a {}", "which {} has {}", "{} {} help", "should I {} the {}", "does {} cause {}", "who is {}", "best {} for {}", "difference between {} and {}",
          "i want to {} {}", "what happens when {} {}", "how long does {} take", "is it ok to {} {}", "where can I find {}", "give me an example of {}", "a {} {} problem", "why did {} {}"]


def lexical(vocab, documents, questions, rng, count):
    """Short questions around single words and phrases, for the teacher to label: the student learns what words mean."""
    words = [w for w in sorted(vocab) if len(w) > 2 and w.isascii() and w.isalpha()]
    phrases = []
    for d in documents:
        phrases += re.findall(r"(?<![A-Za-z])[a-z]{4,} [a-z]{4,}(?![A-Za-z])", d[:8000])[:25]
    out = []
    for _ in range(count):
        fill = lambda m: rng.choice(words) if rng.random() < 0.55 else rng.choice(phrases) if rng.random() < 0.6 else " ".join(rng.choice(questions).split()[-rng.randint(1, 4):]).strip("?.! ")[:60]
        text = re.sub(r"\{\}", fill, rng.choice(FRAMES))
        out.append(text + rng.choice(["", "", "?"]) if rng.random() < 0.7 else text.capitalize() + "?")
    return out


def hold_out_templates(rows, seed, share=8):
    """(train, calibration) split of PII rows: whole templates are held out, and a part of the rows without one."""
    rng = random.Random(seed)
    names = sorted({t for r in rows for t in r["template"].split("+") if t})
    held = set(rng.sample(names, len(names) // share))
    cal = [bool(held & set(r["template"].split("+"))) if r["template"] else rng.random() < 0.05 for r in rows]
    rest, kept = [r for r, c in zip(rows, cal) if not c], [r for r, c in zip(rows, cal) if c]
    return rest, rng.sample(kept, min(len(kept), 2000))


def hold_out(rows, share, seed):
    """(train, calibration) split of training rows; the calibration part is never trained on."""
    rng = random.Random(seed)
    order = list(range(len(rows)))
    rng.shuffle(order)
    k = int(len(rows) * share)
    return [rows[i] for i in order[k:]], [rows[i] for i in order[:k]]


def hashed(texts):
    """n-gram features of many texts as flat arrays (ids, values, counts)."""
    parts = [ngram.features(SHARED["tok"], t[:20000]) for t in texts]
    return (np.concatenate([p[0] for p in parts]).astype(np.int32), np.concatenate([p[1] for p in parts]).astype(np.float16),
            np.array([len(p[0]) for p in parts], dtype=np.int64))


def job_jailbreak(seed, counts):
    """A share of the jailbreak set."""
    s = SHARED
    rows = augment_jailbreak.generate(seed, s["jail_pos"], s["jail_neg"], s["benign_pool"], s["passages"], counts, s["avoid"], s["interface"])
    texts = [r["text"] for r in rows]
    enc = encode(s["tok"], texts)
    label = np.array([r["label"] for r in rows], dtype=np.int64)
    # A text that would be cut goes to the long set: its attack may stand in the part that is cut off.
    long = np.array([r["kind"] == "long" or len(e[0]) > LIMIT["jailbreak"] - 2 for r, e in zip(rows, enc)])
    pick = lambda m: [e for e, ok in zip(enc, m) if ok]
    short = np.flatnonzero(~long)
    return {"short": Packed.build(pick(~long), LIMIT["jailbreak"], {"label": label[~long]}),
            "long": Packed.build(pick(long), LIMIT["long"], {"label": label[long]}),
            "hash": hashed([texts[i] for i in short])}


def job_pii(seed, count, rows):
    """Generated PII texts plus given rows (text, spans, scope, origin)."""
    g = augment_jailbreak.JailbreakGenerator(seed, SHARED["benign_pool"], SHARED["passages"], interface=SHARED["interface"])
    made = augment_pii.generate(SHARED["lexicon"], seed, count, SHARED["plain"], g.foreign_sentence)
    all_rows = [(r["text"], r["spans"], 0, 0) for r in made] + rows
    enc = encode(SHARED["tok"], [r[0] for r in all_rows])
    tags = [tag_tokens(r[1], e[1]) for r, e in zip(all_rows, enc)]
    return Packed.build(enc, LIMIT["pii"], {k: np.array([r[i] for r in all_rows], dtype=np.int64) for k, i in (("scope", 2), ("origin", 3))}, tags)


def job_pairs(seed, count, rows):
    """Question pairs: two aligned sets, and both again for the teacher."""
    pairs = augment_pairs.generate(seed, SHARED["questions"], count) + rows
    label = np.array([r["label"] for r in pairs], dtype=np.int64)
    a, b = (encode(SHARED["tok"], [r[k] for r in pairs]) for k in ("text_a", "text_b"))
    return (Packed.build(a, LIMIT["pairs"], {"label": label}), Packed.build(b, LIMIT["pairs"]),
            *(teacher_pack(SHARED["teacher_tok"], [r[k] for r in pairs], LIMIT["pairs"]) for k in ("text_a", "text_b")))


def job_corpus(documents):
    """Corpus documents cut into masked-language-model sequences."""
    enc, pieces = encode(SHARED["tok"], documents), []
    step = LIMIT["corpus"] - 2
    for ids, spans, cases in enc:
        for a in range(0, len(ids), step):
            if len(ids) - a > 16:
                pieces.append((ids[a:a + step], None, cases[a:a + step]))
    return Packed.build(pieces, LIMIT["corpus"]) if pieces else None


def job_pool(texts, labels, with_hash):
    """Short texts for the domain head and distillation; label -1 = unlabelled."""
    enc = encode(SHARED["tok"], texts)
    return (Packed.build(enc, LIMIT["pool"], {"label": np.array(labels, dtype=np.int64)}), texts, hashed(texts) if with_hash else None,
            teacher_pack(SHARED["teacher_tok"], texts))


def teacher_pack(tok, texts, limit=160):
    """Teacher tokens of the texts, [CLS] and [SEP] included."""
    tok.enable_truncation(limit)
    ids = [np.array(e.ids, dtype=np.int32) for e in tok.encode_batch([t[:limit * 8] for t in texts])]
    flat = np.concatenate(ids)
    return Packed(flat, np.zeros(len(flat), np.uint8), np.array([len(i) for i in ids], dtype=np.int64))


def _run(job):
    kind, args = job
    return kind, globals()["job_" + kind](*args)


def chunks(items, n):
    """Split a list into pieces of n."""
    return [items[i:i + n] for i in range(0, len(items), n)]


class Sets:
    """All prepared sets; see `build`."""


def extra_rows(path):
    """Rows of a file made by `ner_corpus.py` or `glosses.py`; none when it is absent."""
    return read_rows(path) if Path(path).exists() else []


def build(data_dir, tokenizer_path, extra_dir, teacher_tok, seed, scale, processes, avoid=()):
    """Generate and tokenise everything. `extra_dir` holds lexicon.json.gz (made when absent) and, where they were made, ner.jsonl.gz,
    glosses.jsonl.gz and interface.jsonl.gz; `scale` shrinks the sets for smoke runs; no generated question or prompt is close to a text in `avoid`."""
    lexicon_path = Path(extra_dir, "lexicon.json.gz")
    if not lexicon_path.exists():
        lexicon.write(lexicon_path)
    sets, rng = Sets(), random.Random(seed)
    tok = load_tokenizer(tokenizer_path)
    n = lambda x: max(8, int(x * scale))

    category, sets.category_cal = hold_out(train_rows(data_dir, "category"), 0.06, seed)
    jail, sets.jail_cal = hold_out(train_rows(data_dir, "jailbreak"), 0.08, seed)
    pii, sets.pii_cal = hold_out_templates(train_rows(data_dir, "pii"), seed)
    pairs, sets.pairs_cal = hold_out(train_rows(data_dir, "cache_pairs"), 0.06, seed)
    everyday = augment_domain.generate(seed, n(7500), avoid)
    sets.everyday_cal = augment_domain.generate(seed + 1, n(70), avoid, held_out=True)
    documents = list(corpus_documents(data_dir))
    if scale < 1:
        documents = documents[::int(1 / scale)]
    questions = [r["text_a"] for r in pairs] + [r["text"] for r in jail if r["kind"] == "benign_question"]
    questions += [r["text"] for r in rng.sample(everyday, min(len(everyday), 16000))]
    snippets = [s for d in documents for s in sentences(d, rng)]
    snippets = rng.sample(snippets, min(len(snippets), n(190000)))
    glosses = extra_rows(Path(extra_dir, "glosses.jsonl.gz"))
    frames = lexical(teacher_tok.get_vocab(), documents, [r["text"] for r in category + jail], rng, n(70000))
    plain = plain_snippets(documents, rng, 40000)

    SHARED.update(
        tok=tok, teacher_tok=teacher_tok, plain=plain, lexicon=lexicon.load(lexicon_path), questions=questions,
        jail_pos=[r["text"] for r in jail if r["label"] == 1], jail_neg=[r["text"] for r in jail if r["label"] == 0],
        benign_pool=[r["text"] for r in rng.sample(everyday, min(len(everyday), 20000))] + [r["text"] for r in category if len(r["text"]) < 1500],
        passages=[d for d in documents if len(d) > 300], avoid=list(avoid), interface=[r["text"] for r in extra_rows(Path(extra_dir, "interface.jsonl.gz"))])

    scopes = {"ALL": 0}
    for r in pii:
        scopes.setdefault(scope_key(r["scope"]), len(scopes))
    names = extra_rows(Path(extra_dir, "ner.jsonl.gz"))
    for r in names[:1]:
        scopes.setdefault(scope_key(r["scope"]), len(scopes))
    sets.scopes = list(scopes)
    pii_rows = [(r["text"], [(s["start"], s["end"], s["label"]) for s in r["spans"]], scopes[scope_key(r["scope"])], 1 if r["scope"] == "ALL" else 2 if len(r["scope"]) < 5 else 3) for r in pii]
    pii_rows += [(r["text"], [tuple(x) for x in r["spans"]], scopes[scope_key(r["scope"])], 4) for r in names]
    rng.shuffle(pii_rows)

    jobs = []
    per = {"train_pos": 1300, "train_neg": 1450, "attack": 400, "indirect": 200, "hard": 450, "pool": 550, "document": 250, "world_attack": 300, "world_benign": 620,
           "attack_more": 360, "hard_more": 520, "carrier_attack": 400, "carrier_benign": 600, "long": 18}
    jobs += [("jailbreak", (seed * 1000 + i, {k: max(1, int(c * min(1, scale * 4))) for k, c in per.items()})) for i in range(40 if scale >= 1 else 2)]
    pii_parts = chunks(pii_rows, 1300) if scale >= 1 else [pii_rows[:400]]
    jobs += [("pii", (seed * 2000 + i, n(4000) if scale >= 1 else 100, part)) for i, part in enumerate(pii_parts)]
    pair_rows = [{k: r[k] for k in ("text_a", "text_b", "label")} for r in pairs]
    jobs += [("pairs", (seed * 3000 + i, n(14000), pair_rows[i::8])) for i in range(8 if scale >= 1 else 1)]
    jobs += [("corpus", (part,)) for part in chunks(documents, 60)]
    labelled = [(r["text"], DOMAIN_ID[r["label"]], 1) for r in category] + [(r["text"], DOMAIN_ID[r["label"]], 2) for r in everyday]
    near = set(avoid)
    labelled += [(t, DOMAIN_ID[d], 3) for t, d in domain_world.rows() if t not in near] + [(r["text"], DOMAIN_ID[r["label"]], 3) for r in glosses if "label" in r]
    if scale < 1:
        labelled = rng.sample(labelled, 60)
    rng.shuffle(labelled)
    jobs += [("pool", ([x[0] for x in part], [x[1] + 100 * x[2] for x in part], True)) for part in chunks(labelled, 2500)]
    unlabelled = snippets + frames + [r["text"] for r in glosses if "label" not in r] + [r["text_a"] for r in pairs] + [r["text_b"] for r in pairs] + [r["text"][:600] for r in jail]
    if scale < 1:
        unlabelled = [t[:120] for t in rng.sample(unlabelled, 20)]
    jobs += [("pool", (part, [-1] * len(part), False)) for part in chunks(unlabelled, 4000)]

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    got = {}
    if processes > 1:
        with multiprocessing.get_context("fork").Pool(processes) as pool:
            for kind, result in pool.imap_unordered(_numbered, list(enumerate(jobs)), chunksize=1):
                got.setdefault(kind, []).append(result)
        got = {k: [r for _, r in sorted(v, key=lambda x: x[0])] for k, v in got.items()}
    else:
        for job in jobs:
            kind, result = _run(job)
            got.setdefault(kind, []).append(result)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"

    sets.jailbreak = Packed.join([r["short"] for r in got["jailbreak"]])
    sets.long = Packed.join([r["long"] for r in got["jailbreak"]])
    sets.pii = Packed.join(got["pii"])
    sets.pairs_a, sets.pairs_b, sets.teacher_a, sets.teacher_b = (Packed.join([r[i] for r in got["pairs"]]) for i in range(4))
    sets.corpus = Packed.join([r for r in got["corpus"] if r is not None])
    sets.pool = Packed.join([r[0] for r in got["pool"]])
    coded = sets.pool.extra["label"]
    sets.pool.extra = {"label": np.where(coded < 0, -1, coded % 100), "origin": np.where(coded < 0, 0, coded // 100)}
    sets.teacher_pool = Packed.join([r[3] for r in got["pool"]])
    sets.teacher_pool.extra = dict(sets.pool.extra)
    sets.pool_texts = [t for r in got["pool"] for t in r[1]]
    sets.jailbreak_hash = _join_hash([r["hash"] for r in got["jailbreak"]])
    sets.pool_hash = _join_hash([r[2] for r in got["pool"] if r[2] is not None])
    sets.tok = tok
    return sets


def _numbered(item):
    """Run job i and remember i, so that results keep their order."""
    i, job = item
    kind, result = _run(job)
    return kind, (i, result)


def _join_hash(parts):
    return tuple(np.concatenate([p[i] for p in parts]) for i in range(3))


def valid_sets(data_dir, everyday_path):
    """The validation rows used for the tables."""
    return {"category": valid_rows(data_dir, "category"), "jailbreak": valid_rows(data_dir, "jailbreak"), "pii": valid_rows(data_dir, "pii"),
            "cache_pairs": valid_rows(data_dir, "cache_pairs"), "everyday": read_rows(everyday_path) if Path(everyday_path).exists() else []}
