"""Metrics without dependencies beyond numpy."""

import numpy as np


def auroc(score, label):
    """Area under the ROC curve, ties counted half."""
    score, label = np.asarray(score, float), np.asarray(label)
    order = np.argsort(score, kind="stable")
    ranks = np.empty(len(score))
    _, inverse, counts = np.unique(score[order], return_inverse=True, return_counts=True)
    end = np.cumsum(counts)
    ranks[order] = (end - (counts - 1) / 2)[inverse]
    pos = label == 1
    p, n = pos.sum(), (~pos).sum()
    return float((ranks[pos].sum() - p * (p + 1) / 2) / max(1, p * n))


def threshold_at_fpr(score, label, fpr):
    """Smallest threshold with at most `fpr` of the negatives at or above it."""
    neg = np.sort(np.asarray(score, float)[np.asarray(label) == 0])[::-1]
    k = int(len(neg) * fpr)
    return float(np.nextafter(neg[k], np.inf)) if k < len(neg) else -np.inf


def recall_at_fpr(score, label, fpr):
    """Recall at a false-positive rate."""
    t = threshold_at_fpr(score, label, fpr)
    pos = np.asarray(score, float)[np.asarray(label) == 1]
    return float((pos >= t).mean()) if len(pos) else 0.0


def macro_f1(predicted, label, classes):
    """Mean F1 over classes that occur."""
    out = []
    for c in range(classes):
        tp = ((predicted == c) & (label == c)).sum()
        fp, fn = ((predicted == c) & (label != c)).sum(), ((predicted != c) & (label == c)).sum()
        if tp + fn:
            out.append(2 * tp / max(1, 2 * tp + fp + fn))
    return float(np.mean(out))


def best_f1(score, label):
    """(best F1, its threshold) over all thresholds."""
    order = np.argsort(-np.asarray(score, float), kind="stable")
    score, label = np.asarray(score, float)[order], np.asarray(label)[order]
    tp = np.cumsum(label)
    f1 = 2 * tp / (np.arange(1, len(label) + 1) + label.sum())
    i = int(f1.argmax())
    return float(f1[i]), float(score[i])


def span_f1(gold, found, scopes, types):
    """Strict span scores: {type: (tp, fp, fn)}; predictions outside a row's scope are not counted."""
    count = {t: [0, 0, 0] for t in types}
    for g, f, scope in zip(gold, found, scopes):
        g = {(s, e, k) for s, e, k in g}
        f = {(s, e, k) for s, e, k in f if scope == "ALL" or k in scope}
        for s in g & f:
            count[s[2]][0] += 1
        for s in f - g:
            count[s[2]][1] += 1
        for s in g - f:
            count[s[2]][2] += 1
    return count


def f1(tp, fp, fn):
    """F1 from counts."""
    return 2 * tp / max(1, 2 * tp + fp + fn)
