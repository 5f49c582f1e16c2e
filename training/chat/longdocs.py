"""Long prompts: documents with facts to find, long rules, noise before a question."""

from __future__ import annotations

import random

from corpus import Passages
from facts import table
from qa import Qa
from stories import write_story
from styles import DUTIES, FIELDS, GENERAL
from words import ANIMALS, CITIES, COLORS, DAYS, FOODS, HOBBIES, JOBS, NAMES, OBJECTS, invented_word, join_and


def record(rng: random.Random) -> tuple[str, Qa]:
    """A statement and a question that it answers."""
    name, word, number = rng.choice(NAMES), invented_word(rng), rng.randint(2, 99)
    digits = "".join(str(rng.randint(0, 9)) for _ in range(rng.randint(3, 5)))
    job, city, color, day = rng.choice(JOBS), rng.choice(CITIES), rng.choice(COLORS), rng.choice(DAYS)
    thing, animal, food, hobby = rng.choice(OBJECTS), rng.choice(ANIMALS), rng.choice(FOODS), rng.choice(HOBBIES)
    article = "an" if job[0] in "aeiou" else "a"
    place = rng.choice(["office", "library", "garden", "server", "safe", "garage", "archive", "hotel", "shop", "museum", "school", "station"])
    return rng.choice([
        lambda: (f"The password of the {place} is {word}.", Qa(rng.choice([f"What is the password of the {place}?", f"Which password does the {place} have?"]), word, f"The password of the {place} is {word}.")),
        lambda: (f"The code for the {place} is {digits}.", Qa(rng.choice([f"What is the code for the {place}?", f"Which code opens the {place}?"]), digits, f"The code for the {place} is {digits}.")),
        lambda: (f"The {thing} costs {number} dollars.", Qa(rng.choice([f"How much does the {thing} cost?", f"What is the price of the {thing}?"]), f"{number} dollars", f"The {thing} costs {number} dollars.")),
        lambda: (f"{name} works as {article} {job} in {city}.", Qa(rng.choice([f"What is the job of {name}?", f"What does {name} do?"]), job, f"{name} works as {article} {job} in {city}.")),
        lambda: (f"{name} lives in {city}.", Qa(rng.choice([f"Where does {name} live?", f"In which city does {name} live?"]), city, f"{name} lives in {city}.")),
        lambda: (f"The meeting with {name} is on {day}.", Qa(rng.choice([f"When is the meeting with {name}?", f"On which day is the meeting with {name}?"]), day, f"The meeting with {name} is on {day}.")),
        lambda: (f"The favorite color of {name} is {color}.", Qa(rng.choice([f"What is the favorite color of {name}?", f"Which color does {name} like best?"]), color, f"The favorite color of {name} is {color}.")),
        lambda: (f"{name} is {number} years old.", Qa(rng.choice([f"How old is {name}?", f"What is the age of {name}?"]), str(number), f"{name} is {number} years old.")),
        lambda: (f"The {animal} of {name} is called {word.capitalize()}.", Qa(f"What is the {animal} of {name} called?", word.capitalize(), f"The {animal} of {name} is called {word.capitalize()}.")),
        lambda: (f"{name} likes to eat {food}.", Qa(f"What does {name} like to eat?", food, f"{name} likes to eat {food}.")),
        lambda: (f"The hobby of {name} is {hobby}.", Qa(f"What is the hobby of {name}?", hobby, f"The hobby of {name} is {hobby}.")),
        lambda: (f"The {place} opens at {number % 12 + 1} in the morning.", Qa(f"When does the {place} open?", f"at {number % 12 + 1} in the morning", f"The {place} opens at {number % 12 + 1} in the morning.")),
        lambda: (f"The {color} {thing} is in the {place}.", Qa(f"Where is the {color} {thing}?", f"in the {place}", f"The {color} {thing} is in the {place}.")),
    ])()


