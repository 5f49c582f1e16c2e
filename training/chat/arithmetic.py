"""Arithmetic questions with small numbers: direct, worded, worked, and as short stories."""

from __future__ import annotations

import random

from qa import Qa
from words import NAMES, number_word

ADD_ASKS = ["What is {a}{s}+{s}{b}?", "What is {a}{s}+{s}{b}?", "{a}{s}+{s}{b}", "{a}{s}+{s}{b}=", "{a}{s}+{s}{b} = ?", "Calculate {a}{s}+{s}{b}.",
            "Compute {a}{s}+{s}{b}", "How much is {a}{s}+{s}{b}?", "What's {a}{s}+{s}{b}?", "Add {a} and {b}.", "What is {a} plus {b}?",
            "How much is {a} plus {b}?", "What is the sum of {a} and {b}?", "Find the sum of {a} and {b}.", "{a} plus {b} is what?",
            "What do you get when you add {a} to {b}?", "Solve {a}{s}+{s}{b}.", "Evaluate {a}{s}+{s}{b}.", "If I add {a} and {b}, what do I get?",
            "what does {a}{s}+{s}{b} equal?", "Tell me {a}{s}+{s}{b}.", "Can you add {a} and {b}?", "What is {a} and {b} together?"]
SUB_ASKS = ["What is {a}{s}-{s}{b}?", "What is {a}{s}-{s}{b}?", "{a}{s}-{s}{b}", "{a}{s}-{s}{b}=", "{a}{s}-{s}{b} = ?", "Calculate {a}{s}-{s}{b}.", "Compute {a}{s}-{s}{b}",
            "How much is {a}{s}-{s}{b}?", "What's {a}{s}-{s}{b}?", "Subtract {b} from {a}.", "What is {a} minus {b}?", "How much is {a} minus {b}?",
            "What is the difference between {a} and {b}?", "Take {b} away from {a}.", "What is {a} take away {b}?", "Solve {a}{s}-{s}{b}.",
            "Evaluate {a}{s}-{s}{b}.", "what does {a}{s}-{s}{b} equal?", "If I have {a} and take away {b}, what is left?"]
MUL_ASKS = ["What is {a}{s}{x}{s}{b}?", "What is {a}{s}{x}{s}{b}?", "{a}{s}{x}{s}{b}", "{a}{s}{x}{s}{b}=", "{a}{s}{x}{s}{b} = ?", "Calculate {a}{s}{x}{s}{b}.", "Compute {a}{s}{x}{s}{b}",
            "How much is {a}{s}{x}{s}{b}?", "What's {a}{s}{x}{s}{b}?", "Multiply {a} by {b}.", "What is {a} times {b}?", "How much is {a} times {b}?",
            "What is the product of {a} and {b}?", "What is {a} multiplied by {b}?", "Solve {a}{s}{x}{s}{b}.", "Evaluate {a}{s}{x}{s}{b}.",
            "what does {a}{s}{x}{s}{b} equal?", "Multiply {a} and {b}."]
DIV_ASKS = ["What is {a}{s}{d}{s}{b}?", "What is {a}{s}{d}{s}{b}?", "{a}{s}{d}{s}{b}", "{a}{s}{d}{s}{b}=", "{a}{s}{d}{s}{b} = ?", "Calculate {a}{s}{d}{s}{b}.", "Compute {a}{s}{d}{s}{b}",
            "How much is {a}{s}{d}{s}{b}?", "What's {a}{s}{d}{s}{b}?", "Divide {a} by {b}.", "What is {a} divided by {b}?", "How much is {a} divided by {b}?",
            "How many times does {b} go into {a}?", "Solve {a}{s}{d}{s}{b}.", "Evaluate {a}{s}{d}{s}{b}.", "what does {a}{s}{d}{s}{b} equal?"]
FRENCH_ASKS = ["Combien font {e} ?", "Combien fait {e} ?", "Que vaut {e} ?", "Calcule {e}.", "Quel est le résultat de {e} ?"]


