"""Generator of question pairs: same answer (1) or a near miss that needs another answer (0)."""

import random
import re

from augment_domain import typo
from paraphrases import CATEGORIES, FAMILIES, FLIPS, NUMERIC, OPPOSITES
from pii_values import CITIES, COUNTRIES

SWAPS = [("first", "last"), ("first", "second"), ("oldest", "youngest"), ("largest", "smallest"), ("biggest", "smallest"), ("most", "least"), ("best", "worst"),
         ("highest", "lowest"), ("longest", "shortest"), ("fastest", "slowest"), ("father", "mother"), ("brother", "sister"), ("son", "daughter"), ("husband", "wife"),
         ("king", "queen"), ("north", "south"), ("east", "west"), ("before", "after"), ("start", "end"), ("begin", "end"), ("open", "close"), ("enable", "disable"),
         ("add", "remove"), ("increase", "decrease"), ("buy", "sell"), ("import", "export"), ("won", "lost"), ("born", "died"), ("new", "old"), ("winter", "summer"),
         ("morning", "evening"), ("american", "british"), ("actor", "actress"), ("boy", "girl"), ("man", "woman"), ("men", "women"), ("city", "state"), ("country", "city"),
         ("minimum", "maximum"), ("maximum", "average"), ("legal", "illegal"), ("safe", "dangerous"), ("with", "without"), ("encode", "decode"), ("upload", "download"),
         ("celsius", "fahrenheit"), ("miles", "kilometers"), ("pounds", "kilograms"), ("python", "javascript"), ("java", "rust"), ("linux", "windows"), ("android", "iphone"),
         ("cause", "cure"), ("symptoms", "causes"), ("dogs", "cats"), ("cat", "dog"), ("buy", "rent"), ("lend", "borrow"), ("teacher", "student"), ("left", "right"), ("up", "down"),
         ("early", "late"), ("hot", "cold"), ("day", "night"), ("love", "hate"), ("all", "none"), ("always", "never"), ("can", "can't"), ("is", "isn't"), ("should", "shouldn't"),
         ("movie", "book"), ("song", "album"), ("season", "episode"), ("president", "vice president"), ("wrote", "directed"), ("sang", "wrote"), ("derivative", "integral"),
         ("mean", "median"), ("squared", "cubed"), ("ascending", "descending"), ("war", "peace"), ("population", "area"), ("capital", "currency"), ("river", "mountain")]
WH = ["who", "when", "where", "what", "why", "how"]
WRAPS = ["{q}?", "{Q}?", "{Q}", "{q} please", "hey, {q}?", "Question: {q}", "I would like to know: {q}", "can you tell me {q}?", "Can you tell me {q}?", "do you know {q}", "please tell me {q}",
         "{q} thanks", "I want to know {q}", "could you say {q}", "hi! {q}?", "I was wondering {q}", "quick question: {q}", "{q}, do you know?", "tell me: {q}", "Q: {q}", "answer this: {q}",
         "my question is: {q}", "just curious, {q}", "{q} ??", "help, {q}", "one more: {q}"]
REWRITES = [(r"^what is (.*)", ["what's {}", "define {}", "{} definition", "{} meaning", "can you explain what {} is", "tell me what {} is"]),
            (r"^who (wrote|sang|played|directed|invented|painted|founded|discovered) (.*)", ["{1} was {0} by whom", "by whom was {1} {0}", "name of the person who {0} {1}"]),
            (r"^when did (.*)", ["what date did {}", "what year did {}", "in which year did {}"]), (r"^when was (.*)", ["what year was {}", "in which year was {}", "date when {}"]),
            (r"^where is (.*)", ["location of {}", "in what place is {}", "where can I find {}"]), (r"^how many (.*)", ["what number of {}", "the number of {}", "count of {}"]),
            (r"^how do i (.*)", ["how to {}", "how can I {}", "what's the way to {}", "steps to {}", "best way to {}", "I need to {}, how?"]),
            (r"^how to (.*)", ["how do I {}", "how can I {}", "a way to {}"]), (r"^who is (.*)", ["who's {}", "tell me who {} is", "what is the name of {}"]),
            (r"^how much (.*)", ["what amount of {}", "how much exactly {}"]), (r"^why (.*)", ["what is the reason {}", "how come {}", "reason why {}"]),
            (r"^what are (.*)", ["list {}", "name {}", "tell me {}"]), (r"^explain (.*)", ["what is {}", "describe {}", "can you explain {}", "explanation of {}"])]
TASKS = ["read a file", "sort a map by value", "parse JSON", "reverse a string", "open a socket", "format a date", "split a string", "write a unit test", "connect to a database", "merge two lists",
         "make an HTTP request", "convert a string to a number", "remove duplicates from a list", "generate a random number", "loop over a map", "catch an exception", "read command line arguments"]
LANGUAGES = ["Python", "Rust", "JavaScript", "Java", "Go", "C++", "Ruby", "Swift", "Kotlin", "PHP", "TypeScript", "C#"]
UNITS = [("inches", "centimeters"), ("miles", "kilometers"), ("pounds", "kilograms"), ("celsius", "fahrenheit"), ("gallons", "liters"), ("ounces", "grams"), ("feet", "meters"), ("acres", "hectares"),
         ("dollars", "euros"), ("cups", "milliliters"), ("yards", "meters"), ("knots", "km/h")]
