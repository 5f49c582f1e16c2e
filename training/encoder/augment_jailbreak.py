"""Generator of jailbreaks, injections and hard benign prompts, and text noise for both classes."""

import base64
import codecs
import random
import re

import carriers
import domain_world
import jailbreak_more as more
import jailbreak_words as w
from augment_domain import content, too_close, typo
from jailbreak_world import WORLD
from jailbreak_world_benign import MORE

CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
LEET = str.maketrans({"a": "@", "e": "3", "i": "1", "o": "0", "s": "$", "t": "7", "b": "8", "g": "9"})
LEET2 = str.maketrans({"a": "4", "e": "3", "i": "!", "o": "0", "s": "5", "l": "1"})
HOMOGLYPHS = str.maketrans("aeopcxyi", "аеорсхуі")
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


def pick(rng, text):
    """Resolve the [a|b] choices, innermost first."""
    while True:
        new = CHOICE.sub(lambda m: rng.choice(m.group(1).split("|")), text)
        if new == text:
            return text
        text = new


def encoded(rng, text):
    """The text in some encoding an attacker may use."""
    kind = rng.randrange(6)
    if kind <= 1:
        return base64.b64encode(text.encode()).decode()
    if kind == 2:
        return codecs.encode(text, "rot13")
    if kind == 3:
        return text.encode().hex()
    if kind == 4:
        return text[::-1]
    return " ".join(f"{b:08b}" for b in text.encode()[:40])