def operand(rng: random.Random, large: bool = True) -> int:
    """Mostly small numbers, some up to 99, a few up to 999."""
    roll = rng.random()
    if roll < 0.30:
        return rng.randint(0, 10)
    if roll < 0.60:
        return rng.randint(0, 20)
    if roll < 0.95 or not large:
        return rng.randint(0, 99)
    return rng.randint(100, 999)


def steps_add(a: int, b: int) -> str:
    """Column addition in words."""
    total = a + b
    if a < 10 or b < 10 or a > 99 or b > 99:
        return f"Start with {a} and add {b}.\n{a} + {b} = {total}.\nThe answer is {total}."
    ones, tens = a % 10 + b % 10, (a // 10 + b // 10) * 10
    return (f"Add the ones: {a % 10} + {b % 10} = {ones}.\nAdd the tens: {a // 10 * 10} + {b // 10 * 10} = {tens}.\n"
            f"Then {tens} + {ones} = {total}.\nSo {a} + {b} = {total}.")


def steps_sub(a: int, b: int) -> str:
    """Subtraction in words; below zero when b is larger."""
    if b > a:
        return f"{b} is larger than {a}, so the result is negative.\n{b} - {a} = {b - a}.\nSo {a} - {b} = {a - b}."
    return f"Start with {a} and take away {b}.\n{a} - {b} = {a - b}.\nThe answer is {a - b}."


def steps_mul(a: int, b: int) -> str:
    """Multiplication by splitting the second factor into tens and ones."""
    if b < 10 or a < 10 or b % 10 == 0:
        return f"Multiply {a} by {b}.\n{a} * {b} = {a * b}.\nThe answer is {a * b}."
    tens, ones = b // 10 * 10, b % 10
    return (f"Split {b} into {tens} and {ones}.\n{a} * {tens} = {a * tens}.\n{a} * {ones} = {a * ones}.\n"
            f"{a * tens} + {a * ones} = {a * b}.\nSo {a} * {b} = {a * b}.")


def make(a: int, op: str, b: int, question: str, french_question: str | None = None) -> Qa:
    """The Qa of one operation, whatever the wording."""
    if op == "+":
        value, steps = str(a + b), steps_add(a, b)
    elif op == "-":
        value, steps = str(a - b), steps_sub(a, b)
    elif op == "*":
        value, steps = str(a * b), steps_mul(a, b)
    elif b == 0:
        text = "You cannot divide by zero."
        return Qa(question, "undefined", text, text + " The result is undefined.", "math")
    elif a % b == 0:
        value = str(a // b)
        steps = f"Divide {a} by {b}.\n{b} * {value} = {a}.\nSo {a} / {b} = {value}."
    else:
        value = f"{a // b} remainder {a % b}"
        steps = f"{b} goes into {a} {a // b} times: {b} * {a // b} = {a // b * b}.\n{a} - {a // b * b} = {a % b} is left.\nSo {a} / {b} = {value}."
    full = f"{a} {op} {b} = {value}."
    if op == "*" and min(a, b) > 20 and b % 10:
        full = f"{a} * {b // 10 * 10} = {a * (b // 10 * 10)}, and {a} * {b % 10} = {a * (b % 10)}. Together {a} * {b} = {value}."
    french = (french_question, f"{a} {op} {b} = {value.replace('remainder', 'reste')}.") if french_question else None
    return Qa(question, value, full, steps, "math", french=french)


def operation(rng: random.Random, op: str | None = None) -> Qa:
    """One operation in a random wording."""
    op = op or rng.choice("+++++--- ***//".replace(" ", ""))
    space = rng.choice(["", "", " "])
    sign_x, sign_d = rng.choice(["*", "*", "x", "×", "times" if space else "x"]), rng.choice(["/", "/", "÷"])
    if op == "+":
        a, b, asks = operand(rng), operand(rng), ADD_ASKS
    elif op == "-":
        a, b, asks = operand(rng), operand(rng), SUB_ASKS
        if b > a and rng.random() < 0.8:
            a, b = b, a
    elif op == "*":
        top = rng.choices([10, 12, 20, 99], [4, 3, 3, 2])[0]
        a, b, asks = rng.randint(0, top), rng.randint(0, min(top, rng.choice([10, 20, 99]))), MUL_ASKS
        if rng.random() < 0.5:
            a, b = b, a
    else:
        b = rng.randint(1, rng.choice([10, 12, 20]))
        a = b * rng.randint(0, rng.choice([10, 12, 20])) if rng.random() < 0.8 else rng.randint(0, 99)
        if rng.random() < 0.02:
            b = 0
        asks = DIV_ASKS
    slots = {"a": str(a), "b": str(b), "s": space, "x": sign_x, "d": sign_d}
    template = rng.choice(asks)
    if rng.random() < 0.12 and a <= 100 and b <= 100:
        slots["a"], slots["b"] = number_word(a), number_word(b)
        template = rng.choice([t for t in asks if "{s}" not in t])
    sign = {"+": "+", "-": "-", "*": sign_x, "/": sign_d}[op]
    french = rng.choice(FRENCH_ASKS).format(e=f"{a}{space}{sign}{space}{b}") if sign != "times" else None
    qa = make(a, op, b, template.format(**slots), french)
    if rng.random() < 0.2:
        c, d = operand(rng, False), operand(rng, False)
        op2 = rng.choice("++-*")
        if op2 == "*":
            c, d = rng.randint(0, 12), rng.randint(0, 12)
        if op2 == "-" and d > c:
            c, d = d, c
        ask = rng.choice(["And {e}?", "and {e}?", "What about {e}?", "Now {e}.", "How about {e}?", "And what is {e}?"])
        qa.followups.append(make(c, op2, d, ask.format(e=f"{c}{space}{op2}{space}{d}")))
    if rng.random() < 0.15 and op != "/":
        value, extra = int(qa.short), rng.randint(1, 10)
        op2 = rng.choice("+-*") if abs(value) <= 20 else rng.choice("+-")
        verb = {"+": "add {n} to that", "-": "subtract {n} from that", "*": "multiply that by {n}"}[op2].format(n=extra)
        ask = rng.choice(["Now {v}.", "And now {v}.", "Then {v}.", "Please {v}.", "OK, {v}."]).format(v=verb)
        qa.followups.append(make(value, op2, extra, ask))
    return qa


STORIES = [
    ("+", "{n} has {a} {t} and gets {b} more. How many {t} does {n} have now?", "{n} has {v} {t} now, because {a} + {b} = {v}."),
    ("+", "There are {a} {t} on the table and {b} {t} in the bag. How many {t} are there in all?", "There are {v} {t} in all, because {a} + {b} = {v}."),
    ("+", "I bought {a} {t} and then {b} more. How many did I buy?", "You bought {v} {t}, because {a} + {b} = {v}."),
    ("+", "If I have {a} {t} and you give me {b}, how many do I have?", "You have {v} {t}, because {a} + {b} = {v}."),
    ("-", "{n} has {a} {t} and gives away {b}. How many {t} are left?", "{n} has {v} {t} left, because {a} - {b} = {v}."),
    ("-", "I had {a} {t} and lost {b}. How many do I have left?", "You have {v} {t} left, because {a} - {b} = {v}."),
    ("-", "There were {a} {t} in the box. {n} took {b}. How many remain?", "{v} {t} remain, because {a} - {b} = {v}."),
    ("-", "{n} had {a} {t} and used {b} of them. How many are left?", "{n} has {v} {t} left, because {a} - {b} = {v}."),
    ("*", "There are {a} boxes with {b} {t} each. How many {t} are there?", "There are {v} {t}, because {a} * {b} = {v}."),
    ("*", "{n} buys {a} bags. Each bag has {b} {t}. How many {t} does {n} have?", "{n} has {v} {t}, because {a} * {b} = {v}."),
    ("*", "One of the {t} costs {a} dollars. How much do {b} {t} cost?", "They cost {v} dollars, because {a} * {b} = {v}."),
    ("/", "{n} shares {a} {t} equally among {b} friends. How many does each get?", "Each friend gets {v} {t}, because {a} / {b} = {v}."),
    ("/", "{a} {t} are put into {b} equal groups. How many are in each group?", "There are {v} {t} in each group, because {a} / {b} = {v}."),
]
THINGS = ["apples", "books", "pens", "coins", "eggs", "stones", "cookies", "cards", "oranges", "marbles", "balls", "cups", "flowers", "stickers"]


def story(rng: random.Random) -> Qa:
    """A one-line word problem."""
    op, ask, answer = rng.choice(STORIES)
    if op in "+-":
        a, b = operand(rng, False), operand(rng, False)
        if op == "-" and b > a:
            a, b = b, a
    elif op == "*":
        a, b = rng.randint(1, 12), rng.randint(1, 12)
    else:
        b = rng.randint(2, 10)
        a = b * rng.randint(1, 10)
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a // max(b, 1)}[op]
    slots = {"n": rng.choice(NAMES), "a": a, "b": b, "t": rng.choice(THINGS), "v": value}
    full = answer.format(**slots)
    full = full[:1].upper() + full[1:]
    return Qa(ask.format(**slots), str(value), full, f"We know the numbers {a} and {b}.\n{a} {op} {b} = {value}.\n{full}", "math")


def chain(rng: random.Random) -> Qa:
    """Three numbers, with and without parentheses."""
    a, b, c = (rng.randint(0, 12) for _ in range(3))
    kind = rng.choice(["add", "addsub", "mulfirst", "paren"])
    if kind == "add":
        text, first, value = f"{a} + {b} + {c}", f"{a} + {b} = {a + b}", a + b + c
        second = f"{a + b} + {c} = {value}"
    elif kind == "addsub":
        text, first, value = f"{a} + {b} - {c}", f"{a} + {b} = {a + b}", a + b - c
        second = f"{a + b} - {c} = {value}"
    elif kind == "mulfirst":
        text, first, value = f"{a} + {b} * {c}", f"{b} * {c} = {b * c}", a + b * c
        second = f"{a} + {b * c} = {value}"
    else:
        text, first, value = f"({a} + {b}) * {c}", f"{a} + {b} = {a + b}", (a + b) * c
        second = f"{a + b} * {c} = {value}"
    shown = text.replace(" ", "") if rng.random() < 0.4 else text
    ask = rng.choice(["What is {e}?", "{e}", "Calculate {e}.", "{e} = ?", "How much is {e}?", "Solve {e}."]).format(e=shown)
    full = f"{first}, and {second}. So {text} = {value}."
    return Qa(ask, str(value), full, f"{first}.\n{second}.\nSo {text} = {value}.", "math")


def number_fact(rng: random.Random) -> Qa:
    """Even or odd, larger, squares, halves, percentages, sequences, simple equations."""
    n, m = rng.randint(1, 99), rng.randint(1, 99)
    kind = rng.randrange(13)
    if kind == 0:
        word = "even" if n % 2 == 0 else "odd"
        ask = rng.choice([f"Is {n} even or odd?", f"Is the number {n} odd or even?", f"{n}: even or odd?"])
        return Qa(ask, word, f"{n} is {word}.", f"{n} ends in {n % 10}, so {n} is {word}.", "math")
    if kind == 1 and n != m:
        ask = rng.choice([f"Which is larger, {n} or {m}?", f"Which is bigger: {n} or {m}?", f"What is the larger number, {n} or {m}?"])
        return Qa(ask, str(max(n, m)), f"{max(n, m)} is larger than {min(n, m)}.", "", "math")
    if kind == 2:
        k = rng.randint(0, 20)
        ask = rng.choice([f"What is {k} squared?", f"{k}^2", f"What is the square of {k}?", f"Square {k}."])
        return Qa(ask, str(k * k), f"{k} squared is {k * k}.", f"{k} squared means {k} * {k}.\n{k} * {k} = {k * k}.", "math")
    if kind == 3:
        k = rng.randint(0, 20)
        ask = rng.choice([f"What is the square root of {k * k}?", f"sqrt({k * k})", f"Square root of {k * k}?"])
        return Qa(ask, str(k), f"The square root of {k * k} is {k}.", f"{k} * {k} = {k * k}.\nSo the square root of {k * k} is {k}.", "math")
    if kind == 4:
        k = rng.randint(1, 50)
        ask = rng.choice([f"What is half of {2 * k}?", f"Half of {2 * k}?", f"Halve {2 * k}."])
        return Qa(ask, str(k), f"Half of {2 * k} is {k}.", "", "math")
    if kind == 5:
        ask = rng.choice([f"What is double {n}?", f"Double {n}.", f"What is twice {n}?"])
        return Qa(ask, str(2 * n), f"Double {n} is {2 * n}.", "", "math")
    if kind == 6:
        p, base = rng.choice([(10, 10), (20, 5), (25, 4), (50, 2)])
        k = rng.randint(1, 20)
        ask = rng.choice([f"What is {p}% of {k * base}?", f"What is {p} percent of {k * base}?", f"{p}% of {k * base}?"])
        return Qa(ask, str(k), f"{p}% of {k * base} is {k}.", f"{p}% is 1/{base}.\n{k * base} / {base} = {k}.\nSo {p}% of {k * base} is {k}.", "math")
    if kind == 7:
        start, step = rng.randint(0, 20), rng.randint(1, 10)
        row = [start + i * step for i in range(4)]
        ask = rng.choice(["What comes next: {r}?", "What is the next number: {r}, ...?", "Continue: {r}", "Find the next number in {r}."]).format(r=", ".join(map(str, row)))
        nxt = start + 4 * step
        return Qa(ask, str(nxt), f"The next number is {nxt}.", f"Each number is {step} more than the one before.\n{row[-1]} + {step} = {nxt}.\nThe next number is {nxt}.", "math")
    if kind == 8:
        x, k = rng.randint(0, 20), rng.randint(1, 20)
        if rng.random() < 0.5:
            ask, work = f"x + {k} = {x + k}", f"Subtract {k} from both sides: x = {x + k} - {k} = {x}."
        else:
            ask, work = f"x - {k} = {x - k}", f"Add {k} to both sides: x = {x - k} + {k} = {x}."
        return Qa(rng.choice(["Solve {e}.", "What is x if {e}?", "Find x: {e}", "Solve for x: {e}"]).format(e=ask), str(x), f"x = {x}.", f"{work}\nSo x = {x}.", "math")
    if kind == 9:
        x, k = rng.randint(0, 12), rng.randint(2, 10)
        return Qa(rng.choice(["Solve {e}.", "What is x if {e}?", "Find x: {e}", "Solve for x: {e}"]).format(e=f"{k}x = {k * x}"), str(x), f"x = {x}.", f"Divide both sides by {k}: x = {k * x} / {k} = {x}.\nSo x = {x}.", "math")
    if kind == 10:
        divisor = next((d for d in range(2, n) if n % d == 0), None)
        ask = rng.choice([f"Is {n} a prime number?", f"Is {n} prime?", f"Is the number {n} prime?"])
        if n == 1:
            return Qa(ask, "no", "No, 1 is not a prime number.", "", "math")
        if divisor is None:
            return Qa(ask, "yes", f"Yes, {n} is a prime number.", f"No number from 2 to {n - 1} divides {n}.\nYes, {n} is a prime number." if n > 2 else "Yes, 2 is a prime number.", "math")
        return Qa(ask, "no", f"No, {n} is not prime, because {n} = {divisor} * {n // divisor}.", "", "math")
    if kind == 11:
        ask = rng.choice([f"What number comes after {n}?", f"What comes after {n}?", f"Which number follows {n}?"])
        return Qa(ask, str(n + 1), f"{n + 1} comes after {n}.", "", "math")
    ask = rng.choice([f"What number comes before {n}?", f"What comes before {n}?", f"Which number is just before {n}?"])
    return Qa(ask, str(n - 1), f"{n - 1} comes before {n}.", "", "math")


def arithmetic(rng: random.Random) -> Qa:
    """Any arithmetic question."""
    roll = rng.random()
    if roll < 0.62:
        return operation(rng)
    if roll < 0.76:
        return story(rng)
    if roll < 0.84:
        return chain(rng)
    return number_fact(rng)
