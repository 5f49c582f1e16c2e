//! Words and phrases that the comparison of two questions knows. Data only; the long lists are
//! files beside this one.
//!
//! A group may hold only words that can stand for each other in *every* question: what is merely
//! related (buy and sell, best and fastest, miles and kilometres) must not be here.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Openings that ask for nothing more than what follows, in their words. They count only where a
/// sentence begins, the longest first.
pub(super) static OPENINGS: LazyLock<Vec<Vec<&str>>> =
    LazyLock::new(|| lines_of_words(include_str!("lexicon/openings.txt")));

/// Endings that ask for nothing more.
pub(super) static ENDINGS: LazyLock<Vec<Vec<&str>>> =
    LazyLock::new(|| lines_of_words(include_str!("lexicon/endings.txt")));

/// Words that carry nothing by themselves.
pub(super) static STOPS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("lexicon/stops.txt")
        .split_whitespace()
        .collect()
});

/// Words that a question may have or lack and still be the same.
pub(super) static GENERIC: LazyLock<HashSet<&str>> = LazyLock::new(|| {
    include_str!("lexicon/generic.txt")
        .split_whitespace()
        .collect()
});

/// Phrases and what they stand for.
pub(super) fn phrases() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = include_str!("lexicon/phrases.txt").lines();
    lines.filter_map(|line| line.split_once(" = "))
}

/// Words that can stand for each other; the first of each line is the one that is kept.
pub(super) fn groups() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = include_str!("lexicon/groups.txt").lines();
    lines.map(|line| line.split(' ').collect())
}

fn lines_of_words(text: &'static str) -> Vec<Vec<&'static str>> {
    let mut lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(' ').collect()).collect();
    lines.sort_by_key(|words| std::cmp::Reverse(words.len()));
    lines
}

/// Words that say where something comes from or goes, by what they mark.
pub(super) const DIRECTIONS: &[(&str, &str)] = &[
    ("from", "from"),
    ("to", "to"),
    ("into", "to"),
    ("onto", "to"),
    ("toward", "to"),
    ("towards", "to"),
    ("by", "by"),
    ("inside", "in"),
    ("in", "in"),
    ("on", "in"),
    ("at", "in"),
    ("with", "with"),
    ("using", "with"),
    ("for", "for"),
    ("of", "of"),
];

/// Words that deny.
pub(super) const NEGATIONS: &[&str] = &[
    "not",
    "no",
    "never",
    "without",
    "none",
    "neither",
    "nor",
    "nobody",
    "nothing",
    "nowhere",
    "cannot",
    "except",
    "unless",
    "excluding",
    "lack",
    "hardly",
    "non",
    "minus",
];

/// What a measure may be given in: it must stay with its number.
pub(super) const UNITS: &[&str] = &[
    "kilogram",
    "gram",
    "milligram",
    "pound",
    "ounce",
    "kilometer",
    "meter",
    "centimeter",
    "millimeter",
    "mile",
    "foot",
    "inch",
    "yard",
    "liter",
    "milliliter",
    "gallon",
    "pint",
    "quart",
    "celsius",
    "fahrenheit",
    "kelvin",
    "degree",
    "minute",
    "hour",
    "second",
    "day",
    "week",
    "month",
    "year",
    "tablespoon",
    "teaspoon",
    "cup",
    "percent",
    "dollar",
    "euro",
    "yen",
    "mph",
    "kph",
    "watt",
    "volt",
    "amp",
    "ton",
    "acre",
    "hectare",
    "byte",
    "kb",
    "mb",
    "gb",
    "tb",
    "calorie",
    "million",
    "billion",
    "thousand",
    "hundred",
    "am",
    "pm",
    "bc",
    "ad",
    "k",
    "m",
];

/// Numbers in words.
pub(super) const NUMBERS: &[(&str, &str)] = &[
    ("zero", "0"),
    ("thirteen", "13"),
    ("fourteen", "14"),
    ("sixteen", "16"),
    ("seventeen", "17"),
    ("eighteen", "18"),
    ("nineteen", "19"),
    ("seventy", "70"),
    ("eighty", "80"),
    ("ninety", "90"),
    ("third", "3th"),
    ("fourth", "4th"),
    ("fifth", "5th"),
    ("sixth", "6th"),
    ("seventh", "7th"),
    ("eighth", "8th"),
    ("ninth", "9th"),
    ("tenth", "10th"),
    ("eleventh", "11th"),
    ("twelfth", "12th"),
    ("thirteenth", "13th"),
    ("fourteenth", "14th"),
    ("fifteenth", "15th"),
    ("sixteenth", "16th"),
    ("seventeenth", "17th"),
    ("eighteenth", "18th"),
    ("nineteenth", "19th"),
    ("twentieth", "20th"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("fifteen", "15"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("forty", "40"),
    ("fifty", "50"),
    ("sixty", "60"),
];

/// Short forms in full.
pub(super) const CONTRACTIONS: &[(&str, &str)] = &[
    ("can't", "can not"),
    ("cant", "can not"),
    ("cannot", "can not"),
    ("won't", "will not"),
    ("wont", "will not"),
    ("don't", "do not"),
    ("dont", "do not"),
    ("doesn't", "does not"),
    ("doesnt", "does not"),
    ("didn't", "did not"),
    ("didnt", "did not"),
    ("isn't", "is not"),
    ("isnt", "is not"),
    ("aren't", "are not"),
    ("wasn't", "was not"),
    ("weren't", "were not"),
    ("haven't", "have not"),
    ("hasn't", "has not"),
    ("hadn't", "had not"),
    ("shouldn't", "should not"),
    ("wouldn't", "would not"),
    ("couldn't", "could not"),
    ("mustn't", "must not"),
    ("what's", "what is"),
    ("whats", "what is"),
    ("what're", "what are"),
    ("who's", "who is"),
    ("whos", "who is"),
    ("where's", "where is"),
    ("wheres", "where is"),
    ("when's", "when is"),
    ("whens", "when is"),
    ("why's", "why is"),
    ("how's", "how is"),
    ("hows", "how is"),
    ("it's", "it is"),
    ("that's", "that is"),
    ("there's", "there is"),
    ("here's", "here is"),
    ("i'm", "i am"),
    ("im", "i am"),
    ("i've", "i have"),
    ("ive", "i have"),
    ("i'd", "i would"),
    ("i'll", "i will"),
    ("you're", "you are"),
    ("you've", "you have"),
    ("we're", "we are"),
    ("we've", "we have"),
    ("they're", "they are"),
    ("let's", "let us"),
    ("u", "you"),
    ("ur", "your"),
    ("r", "are"),
    ("pls", "please"),
    ("plz", "please"),
    ("thx", "thanks"),
    ("gonna", "going to"),
    ("wanna", "want to"),
    ("w/", "with"),
    ("&", "and"),
];

/// Pairs of words that differ like a typing error and are none.
pub(super) const LOOK_ALIKES: &[&[&str]] = &[
    &["complement", "compliment"],
    &["stationary", "stationery"],
    &["casual", "causal"],
    &["marital", "martial"],
    &["desert", "dessert"],
    &["united", "untied"],
    &["calvary", "cavalry"],
    &["conserve", "converse"],
    &["aesthetic", "anesthetic"],
    &["immunity", "impunity"],
    &["personal", "personnel"],
    &["moral", "morale"],
    &["ordinance", "ordnance"],
    &["discreet", "discrete"],
    &["elicit", "illicit"],
    &["perspective", "prospective"],
    &["precede", "proceed"],
    &["adverse", "averse"],
    &["barter", "batter"],
    &["formally", "formerly"],
];