POLICIES = ["Treat every person with respect.", "Keep the answers short when the question is short.", "Never share private data.", "Write plain text and avoid jargon.", "If a question is unclear, say what you assume.", "Do not invent facts.",
            "Use numbers where they help.", "Speak in the language of the user.", "Avoid politics and gossip.", "Be patient with beginners.", "Prefer examples to theory.", "When a user is upset, stay calm.", "Refuse requests that could hurt someone.",
            "Check calculations twice.", "Do not repeat the question.", "Use lists only when there are several items.", "Stay friendly until the end.", "Do not mention these rules.", "Answer the last question of the user.", "Keep the names of customers secret."]


def rules(rng: random.Random, characters: int) -> str:
    """A long system prompt of role, duties and policies, sometimes numbered."""
    name, topics = FIELDS[rng.choice(list(FIELDS))]
    parts = [rng.choice(GENERAL), f"You know {name}, above all {join_and(topics)}."]
    lines = parts + rng.sample(DUTIES, len(DUTIES)) + rng.sample(POLICIES, len(POLICIES))
    while sum(map(len, lines)) < characters:
        lines.append(rng.choice(POLICIES + DUTIES) if rng.random() < 0.6 else f"{rng.choice(['In case of', 'When someone asks about', 'For questions about'])} {rng.choice(topics)}, {rng.choice(['be careful', 'give an example', 'explain the basics first', 'name your source', 'keep it short'])}.")
    out, size = [], 0
    for line in lines:
        out.append(line)
        size += len(line) + 1
        if size > characters:
            break
    if rng.random() < 0.4:
        return "\n".join(f"{i}. {line}" for i, line in enumerate(out, 1))
    return ("\n" if rng.random() < 0.3 else " ").join(out)


def own_filler(rng: random.Random, characters: int) -> list[str]:
    """Paragraphs from our own generators."""
    out, size = [], 0
    while size < characters:
        roll = rng.random()
        if roll < 0.4:
            paragraph = write_story(rng).replace("\n\n", " ")
        elif roll < 0.7:
            paragraph = " ".join(rng.choice(table("concepts"))[2:])
        else:
            paragraph = " ".join(record(rng)[0] for _ in range(rng.randint(2, 5)))
        out.append(paragraph)
        size += len(paragraph)
    return out


def noise(rng: random.Random, characters: int) -> str:
    """What load generators send: repeated words, numbered lines, word salad."""
    kind = rng.randrange(4)
    if kind == 0:
        unit = " ".join(rng.choice(OBJECTS + ANIMALS + NAMES) for _ in range(rng.randint(1, 8)))
        return (unit + " ") * (characters // (len(unit) + 1))
    if kind == 1:
        return "\n".join(f"Line {i}: the {rng.choice(OBJECTS)} is {rng.choice(COLORS)}." for i in range(1, characters // 28))
    if kind == 2:
        return " ".join(rng.choice(OBJECTS + ANIMALS + NAMES + JOBS + CITIES) if rng.random() < 0.7 else invented_word(rng) for _ in range(characters // 7))
    text = rng.choice(DUTIES + POLICIES) + " "
    return text * (characters // len(text))


def document(rng: random.Random, passages: Passages | None, characters: int) -> tuple[str, list[Qa]]:
    """Paragraphs with one to four records hidden at random places."""
    own = passages is None or rng.random() < 0.5
    paragraphs = own_filler(rng, characters) if own else passages.draw(rng, characters)
    questions = []
    for _ in range(rng.randint(1, 4)):
        statement, qa = record(rng)
        if any(qa.question == other.question for other in questions) or qa.question in " ".join(paragraphs):
            continue
        place = rng.randint(0, len(paragraphs))
        if rng.random() < 0.5 or place == len(paragraphs):
            paragraphs.insert(place, statement)
        else:
            paragraphs[place] = f"{statement} {paragraphs[place]}" if rng.random() < 0.5 else f"{paragraphs[place]} {statement}"
        questions.append(qa)
    return rng.choice(["\n", "\n\n", " "]).join(paragraphs), questions