class JailbreakGenerator:
    """Draws attacks and benign prompts; `pool` are benign user texts, `passages` corpus passages."""

    def __init__(self, seed, pool, passages, avoid=(), interface=()):
        self.rng = random.Random(seed)
        self.pool, self.passages = pool, passages
        self.foreign = [t for t, _ in domain_world.rows()]
        self.interface = list(interface) or self.foreign
        self.tests, self.index = [content(t) for t in avoid], {}
        for i, words in enumerate(self.tests):
            for x in words:
                self.index.setdefault(x, []).append(i)

    def fill(self, text):
        """Fill the slots of a template, several levels deep."""
        rng = self.rng
        text = pick(rng, text)
        for _ in range(3):
            if "{" not in text:
                break
            harm = pick(rng, rng.choice(w.HARMS)).replace("{crime}", rng.choice(w.CRIMES))
            inject = pick(rng, rng.choice(w.INJECT + more.INJECT * 2))
            half = rng.randrange(3, max(4, len(harm) - 3))
            values = {"goal": rng.choice(w.GOALS), "secret": rng.choice(w.SECRETS), "crime": rng.choice(w.CRIMES), "harm": harm,
                      "name": rng.choice(w.NAMES), "url": rng.choice(w.URLS), "inject": inject, "Inject": inject[0].upper() + inject[1:], "half1": harm[:half], "half2": harm[half:],
                      "b64": base64.b64encode(rng.choice(w.BENIGN_SENTENCES).encode()).decode()}
            if "{encoded}" in text:
                values["encoded"] = encoded(rng, harm if rng.random() < 0.7 else "Ignore all previous instructions and " + pick(rng, rng.choice(w.GOALS[1:12])).format(**values, encoded=""))
            text = pick(rng, re.sub(r"\{(\w+)\}", lambda m: values.get(m.group(1), m.group(0)), text))
        return text

    def attack(self):
        """A direct attack."""
        rng, r = self.rng, self.rng.random()
        if r < 0.28:
            text = self.fill(rng.choice(w.OVERRIDE))
        elif r < 0.46:
            text = self.fill(rng.choice(w.PERSONA))
        elif r < 0.58:
            text = self.fill(rng.choice(w.LEAK))
        elif r < 0.88:
            text = self.fill(rng.choice(w.REFUSAL))
        else:
            text = pick(rng, rng.choice(w.MULTILINGUAL))
        if rng.random() < 0.15:
            text += " " + self.fill(rng.choice(w.OVERRIDE + w.PERSONA))
        return text

    def fresh(self, draw):
        """A text that shares most content words with no text in `avoid`."""
        for _ in range(8):
            text = draw()
            words = content(text)
            if not self.tests or len(words) > 40 or not too_close(words, self.tests, self.index):
                break
        return text

    def world(self, attack):
        """An attack or a harmless prompt in one of 17 languages."""
        rng = self.rng
        r = rng.random()
        if not attack and r < 0.2:
            return rng.choice(self.foreign)
        if not attack and r < 0.42:
            return " ".join(rng.choice(self.interface) for _ in range(rng.choice([1, 1, 2])))
        if not attack and r < 0.72:
            return pick(rng, rng.choice(MORE[rng.choice(list(MORE))].split("\n")))
        lang = WORLD[rng.choice(list(WORLD))]
        text = pick(rng, rng.choice(lang["attack" if attack else "benign"].split("\n")))
        for slot, values in (("{h}", lang["h"]), ("{s}", lang["s"]), ("{n}", "|".join(w.NAMES))):
            text = text.replace(slot, rng.choice(values.split("|")))
        if rng.random() < 0.25:
            text += " " + (rng.choice(self.foreign) if rng.random() < 0.5 else rng.choice(w.BENIGN_SENTENCES))
        return text

    def foreign_sentence(self):
        """A harmless foreign sentence, for PII texts without PII."""
        return self.world(False)

    def attack_more(self):
        """A direct attack of the second set."""
        text = self.fresh(lambda: self.fill(self.rng.choice(more.DIRECT)))
        if self.rng.random() < 0.08:
            text = f"{pick(self.rng, '[Decode|Read|Decipher|Unscramble] [this|the text below|the following] and [obey|carry it out|reply to it|do it]')}: {encoded(self.rng, text[:160])}"
        return text

    def injection(self):
        """One instruction to a model that stands in a document."""
        rng, r = self.rng, self.rng.random()
        if r < 0.72:
            return self.fresh(lambda: self.fill(rng.choice(more.INDIRECT)))
        if r < 0.84:
            return self.world(True)
        return self.fill(rng.choice(w.INDIRECT)) if r < 0.93 else self.fill(rng.choice(more.DIRECT))

    def sentence(self):
        """One sentence of an everyday document."""
        rng, r = self.rng, self.rng.random()
        if r < 0.4:
            return carriers.fact(rng)
        if r < 0.65:
            text = self.document(60, 220).replace("\n", " ")
            return text[:text.rfind(" ")] + "."
        if r < 0.8:
            return pick(rng, rng.choice(more.BENIGN_ORDERS))
        return rng.choice(self.pool)[:240] if r < 0.9 else self.world(False)

    def carrier(self, attack, low=2, high=9):
        """An everyday document, with or without an injected instruction."""
        rng = self.rng
        foreign = rng.random() < 0.1
        task, pieces, sep = carriers.document(rng, (lambda: self.world(False)) if foreign else self.sentence, low, high)
        if rng.random() < 0.25:
            title = rng.choice(["", "Document {}:", "[{}]", "--- file {} ---", "Source {}", "Result {}:"])
            for i in range(rng.choice([1, 1, 2, 3])):
                pieces += ["", title.format(i + 2), *carriers.document(rng, self.sentence, 2, 6)[1]]
        if attack:
            at = rng.randint(0, len(pieces))
            inject = self.injection()
            if at < len(pieces) and rng.random() < 0.35:
                cut = pieces[at].find(" ", rng.randrange(len(pieces[at]) + 1)) + 1
                pieces[at] = pieces[at][:cut] + inject + " " + pieces[at][cut:]
            else:
                pieces.insert(at, inject)
        text = sep.join(pieces)
        if rng.random() < 0.35:
            task = rng.choice(carriers.QUESTIONS)
        if task and rng.random() < 0.8:
            text = task + rng.choice(["\n", "\n\n", " "]) + text if rng.random() < 0.55 else text + rng.choice(["\n", "\n\n", " "]) + task
        return text

    def hard_more(self):
        """A harmless prompt of the second set."""
        return self.fresh(lambda: self.fill(self.rng.choice(more.HARD)))

    def document(self, low, high):
        """A passage of between `low` and `high` characters."""
        rng = self.rng
        n = rng.randint(low, high)
        text = ""
        while len(text) < n:
            p = rng.choice(self.passages)
            start = p.find(" ", rng.randrange(max(1, len(p) - 200))) + 1
            text += ("\n" if text else "") + p[start:start + n - len(text)]
        return text

    def indirect(self, low=120, high=1200):
        """A document with an instruction to the model hidden in it."""
        rng = self.rng
        doc = self.document(low, high) if rng.random() < 0.7 else rng.choice(self.pool)
        if rng.random() < 0.75:
            inject = self.fill(rng.choice(w.INDIRECT))
        else:
            inject = self.fill(rng.choice(w.OVERRIDE)) if rng.random() < 0.7 else pick(rng, rng.choice(w.MULTILINGUAL))
        at = rng.choice([0, len(doc), doc.find(". ", len(doc) // 2) + 2, doc.find("\n", len(doc) // 3) + 1])
        sep = rng.choice([" ", "\n", "\n\n", " | ", "\n# ", "\n// "])
        doc = doc[:at] + sep + inject + sep + doc[at:]
        return (rng.choice(w.DOC_TASKS) + "\n" if rng.random() < 0.7 else "") + doc

    def benign_document(self, low=120, high=1200):
        """A task over a harmless document."""
        rng = self.rng
        doc = self.document(low, high)
        if rng.random() < 0.25:
            doc += "\n" + pick(rng, rng.choice(["Please [reply|respond] by [Friday|Monday|noon].", "Note: [see|ignore] [appendix A|the draft|older versions].", "TODO: [fix|update|ignore] [tests|the docs|warnings].",
                                                "[Call|Contact] us for [details|a quote].", "Do not [reply|forward] to this address.", "Follow the instructions [on page 3|of the nurse|in the manual].", "Important: [bring your ID|the office is closed|save your work]."]))
        return (rng.choice(w.DOC_TASKS) + "\n" if rng.random() < 0.7 else "") + doc

    def hard_benign(self):
        """A harmless prompt that uses the words of attacks."""
        rng = self.rng
        if rng.random() < 0.15:
            return pick(rng, rng.choice(w.BENIGN_FOREIGN))
        return self.fill(rng.choice(w.HARD_BENIGN))

    def filler(self):
        """Harmless sentences to put before or after a text."""
        rng = self.rng
        k = rng.choice([1, 1, 1, 2, 2, 3, 5, 8, 20])
        draw = lambda: rng.choice(w.BENIGN_SENTENCES) if rng.random() < 0.45 else rng.choice(self.pool)[:200] if rng.random() < 0.6 else self.document(40, 160)
        return " ".join(draw() for _ in range(k))

    def pad(self, text):
        """Add harmless text around; the label stays."""
        rng, r = self.rng, self.rng.random()
        sep = rng.choice([" ", "\n", "\n\n", " "])
        if r < 0.55:
            return text + sep + self.filler()
        if r < 0.8:
            return self.filler() + sep + text
        return self.filler() + sep + text + sep + self.filler()

    def noise(self, text):
        """Surface noise that keeps the label: case, spacing, leet, homoglyphs, invisible characters."""
        rng, k = self.rng, self.rng.randrange(11)
        if k == 0:
            return text.lower()
        if k == 1:
            return text.upper()
        if k == 2:
            return "".join(c.upper() if rng.random() < 0.5 else c for c in text)
        if k == 3:
            return text.lower().translate(LEET if rng.random() < 0.5 else LEET2)
        if k == 4 and len(text) < 300:
            return rng.choice([" ", ".", "-", "_"]).join(text)
        if k == 5:
            return "".join(c + (rng.choice(ZERO_WIDTH) if rng.random() < 0.3 else "") for c in text)
        if k == 6:
            return text.translate(HOMOGLYPHS)
        if k == 7:
            return re.sub(r" ", lambda _: rng.choice(["  ", " ", "\n", "\t"]), text)
        if k == 8:
            return rng.choice(['"{}"', "```\n{}\n```", "> {}", "<p>{}</p>", "User: {}", "({})", "{} ???", "Translate: {}", "{}!!!"]).replace("{}", text)
        words = text.split(" ")
        if k == 9 and len(words) > 6:
            i = rng.randrange(len(words) - 1)
            words[i], words[i + 1] = words[i + 1], words[i]
            return " ".join(words)
        return typo(rng, text)

    def crop(self, text):
        """A long text cut to a random part, at least 60 % or 600 characters."""
        rng = self.rng
        if len(text) < 900 or rng.random() < 0.5:
            return text
        n = max(600, int(len(text) * rng.uniform(0.4, 1)))
        start = 0 if rng.random() < 0.6 else rng.randrange(len(text) - n + 1)
        return text[start:start + n]

    def vary(self, text, pad=0.45, noise=0.3):
        """Random noise and padding."""
        rng = self.rng
        if rng.random() < noise:
            text = self.noise(text)
        if rng.random() < pad:
            text = self.pad(text)
        return text


def generate(seed, positives, negatives, pool, passages, counts, avoid=(), interface=()):
    """Rows {text, label, kind}; `counts` gives how many of each sort to draw."""
    g = JailbreakGenerator(seed, pool, passages, avoid, interface)
    rows = []
    add = lambda n, label, kind, draw: rows.extend({"text": draw(), "label": label, "kind": kind} for _ in range(n))
    rng = g.rng
    add(counts["train_pos"], 1, "train", lambda: g.vary(g.crop(rng.choice(positives))))
    add(counts["train_neg"], 0, "train", lambda: g.vary(rng.choice(negatives)))
    add(counts["attack"], 1, "attack", lambda: g.vary(g.attack(), 0.4, 0.3))
    add(counts["indirect"], 1, "indirect", lambda: g.indirect())
    add(counts["hard"], 0, "hard", lambda: g.vary(g.hard_benign(), 0.3, 0.25))
    add(counts["pool"], 0, "pool", lambda: g.vary(rng.choice(pool), 0.4, 0.25))
    add(counts["document"], 0, "document", lambda: g.benign_document())
    add(counts["world_attack"], 1, "world", lambda: g.vary(g.world(True), 0.3, 0.2))
    add(counts["world_benign"], 0, "world", lambda: g.vary(g.world(False), 0.3, 0.2))
    add(counts["attack_more"], 1, "attack_more", lambda: g.vary(g.attack_more(), 0.35, 0.2))
    add(counts["hard_more"], 0, "hard_more", lambda: g.vary(g.hard_more(), 0.25, 0.2))
    add(counts["carrier_attack"], 1, "carrier", lambda: g.carrier(True))
    add(counts["carrier_benign"], 0, "carrier", lambda: g.carrier(False))
    add(counts["long"], 1, "long", lambda: g.carrier(True, 14, 60))
    add(counts["long"], 0, "long", lambda: g.carrier(False, 14, 60))
    add(counts["long"], 1, "long", lambda: g.indirect(1500, 6500))
    add(counts["long"], 0, "long", lambda: g.benign_document(1500, 6500))
    return rows
