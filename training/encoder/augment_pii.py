"""Generator of PII training texts: many carriers, many formats, many look-alikes."""

import random
import re

import pii_values as v
from labels import PII_TYPES
from pii_free import LABEL, Free
from pii_news import Registers
from pii_templates import NEGATIVE, POSITIVE

PREFIXES = ["", "", "", "", "", "Hi, ", "Hello! ", "hey ", "Question: ", "Please help: ", "FYI ", "Summarize: ", "> ", "- ", "[chat] ", "Translate into French: ",
            "Is this right? ", "Note: ", "Rewrite this politely: ", "User: ", "ok so ", "Re: ", "* ", "Q: ", "TODO ", "Extract the entities: ",
            "Make this shorter: ", "Fix the grammar: ", "Urgent! ", "Context: ", "Input: "]
SUFFIXES = ["", "", "", "", "", "", " Thanks!", " thanks", " Can you help?", " ok?", "\nPlease reply soon.", " What should I do?", " pls", " (see above)", " --", " Regards"]
JOINS = [" ", "\n", "\n\n", " -- ", ". ", "; ", " | ", "\n- "]
LANGS = ["French", "Spanish", "German", "Italian", "Japanese", "Chinese", "Portuguese"]
JOBS = ["nurse", "engineer", "CFO", "CEO", "teacher", "chef", "sales manager", "developer", "plumber", "accountant", "director", "analyst",
        "carpenter", "pilot", "journalist", "lawyer", "spokeswoman", "coach", "farmer", "designer", "vice president", "mechanic"]
SLOT = re.compile(r"\{([A-Za-z]+)\}")
LATIN = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "sk", "sl", "hr", "hu", "ro", "tr", "az", "et", "lt", "lv",
         "is", "ga", "id", "sw", "tw", "ig", "ha", "yo", "zu", "vi", "uz")


