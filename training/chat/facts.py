"""Facts and explanations, read from the tables in knowledge/."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from qa import Qa, sentence
from words import DAYS, FRUITS, MONTHS, join_and

KNOWLEDGE = Path(__file__).resolve().parent / "knowledge"
FRENCH_COUNTRIES = {"France": "la France", "Germany": "l'Allemagne", "Spain": "l'Espagne", "Italy": "l'Italie", "Portugal": "le Portugal",
                    "Belgium": "la Belgique", "Switzerland": "la Suisse", "Austria": "l'Autriche", "Greece": "la Grèce", "Poland": "la Pologne",
                    "Japan": "le Japon", "China": "la Chine", "Canada": "le Canada", "Egypt": "l'Égypte", "Ireland": "l'Irlande",
                    "Norway": "la Norvège", "Sweden": "la Suède", "Peru": "le Pérou", "Cuba": "Cuba", "the United Kingdom": "le Royaume-Uni"}
FRENCH_CITIES = {"Lisbon": "Lisbonne", "Brussels": "Bruxelles", "Bern": "Berne", "Vienna": "Vienne", "Athens": "Athènes", "Warsaw": "Varsovie",
                 "Beijing": "Pékin", "Cairo": "Le Caire", "London": "Londres", "Havana": "La Havane"}
FRENCH_FACTS = [
    ("Quelle est la couleur du ciel ?", "What color is the sky?", "blue", "The sky is blue on a clear day.", "Le ciel est bleu par beau temps."),
    ("Quelle est la couleur de l'herbe ?", "What color is grass?", "green", "Grass is green.", "L'herbe est verte."),
    ("Combien de jours y a-t-il dans une semaine ?", "How many days are in a week?", "7", "There are 7 days in a week.", "Il y a 7 jours dans une semaine."),
    ("Combien de mois y a-t-il dans une année ?", "How many months are in a year?", "12", "There are 12 months in a year.", "Il y a 12 mois dans une année."),
    ("Quelle est la plus grande planète ?", "What is the largest planet?", "Jupiter", "Jupiter is the largest planet in the solar system.", "Jupiter est la plus grande planète du système solaire."),
    ("Quels sont les jours de la semaine ?", "What are the days of the week?", "Monday to Sunday", "The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.", "Les jours de la semaine sont lundi, mardi, mercredi, jeudi, vendredi, samedi et dimanche."),
    ("Qui a peint la Joconde ?", "Who painted the Mona Lisa?", "Leonardo da Vinci", "Leonardo da Vinci painted the Mona Lisa.", "Léonard de Vinci a peint la Joconde."),
    ("À quelle température l'eau bout-elle ?", "At what temperature does water boil?", "100 degrees Celsius", "Water boils at 100 degrees Celsius at sea level.", "L'eau bout à 100 degrés Celsius."),
]


@cache
def table(name: str) -> list[list[str]]:
    """The rows of a knowledge table."""
    lines = (KNOWLEDGE / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if line]


def country(rng: random.Random) -> Qa:
    """Capital, continent, language or currency of a country."""
    name, capital, continent, language, currency = rng.choice(table("countries"))
    kind = rng.choices(["capital", "reverse", "continent", "language", "currency"], [6, 1, 1, 1, 1])[0]
    if kind == "capital":
        ask = rng.choice(["What is the capital of {c}?", "What is the capital of {c}?", "Which city is the capital of {c}?", "capital of {c}?", "What's the capital city of {c}?", "Name the capital of {c}.",
                          "Tell me the capital of {c}.", "What city is {c}'s capital?", "Do you know the capital of {c}?", "The capital of {c} is"])
        french = None
        if name in FRENCH_COUNTRIES:
            de = FRENCH_COUNTRIES[name].replace("le ", "du ") if FRENCH_COUNTRIES[name].startswith("le ") else "de " + FRENCH_COUNTRIES[name]
            french = (f"Quelle est la capitale {de} ?", f"La capitale {de} est {FRENCH_CITIES.get(capital, capital)}.")
        qa = Qa(ask.format(c=name), capital, sentence(f"The capital of {name} is {capital}"), "", "other", french=french)
        qa.steps = f"{qa.full} It lies in {continent}."
        if rng.random() < 0.3:
            other = rng.choice(table("countries"))
            qa.followups.append(Qa(rng.choice(["And {c}?", "And of {c}?", "What about {c}?", "How about {c}?"]).format(c=other[0]), other[1],
                                   sentence(f"The capital of {other[0]} is {other[1]}")))
        elif rng.random() < 0.2:
            qa.followups.append(Qa(rng.choice(["Where is it?", "In which continent is that?", "Which continent is it in?"]), continent, sentence(f"{name[:1].upper() + name[1:]} is in {continent}")))
        return qa
    upper = name[:1].upper() + name[1:]
    if kind == "reverse":
        names = [row[0] for row in table("countries") if row[1] == capital and row[0] not in ("England",)]
        return Qa(rng.choice([f"{capital} is the capital of which country?", f"Which country has the capital {capital}?", f"Of which country is {capital} the capital?"]), names[0], f"{capital} is the capital of {names[0]}.".replace("..", "."))
    if kind == "continent":
        return Qa(rng.choice([f"In which continent is {name}?", f"Where is {name}?", f"What continent is {name} in?", f"On which continent is {name}?"]), continent, f"{upper} is in {continent}.")
    if kind == "language":
        return Qa(rng.choice([f"What language do people speak in {name}?", f"Which language is spoken in {name}?", f"What is the language of {name}?"]), language, f"People in {name} speak {language}.")
    return Qa(rng.choice([f"What is the currency of {name}?", f"Which currency does {name} use?", f"What money is used in {name}?"]), currency, f"The currency of {name} is the {currency}.")


def opposite(rng: random.Random) -> Qa:
    """The opposite of a word."""
    a, b = rng.choice(table("opposites"))
    if rng.random() < 0.4 and sum(row[1] == b for row in table("opposites")) == 1 and all(row[0] != b for row in table("opposites")):
        a, b = b, a
    ask = rng.choice(["What is the opposite of {a}?", "What's the opposite of {a}?", "Opposite of {a}?", "Give me the opposite of '{a}'.", "What is the antonym of {a}?", "Which word means the opposite of {a}?"])
    return Qa(ask.format(a=a), b, f"The opposite of {a} is {b}.")


def animal(rng: random.Random) -> Qa:
    """Sound, young, legs, class or group of an animal."""
    name, young, sound, legs, kind, group = rng.choice(table("animals"))
    article = "an" if name[0] in "aeiou" else "a"
    which = rng.randrange(5)
    if which == 0:
        return Qa(rng.choice([f"What is a baby {name} called?", f"What do you call a baby {name}?", f"Name the young of {article} {name}."]), young, f"A baby {name} is called a {young}.".replace("a owlet", "an owlet"), "", "biology")
    if which == 1:
        return Qa(rng.choice([f"What sound does {article} {name} make?", f"What does {article} {name} do when it makes a sound?", f"How does {article} {name} sound?"]), sound, f"{article.capitalize()} {name} {sound}.", "", "biology")
    if which == 2:
        return Qa(rng.choice([f"How many legs does {article} {name} have?", f"How many legs has {article} {name}?", f"Count the legs of {article} {name}."]), legs, f"{article.capitalize()} {name} has {legs if legs != '0' else 'no'} legs.", "", "biology")
    if which == 3:
        what = "an " + kind if kind[0] in "aei" else "a " + kind
        return Qa(rng.choice([f"What kind of animal is {article} {name}?", f"What class of animal is {article} {name}?", f"Is {article} {name} a mammal?"]), what,
                  f"{article.capitalize()} {name} is {what}.", "", "biology")
    return Qa(rng.choice([f"What is a group of {name} called?", f"What do you call a group of {name}?"]).replace(f"of {name}", f"of {plural(name)}"), group, f"A group of {plural(name)} is called a {group}.".replace("a army", "an army"), "", "biology")


def plural(noun: str) -> str:
    """The plural of a simple noun."""
    irregular = {"mouse": "mice", "sheep": "sheep", "goose": "geese", "wolf": "wolves", "fox": "foxes", "man": "men", "child": "children", "foot": "feet", "tooth": "teeth", "woman": "women", "person": "people", "fish": "fish"}
    if noun in irregular:
        return irregular[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def element(rng: random.Random) -> Qa:
    """Symbol, number or state of a chemical element."""
    name, symbol, number, state = rng.choice(table("elements"))
    kind = rng.randrange(4)
    if kind == 0:
        return Qa(rng.choice([f"What is the chemical symbol of {name}?", f"What is the symbol for {name}?", f"Chemical symbol of {name}?"]), symbol, f"The chemical symbol of {name} is {symbol}.", f"The chemical symbol of {name} is {symbol}, and its atomic number is {number}.", "chemistry")
    if kind == 1:
        return Qa(rng.choice([f"What is the atomic number of {name}?", f"Which atomic number does {name} have?", f"How many protons does {name} have?"]), number, f"The atomic number of {name} is {number}.", f"The atomic number of {name} is {number}, so each atom has {number} protons.", "chemistry")
    if kind == 2:
        return Qa(rng.choice([f"Which element has the symbol {symbol}?", f"What element is {symbol}?", f"What does {symbol} stand for in chemistry?"]), name, f"{symbol} is the symbol of {name}.", "", "chemistry")
    return Qa(f"Is {name} a solid, a liquid or a gas?", f"a {state}", f"{name.capitalize()} is a {state} at room temperature.", "", "chemistry")


def unit(rng: random.Random) -> Qa:
    """How many of this in that."""
    small, big, count = rng.choice(table("units"))
    verb = "does {b} have" if rng.random() < 0.3 else "are in {b}"
    return Qa(rng.choice(["How many {s} " + verb + "?", "How many {s} " + verb + "?", "How many {s} are there in {b}?", "{b} has how many {s}?"]).format(s=small, b=big), count, sentence(f"There are {int(count):,} {small} in {big}"), "", "math" if small == "degrees" else "other")


def calendar(rng: random.Random) -> Qa:
    """Days and months: next, previous, number."""
    names, what = (DAYS, "day") if rng.random() < 0.6 else (MONTHS, "month")
    i = rng.randrange(len(names))
    kind = rng.randrange(4)
    nxt, prv = names[(i + 1) % len(names)], names[i - 1]
    if kind == 0:
        return Qa(rng.choice([f"What {what} comes after {names[i]}?", f"Which {what} follows {names[i]}?", f"What is the {what} after {names[i]}?"]), nxt, f"{nxt} comes after {names[i]}.")
    if kind == 1:
        return Qa(rng.choice([f"What {what} comes before {names[i]}?", f"Which {what} is before {names[i]}?", f"What is the {what} before {names[i]}?"]), prv, f"{prv} comes before {names[i]}.")
    if what == "month":
        days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][i]
        tail = " In a leap year it has 29." if i == 1 else ""
        return Qa(rng.choice([f"How many days are in {names[i]}?", f"How many days does {names[i]} have?"]), str(days), f"{names[i]} has {days} days.{tail}")
    ask = rng.choice([f"If today is {names[i]}, what day is tomorrow?", f"Today is {names[i]}. What day is tomorrow?"]) if kind == 2 else f"If today is {names[i]}, what day was yesterday?"
    answer = nxt if kind == 2 else prv
    return Qa(ask, answer, f"Tomorrow is {answer}." if kind == 2 else f"Yesterday was {answer}.")


def fixed(rng: random.Random) -> Qa:
    """One row of the table of single facts, or a French one."""
    if rng.random() < 0.06:
        french_q, ask, short, full, french_a = rng.choice(FRENCH_FACTS)
        return Qa(ask, short, full, french=(french_q, french_a))
    domain, asks, short, full = rng.choice(table("facts"))
    return Qa(rng.choice(asks.split("|")), short, full, "", domain)


EXPLAIN_ASKS = ["What is {t}?", "What is {t}?", "Explain {t}.", "Explain {t}", "Tell me about {t}.", "Can you explain {t}?", "Please explain {t}.", "Describe {t}.", "What do you know about {t}?", "Define {t}.",
                "Give me a short explanation of {t}.", "Help me understand {t}.", "I want to learn about {t}.", "What does {t} mean?", "Write a short paragraph about {t}.", "How would you explain {t}?", "Could you tell me about {t}?"]


def strip_article(term: str) -> str:
    """`a gene` to `gene`."""
    for article in ("a ", "an ", "the "):
        if term.startswith(article):
            return term[len(article):]
    return term


def concept(rng: random.Random, domain: str | None = None, long: bool = False) -> Qa:
    """An explanation: one sentence, three, or the whole paragraph."""
    rows = [row for row in table("concepts") if domain is None or row[0] == domain] or table("concepts")
    dom, term, *sentences = rng.choice(rows)
    shown = term if rng.random() < 0.7 else strip_article(term)
    ask = rng.choice(EXPLAIN_ASKS[4:5] + EXPLAIN_ASKS[7:9] + EXPLAIN_ASKS[14:] if long else EXPLAIN_ASKS)
    if plural_term(term):
        ask = ask.replace("What is", "What are").replace("does {t} mean", "do we mean by {t}")
    qa = Qa(ask.format(t=shown), sentences[0], " ".join(sentences), " ".join(sentences), dom)
    if rng.random() < 0.25:
        qa.full = " ".join(sentences[:2])
        qa.question = rng.choice(["Briefly, what is {t}?", "In two sentences, explain {t}.", "Explain {t} briefly.", "In short, what is {t}?"]).format(t=shown)
        qa.followups.append(Qa(rng.choice(["Tell me more.", "Can you say more?", "More, please.", "Go on."]), sentences[2], " ".join(sentences[2:]), "", dom))
    return qa


def plural_term(term: str) -> bool:
    """Terms that take `are`."""
    return term in ("neural networks", "mountains", "forests", "rivers", "cats", "dogs", "birds", "trees", "books", "robots", "dinosaurs", "bacteria", "supply and demand", "human resources", "the Middle Ages")


def listing(rng: random.Random) -> Qa:
    """Name three fruits, list five animals."""
    pools = {"fruits": FRUITS, "animals": [row[0] for row in table("animals")], "countries in Europe": [r[0] for r in table("countries") if r[2] == "Europe"],
             "countries in Asia": [r[0] for r in table("countries") if r[2] == "Asia"], "countries in Africa": [r[0] for r in table("countries") if r[2] == "Africa"],
             "chemical elements": [r[0] for r in table("elements")], "colors": ["red", "blue", "green", "yellow", "orange", "purple", "pink", "brown"],
             "planets": ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"], "programming languages": ["Python", "Rust", "C", "Java", "JavaScript", "Go", "Ruby", "Swift"],
             "vegetables": ["carrot", "potato", "onion", "tomato", "pea", "bean", "cabbage", "spinach", "leek"], "sports": ["football", "tennis", "swimming", "running", "cycling", "hockey", "golf"],
             "musical instruments": ["piano", "violin", "guitar", "flute", "drum", "trumpet", "harp", "cello"]}
    name = rng.choice(list(pools))
    count = rng.randint(2, 6)
    items = rng.sample(pools[name], count)
    ask = rng.choice(["Name {n} {k}.", "List {n} {k}.", "Give me {n} {k}.", "Can you name {n} {k}?", "Tell me {n} {k}.", "Write down {n} {k}."]).format(n=rng.choice([str(count), ["two", "three", "four", "five", "six"][count - 2]]), k=name)
    numbered = "\n".join(f"{i}. {item[:1].upper() + item[1:]}" for i, item in enumerate(items, 1))
    if "List" in ask or "Write down" in ask:
        return Qa(ask, join_and(items), numbered, plain=False)
    return Qa(ask, join_and(items), sentence(join_and(items)))


def fact(rng: random.Random) -> Qa:
    """Any factual question."""
    return rng.choices([country, opposite, animal, element, unit, calendar, fixed, listing], [9, 3, 4, 3, 4, 4, 12, 3])[0](rng)
