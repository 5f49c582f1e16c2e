"""Longer free text: stories, poems, letters, advice, recipes, short programs."""

from __future__ import annotations

import random

from qa import Qa
from words import ANIMALS, CITIES, COLORS, HOBBIES, JOBS, NAMES

HEROES = [("a robot", "robot"), ("a cat", "cat"), ("a dog", "dog"), ("a dragon", "dragon"), ("a girl", "girl"), ("a boy", "boy"), ("a fox", "fox"), ("an old sailor", "sailor"), ("a young king", "king"), ("a princess", "princess"),
          ("a bear", "bear"), ("a small ship", "ship"), ("a wizard", "wizard"), ("a mouse", "mouse"), ("an owl", "owl"), ("a knight", "knight"), ("a star", "star"), ("a tree", "tree"), ("a whale", "whale"), ("a rabbit", "rabbit"), ("a clock", "clock"), ("a teacher", "teacher"), ("a pirate", "pirate"), ("a ghost", "ghost")]
PLACES = ["in a quiet village", "by the sea", "in a deep forest", "in a big city", "on a small island", "near a high mountain", "in an old castle", "at the edge of a desert", "in a house with a blue door", "beside a slow river"]
TRAITS = ["curious", "brave", "lonely", "kind", "clever", "shy", "cheerful", "stubborn"]
WISHES = [("wanted to see the sea", "walked for three days along the river", "stood at the shore and listened to the waves"),
          ("wanted to find a friend", "knocked on every door and asked politely", "met someone who was looking for a friend too"),
          ("wanted to learn how to sing", "practiced every evening under the stars", "sang so well that the birds grew quiet"),
          ("had lost a golden key", "looked under every stone and behind every tree", "found the key in the nest of a crow"),
          ("wanted to know what was behind the mountain", "climbed until the air was cold and thin", "saw a green valley full of light"),
          ("dreamed of flying", "built wings from paper and wood", "flew once around the tower before landing softly in the grass"),
          ("could not sleep at night", "asked the moon for advice", "learned to count the stars and fell asleep at once"),
          ("wanted to plant a garden", "dug the dry ground and carried water every day", "saw the first red flower open in the morning sun"),
          ("found a map with a strange mark", "followed the map over hills and bridges", "dug up a box full of old letters and silver coins"),
          ("was afraid of the dark", "lit a small lamp and went out anyway", "found that the night was full of gentle sounds")]
TROUBLES = ["On the way a storm came, and the rain fell for hours.", "On the way there was a broken bridge, and the water was fast.", "On the way a thick fog hid the path.", "On the way a sly fox gave the wrong directions.", "On the way the food ran out, and the nights were cold.", "On the way a heavy stone blocked the road."]
HELP = ["A kind old woman offered shelter and warm soup.", "A small bird showed the right way.", "A farmer lent a strong rope.", "A passing traveler shared bread and a story.", "With patience and a good idea, the problem was solved.", "A child with a lantern came and helped."]
ENDS = ["From that day on, nothing seemed impossible.", "And so the long journey ended with a smile.", "Everyone in the place told the story for many years.", "It was a small thing, but it changed everything.", "And they lived happily ever after.", "That night there was a feast with music and lights."]


def write_story(rng: random.Random, hero: tuple[str, str] | None = None, named: bool = True) -> str:
    """A story of six to nine sentences."""
    article, noun = hero or rng.choice(HEROES)
    name, place, trait = rng.choice(NAMES), rng.choice(PLACES), rng.choice(TRAITS)
    wish, effort, result = rng.choice(WISHES)
    subject = name if named else f"the {noun}"
    upper = subject[:1].upper() + subject[1:]
    opening = f"Once upon a time there was {article} who lived {place}."
    naming = f"Its name was {name}, and it was very {trait}." if named else f"The {noun} was very {trait}."
    parts = [opening, naming, f"{upper} {wish}.", f"So one morning {subject} set out and {effort}.", rng.choice(TROUBLES), rng.choice(HELP), f"At last {subject} {result}."]
    if rng.random() < 0.5:
        parts.append(f"{upper} said, \"{rng.choice(['I will never forget this day.', 'It was worth every step.', 'Thank you, my friends.', 'Now I know what I can do.'])}\"")
    parts.append(rng.choice(ENDS))
    if rng.random() < 0.25:
        return " ".join(parts[:4]) + "\n\n" + " ".join(parts[4:])
    return " ".join(parts)


