"""Generator of everyday user questions for the 14 domains."""

import random
import re

from domain_words import GENERIC, LEADS, TAILS, TEMPLATES, TOPICS
from everyday_words import PATTERNS

CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
TOPIC_LISTS = {d: [t.strip() for t in s.replace("\n", " ").split(",") if t.strip()] for d, s in TOPICS.items()}
TEMPLATE_LISTS = {d: s.strip().split("\n") for d, s in TEMPLATES.items()}
# Templates with several choices make more distinct questions and are drawn more often.
WEIGHTS = {d: [1 + min(4, len(CHOICE.findall(t)) + t.count("|") // 8) for t in ts] for d, ts in TEMPLATE_LISTS.items()}


PATTERN_LISTS = {d: s.strip().split("\n") for d, s in PATTERNS.items()}
HELD_OUT = 6  # every sixth pattern serves calibration only
STOP = set("a an the is are was were be do does did my i we you your me it its to of in on at for and or if what how why who which when where can should would with that this".split())


def weight(pattern):
    """Patterns with more variants are drawn more often."""
    n = 1
    for m in CHOICE.findall(pattern):
        n *= m.count("|") + 1
    return min(n, 600) ** 0.5


def patterns(domain, held_out):
    """(patterns, weights) for training or for calibration."""
    chosen = [p for i, p in enumerate(PATTERN_LISTS[domain]) if (i % HELD_OUT == HELD_OUT - 1) == held_out]
    return chosen, [weight(p) for p in chosen]


def content(text):
    """The content words of a question."""
    return frozenset(re.findall(r"[a-z0-9]+", text.lower())) - STOP


def too_close(words, tests, index):
    """Whether a question shares most content words with a test question."""
    near = {t for w in words for t in index.get(w, ())}
    return any(len(words & tests[t]) >= 0.6 * len(words | tests[t]) for t in near)


def number(rng):
    """A number as users type it: mostly small."""
    r = rng.random()
    if r < 0.6:
        return str(rng.randint(1, 20))
    if r < 0.85:
        return str(rng.randint(10, 200))
    return rng.choice([str(rng.randint(100, 9999)), f"{rng.randint(1, 99)}.{rng.randint(1, 9)}"])


def expand(rng, template, topics):
    """Fill choices, topics and numbers."""
    text = CHOICE.sub(lambda m: rng.choice(m.group(1).split("|")), template)
    if "{" in text:
        a, b = rng.sample(topics, 2)
        text = text.replace("{t}", a).replace("{u}", b)
    return re.sub("#", lambda _: number(rng), text)


def typo(rng, text):
    """One or two keyboard slips."""
    chars = list(text)
    for _ in range(rng.choice([1, 1, 2])):
        if len(chars) < 6:
            break
        i = rng.randrange(1, len(chars) - 1)
        if not chars[i].isalpha():
            continue
        kind = rng.random()
        if kind < 0.35:
            chars[i], chars[i - 1] = chars[i - 1], chars[i]
        elif kind < 0.7:
            del chars[i]
        else:
            chars.insert(i, chars[i])
    return "".join(chars)


def style(rng, text):
    """Lead-ins, tails, case, punctuation and typos of chat users."""
    if len(text) > 4:
        text = rng.choice(LEADS) + text
        tail = rng.choice(TAILS)
        text += tail if not tail or text[-1] in "?.!" else ("?" if rng.random() < 0.2 else "," if rng.random() < 0.1 else "") + tail
    r = rng.random()
    if r < 0.35:
        text = text[:1].upper() + text[1:]
    elif r < 0.6:
        text = text.lower()
    elif r < 0.63:
        text = text.upper()
    if rng.random() < 0.15:
        text = text.rstrip("?.!")
    if rng.random() < 0.08:
        text = typo(rng, text)
    return text


def sample(rng, domain, held_out=False):
    """One question of the domain."""
    if held_out or rng.random() < 0.62:
        return style(rng, re.sub(r"\s+", " ", expand(rng, rng.choices(*PATTERN_DRAW[domain, held_out])[0], TOPIC_LISTS[domain])).strip())
    if rng.random() < 0.42 and domain != "other" or rng.random() < 0.2:
        return style(rng, expand(rng, rng.choice(GENERIC), TOPIC_LISTS[domain]))
    template = rng.choices(TEMPLATE_LISTS[domain], WEIGHTS[domain])[0]
    return style(rng, expand(rng, template, TOPIC_LISTS[domain]))


PATTERN_DRAW = {(d, h): patterns(d, h) for d in PATTERN_LISTS for h in (False, True)}


def generate(seed, per_domain, avoid=(), held_out=False):
    """Distinct {text, label} rows, `per_domain` draws each (more for `other`), none close to a question in `avoid`."""
    rng, seen, rows = random.Random(seed), set(), []
    tests = [content(t) for t in avoid]
    index = {}
    for i, words in enumerate(tests):
        for w in words:
            index.setdefault(w, []).append(i)
    for domain in TOPIC_LISTS:
        for _ in range(int(per_domain * (1.6 if domain == "other" else 1))):
            text = sample(rng, domain, held_out)
            if text and text not in seen and not too_close(content(text), tests, index):
                seen.add(text)
                rows.append({"text": text, "label": domain})
    return rows