class PiiGenerator:
    """Draws (text, spans) pairs; all randomness from one seed."""

    def __init__(self, lexicon, seed):
        self.rng = random.Random(seed)
        lexicon = dict(lexicon)
        self.examples = [e for e in lexicon.pop("examples", {}).values()]
        self.world = lexicon.pop("world", {})
        self.english_examples = self.examples[:6]
        self.people = [(loc, e["first"], e["last"]) for loc, e in lexicon.items()
                       if e.get("first") and e.get("last") and len(e["last"]) > 5]
        self.english = [p for p in self.people if p[0].startswith("en")]
        self.latin = [p for p in self.people if p[0].startswith(LATIN)]
        self.cities = [c for loc, e in lexicon.items() for c in e.get("city", []) if loc.startswith(LATIN)]
        self.streets = [s for loc, e in lexicon.items() for s in e.get("street", []) if loc.startswith(LATIN)]
        self.suffixes = [s for loc in ("en_US", "en_AU", "en_GB") for s in lexicon.get(loc, {}).get("street_suffix", [])]
        self.countries = lexicon.get("en", {}).get("country", [])

    def locale(self):
        """A name table: half English, most of the rest in Latin script."""
        r = self.rng.random()
        return self.rng.choice(self.english if r < 0.45 else self.latin if r < 0.95 else self.people)

    def first(self):
        return self.rng.choice(self.locale()[1])

    def last(self):
        return self.rng.choice(self.locale()[2])

    def person(self):
        rng = self.rng
        loc, firsts, lasts = self.locale()
        f, l = rng.choice(firsts), rng.choice(lasts)
        if loc.startswith(("zh", "ja", "ko")):
            return l + f if loc.startswith("zh") or rng.random() < 0.5 else f"{l} {f}"
        r = rng.random()
        if r < 0.60:
            name = f"{f} {l}"
        elif r < 0.72:
            name = f
        elif r < 0.77:
            name = l
        elif r < 0.82:
            name = f"{f} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {l}"
        elif r < 0.86:
            name = f"{l}, {f}"
        elif r < 0.89:
            name = f"{f} {l}-{rng.choice(lasts)}"
        elif r < 0.92:
            name = f"{f} {rng.choice(firsts)} {l}"
        elif r < 0.94:
            name = f"{f[0]}. {l}"
        elif r < 0.96:
            name = f"{f} {rng.choice(['van', 'de', 'von', 'bin', 'al', 'del', 'di', 'O’', 'Mc'])} {l}".replace("O’ ", "O’").replace("Mc ", "Mc")
        elif r < 0.975:
            name = f"{f} {l} {rng.choice(['Jr.', 'Sr.', 'III', 'II'])}"
        else:
            name = f"{f}-{rng.choice(firsts)} {l}"
        r = rng.random()
        return name.lower() if r < 0.05 else name.upper() if r < 0.08 else name

    def example(self, key):
        """A value as Faker writes it, or None; a third English."""
        if not self.examples:
            return None
        values = self.rng.choice(self.english_examples if self.rng.random() < 0.4 else self.examples)[key]
        return self.rng.choice(values) if values else None

    def gpe(self):
        rng, r = self.rng, self.rng.random()
        if rng.random() < 0.2 and (place := self.example("place")):
            return place
        if r < 0.30:
            return rng.choice(v.COUNTRIES)
        if r < 0.36 and self.countries:
            return rng.choice(self.countries)
        if r < 0.62:
            return rng.choice(v.CITIES)
        if r < 0.76:
            return rng.choice(v.STATES)
        if r < 0.88 and self.cities:
            return rng.choice(self.cities)
        return self.town()

    def town(self):
        """An invented town name in the English or the Faker manner."""
        rng = self.rng
        end = rng.choice(["ville", "town", "ton", "berg", "port", "view", "side", "land", "mouth", "bury", "shire", "fort", "stad", "chester", "haven", "furt", "burgh"])
        name = rng.choice(self.english)[1 if rng.random() < 0.7 else 2]
        name = rng.choice(name) + end
        return rng.choice(["", "", "New ", "North ", "South ", "East ", "West ", "Port ", "Lake "]) + name

    def org(self):
        rng, r = self.rng, self.rng.random()
        last = lambda: self.last()
        if rng.random() < 0.4 and (company := self.example("company")):
            return company
        if r < 0.34:
            return rng.choice(v.ORGS)
        if r < 0.56:
            return rng.choice(v.ORG_HEAD) + " " + rng.choice(v.ORG_TAIL) + (" " + rng.choice(v.ORG_SUFFIX) if rng.random() < 0.25 else "")
        if r < 0.66:
            return f"{last()} {rng.choice(v.ORG_SUFFIX)}"
        if r < 0.73:
            return f"{last()}-{last()}"
        if r < 0.79:
            return f"{last()}, {last()} and {last()}"
        if r < 0.85:
            return f"{last()} {rng.choice(v.ORG_TAIL)}"
        if r < 0.91:
            place = rng.choice(v.CITIES + v.STATES)
            return rng.choice([f"University of {place}", f"{place} {rng.choice(v.ORG_TAIL)}", f"Bank of {place}", f"{place} City Council", f"{place} Police Department",
                               f"{place} General Hospital", f"{place} State University", f"{place} FC", f"{place} United", f"Ministry of {rng.choice(['Health', 'Defence', 'Justice', 'Finance'])}"])
        if r < 0.95:
            return f"{rng.choice(['Stichting', 'Fundación', 'Fundacja', 'Fondation', 'Banco', 'Grupo', 'Gruppo', 'Cooperativa', 'Instituto', 'Hochschule', 'Clínica', 'Universidad de'])} {last()}"
        return rng.choice(v.ORG_HEAD) + rng.choice(["soft", "tech", "corp", "ly", "ify", "works", "bank", "media", "gen", "net", "ware"])

    def address(self):
        rng, r = self.rng, self.rng.random()
        if rng.random() < 0.55 and (address := self.example("address")):
            address = address.strip()
            return address.replace("\n", ", ") if rng.random() < 0.5 else address
        n = str(rng.randint(1, 9999)) if rng.random() < 0.85 else f"{rng.randint(1, 300)}{rng.choice('ABCab')}"
        if r < 0.72:
            base = rng.choice(v.STREET_NAMES) if rng.random() < 0.5 else (
                f"{rng.choice(self.english[rng.randrange(len(self.english))][rng.choice((1, 2))])}")
            suffix = rng.choice(self.suffixes) if self.suffixes and rng.random() < 0.5 else rng.choice(v.STREETS)
            text = f"{n} {rng.choice(['', '', '', 'N ', 'South ', 'E. ', 'West '])}{base} {suffix}"
            if rng.random() < 0.4:
                text += rng.choice([" Apt. {}", " Apt {}", " Suite {}", ", Suite {}", " #{}", ", Apt {}", " Unit {}", ", Flat {}", ", Floor {}"]).format(rng.randint(1, 999))
        elif r < 0.88 and self.streets:
            s = rng.choice(self.streets)
            text = rng.choice([f"{s} {n}", f"{n} {s}", f"{s}straße {n}", f"ul. {s} {n}", f"Via {s} {n}", f"Calle {s} {n}", f"{n}, rue de {s}", f"Rua {s}, {n}", f"{s}gatan {n}", f"{s}straat {n}"])
        else:
            text = rng.choice([f"PO Box {n}", f"P.O. Box {n}", f"Unit {n} Box {rng.randint(1000, 9999)}", f"{n} Rural Route {rng.randint(1, 9)}", f"Flat {rng.randint(1, 99)}, {n} {rng.choice(v.STREET_NAMES)} House"])
        if rng.random() < 0.4:
            city = self.town() if rng.random() < 0.5 else rng.choice(v.CITIES)
            text += rng.choice([", {c}, {s} {z}", ", {c}, {s} {z}", ", {c} {z}", ", {c}", "\n{c}, {s} {z}", ", {z} {c}", ", {c}, {s}"]).format(
                c=city, s=rng.choice(v.STATE_CODES), z=v.zip_code(rng) if rng.random() < 0.4 else f"{rng.randint(1001, 99950):05d}")
        return text

    def domain(self):
        rng = self.rng
        word = rng.choice([self.last().lower().replace(" ", ""), rng.choice(v.ORG_HEAD).lower(), rng.choice(v.ORG_HEAD).lower() + rng.choice(["-", ""]) + rng.choice(v.ORG_TAIL).lower(),
                           rng.choice(["example", "shop", "my-blog", "app", "mail", "test", "web24", "cloud9"])])
        word = re.sub(r"[^a-z0-9-]", "", word) or "site"
        name = f"{word}.{rng.choice(v.TLDS)}"
        return rng.choice(["", "", "", "", "www.", "mail.", "api.", "blog.", "dev."]) + name

    def email(self):
        rng = self.rng
        f, l = (re.sub(r"[^a-z]", "", x.lower()) or "info" for x in (self.first(), self.last()))
        local = rng.choice([f"{f}.{l}", f"{f}{l}", f"{f[0]}{l}", f"{f}_{l}", f"{f}{rng.randint(1, 2005)}", l, f"{f}-{l}", f"{f}.{l}{rng.randint(1, 99)}", f"{f}+news", "info", "support", f"{l}.{f}"])
        host = rng.choice(["gmail.com", "yahoo.com", "hotmail.com", "outlook.com", "icloud.com", "proton.me", "web.de", "gmx.net", "orange.fr", "example.org"]) if rng.random() < 0.45 else self.domain().removeprefix("www.")
        mail = f"{local}@{host}"
        return mail.upper() if rng.random() < 0.02 else mail.title() if rng.random() < 0.02 else mail

    def fill(self, slot):
        """Value of a slot."""
        rng = self.rng
        simple = {"PERSON": self.person, "FIRST": self.first, "LAST": self.last, "GPE": self.gpe, "ORG": self.org, "ADDR": self.address,
                  "DOMAIN": self.domain, "EMAIL": self.email}
        if slot in simple:
            return simple[slot]()
        values = {"AGE": v.age, "DATE": v.date, "ZIP": v.zip_code, "DL": v.licence, "SSN": v.ssn, "IBAN": v.iban, "PHONE": v.phone, "IP": v.ip}
        if slot in values:
            return values[slot](rng)
        if slot == "CARD":
            return v.card(rng, rng.random() < 0.9)
        if slot == "TITLE":
            return rng.choice(v.TITLES)
        if slot == "NRP":
            return rng.choice(v.NRP)
        if slot == "LANG":
            return rng.choice(LANGS)
        if slot == "JOB":
            return rng.choice(JOBS)
        if slot == "YEAR":
            return str(rng.randint(1900, 2026))
        if slot in ("HANDLE", "USER"):
            return re.sub(r"[^a-z]", "", self.first().lower()) + rng.choice(["", "_x", str(rng.randint(1, 99)), "xo", "fan", "_official"])
        return v.lookalike(rng, slot)

    def one(self, template):
        """Fill one template: (text, [(start, end, type)])."""
        text, spans, at = "", [], 0
        template = template.replace("\\n", "\n")
        for m in SLOT.finditer(template):
            text += template[at:m.start()]
            at = m.end()
            value = self.fill(m.group(1))
            label = LABEL.get(m.group(1), m.group(1))
            if label in PII_TYPES:
                spans.append((len(text), len(text) + len(value), label))
            text += value
        return text + template[at:], spans

    def sample(self):
        """One training text: one to three templates with chat decorations and case noise."""
        rng = self.rng
        text, spans = rng.choice(PREFIXES), []
        for i in range(rng.choice([1, 1, 1, 1, 2, 2, 3])):
            if i:
                text += rng.choice(JOINS)
            t, s = self.one(rng.choice(POSITIVE if rng.random() < 0.68 else NEGATIVE))
            spans += [(a + len(text), b + len(text), k) for a, b, k in s]
            text += t
        text += rng.choice(SUFFIXES)
        r = rng.random()
        if r < 0.13:
            low = text.lower()
            text = low if len(low) == len(text) else text
        elif r < 0.16:
            up = text.upper()
            text = up if len(up) == len(text) else text
        return {"text": text, "spans": spans, "scope": "ALL"}


def generate(lexicon, seed, count, snippets=(), foreign=None):
    """`count` rows; half of them template-free when there are snippets for the context, a third in the registers of `pii_news.py`."""
    g = PiiGenerator(lexicon, seed)
    free, registers = Free(g, snippets) if snippets else g, Registers(g, g.world, foreign)
    return [g.rng.choices((free, registers, g), (47, 34, 19))[0].sample() for _ in range(count)]
