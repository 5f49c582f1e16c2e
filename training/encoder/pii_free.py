"""Template-free PII texts: values and look-alikes between random words, pairs, tables and log lines.

A model that only sees carrier sentences learns the carriers. Here the context says nothing, so the
value itself must be recognised; types without a form of their own (age, ZIP, licence) get a hint word.
"""

import re

import pii_values as v

FREE = {"PERSON": 16, "ORG": 14, "GPE": 11, "ADDR": 13, "DATE": 16, "PHONE": 11, "EMAIL": 8, "DOMAIN": 7, "IP": 6, "NRP": 4, "SSN": 3, "CARD": 4, "IBAN": 4,
        "TITLED": 9, "HINTED": 9}
KINDS, WEIGHTS = list(FREE), list(FREE.values())
LOOK = ["order", "isbn", "version", "hash", "uuid", "serial", "money", "number", "mac", "coord", "tracking", "flight", "size", "port", "id", "slug", "path", "code", "length"]
HINTS = {
    "AGE": ["aged {}", "{} years old", "{}-year-old", "{} yrs old", "age {}", "age: {}", "turned {}", "turns {} soon", "{} y/o", "at the age of {}", "a {} year old", "(age {})", "is {}, and"],
    "ZIP": ["zip {}", "zip code {}", "ZIP: {}", "postcode {}", "postal code {}", "postal code: {}", "zipcode={}", "in the {} area code zone, zip"],
    "DL": ["driver's license {}", "licence {}", "DL {}", "DL# {}", "license no. {}", "driving licence number {}", "license: {}", "dl_number={}", "drivers license is {}"],
}
KEYS = {
    "PERSON": ["name", "full name", "customer", "contact", "author", "owner", "patient", "signed", "recipient", "employee", "assignee", "cc", "full_name", "user name", "student", "holder"],
    "ORG": ["company", "employer", "org", "organization", "vendor", "organisation", "client", "account", "supplier", "school", "bank", "insurer", "publisher"],
    "GPE": ["city", "country", "location", "state", "town", "birthplace", "region", "place", "origin", "destination", "based in"],
    "ADDR": ["address", "addr", "street", "ship to", "home address", "billing address", "residence", "location", "shipping_address", "deliver to", "pickup"],
    "DATE": ["date", "dob", "born", "due", "created_at", "timestamp", "expires", "time", "start", "end", "joined", "when", "last_seen", "issued", "date of birth", "ts"],
    "PHONE": ["phone", "tel", "mobile", "cell", "fax", "phone_number", "contact", "call", "whatsapp", "Tel.", "ph", "emergency", "home", "work"],
    "EMAIL": ["email", "e-mail", "mail", "login", "user", "contact", "reply-to", "username", "account"], "DOMAIN": ["site", "website", "url", "host", "domain", "homepage", "web", "referer"],
    "IP": ["ip", "addr", "host", "client", "remote", "src", "dst", "server", "gateway", "peer"], "NRP": ["nationality", "religion", "citizenship", "party", "ethnicity"],
    "SSN": ["ssn", "social", "SSN", "tax id"], "CARD": ["card", "cc", "visa", "card_number", "payment", "mastercard"], "IBAN": ["iban", "account", "IBAN", "acct", "bank account"],
    "ZIP": ["zip", "postal", "zip_code", "postcode", "zipcode"], "DL": ["license", "dl", "licence_no", "driver license"], "AGE": ["age", "Age", "years"], "TITLE": ["title", "salutation", "prefix"],
}
LOOKKEYS = ["order", "id", "ref", "sku", "version", "build", "status", "qty", "total", "code", "hash", "token", "size", "count", "serial", "commit", "pod", "file", "line", "level", "price",
            "ticket", "case", "model", "batch", "port", "pid", "score", "key", "branch", "tag", "lot", "room", "page", "volume", "error", "job", "task"]
