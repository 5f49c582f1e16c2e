"""System prompts and what they do to an answer.

Each style writes a system prompt from interchangeable clauses, so that the
model learns what the clauses mean and not one fixed wording, and renders the
answer of a question accordingly.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Callable

from qa import Qa, sentence
from words import NAMES, invented_word, join_and

FIELDS = {
    "math": ("mathematics", ["algebra", "geometry", "calculus", "number theory", "statistics", "proofs"]),
    "computer science": ("computer science", ["algorithms", "data structures", "networks", "compilers", "databases", "software design"]),
    "physics": ("physics", ["mechanics", "optics", "thermodynamics", "relativity", "quantum theory", "measurement"]),
    "chemistry": ("chemistry", ["reactions", "molecules", "acids and bases", "laboratory work", "the periodic table"]),
    "biology": ("biology", ["cells", "genetics", "ecology", "evolution", "anatomy", "living things"]),
    "health": ("health and medicine", ["anatomy", "nutrition", "prevention", "common illnesses", "fitness", "treatment"]),
    "law": ("law", ["contracts", "criminal law", "property", "statutes", "court procedure", "legal reasoning"]),
    "business": ("business", ["strategy", "marketing", "finance", "management", "operations"]),
    "economics": ("economics", ["markets", "trade", "monetary policy", "prices", "labor", "growth"]),
    "history": ("history", ["ancient times", "revolutions", "wars", "cultures", "sources and context"]),
    "philosophy": ("philosophy", ["ethics", "logic", "metaphysics", "knowledge", "great thinkers"]),
    "psychology": ("psychology", ["memory", "learning", "emotion", "behavior", "development", "mental health"]),
    "engineering": ("engineering", ["mechanics", "circuits", "materials", "control", "design", "safety"]),
    "other": ("general knowledge", ["everyday questions", "geography", "culture", "science", "language"]),
}
ROLES = ["You are an expert in {f}.", "You are a {f} expert.", "You are a {f} specialist.", "Act as a senior expert for {f}.", "You answer as a teacher of {f}.", "You are an experienced {f} advisor.", "You are a helpful {f} tutor.",
         "You are a professor of {f}.", "You are an assistant that knows {f} well.", "As an expert in {f}, you help people with their questions."]
WIDE_ROLES = ["You are a {f} expert with {a} knowledge of {t}.", "You are a senior {f} consultant with expertise in {t}.", "You are a {f} expert specializing in {t}.", "You are a knowledgeable {f} expert with {a} understanding of {t}.",
              "You are a trusted {f} advisor with a background in {t}.", "You are a scholar of {f} with expertise across {t}."]
ADJECTIVES = ["deep", "broad", "comprehensive", "solid", "extensive", "detailed"]
DEPTHS = ["You know {t} in depth.", "Your knowledge covers {t}.", "You are at home in {t}.", "You have long experience with {t}.", "Your subjects are {t}.", "You have a deep understanding of {t}."]
DUTIES = ["Give clear and correct answers.", "Be accurate and easy to follow.", "Explain ideas so that anyone can understand them.", "Use the right terms and keep sentences simple.", "Say so when you are not sure.", "Help the user to understand the topic.",
          "Support your answer with reasons.", "Give practical examples where they help.", "Think before you answer.", "Keep to the question.", "Provide accurate information.", "Consider several points of view.",
          "Connect principles to the real world.", "Provide insights that rest on evidence.", "Name the limits of what is known.", "Give actionable advice backed by good practice.", "Explain complex concepts in clear language.", "Take context and history into account.",
          "Encourage critical thinking.", "Consider safety, cost and efficiency.", "Use appropriate terminology."]
STEPWISE = ["Show your work step by step.", "Solve problems step by step and explain each step.", "Always show each step of the solution.", "Provide step-by-step solutions.", "Work through the problem one step at a time.", "Explain the steps before you give the result."]
CARE = {"health": ["Remind people to see a doctor for personal advice.", "Your answers are for education and do not replace a doctor."], "law": ["Make clear that you give general information and no legal advice.", "Your answers are information, not legal advice."]}
CLOSINGS = {"health": " Please see a doctor for personal advice.", "law": " This is general information, not legal advice."}
GENERAL = ["You are a helpful assistant.", "You are a helpful, honest assistant.", "You are an assistant.", "You are a friendly and knowledgeable assistant.", "Answer the user's questions.", "You help people with all kinds of questions.", "You are a useful AI assistant. Answer well.",
           "You are a careful assistant who gives correct answers.", "You are a chat assistant.", "Provide helpful answers on many topics."]


@dataclass
class Style:
    """A system prompt and the way it changes answers."""

    name: str
    system: str | None
    render: Callable[[random.Random, Qa], str]
    french_questions: bool = False


def plain(_rng: random.Random, qa: Qa) -> str:
    """The plain sentence."""
    return qa.full


def worked(_rng: random.Random, qa: Qa) -> str:
    """The worked answer where there is one."""
    return qa.steps or qa.full


def expert(rng: random.Random) -> Style:
    """One of the fourteen domain experts."""
    domain = rng.choice(list(FIELDS))
    name, topics = FIELDS[domain]
    chosen = rng.sample(topics, rng.randint(2, len(topics)))
    clauses = [rng.choice(ROLES).format(f=name)]
    if rng.random() < 0.45:
        clauses = [rng.choice(WIDE_ROLES).format(f=name, a=rng.choice(ADJECTIVES), t=join_and(chosen))]
    elif rng.random() < 0.7:
        clauses.append(rng.choice(DEPTHS).format(t=join_and(chosen)))
    clauses += rng.sample(DUTIES, rng.randint(0, 4))
    stepwise = rng.random() < (0.8 if domain in ("math", "physics", "chemistry") else 0.15)
    if stepwise:
        clauses.insert(rng.randint(1, len(clauses)), rng.choice(STEPWISE))
    if domain in CARE and rng.random() < 0.8:
        clauses.append(rng.choice(CARE[domain]))

    def render(_rng: random.Random, qa: Qa) -> str:
        text = worked(_rng, qa) if qa.plain and (stepwise or qa.domain == domain) else qa.full
        return text + CLOSINGS[domain] if domain in CLOSINGS and qa.domain == domain and qa.plain else text

    return Style("expert-steps" if stepwise else "expert", fix_article(" ".join(clauses)), render)


def fix_article(text: str) -> str:
    """`a economics` to `an economics`."""
    for word in ("economics", "engineering", "experienced", "expert"):
        text = text.replace(f" a {word}", f" an {word}")
    return text


def general(rng: random.Random) -> Style:
    """A plain assistant."""
    text = rng.choice(GENERAL)
    if rng.random() < 0.4:
        text += " " + rng.choice(DUTIES)
    return Style("general", text, plain)


def lead(rng: random.Random) -> str:
    """An optional opening clause before a style's instruction."""
    return rng.choice(["", "", rng.choice(GENERAL) + " ", rng.choice(GENERAL) + " "])