def story(rng: random.Random) -> Qa:
    """Write a story about ..."""
    hero = rng.choice(HEROES)
    plain = rng.random() < 0.25
    ask = rng.choice(["Tell me a story.", "Tell me a short story.", "Write a short story.", "Tell me a bedtime story", "Once upon a time", "Can you tell me a story?"]) if plain else rng.choice(
        ["Write a short story about {h}.", "Tell me a story about {h}.", "Write a story about {h}.", "Tell a short story about {h}", "Can you write a story about {h}?", "I want a story about {h}.", "Make up a story about {h}.", "Please write a tale about {h}."]).format(h=hero[0])
    text = write_story(rng, hero, rng.random() < 0.7)
    return Qa(ask, text, text, plain=False)


POEM_LINES = {"sea": ["The sea is wide, the sea is blue,", "It sings a song for me and you.", "The waves come in, the waves go out,", "The gulls fly high and cry about."],
              "night": ["The night is dark, the stars are bright,", "The moon hangs low, a silver light.", "The town is still, the wind is slow,", "And dreams begin to come and go."],
              "rain": ["The rain comes down on roof and tree,", "It taps a tune for you and me.", "The streets are wet, the sky is gray,", "And flowers drink the whole long day."],
              "spring": ["The snow is gone, the grass is green,", "The sweetest days that I have seen.", "The birds are back, the air is mild,", "And every garden seems a child."],
              "cat": ["A little cat sat in the sun,", "Its hunting day was nearly done.", "It closed its eyes, it gave a purr,", "The light was warm upon its fur."],
              "robot": ["A robot stood beside the door,", "It counted one, it counted four.", "It learned to laugh, it learned to sing,", "And thought about a butterfly's wing."],
              "tree": ["A tree stands tall beside the lane,", "It holds the sun, it holds the rain.", "Its leaves are many, green and small,", "It gives its shade to one and all."],
              "friendship": ["A friend is there when skies are gray,", "A friend will help you find the way.", "We share the bread, we share the load,", "And walk together down the road."]}
HAIKU = ["Old pond in the dusk,\na single leaf drifts slowly,\nthe water is still.", "Snow on the dark roof,\nthe cat watches from inside,\nwarm light on its fur.", "Morning by the sea,\nthe gulls write upon the sky\nand the waves erase.", "Rain on the window,\na lamp glows in the kitchen,\nsomeone hums a song.", "First day of the spring,\nthe garden wakes with a yawn\nand green begins here."]


def poem(rng: random.Random) -> Qa:
    """A poem or a haiku."""
    if rng.random() < 0.25:
        text = rng.choice(HAIKU)
        return Qa(rng.choice(["Write a haiku.", "Write a haiku about nature.", "Give me a haiku", "Can you write a haiku?"]), text, text, plain=False)
    topic = rng.choice(list(POEM_LINES))
    text = "\n".join(POEM_LINES[topic])
    ask = rng.choice(["Write a poem about {t}.", "Write a short poem about {t}.", "A poem about {t}, please.", "Can you write a poem about {t}?"]).format(t={"sea": "the sea", "night": "the night", "rain": "the rain", "spring": "spring", "cat": "a cat", "robot": "a robot", "tree": "a tree"}.get(topic, topic))
    if rng.random() < 0.2:
        ask = rng.choice(["Write a poem.", "Write me a short poem.", "Write a poem please"])
    return Qa(ask, text, text, plain=False)


