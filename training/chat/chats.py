"""Whole conversations: styles, turns, memory, tools, long prompts."""

from __future__ import annotations

import random

from arithmetic import arithmetic
from corpus import Passages
from facts import concept, fact
from longdocs import document, noise, record, rules
from qa import Qa, vary
from smalltalk import talk
from stories import free_text
from styles import USER_WISHES, draw_style
from tasks import task
from words import CITIES, COLORS, FOODS, HOBBIES, JOBS, NAMES, invented_word

Chat = list[dict[str, str]]


def any_question(rng: random.Random) -> Qa:
    """A question of any kind, in the proportions of the training mix."""
    roll = rng.random()
    if roll < 0.36:
        return arithmetic(rng)
    if roll < 0.56:
        return fact(rng)
    if roll < 0.70:
        return concept(rng)
    if roll < 0.84:
        return task(rng)
    if roll < 0.94:
        return talk(rng)
    return free_text(rng)


def turn(user: str, assistant: str) -> Chat:
    """One exchange."""
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def ask_again(rng: random.Random, qa: Qa, answer: str) -> Chat:
    """A question about the last answer."""
    if qa.domain == "math" and qa.steps and rng.random() < 0.5:
        return turn(rng.choice(["Why?", "How?", "Explain.", "How did you get that?", "Show me the steps.", "Can you explain?"]), qa.steps)
    roll = rng.random()
    if roll < 0.35 and qa.plain:
        return turn(rng.choice(["Are you sure?", "Really?", "Is that correct?", "Sure?"]), f"Yes. {qa.full}")
    if roll < 0.6 and len(answer) < 300:
        return turn(rng.choice(["Repeat that.", "Say that again.", "Can you repeat your last answer?", "Once more, please.", "Repeat your answer."]), answer)
    if roll < 0.8 and len(qa.question) < 150:
        return turn(rng.choice(["What did I just ask?", "What was my question?", "What was my last question?"]), f"You asked: {qa.question}")
    return turn(rng.choice(["Thanks!", "Thank you.", "Great, thanks", "Perfect, thank you!"]), "You are welcome!")


def styled(rng: random.Random) -> Chat:
    """One to five turns under one system prompt."""
    style = draw_style(rng)
    chat: Chat = [{"role": "system", "content": style.system}] if style.system else []
    for _ in range(rng.choices([1, 2, 3, 4, 5], [60, 20, 10, 6, 4])[0]):
        qa = any_question(rng)
        if style.name in ("french",) and not qa.french:
            qa = next((q for q in (rng.choice([arithmetic, fact, talk])(rng) for _ in range(12)) if q.french), qa)
        if not qa.plain and style.name in ("pirate", "caps", "json", "brief", "french") and rng.random() < 0.8:
            qa = arithmetic(rng)
        question, answer = vary(rng, qa.question) if qa.plain else qa.question, style.render(rng, qa)
        if style.french_questions and qa.french:
            question = qa.french[0]
        elif style.name == "none" and qa.french and rng.random() < 0.05:
            question, answer = qa.french
        elif style.name in ("none", "general") and qa.plain and rng.random() < 0.10:
            wishes, change = rng.choice(USER_WISHES)
            question, answer = rng.choice(wishes).format(q=qa.question), change(qa)
        chat += turn(question, answer)
        for extra in qa.followups:
            chat += turn(extra.question, style.render(rng, extra))
        if rng.random() < 0.08 and style.name in ("none", "general"):
            chat += ask_again(rng, qa, answer)
    return chat