LEVELS = ["INFO", "WARN", "ERROR", "DEBUG", "info", "warn", "[error]", "NOTICE", "FATAL", "TRACE", "[info]"]
BETWEEN = [" ", " ", " ", " ", ": ", ", ", ", ", " - ", " (", " \"", " '", "=", " | ", "\t", "; ", " is ", " at ", " from ", " for ", " to ", " by ", " of ", " with ", " on ", " and ", " in ",
           " @ ", "\n", "\n", ". ", ": \"", "→ ", " in the ", " near ", " since ", " until ", " about ", " called ", ",", " / ", " as ", " before ", " or ", "\n- ", "? ", "! "]
CLOSE = {" (": ")", " \"": "\"", " '": "'", ": \"": "\""}


class Free:
    """Draws (text, spans) with a PiiGenerator's values and a list of plain lower-case snippets."""

    def __init__(self, generator, snippets):
        self.g, self.rng, self.snippets = generator, generator.rng, snippets

    def word(self):
        """One to three plain words."""
        words = re.findall(r"[a-z']+", self.rng.choice(self.snippets)) or ["it"]
        at = self.rng.randrange(len(words))
        return " ".join(words[at:at + self.rng.choice([1, 1, 2, 3])])

    def snippet(self):
        """A few plain words, sometimes capitalised."""
        text = self.rng.choice(self.snippets)
        words = text.split()
        k = self.rng.randint(1, 9)
        at = self.rng.randrange(max(1, len(words) - k + 1))
        text = " ".join(words[at:at + k]).strip(" ,'-")
        r = self.rng.random()
        return text[:1].upper() + text[1:] if r < 0.4 else text

    def look(self):
        """A look-alike that is no PII."""
        rng, kind = self.rng, self.rng.choice(LOOK)
        word = lambda: self.word().split()[0]
        hexes = lambda n: "".join(rng.choice("0123456789abcdef") for _ in range(n))
        if kind == "id":
            return rng.choice([f"{rng.randint(1, 10 ** rng.randint(2, 12))}", f"#{rng.randint(1, 99999)}", f"{word()}{rng.randint(1, 999)}", f"{word().upper()}-{rng.randint(1, 99999)}"])
        if kind == "slug":
            return rng.choice([f"{word()}-{hexes(rng.choice([5, 7, 8, 10, 12, 24, 32, 40]))}", f"{word()}-{word()}-{rng.randint(0, 99)}", f"{word()}_{word()}", f"{word()}-{word()}",
                               f"{word()}-{hexes(9)}-{hexes(5)}", f"{word()}:{rng.randint(1, 9)}.{rng.randint(0, 30)}", f"--{word()}={rng.randint(1, 99)}", f"{word()}.{word()}()"])
        if kind == "path":
            return rng.choice([f"/{word()}/{word()}/{word()}.{rng.choice(['py', 'log', 'txt', 'rs', 'json', 'cfg', 'h'])}", f"{word()}.{rng.choice(['py', 'js', 'md', 'csv', 'pdf', 'yaml', 'exe', 'java'])}",
                               f"./{word()}/{word()}", f"C:\\{word()}\\{word()}.dll", f"{word()}/{word()}", f"~/{word()}"])
        if kind == "code":
            return rng.choice([f"{word()}({rng.randint(0, 99)})", f"{word()}[{rng.randint(0, 9)}]", f"x{rng.randint(0, 9)} = {rng.randint(0, 999)}", f"0x{hexes(8)}", f"{rng.randint(2, 99)}x{rng.randint(2, 99)}",
                               f"{rng.randint(1, 999)} + {rng.randint(1, 999)}", f"{rng.randint(1, 99)}/{rng.randint(1, 99)}", f"{rng.randint(1, 50)}:{rng.randint(1, 9)}", hexes(rng.choice([7, 12, 32, 40, 64]))])
        if kind == "length":
            return f"{rng.randint(1, 999)}{rng.choice([' ', ''])}{rng.choice(['cm', 'km', 'kg', 'ml', 'mb', 'GB', 'hours', 'minutes', 'percent', '%', 'times', 'items', 'pages', 'days', 'ms', 'USD', 'dollars', 'points', 'steps', 'people'])}"
        return self.g.fill(kind)

    def value(self):
        """(text, spans) of one PII value."""
        rng, g = self.rng, self.g
        kind = rng.choices(KINDS, WEIGHTS)[0]
        if kind == "TITLED":
            title = rng.choice(v.TITLES)
            name = g.last() if rng.random() < 0.4 else g.person()
            return f"{title} {name}", [(0, len(title), "TITLE"), (len(title) + 1, len(title) + 1 + len(name), "PERSON")]
        if kind == "HINTED":
            kind = rng.choice(["AGE", "AGE", "ZIP", "DL"])
            text, label = g.fill(kind), LABEL.get(kind, kind)
            before, after = rng.choice(HINTS[kind]).split("{}")
            return before + text + after, [(len(before), len(before) + len(text), label)]
        text = g.fill(kind)
        return text, [(0, len(text), LABEL.get(kind, kind))]

    def prose(self):
        """Snippets with values and look-alikes between them."""
        rng, text, spans = self.rng, "", []
        if rng.random() < 0.75:
            text = self.snippet()
        for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4])):
            sep = rng.choice(BETWEEN)
            if not text:
                sep = sep.strip(" ,;:=-/\t\n.?!@→") if sep in CLOSE else ""
            value, found = self.value() if rng.random() < 0.72 else (self.look(), [])
            text += sep
            spans += [(a + len(text), b + len(text), k) for a, b, k in found]
            text += value + (CLOSE.get(sep) or CLOSE.get(" " + sep, "") if sep else "")
            if rng.random() < 0.6:
                text += rng.choice([" ", " ", " ", ", ", ". ", " - ", "\n", "; ", "? ", ": ", "'s ", "! "]) + self.snippet()
        return text + rng.choice(["", "", ".", ".", "?", "!", "..", ";"]), spans

    def pairs(self):
        """Key-value records in many notations."""
        rng, rows = self.rng, []
        for _ in range(rng.choice([1, 2, 2, 3, 3, 4, 5])):
            if rng.random() < 0.25:
                rows.append((rng.choice(LOOKKEYS), self.look(), None))
                continue
            kind = rng.choice(list(KEYS))
            key = rng.choice(KEYS[kind]) if rng.random() < 0.85 or kind in ("AGE", "ZIP", "DL", "TITLE") else self.word()
            rows.append((key, self.g.fill(kind), LABEL.get(kind, kind)))
        style = rng.choice(["{k}: {v}", "{k}={v}", "\"{k}\": \"{v}\"", "<{k}>{v}</{k}>", "{k} -> {v}", "{k}\t{v}", "- {k}: {v}", "{k} {v}", "{k}: '{v}'", "'{k}': '{v}'", "* {k} - {v}", "{k}=\"{v}\"", "{K}: {v}", "[{k}] {v}"])
        join = rng.choice(["\n", "\n", ", ", " ", "; ", " | ", ",\n  ", "&", " / "])
        head, tail = rng.choice([("", ""), ("", ""), ("", ""), ("{", "}"), ("[", "]"), (self.snippet() + ": ", ""), (self.snippet() + "\n", ""), ("", "\n" + self.snippet()), ("<row>", "</row>")])
        text, spans = head, []
        for i, (k, value, label) in enumerate(rows):
            if i:
                text += join
            before, after = style.replace("{k}", k).replace("{K}", k.title()).split("{v}")
            text += before
            if label:
                spans.append((len(text), len(text) + len(value), label))
            text += value + after
        return text + tail, spans

    def values(self):
        """Bare values as in a table row, an SQL statement or a list."""
        rng = self.rng
        before, sep, after = rng.choice([("", ",", ""), ("", ", ", ""), ("(", ", ", ")"), ("", "\t", ""), ("", " | ", ""), ("| ", " | ", " |"), ("", ";", ""), ("'", "','", "'"), ("('", "', '", "')"), ("\"", "\",\"", "\""),
                                         ("", "\n", ""), ("[\"", "\", \"", "\"]"), ("", " - ", ""), ("<td>", "</td><td>", "</td>"), ("", " ", ""), ("- ", "\n- ", ""), (" (", ") (", ")")])
        head = rng.choice(["", "", self.snippet() + " ", self.word() + ": ", f"insert into {self.word()} values ", f"UPDATE {self.word()} SET {self.word()} = ", f"{self.word()}(", f"{rng.randint(1, 99)}. "])
        text, spans = head + before, []
        for i in range(rng.choice([1, 2, 2, 3, 3, 4, 5])):
            if i:
                text += sep
            value, found = self.value() if rng.random() < 0.75 else (rng.choice([self.look, self.word])(), [])
            spans += [(a + len(text), b + len(text), k) for a, b, k in found]
            text += value
        return text + after + rng.choice(["", "", ";", ");", "\n", " " + self.snippet()]), spans

    def line(self):
        """A log-like line."""
        rng, text, spans = self.rng, "", []
        for i in range(rng.randint(2, 6)):
            if i:
                text += rng.choice([" ", " ", " ", " - ", ": ", ", "])
            r = rng.random()
            if i == 0 and r < 0.6 or r < 0.15:
                kind, value = "DATE", self.g.fill("DATE")
            elif r < 0.3:
                text += rng.choice(LEVELS)
                continue
            elif r < 0.62:
                kind = rng.choice(["IP", "EMAIL", "DOMAIN", "PERSON", "IP", "PHONE"])
                value = self.g.fill(kind)
                text += rng.choice(["", "", "{}=".format(rng.choice(KEYS[kind])), "{}: ".format(rng.choice(KEYS[kind])), "from ", "to ", "by ", "for "])
            elif r < 0.8:
                text += rng.choice(["", rng.choice(LOOKKEYS) + "="]) + self.look()
                continue
            else:
                text += self.word()
                continue
            wrap = "[{}]" if rng.random() < 0.15 else "{}"
            before, after = wrap.split("{}")
            text += before
            spans.append((len(text), len(text) + len(value), LABEL.get(kind, kind)))
            text += value + after
        return text, spans

    def negative(self):
        """Only words and look-alikes."""
        rng = self.rng
        text = self.snippet() if rng.random() < 0.8 else ""
        for _ in range(rng.choice([1, 1, 2, 2, 3, 4])):
            text += (rng.choice(BETWEEN[:20]) if text else "") + (f"{rng.choice(LOOKKEYS)}{rng.choice([' ', '=', ': ', ' #', ' no. '])}" if rng.random() < 0.35 else "") + self.look()
            if rng.random() < 0.5:
                text += " " + self.snippet()
        return text, []

    def sample(self):
        """One row in the form of PiiGenerator.sample."""
        rng = self.rng
        kind = rng.choices([self.prose, self.pairs, self.values, self.line, self.negative], [40, 15, 14, 10, 21])[0]
        text, spans = kind()
        r = rng.random()
        if r < 0.15 and len(text.lower()) == len(text):
            text = text.lower()
        elif r < 0.17 and len(text.upper()) == len(text):
            text = text.upper()
        return {"text": text, "spans": spans, "scope": "ALL"}


LABEL = {"FIRST": "PERSON", "LAST": "PERSON", "ORG": "ORGANIZATION", "ADDR": "STREET_ADDRESS", "DATE": "DATE_TIME", "ZIP": "ZIP_CODE",
         "DL": "US_DRIVER_LICENSE", "SSN": "US_SSN", "CARD": "CREDIT_CARD", "IBAN": "IBAN_CODE", "EMAIL": "EMAIL_ADDRESS",
         "PHONE": "PHONE_NUMBER", "IP": "IP_ADDRESS", "DOMAIN": "DOMAIN_NAME"}