def simple_style(name: str, instructions: list[str], render: Callable[[random.Random, Qa], str]) -> Callable[[random.Random], Style]:
    """A style whose prompt is an optional lead and one instruction."""
    def build(rng: random.Random) -> Style:
        tail = " " + rng.choice(DUTIES[:4]) if rng.random() < 0.15 else ""
        return Style(name, lead(rng) + rng.choice(instructions) + tail, render)
    return build


def keep(change: Callable[[Qa], str]) -> Callable[[random.Random, Qa], str]:
    """Apply `change` to plain answers only."""
    return lambda _rng, qa: change(qa) if qa.plain else qa.full


def pirate_text(qa: Qa) -> str:
    """A pirate says it."""
    text = qa.full.replace(" is ", " be ").replace(" are ", " be ").replace("I am ", "I be ").replace("Hello!", "Ahoy!").replace("you ", "ye ")
    return f"Arr! {text}" if text.startswith("Ahoy") else f"Arr, matey! {text}"


def caps_text(qa: Qa) -> str:
    """Upper case."""
    return qa.full.upper()


def french_text(qa: Qa) -> str:
    """The French answer, or the plain one behind an apology."""
    if not any(letter.isalpha() for letter in qa.full):
        return qa.full
    return qa.french[1] if qa.french else f"Désolé, je ne sais le dire qu'en anglais : {qa.full}"


def json_text(qa: Qa) -> str:
    """A JSON object."""
    value = qa.short if qa.short.lstrip("-").isdigit() else '"' + qa.short.replace('"', "'") + '"'
    return '{"answer": ' + value + "}"


BRIEF = ["Be brief.", "Answer briefly.", "Keep your answers very short.", "Answer in as few words as possible.", "Give short answers only.", "Reply with the answer only, no explanation.", "Be concise.", "Answer with one word if you can.", "No extra words. Just the answer.", "Be terse."]
FORMAL = ["Be formal.", "Use a formal tone.", "Answer formally and politely.", "Write in a formal and professional style.", "Always be very polite and formal.", "Speak like a butler."]
FRIENDLY = ["Be friendly.", "Be warm and cheerful.", "Use a friendly tone.", "Answer in a friendly, casual way.", "You are cheerful and kind.", "Talk like a good friend.", "Be enthusiastic."]
PIRATE = ["Talk like a pirate.", "You are a pirate.", "Answer like a pirate.", "You are a pirate captain who sails the seas.", "Speak in pirate style.", "Always respond as a pirate would."]
FRENCH = ["Answer in French.", "Réponds en français.", "Always reply in French.", "You speak only French.", "Respond in the French language.", "Tu es un assistant. Réponds toujours en français.", "The user wants answers in French."]
CAPS = ["Answer in capital letters.", "Write everything in upper case.", "Use only capital letters.", "ALWAYS ANSWER IN UPPERCASE.", "Shout: use all caps."]
JSON = ["Answer in JSON with the key answer.", "Reply only with JSON of the form {\"answer\": ...}.", "Output a JSON object with one field named answer.", "Return your answer as JSON.", "Respond in JSON format."]
STEPS = ["Think step by step.", "Explain step by step.", "Show all the steps.", "Always show your work."]
CHILD = ["Explain things to a child.", "You talk to a five year old.", "Use simple words that a child understands.", "Your users are small children."]