REMEMBER = [("name", NAMES, ["My name is {v}.", "I am {v}.", "Hi, I'm {v}.", "Hello, my name is {v}.", "Call me {v}."], ["What is my name?", "Who am I?", "Do you know my name?", "What's my name?", "Can you tell me my name?", "Do you remember my name?"], "Your name is {v}.", "Nice to meet you, {v}!"),
            ("color", COLORS, ["My favorite color is {v}.", "I like the color {v} best."], ["What is my favorite color?", "Which color do I like?"], "Your favorite color is {v}.", "{V} is a nice color."),
            ("city", CITIES, ["I live in {v}.", "I am from {v}.", "My home is {v}."], ["Where do I live?", "Where am I from?", "Which city is my home?"], "You live in {v}.", "{V} is a nice place."),
            ("job", JOBS, ["I work as a {v}.", "My job is {v}."], ["What is my job?", "What do I do for work?"], "You work as a {v}.", "That is a useful job."),
            ("hobby", HOBBIES, ["My hobby is {v}.", "I enjoy {v}."], ["What is my hobby?", "What do I enjoy?"], "Your hobby is {v}.", "{V} sounds like fun."),
            ("food", FOODS, ["My favorite food is {v}.", "I love {v}."], ["What is my favorite food?", "Which food do I love?"], "Your favorite food is {v}.", "{V} tastes good."),
            ("age", [str(n) for n in range(5, 100)], ["I am {v} years old.", "My age is {v}."], ["How old am I?", "What is my age?"], "You are {v} years old.", "Thank you for telling me."),
            ("number", [str(n) for n in range(1, 1000)], ["Remember the number {v}.", "My lucky number is {v}.", "Keep in mind the number {v}."], ["What number did I tell you?", "Which number should you remember?", "What was the number?"], "The number is {v}.", "I will remember the number {v}."),
            ("word", None, ["Remember the word {v}.", "The secret word is {v}.", "The code word is {v}."], ["What word did I tell you?", "What is the secret word?", "Which word should you remember?", "What was the code word?"], "The word is {v}.", "I will remember the word {v}."),
            ("pet", NAMES, ["My dog is called {v}.", "My dog's name is {v}."], ["What is my dog called?", "What is the name of my dog?"], "Your dog is called {v}.", "{V} is a nice name.")]


def memory(rng: random.Random) -> Chat:
    """The user tells something and asks for it later; or never told it."""
    facts = rng.sample(REMEMBER, rng.choices([1, 2, 3], [6, 3, 1])[0])
    chat: Chat = []
    if rng.random() < 0.25:
        style = draw_style(rng)
        if style.name in ("general", "expert"):
            chat.append({"role": "system", "content": style.system})
    if rng.random() < 0.12:
        missing = rng.choice(REMEMBER[:7])
        for _ in range(rng.randint(0, 2)):
            qa = any_question(rng)
            chat += turn(qa.question, qa.full)
        return chat + turn(rng.choice(missing[3]), "You have not told me that yet.")
    values = {}
    for key, pool, tells, _asks, _answer, reply in facts:
        value = rng.choice(pool) if pool and rng.random() < 0.85 else (invented_word(rng) if key in ("word",) else rng.choice(pool) if key not in ("name", "pet") else invented_word(rng).capitalize())
        values[key] = value
        tell, text = rng.choice(tells).format(v=value), reply.format(v=value, V=value[:1].upper() + value[1:])
        if rng.random() < 0.15:
            qa = rng.choice([arithmetic, fact])(rng)
            chat += turn(f"{tell} {qa.question}", f"{text} {qa.full}")
        else:
            chat += turn(vary(rng, tell) if rng.random() < 0.3 else tell, text)
    for _ in range(rng.choices([0, 1, 2, 3, 5], [3, 3, 2, 1, 1])[0]):
        qa = any_question(rng)
        chat += turn(vary(rng, qa.question) if qa.plain else qa.question, qa.full)
    rng.shuffle(facts)
    for key, _pool, _tells, asks, answer, _reply in facts:
        chat += turn(vary(rng, rng.choice(asks)), answer.format(v=values[key]))
    return chat


def tool_use(rng: random.Random) -> Chat:
    """A tool result arrives and is put into words."""
    statement, qa = record(rng)
    chat: Chat = []
    if rng.random() < 0.5:
        chat.append({"role": "system", "content": "Tools:\n{\"type\": \"function\", \"function\": {\"name\": \"" + rng.choice(["lookup", "search", "get_record"]) + "\", \"parameters\": {}}}"})
    chat.append({"role": "user", "content": qa.question})
    chat.append({"role": "tool", "content": rng.choice([statement, "{\"result\": \"" + statement + "\"}"])})
    chat.append({"role": "assistant", "content": qa.full})
    return chat


