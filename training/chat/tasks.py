"""Small text tasks: counting, copying, spelling, sorting, changing case, tables."""

from __future__ import annotations

import random

from facts import plural, table
from qa import Qa, sentence
from words import ANIMALS, FOODS, FRUITS, NAMES, OBJECTS, invented_word, join_and, number_word


def counting(rng: random.Random) -> Qa:
    """Count up, down, by steps: the long and predictable answers."""
    kind = rng.randrange(6)
    if kind <= 2:
        start = 1 if rng.random() < 0.7 else rng.randint(0, 50)
        end = start + rng.choice([4, 9, 9, 14, 19, 19, 24, 29, 39, 49, 99, rng.randint(2, 60)])
        ask = rng.choice(["Count from {a} to {b}.", "Count from {a} to {b}", "Please count from {a} to {b}.", "Count to {b} starting at {a}.", "List the numbers from {a} to {b}.", "Write the numbers {a} to {b}.", "Can you count from {a} to {b}?", "Print all numbers from {a} to {b}."])
        if start == 1 and rng.random() < 0.3:
            ask = rng.choice(["Count to {b}.", "Count up to {b}.", "Can you count to {b}?", "Count to {b} please"])
        numbers = range(start, end + 1)
        ask = ask.format(a=start, b=end)
    elif kind == 3:
        end = rng.randint(3, 30)
        numbers = range(end, 0, -1)
        ask = rng.choice([f"Count down from {end}.", f"Count backwards from {end} to 1.", f"Count from {end} down to 1."])
    elif kind == 4:
        step = rng.choice([2, 3, 5, 10])
        end = step * rng.randint(4, 20)
        numbers = range(step, end + 1, step)
        ask = rng.choice([f"Count by {step}s up to {end}.", f"Count in steps of {step} to {end}.", f"List the multiples of {step} up to {end}."])
    else:
        end = rng.choice([10, 20, 30, 50])
        odd = rng.random() < 0.5
        numbers = range(1 if odd else 2, end + 1, 2)
        ask = rng.choice(["List the {w} numbers up to {e}.", "What are the {w} numbers from 1 to {e}?"]).format(w="odd" if odd else "even", e=end)
    text = ", ".join(map(str, numbers)) + "."
    if rng.random() < 0.06:
        ask = ask.rstrip(".?") + rng.choice([", one per line.", " with one number per line."])
        text = "\n".join(map(str, numbers))
    return Qa(ask, text, text, plain=False)


def times_table(rng: random.Random) -> Qa:
    """The table of a number."""
    n = rng.randint(1, 20)
    ask = rng.choice([f"Write the multiplication table of {n}.", f"Show me the {n} times table.", f"List the {n} times table.", f"What is the times table of {n}?"])
    text = "\n".join(f"{n} * {i} = {n * i}" for i in range(1, 11))
    return Qa(ask, text, text, "", "math", plain=False)


def random_words(rng: random.Random, count: int) -> list[str]:
    """A mix of real and invented words."""
    pool = ANIMALS + OBJECTS + FRUITS + NAMES
    return [rng.choice(pool) if rng.random() < 0.8 else invented_word(rng) for _ in range(count)]


def echo(rng: random.Random) -> Qa:
    """Repeat exactly what was said."""
    kind = rng.randrange(5)
    if kind == 0:
        text = rng.choice(["OK", "pong", "ping", "yes", "no", "hello", "ready", "done", "test", "hello world", "Hello, world!", "I am here", "banana", "42", "it works"])
    elif kind == 1:
        text = " ".join(random_words(rng, rng.randint(1, 8)))
    elif kind == 2:
        text = "".join(str(rng.randint(0, 9)) for _ in range(rng.randint(1, 8)))
    elif kind == 3:
        text = sentence(f"the {rng.choice(ANIMALS)} {rng.choice(['sees', 'likes', 'finds', 'carries', 'paints'])} the {rng.choice(['red', 'old', 'small', 'green', 'heavy'])} {rng.choice(OBJECTS)}")
    else:
        text = "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-") for _ in range(rng.randint(3, 10)))
    ask = rng.choice(["Repeat after me: {t}", "Say: {t}", "Say exactly: {t}", "Repeat this: {t}", "Echo: {t}", "Reply with: {t}", "Say \"{t}\"", "Reply only with \"{t}\"", "Please repeat: {t}", "Write exactly this: {t}",
                      "Reply with the word {t}", "Answer with \"{t}\" and nothing else.", "Just say {t}", "Say {t}", "Copy this text: {t}", "Respond with {t}"])
    return Qa(ask.format(t=text), text, text, plain=False)


