"""Word lists shared by the generators."""

from __future__ import annotations

NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jack", "Kate", "Leo", "Mia", "Noah", "Olga", "Paul",
         "Rosa", "Sam", "Tom", "Vera", "Will", "Yara", "Zoe", "Ada", "Omar", "Lin", "Priya", "Hugo", "Nina", "Max", "Sara", "Ali", "Eva",
         "Peter", "Maria", "John", "Lucy", "Oscar", "Ruth", "Ivan", "Bob", "Alice", "Carol", "Dan", "Elena", "Frank", "Jane", "Kofi", "Mei", "Raj"]
COLORS = ["red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white", "gray", "gold", "silver"]
FRUITS = ["apple", "banana", "pear", "peach", "plum", "cherry", "grape", "lemon", "mango", "melon", "orange", "fig", "kiwi", "lime"]
ANIMALS = ["cat", "dog", "horse", "cow", "fox", "bear", "wolf", "rabbit", "mouse", "owl", "frog", "duck", "goat", "lion", "tiger", "whale", "bee", "ant"]
OBJECTS = ["lamp", "chair", "table", "clock", "door", "window", "spoon", "cup", "box", "key", "hat", "coat", "shoe", "bell", "rope", "wheel", "ladder", "mirror",
           "pencil", "paper", "stone", "candle", "bottle", "basket", "bridge", "garden", "river", "cloud", "forest", "island", "engine", "castle"]
FOODS = ["pizza", "pasta", "soup", "rice", "bread", "cheese", "salad", "cake", "curry", "noodles", "pancakes", "tomatoes", "chocolate", "fish"]
CITIES = ["Paris", "London", "Rome", "Berlin", "Madrid", "Oslo", "Lima", "Cairo", "Tokyo", "Delhi", "Boston", "Dublin", "Vienna", "Prague", "Athens", "Toronto"]
HOBBIES = ["reading", "chess", "swimming", "painting", "cooking", "running", "music", "gardening", "football", "hiking", "dancing", "fishing", "drawing", "cycling"]
JOBS = ["teacher", "nurse", "baker", "farmer", "pilot", "doctor", "painter", "engineer", "student", "cook", "driver", "writer", "gardener", "programmer", "lawyer"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
SYLLABLES = ["ba", "bo", "bra", "da", "do", "dru", "fa", "fen", "ga", "gor", "ka", "kel", "la", "lo", "lum", "ma", "mor", "na", "nor", "pa", "per", "qua", "ra", "rin",
             "sa", "sel", "ta", "tor", "ul", "va", "vel", "wen", "xa", "yor", "za", "zin", "mi", "ti", "ro", "du", "li", "ne"]

ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
        "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def number_word(n: int) -> str:
    """English for 0..100."""
    if n < 20:
        return ONES[n]
    if n == 100:
        return "one hundred"
    return TENS[n // 10] + (f"-{ONES[n % 10]}" if n % 10 else "")


def invented_word(rng, syllables: int | None = None) -> str:
    """A word that means nothing: for copying tasks and unknown names."""
    return "".join(rng.choice(SYLLABLES) for _ in range(syllables or rng.randint(2, 3)))


def join_and(items: list[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