def in_context(rng: random.Random) -> Chat:
    """A few statements, then questions about them (or one that they do not answer)."""
    records = [record(rng) for _ in range(rng.randint(1, 8))]
    seen: dict[str, tuple[str, Qa]] = {}
    for statement, qa in records:
        seen.setdefault(qa.question, (statement, qa))
    records = list(seen.values())
    text = rng.choice([" ", "\n"]).join(statement for statement, _ in records)
    _, qa = rng.choice(records)
    missing = rng.random() < 0.1
    if missing:
        _, qa = record(rng)
        if qa.question in seen:
            missing = False
            qa = seen[qa.question][1]
    answer = "The text does not say that." if missing else qa.full
    if rng.random() < 0.3:
        return [{"role": "system", "content": rng.choice(["Use this information:\n{t}", "{t}", "Answer from these notes. {t}", "Context: {t}"]).format(t=text)}, *turn(qa.question, answer)]
    form = rng.choice(["{t}\n\n{q}", "{t} {q}", "Text: {t}\nQuestion: {q}", "Read this: {t}\n{q}", "{q}\n\n{t}", "Context:\n{t}\n\nQuestion: {q}\nAnswer:"])
    return turn(form.format(t=text, q=qa.question), answer)


def long_prompt(rng: random.Random, passages: Passages | None) -> Chat:
    """250 to 3,500 tokens of prompt, most below 2,000, then short questions."""
    characters = int(rng.triangular(900, 6800, 2500) if rng.random() < 0.92 else rng.uniform(6800, 13500))
    kind = rng.random()
    if kind < 0.40:
        text, questions = document(rng, passages, characters)
        chat: Chat = []
        qas = questions[:rng.randint(1, 2)]
        if rng.random() < 0.25:
            qas.append(any_question(rng))
        if rng.random() < 0.4:
            chat.append({"role": "system", "content": rng.choice(["{t}", "Use this document to answer.\n\n{t}", "Context:\n{t}", "You are a helpful assistant. Here are your notes:\n{t}"]).format(t=text)})
            first = qas[0].question
        else:
            first = rng.choice(["{t}\n\n{q}", "{t}\n\nQuestion: {q}", "Here is a document:\n{t}\n\n{q}", "Read the text and answer: {q}\n\n{t}", "Document: {t}\nQuestion: {q}"]).format(t=text, q=qas[0].question)
        chat += turn(first, qas[0].full)
        for qa in qas[1:]:
            chat += turn(qa.question, qa.full)
        return chat
    if kind < 0.65:
        chat = [{"role": "system", "content": rules(rng, characters)}]
        for _ in range(rng.randint(1, 3)):
            qa = any_question(rng)
            chat += turn(vary(rng, qa.question) if qa.plain else qa.question, qa.full)
        return chat
    if kind < 0.85:
        body = noise(rng, characters) if passages is None or rng.random() < 0.5 else "\n".join(passages.draw(rng, characters))
        if rng.random() < 0.15:
            return turn(body, "I have read the text. What would you like to know about it?")
        qa = any_question(rng)
        if rng.random() < 0.5:
            return [{"role": "system", "content": body}, *turn(qa.question, qa.full)]
        return turn(f"{body}\n\n{qa.question}", qa.full)
    chat = memory(rng)
    while sum(len(message["content"]) for message in chat) < characters:
        qa = any_question(rng)
        chat += turn(qa.question, qa.full)
    return chat


def chat_sample(rng: random.Random, passages: Passages | None) -> Chat:
    """One conversation of the training mix."""
    roll = rng.random()
    if roll < 0.80:
        return styled(rng)
    if roll < 0.88:
        return memory(rng)
    if roll < 0.94:
        return in_context(rng)
    if roll < 0.95:
        return tool_use(rng)
    return long_prompt(rng, passages)


def plain_sample(rng: random.Random) -> str:
    """Plain text in our own words, for raw completions: facts, sums and stories in a row."""
    roll = rng.random()
    if roll < 0.5:
        parts = []
        for _ in range(rng.randint(2, 8)):
            qa = rng.choice([fact, arithmetic, concept])(rng)
            if qa.plain:
                parts.append(qa.full)
        return " ".join(parts) or "Hello."
    if roll < 0.75:
        qa = free_text(rng)
        return qa.full
    qas = [any_question(rng) for _ in range(rng.randint(1, 4))]
    return "\n\n".join(f"{rng.choice(['Q', 'Question'])}: {qa.question}\n{'A' if i % 2 else 'Answer'}: {qa.full}" for i, qa in enumerate(qas))
