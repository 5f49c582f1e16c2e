"""One question with its answer in several lengths: the unit every generator makes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Qa:
    """A question and its answer.

    `short` is the bare answer, `full` the plain sentence, `steps` a worked or
    longer answer.  `plain` is false for answers that a style must not touch
    (stories, code, echoes).  `french` holds the question and answer in French.
    """

    question: str
    short: str
    full: str
    steps: str = ""
    domain: str = "other"
    plain: bool = True
    french: tuple[str, str] | None = None
    followups: list["Qa"] = field(default_factory=list)


def sentence(text: str) -> str:
    """First letter up, full stop at the end."""
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else text + "."


PREFIXES = ["", "", "", "", "", "", "", "Hi, ", "Hello! ", "Hey, ", "Please tell me: ", "Quick question: ",
            "Can you tell me ", "Question: ", "OK, ", "So, ", "I need help. ", "Excuse me, "]
SUFFIXES = ["", "", "", "", "", "", "", "", " Please.", " Thanks!", " Thank you.", " please", " Tell me.", " Explain."]


def vary(rng: random.Random, question: str) -> str:
    """The small things that users do to a question: case, punctuation, politeness."""
    roll = rng.random()
    if roll < 0.55:
        return question
    if roll < 0.65:
        return question.lower()
    if roll < 0.72:
        return question.rstrip("?.!")
    if roll < 0.78:
        return question.lower().rstrip("?.!")
    if roll < 0.80:
        return question.upper()
    prefix, suffix = rng.choice(PREFIXES), rng.choice(SUFFIXES[:-2])
    body = question
    if prefix.endswith((", ", ": ", "me ")) and not body[:2].isupper():
        body = body[:1].lower() + body[1:] if not body.startswith("I ") else body
    return prefix + body + suffix