FORMS = {  # groups of phrasings with one meaning; {x} is the entity
    "country": [["What is the capital of {x}?", "capital city of {x}", "which city is the capital of {x}", "name {x}'s capital"],
                ["How many people live in {x}?", "What is the population of {x}?", "{x} population", "number of inhabitants of {x}"],
                ["Do I need a visa for {x}?", "is a visa required to enter {x}", "visa requirements {x}", "can I travel to {x} without a visa"],
                ["best time to visit {x}", "When should I travel to {x}?", "what month is best for a trip to {x}"],
                ["What language is spoken in {x}?", "Which languages do people in {x} speak?", "official language of {x}"],
                ["What currency does {x} use?", "money used in {x}", "{x} currency", "what do they pay with in {x}"],
                ["Is it safe to travel to {x}?", "how safe is {x} for tourists", "safety in {x}"], ["How big is {x}?", "What is the area of {x}?", "{x} size in square kilometers"],
                ["Who is the president of {x}?", "current head of state of {x}", "{x} president name"], ["What is the time difference to {x}?", "what time is it in {x} right now"],
                ["What are typical dishes of {x}?", "traditional food in {x}", "what do people eat in {x}"], ["What is the tallest mountain in {x}?", "highest peak of {x}"]],
    "city": [["What's the weather in {x}?", "{x} weather today", "how is the weather in {x} now"], ["How do I get from the airport to {x}?", "airport transfer to {x} center"],
             ["things to do in {x}", "What are the sights in {x}?", "what should I see in {x}", "{x} tourist attractions"], ["cheap hotels in {x}", "where to stay in {x} on a budget"],
             ["best restaurants in {x}", "where can I eat well in {x}", "good places to eat in {x}"], ["How far is {x} from here?", "distance to {x}"]],
    "task": [["How do I {x}?", "how to {x}", "{x} example", "show me code to {x}", "what's the way to {x}"]],
}