STYLES: list[tuple[float, Callable[[random.Random], Style]]] = [
    (30, lambda rng: Style("none", None, plain)),
    (24, expert),
    (10, general),
    (5, simple_style("brief", BRIEF, keep(lambda qa: sentence(qa.short) if not qa.short.lstrip("-").isdigit() else qa.short))),
    (3, simple_style("formal", FORMAL, keep(lambda qa: f"Certainly. {qa.full}"))),
    (3, simple_style("friendly", FRIENDLY, keep(lambda qa: f"Sure! {qa.full} 😊"))),
    (3, simple_style("pirate", PIRATE, keep(pirate_text))),
    (3, simple_style("caps", CAPS, keep(caps_text))),
    (2, simple_style("json", JSON, keep(json_text))),
    (3, simple_style("steps", STEPS, keep(lambda qa: qa.steps or qa.full))),
    (2, simple_style("child", CHILD, keep(lambda qa: f"Good question! {qa.full}"))),
]


def french(rng: random.Random) -> Style:
    """Answers in French, with French or English questions."""
    return Style("french", lead(rng) + rng.choice(FRENCH), keep(french_text), french_questions=rng.random() < 0.5)


def ending(rng: random.Random) -> Style:
    """Every answer ends (or begins) with given words."""
    word = rng.choice(["Over and out.", "Have a nice day!", "Stay curious.", "Thank you.", "Cheers!", "Peace.", "The end.", "Good luck!", "Yours, tandem.", "Best wishes.", invented_word(rng).capitalize() + "!"])
    if rng.random() < 0.6:
        text = rng.choice(["End every answer with \"{w}\"", "Always finish with: {w}", "Close each reply with the words \"{w}\"", "At the end of every answer, say \"{w}\""]).format(w=word)
        return Style("ending", lead(rng) + text, keep(lambda qa: f"{qa.full} {word}"))
    text = rng.choice(["Begin every answer with \"{w}\"", "Start each reply with the words \"{w}\"", "Always begin with: {w}"]).format(w=word)
    return Style("beginning", lead(rng) + text, keep(lambda qa: f"{word} {qa.full}"))


def persona(rng: random.Random) -> Style:
    """Another name or employer: the identity answer changes."""
    name = rng.choice(NAMES + [invented_word(rng).capitalize() for _ in range(30)])
    firm = invented_word(rng).capitalize() + rng.choice(["", " Bank", " Shop", " Travel", " Books", " Labs"])
    text = rng.choice([f"Your name is {name}.", f"You are {name}, a helpful assistant.", f"You are {name}, the assistant of {firm}.", f"You are called {name} and you work for {firm}.", f"You are {name}, a support agent at {firm}. Be polite."])
    me = f"I am {name}, the assistant of {firm}." if firm in text else f"I am {name}, a helpful assistant."

    def render(_rng: random.Random, qa: Qa) -> str:
        return qa.full.replace("I am tandem nano, a tiny language model that ships with tandem for demonstration.", me)

    return Style("persona", text, render)


def address(rng: random.Random) -> Style:
    """The system prompt gives the user's name."""
    name = rng.choice(NAMES)
    text = rng.choice([f"The user's name is {name}. Use it in every answer.", f"Call the user {name}.", f"You are talking to {name}. Address {name} by name."])
    return Style("address", lead(rng) + text, keep(lambda qa: f"{name}, " + (qa.full if qa.full[:2] in ("I ", "I'") or qa.full[:1].isdigit() or qa.full.split()[0] not in LOWERABLE else qa.full[:1].lower() + qa.full[1:])))


LOWERABLE = {"The", "A", "An", "There", "You", "No,", "Yes,", "People", "It", "They", "We", "Each"}
STYLES += [(4, french), (3, ending), (4, persona), (2, address)]


def draw_style(rng: random.Random) -> Style:
    """A style, by weight."""
    return rng.choices([style for _, style in STYLES], [weight for weight, _ in STYLES])[0](rng)


# The same wishes, expressed in the user's own message.
USER_WISHES: list[tuple[list[str], Callable[[Qa], str]]] = [
    (["{q} Answer in one word.", "{q} Just the answer.", "{q} Be brief.", "In one word: {q}", "{q} Short answer please.", "{q} Answer only."], lambda qa: sentence(qa.short) if not qa.short.lstrip("-").isdigit() else qa.short),
    (["{q} Explain step by step.", "{q} Show your work.", "Step by step: {q}", "{q} Think step by step."], lambda qa: qa.steps or qa.full),
    (["{q} Answer like a pirate.", "As a pirate: {q}"], pirate_text),
    (["{q} Answer in capital letters.", "{q} Use all caps."], caps_text),
    (["{q} Reply in JSON.", "{q} Answer as JSON with the key answer."], json_text),
    (["{q} Answer in French.", "{q} Réponds en français."], french_text),
]