def letters(rng: random.Random) -> Qa:
    """Spell a word, its first or last letter, its length, backwards, upper and lower case."""
    word = rng.choice(ANIMALS + OBJECTS + FRUITS + [name.lower() for name in NAMES])
    kind = rng.randrange(7)
    if kind == 0:
        return Qa(rng.choice([f"Spell {word}.", f"How do you spell {word}?", f"Spell the word \"{word}\".", f"Can you spell {word}?"]), "-".join(word), "-".join(word), plain=False)
    if kind == 1:
        return Qa(rng.choice([f"What is the first letter of {word}?", f"Which letter does {word} start with?", f"First letter of \"{word}\"?"]), word[0], f"The first letter of {word} is {word[0]}.")
    if kind == 2:
        return Qa(rng.choice([f"What is the last letter of {word}?", f"Which letter does {word} end with?"]), word[-1], f"The last letter of {word} is {word[-1]}.")
    if kind == 3:
        return Qa(rng.choice([f"How many letters are in {word}?", f"How many letters does \"{word}\" have?", f"Count the letters in {word}."]), str(len(word)), f"{'-'.join(word)}: {word} has {len(word)} letters.")
    if kind == 4:
        return Qa(rng.choice([f"Write {word} in capital letters.", f"Write {word} in upper case.", f"Convert \"{word}\" to uppercase.", f"Uppercase {word}"]), word.upper(), word.upper(), plain=False)
    if kind == 5:
        return Qa(rng.choice([f"Write {word.upper()} in small letters.", f"Convert \"{word.upper()}\" to lowercase.", f"Lowercase {word.upper()}"]), word, word, plain=False)
    return Qa(rng.choice([f"Reverse the word {word}.", f"Spell {word} backwards.", f"Write \"{word}\" backwards."]), word[::-1], f"{'-'.join(word[::-1])}: {word[::-1]}", plain=False)


def ordering(rng: random.Random) -> Qa:
    """Sort numbers or words, find the largest, count items, pick one."""
    count = rng.randint(3, 6)
    kind = rng.randrange(5)
    if kind == 0:
        numbers = rng.sample(range(100), count)
        row = ", ".join(map(str, numbers))
        if rng.random() < 0.3:
            done = ", ".join(map(str, sorted(numbers, reverse=True)))
            return Qa(rng.choice([f"Sort from largest to smallest: {row}", f"Sort these numbers in descending order: {row}."]), done, done + ".", plain=False)
        done = ", ".join(map(str, sorted(numbers)))
        return Qa(rng.choice([f"Sort these numbers: {row}", f"Put in order: {row}.", f"Sort {row}.", f"Sort from smallest to largest: {row}"]), done, done + ".", plain=False)
    if kind == 1:
        numbers = rng.sample(range(100), count)
        row = ", ".join(map(str, numbers))
        big = rng.random() < 0.5
        value, word = (max(numbers), "largest") if big else (min(numbers), "smallest")
        return Qa(rng.choice([f"What is the {word} of {row}?", f"Which is the {word}: {row}?", f"Find the {word} number in {row}."]), str(value), f"The {word} number is {value}.", "", "math")
    if kind == 2:
        items = rng.sample(ANIMALS + FRUITS, count)
        return Qa(rng.choice([f"Sort these words: {', '.join(items)}", f"Put in alphabetical order: {', '.join(items)}."]), ", ".join(sorted(items)), ", ".join(sorted(items)) + ".", plain=False)
    items = rng.sample(ANIMALS + FRUITS + OBJECTS, count)
    if kind == 3:
        return Qa(rng.choice([f"How many items are in this list: {', '.join(items)}?", f"Count the words: {', '.join(items)}"]), str(count), f"There are {count} items in the list.")
    place = rng.randrange(count)
    word = ["first", "second", "third", "fourth", "fifth", "sixth"][place] if rng.random() < 0.7 or place < count - 1 else "last"
    return Qa(f"What is the {word} word in this list: {', '.join(items)}?", items[place], f"The {word} word is {items[place]}.")