ADVICE = [("learn a new language", ["Practice a little every day.", "Listen to songs and stories.", "Speak with other people.", "Do not fear mistakes."]),
          ("learn to program", ["Pick one language, such as Python.", "Write small programs every day.", "Read the error messages slowly.", "Build something that you would like to use."]),
          ("sleep better", ["Go to bed at the same time each day.", "Keep the room dark and cool.", "Put the phone away an hour before.", "Avoid coffee in the evening."]),
          ("study for an exam", ["Make a plan and start early.", "Study in short blocks with breaks.", "Explain the topic in your own words.", "Sleep well the night before."]),
          ("save money", ["Write down what you spend.", "Set a budget for each month.", "Wait a day before you buy something big.", "Put a little aside first."]),
          ("stay focused", ["Do one thing at a time.", "Turn off messages.", "Work in short blocks and rest between them.", "Write down the next step."]),
          ("make a good cup of tea", ["Boil fresh water.", "Put one bag or spoon of tea in the cup.", "Pour the water and wait three minutes.", "Take the tea out and add milk or lemon."]),
          ("boil an egg", ["Bring water to a boil.", "Put the egg in gently.", "Wait eight minutes for a firm egg.", "Cool it in cold water and peel it."]),
          ("make pancakes", ["Mix one cup of flour, one cup of milk and one egg.", "Heat a little butter in a pan.", "Pour in some batter and wait for bubbles.", "Turn it and bake the other side."]),
          ("write a good letter", ["Begin with a friendly greeting.", "Say why you write in the first lines.", "Keep the sentences short.", "End with thanks and your name."]),
          ("be happy", ["Spend time with people you like.", "Move and go outside.", "Do something kind.", "Notice one good thing each day."]),
          ("start running", ["Begin slowly and walk in between.", "Run three times a week.", "Wear good shoes.", "Rest when something hurts."]),
          ("grow tomatoes", ["Choose a sunny place.", "Plant them in rich soil.", "Water them in the morning.", "Tie the stems to a stick."]),
          ("debug a program", ["Reproduce the error first.", "Read the message and the line that it names.", "Print the values or use a debugger.", "Change one thing at a time and test again."])]


def advice(rng: random.Random) -> Qa:
    """How do I ..., as a numbered list or a paragraph."""
    goal, tips = rng.choice(ADVICE)
    ask = rng.choice(["How do I {g}?", "How can I {g}?", "Give me tips to {g}.", "What is the best way to {g}?", "I want to {g}. Any advice?", "Give me steps to {g}.", "List some tips to {g}."]).format(g=goal)
    if "steps" in ask or "List" in ask or rng.random() < 0.6:
        text = "\n".join(f"{i}. {tip}" for i, tip in enumerate(tips, 1))
    else:
        text = " ".join(tips)
    return Qa(ask, tips[0], text, plain=False)


PROGRAMS = [("adds two numbers", "def add(a, b):\n    return a + b"), ("multiplies two numbers", "def multiply(a, b):\n    return a * b"), ("says hello", "def hello(name):\n    print(f\"Hello, {name}!\")"), ("reverses a string", "def reverse(text):\n    return text[::-1]"),
            ("checks if a number is even", "def is_even(n):\n    return n % 2 == 0"), ("finds the largest number in a list", "def largest(numbers):\n    return max(numbers)"), ("sums a list", "def total(numbers):\n    return sum(numbers)"),
            ("computes the factorial of a number", "def factorial(n):\n    if n <= 1:\n        return 1\n    return n * factorial(n - 1)"), ("computes Fibonacci numbers", "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a"),
            ("counts the words in a text", "def count_words(text):\n    return len(text.split())"), ("checks if a word is a palindrome", "def is_palindrome(word):\n    return word == word[::-1]"), ("sorts a list", "def sort_list(items):\n    return sorted(items)"),
            ("prints the numbers from 1 to 10", "for i in range(1, 11):\n    print(i)"), ("reads a file", "def read_file(path):\n    with open(path) as f:\n        return f.read()"), ("computes the average of a list", "def average(numbers):\n    return sum(numbers) / len(numbers)"),
            ("checks if a number is prime", "def is_prime(n):\n    if n < 2:\n        return False\n    for d in range(2, int(n ** 0.5) + 1):\n        if n % d == 0:\n            return False\n    return True"), ("squares a number", "def square(x):\n    return x * x"), ("converts Celsius to Fahrenheit", "def to_fahrenheit(c):\n    return c * 9 / 5 + 32"),
            ("does a binary search", "def binary_search(items, target):\n    low, high = 0, len(items) - 1\n    while low <= high:\n        middle = (low + high) // 2\n        if items[middle] == target:\n            return middle\n        if items[middle] < target:\n            low = middle + 1\n        else:\n            high = middle - 1\n    return -1")]