class PairGenerator:
    """Draws (a, b, label); `questions` are real and generated questions."""

    def __init__(self, seed, questions):
        self.rng = random.Random(seed)
        self.questions = questions
        self.families = [(e.split("|"), [i.split("|") for i in intents]) for e, intents in FAMILIES.values()]
        self.category = {w: [o for o in words if o != w] for words in (line.split("|") for line in CATEGORIES) for w in words}
        self.swap = {}
        for a, b in SWAPS:
            self.swap.setdefault(a, []).append(b)
            self.swap.setdefault(b, []).append(a)

    def wrap(self, q):
        q = q.rstrip(" ?.!")
        return self.rng.choice(WRAPS).replace("{q}", q).replace("{Q}", q[:1].upper() + q[1:])

    def paraphrase(self, q):
        """Another phrasing with the same answer."""
        rng, low = self.rng, q.lower().rstrip(" ?.!")
        if rng.random() < 0.45:
            options = []
            for pattern, forms in REWRITES:
                m = re.match(pattern, low)
                if m:
                    options += [f.format(*m.groups()) for f in forms]
            if options:
                out = rng.choice(options)
                return self.wrap(out) if rng.random() < 0.4 else out
        out = self.wrap(q)
        if rng.random() < 0.2:
            out = typo(rng, out)
        return out.lower() if rng.random() < 0.3 else out

    def near_miss(self, q):
        """A small edit that changes the answer, or None."""
        rng, words = self.rng, q.split()
        low = [x.lower().strip("?,.") for x in words]
        edits = [("swap", i) for i, x in enumerate(low) if x in self.swap] * 2 + [("wh", i) for i, x in enumerate(low) if x in WH] + \
                [("num", i) for i, x in enumerate(low) if any(c.isdigit() for c in x)] * 3 + \
                [("category", i) for i, x in enumerate(low) if x in self.category] * 2 + [("flip", i) for i, (p, _) in enumerate(FLIPS) if re.search(p, q, re.I)]
        if len(words) > 4 and rng.random() < 0.1:
            edits.append(("not", 0))
        if not edits:
            return None
        kind, i = rng.choice(edits)
        if kind == "flip":
            words = re.sub(FLIPS[i][0], FLIPS[i][1], q, count=1, flags=re.I).split(" ")
        elif kind == "category":
            new = rng.choice(self.category[low[i]])
            words[i] = re.sub(re.escape(low[i]), new.title() if words[i][:1].isupper() else new, words[i], count=1, flags=re.I)
        elif kind == "swap":
            words[i] = rng.choice(self.swap[low[i]])
        elif kind == "wh":
            words[i] = rng.choice([x for x in WH if x != low[i]])
        elif kind == "num":
            new = re.sub(r"\d", lambda m: str(rng.randint(0, 9)) if rng.random() < 0.5 else m.group(0), words[i])
            words[i] = new if new != words[i] else re.sub(r"\d$", str((int(re.findall(r"\d", words[i])[-1]) + 1) % 10), words[i])
        else:
            words.insert(rng.randrange(1, len(words)), "not")
        out = " ".join(words)
        return None if out == q else self.wrap(out) if rng.random() < 0.3 else out

    def template_pair(self):
        """A pair from FORMS or a unit conversion."""
        rng = self.rng
        if rng.random() < 0.25:
            a, b = rng.choice(UNITS)
            if rng.random() < 0.5:
                a, b = b, a
            n = rng.randint(1, 500)
            forms = [f"Convert {n} {a} to {b}", f"how many {b} is {n} {a}", f"{n} {a} in {b}", f"what is {n} {a} in {b}?"]
            x, y = rng.sample(forms, 2)
            if rng.random() < 0.5:
                return x, y, 1
            m = n + rng.choice([1, 10, 100, -1, 50])
            bad = rng.choice([f"Convert {n} {b} to {a}", f"Convert {m} {a} to {b}", f"how many {a} is {n} {b}", f"{m} {a} in {b}"])
            return x, bad, 0
        kind = rng.choice(["country", "country", "city", "task"])
        groups = FORMS[kind]
        draw = {"country": lambda: rng.choice(COUNTRIES), "city": lambda: rng.choice(CITIES), "task": lambda: f"{rng.choice(TASKS)} in {rng.choice(LANGUAGES)}"}[kind]
        entity, g = draw(), rng.choice(groups)
        x, y = rng.sample(g, 2) if len(g) > 1 else (g[0], g[0])
        if rng.random() < 0.5:
            return x.format(x=entity), y.format(x=entity), 1
        if rng.random() < 0.6 or len(groups) == 1:
            other = draw()
            while other == entity:
                other = draw()
            return x.format(x=entity), rng.choice(g).format(x=other), 0
        h = rng.choice([o for o in groups if o is not g])
        return x.format(x=entity), rng.choice(h).format(x=entity), 0

    def family_pair(self):
        """Two phrasings of one intent, or a neighbour: another intent of the family, or the same intent of another entity."""
        rng = self.rng
        entities, intents = rng.choice(self.families)
        x, forms = rng.choice(entities), rng.choice(intents)
        a, b = rng.sample(forms, 2)
        label, r = int(rng.random() < 0.5), rng.random()
        y = x
        if not label and r < 0.4:
            y = rng.choice([e for e in entities if e != x])
        elif not label and r < 0.85:
            b = rng.choice(rng.choice([i for i in intents if i is not forms]))
        a, b = a.format(x=x), b.format(x=y)
        if not label and r >= 0.85:
            b = self.near_miss(a)
            if b is None:
                b, label = a, 1
        if rng.random() < 0.25:
            a = self.wrap(a)
        return a.lower() if rng.random() < 0.25 else a, b.lower() if rng.random() < 0.25 else b, label

    def numbers(self):
        """Values of the numeric slots."""
        rng = self.rng
        n = rng.choice([rng.randint(2, 20), rng.randint(2, 20), rng.randint(10, 99), rng.randint(100, 999)])
        return {"n": n, "m": rng.choice([rng.randint(2, 30), rng.randint(20, 400), 10 * rng.randint(2, 90)]), "y": rng.randint(1850, 2025), "v": f"{rng.randint(1, 20)}.{rng.randint(0, 12)}"}

    def exact_pair(self):
        """Pairs that hang on a number or on which of two opposites is meant."""
        rng, label = self.rng, int(self.rng.random() < 0.45)
        if rng.random() < 0.75:
            a, b = rng.sample(rng.choice(NUMERIC), 2)
            x = self.numbers()
            y = dict(x)
            while not label and a.format(**y) == a.format(**x):
                y = self.numbers() if rng.random() < 0.5 else {k: (v if isinstance(v, str) else v + rng.choice([-2, -1, 1, 2, 5, 10])) for k, v in x.items()}
                y["v"] = f"{rng.randint(1, 20)}.{rng.randint(0, 12)}"
            if not label and rng.random() < 0.5:
                b = a
            return a.format(**x), b.format(**y), label
        one, other = rng.sample(rng.choice(OPPOSITES), 2)
        a, b = (one[0], one[1]) if label else (rng.choice(one), rng.choice(other))
        return (a, b, label) if rng.random() < 0.6 else (a.lower(), b.lower().rstrip("?"), label)

    def sample(self):
        """One pair."""
        rng, r = self.rng, self.rng.random()
        if r < 0.14:
            return self.template_pair()
        if r < 0.46:
            return self.family_pair()
        if r < 0.6:
            return self.exact_pair()
        q = rng.choice(self.questions)
        if rng.random() < 0.45:
            return q, self.paraphrase(q), 1
        for _ in range(4):
            miss = self.near_miss(q)
            if miss:
                return (q, miss, 0) if rng.random() < 0.8 else (self.wrap(q), miss, 0)
            q = rng.choice(self.questions)
        return q, rng.choice(self.questions), 0


def generate(seed, questions, count):
    """`count` pairs {text_a, text_b, label}."""
    g = PairGenerator(seed, questions)
    rows = []
    for _ in range(count):
        a, b, label = g.sample()
        rows.append({"text_a": a, "text_b": b, "label": label})
    return rows