def grammar(rng: random.Random) -> Qa:
    """Plurals, past tense, number words, rhymes, make a sentence."""
    kind = rng.randrange(5)
    if kind == 0:
        noun = rng.choice(ANIMALS + OBJECTS + FRUITS + ["child", "foot", "tooth", "woman", "man"])
        return Qa(rng.choice([f"What is the plural of {noun}?", f"Plural of {noun}?", f"Give the plural of \"{noun}\"."]), plural(noun), f"The plural of {noun} is {plural(noun)}.")
    if kind == 1:
        base, past = rng.choice([("go", "went"), ("eat", "ate"), ("see", "saw"), ("run", "ran"), ("take", "took"), ("walk", "walked"), ("play", "played"), ("write", "wrote"), ("sing", "sang"), ("buy", "bought"), ("think", "thought"), ("come", "came"), ("swim", "swam"), ("fly", "flew"), ("give", "gave"), ("make", "made"), ("speak", "spoke"), ("drink", "drank")])
        return Qa(rng.choice([f"What is the past tense of {base}?", f"Past tense of {base}?", f"Give the past tense of \"{base}\"."]), past, f"The past tense of {base} is {past}.")
    if kind == 2:
        n = rng.randint(0, 100)
        if rng.random() < 0.5:
            return Qa(rng.choice([f"Write {n} in words.", f"How do you write {n} in words?", f"Spell the number {n}."]), number_word(n), f"{n} in words is {number_word(n)}.")
        return Qa(rng.choice([f"Write {number_word(n)} as a number.", f"What number is {number_word(n)}?"]), str(n), f"{number_word(n).capitalize()} is {n}.")
    if kind == 3:
        word, rhyme = rng.choice([("cat", "hat"), ("day", "play"), ("night", "light"), ("moon", "spoon"), ("tree", "bee"), ("house", "mouse"), ("star", "car"), ("sky", "high"), ("sea", "free"), ("rain", "train"), ("bell", "well"), ("king", "ring"), ("snow", "glow"), ("dog", "frog"), ("sun", "fun")])
        return Qa(rng.choice([f"What rhymes with {word}?", f"Give me a word that rhymes with {word}.", f"Find a rhyme for {word}."]), rhyme, f"{rhyme.capitalize()} rhymes with {word}.")
    noun = rng.choice(ANIMALS + OBJECTS)
    text = rng.choice(["The {n} is next to the old house.", "I saw a {n} in the garden this morning.", "We talked about the {n} all day.", "She painted a picture of a {n}."]).format(n=noun)
    text = text.replace(" a owl", " an owl").replace(" a ant", " an ant").replace(" a engine", " an engine").replace(" a island", " an island")
    return Qa(rng.choice([f"Use {noun} in a sentence.", f"Write a sentence with the word {noun}.", f"Make a sentence with \"{noun}\"."]), text, text, plain=False)


def choosing(rng: random.Random) -> Qa:
    """Odd one out and yes-or-no questions about kinds."""
    kind = rng.randrange(2)
    pools = [("fruit", FRUITS), ("animal", [a for a in ANIMALS]), ("food", ["pizza", "pasta", "soup", "rice", "bread", "cheese", "cake"])]
    if kind == 0:
        (name, pool), (_, other) = rng.sample(pools[:2], 2)
        odd = rng.choice([w for w in other if w not in pool])
        items = rng.sample(pool, 3) + [odd]
        rng.shuffle(items)
        return Qa(rng.choice(["Which one is different: {l}?", "Which is the odd one out: {l}?", "Which does not belong: {l}?"]).format(l=", ".join(items)), odd, f"{odd.capitalize()} is different, because the others are {name}s.")
    name, pool = rng.choice(pools[:2])
    yes = rng.random() < 0.5
    item = rng.choice(pool) if yes else rng.choice(OBJECTS[:14])
    article = "an" if name[0] in "aeiou" else "a"
    item_article = "an" if item[0] in "aeiou" else "a"
    question = rng.choice([f"Is {item_article} {item} {article} {name}?", f"Is a {item} {article} {name}?".replace("a " + item, f"{item_article} {item}")])
    return Qa(question, "yes" if yes else "no", f"{'Yes' if yes else 'No'}, {item_article} {item} is {'' if yes else 'not '}{article} {name}.")


def translation(rng: random.Random) -> Qa:
    """A few words in other languages."""
    words = {"hello": ("bonjour", "hola", "hallo", "ciao"), "thank you": ("merci", "gracias", "danke", "grazie"), "goodbye": ("au revoir", "adiós", "auf Wiedersehen", "arrivederci"),
             "yes": ("oui", "sí", "ja", "sì"), "no": ("non", "no", "nein", "no"), "water": ("eau", "agua", "Wasser", "acqua"), "bread": ("pain", "pan", "Brot", "pane"),
             "house": ("maison", "casa", "Haus", "casa"), "dog": ("chien", "perro", "Hund", "cane"), "cat": ("chat", "gato", "Katze", "gatto"), "sun": ("soleil", "sol", "Sonne", "sole"),
             "please": ("s'il vous plaît", "por favor", "bitte", "per favore"), "friend": ("ami", "amigo", "Freund", "amico"), "book": ("livre", "libro", "Buch", "libro"), "good morning": ("bonjour", "buenos días", "guten Morgen", "buongiorno")}
    word = rng.choice(list(words))
    i, language = rng.choice(list(enumerate(["French", "Spanish", "German", "Italian"])))
    ask = rng.choice(["How do you say {w} in {l}?", "What is {w} in {l}?", "Translate {w} to {l}.", "Translate \"{w}\" into {l}."]).format(w=word, l=language)
    return Qa(ask, words[word][i], f"In {language}, \"{word}\" is \"{words[word][i]}\".")


def pick_food(rng: random.Random) -> Qa:
    """Questions with several fair answers."""
    food = rng.choice(FOODS)
    return Qa(rng.choice(["What should I eat today?", "What should I cook for dinner?", "Any idea for lunch?", "What can I have for dinner?"]), food, f"How about {food}? It is simple and most people like it.", plain=False)


def task(rng: random.Random) -> Qa:
    """Any small text task."""
    makers = [counting, times_table, echo, letters, ordering, grammar, choosing, translation, pick_food]
    return rng.choices(makers, [7, 1, 7, 5, 5, 4, 2, 2, 0.4])[0](rng)