HELLO_WORLD = {"Python": ("python", 'print("Hello, world!")'), "JavaScript": ("javascript", 'console.log("Hello, world!");'), "Rust": ("rust", 'fn main() {\n    println!("Hello, world!");\n}'), "C": ("c", '#include <stdio.h>\n\nint main(void) {\n    printf("Hello, world!\\n");\n    return 0;\n}'),
               "Go": ("go", 'package main\n\nimport "fmt"\n\nfunc main() {\n    fmt.Println("Hello, world!")\n}'), "Bash": ("bash", 'echo "Hello, world!"'), "Java": ("java", 'public class Main {\n    public static void main(String[] args) {\n        System.out.println("Hello, world!");\n    }\n}')}
CODE_QUESTIONS = [("How do I print in Python?|How do you print text in Python?", "print(\"text\")", "Use print: print(\"text\")."), ("How do I write a comment in Python?|What is a comment in Python?", "# comment", "Begin the line with #, for example: # this is a comment."),
                  ("How do I get the length of a list in Python?|What gives the length of a list in Python?", "len(items)", "Use len: len(items)."), ("How do I append to a list in Python?|How do you add an item to a list in Python?", "items.append(x)", "Use append: items.append(x)."),
                  ("How do I write a for loop in Python?|Show me a for loop in Python.", "for x in items:", "Here is a loop:\n\n```python\nfor x in items:\n    print(x)\n```"), ("How do I write an if statement in Python?|Show me an if statement in Python.", "if x > 0:", "Here is an example:\n\n```python\nif x > 0:\n    print(\"positive\")\nelse:\n    print(\"not positive\")\n```"),
                  ("How do I list files in Linux?|Which command lists files?", "ls", "Use the command ls."), ("How do I commit in git?|What is the git command to commit?", "git commit", "Use git add to stage the files and then git commit -m \"message\"."), ("How do I select all rows in SQL?|Write an SQL query that selects all rows.", "SELECT * FROM table;", "Use SELECT * FROM table_name;"),
                  ("How do I declare a variable in Rust?|How do you make a variable in Rust?", "let x = 5;", "Use let: let x = 5; and let mut x = 5; if it changes.")]


def code(rng: random.Random) -> Qa:
    """A short program or a basic question about code."""
    roll = rng.random()
    if roll < 0.55:
        what, body = rng.choice(PROGRAMS)
        noun = "program" if body.startswith("for") else "function"
        ask = rng.choice(["Write a Python {n} that {w}.", "Write a python {n} that {w}", "Can you write a Python {n} that {w}?", "Give me a Python {n} that {w}.", "Show me Python code that {w}.", "I need a {n} in Python that {w}.", "Code a {n} that {w}."]).format(n=noun, w=what)
        text = f"Here is a {noun} that {what}:\n\n```python\n{body}\n```"
        return Qa(ask, body, text, "", "computer science", plain=False)
    if roll < 0.75:
        language = rng.choice(list(HELLO_WORLD))
        tag, body = HELLO_WORLD[language]
        ask = rng.choice(["Write hello world in {l}.", "Hello world in {l}", "How do I print hello world in {l}?", "Show me a hello world program in {l}."]).format(l=language)
        return Qa(ask, body, f"Here is hello world in {language}:\n\n```{tag}\n{body}\n```", "", "computer science", plain=False)
    asks, short, full = rng.choice(CODE_QUESTIONS)
    return Qa(rng.choice(asks.split("|")), short, full, "", "computer science", plain="```" not in full)


def describe_person(rng: random.Random) -> Qa:
    """A small invented portrait."""
    name, job, city, hobby, animal, color = rng.choice(NAMES), rng.choice(JOBS), rng.choice(CITIES), rng.choice(HOBBIES), rng.choice(ANIMALS), rng.choice(COLORS)
    article = "an" if job[0] in "aeiou" else "a"
    text = rng.choice([f"{name} is {article} {job} from {city}. After work {name} enjoys {hobby}. {name} has a {color} coat and likes every kind of {animal}. On Sundays {name} meets friends and drinks tea.",
                       f"{name} lives in {city} and works as {article} {job}. Every morning {name} walks through the park. In the evening there is time for {hobby}. {name} dreams of a small house with a {color} door."])
    return Qa(rng.choice([f"Write a few sentences about {name}.", f"Make up a character called {name}.", f"Invent a person named {name}.", f"Describe an imaginary person named {name}."]), text, text, plain=False)


def free_text(rng: random.Random) -> Qa:
    """Any longer text."""
    return rng.choices([story, poem, advice, code, describe_person], [6, 2, 3, 4, 1])[0](rng)
