//! Words in the form in which they are compared: stems, and one word for all that mean the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::lexicon::{CONTRACTIONS, LOOK_ALIKES, NUMBERS, groups, phrases};

/// Words whose ending is no ending.
const WHOLE: &[&str] = &[
    "news",
    "series",
    "species",
    "physics",
    "mathematics",
    "always",
    "perhaps",
    "gas",
    "lens",
    "bus",
    "virus",
    "status",
    "yes",
    "this",
    "during",
    "morning",
    "evening",
    "nothing",
    "something",
    "anything",
    "everything",
    "building",
    "meeting",
    "wedding",
    "ceiling",
    "king",
    "ring",
    "string",
    "spring",
    "need",
    "speed",
    "seed",
    "feed",
    "breed",
    "united",
    "hundred",
    "kubernetes",
    "postgres",
    "pandas",
    "diabetes",
    "tennis",
    "paris",
    "texas",
    "wales",
    "us",
    "less",
    "aws",
    "ios",
    "macos",
    "redis",
    "sometimes",
    "red",
    "bed",
    "java",
    "class",
    "glass",
    "https",
    "cors",
    "dns",
    "saas",
    "paas",
    "iaas",
    "windows",
    "airpods",
    "netflix",
    "dos",
];

static CANONICAL: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut canonical = HashMap::new();
    for group in groups() {
        for word in &group {
            canonical.entry(stem(word)).or_insert(group[0]);
        }
    }
    canonical
});

static SHORT_FORMS: LazyLock<HashMap<&str, &str>> =
    LazyLock::new(|| CONTRACTIONS.iter().copied().collect());

static NUMERALS: LazyLock<HashMap<&str, &str>> =
    LazyLock::new(|| NUMBERS.iter().copied().collect());

/// Phrases by their first word, the longest first.
static BY_FIRST: LazyLock<HashMap<String, Vec<Phrase>>> = LazyLock::new(|| {
    let mut by_first: HashMap<String, Vec<Phrase>> = HashMap::new();
    for (from, to) in phrases() {
        let from: Vec<&str> = from.split(' ').collect();
        let to = to.split(' ').collect();
        by_first
            .entry(from[0].to_owned())
            .or_default()
            .push(Phrase { from, to });
    }
    for same in by_first.values_mut() {
        same.sort_by_key(|phrase| std::cmp::Reverse(phrase.from.len()));
    }
    by_first
});

/// A phrase, and what it stands for.
pub(super) struct Phrase {
    pub(super) from: Vec<&'static str>,
    pub(super) to: Vec<&'static str>,
}

/// The phrase that `words` begin with.
pub(super) fn phrase(words: &[&str]) -> Option<&'static Phrase> {
    let phrases = BY_FIRST.get(*words.first()?)?;
    let begins = |phrase: &&Phrase| {
        let pairs = words.iter().zip(&phrase.from);
        words.len() >= phrase.from.len() && pairs.into_iter().all(|(word, known)| word == known)
    };
    phrases.iter().find(begins)
}

/// The full form of a contraction.
pub(super) fn full_form(word: &str) -> Option<&'static str> {
    SHORT_FORMS.get(word).copied()
}

/// The digits of a number in words.
pub(super) fn numeral(word: &str) -> Option<&'static str> {
    NUMERALS.get(word).copied()
}

/// The word that stands for all with the meaning of `word`, or its stem.
pub(super) fn canonical(word: &str) -> String {
    let stem = stem(word);
    if let Some(first) = CANONICAL.get(&stem) {
        return (*first).to_owned();
    }
    // "requiring" is stripped to "requir", and "require" is what is known.
    if stem.len() < word.len()
        && let Some(first) = CANONICAL.get(&format!("{stem}e"))
    {
        return (*first).to_owned();
    }
    stem
}

/// A word without its inflection. English only, and rough: two forms of a word that stay apart are
/// a miss, two words that meet would be a wrong answer.
fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    let word = word.strip_suffix('\'').unwrap_or(word);
    let letters = word.bytes().all(|byte| byte.is_ascii_alphabetic());
    if word.len() < 4 || !letters || WHOLE.contains(&word) {
        return word.to_owned();
    }
    if let Some(root) = word.strip_suffix("ies") {
        return match root.len() {
            0..=2 => format!("{root}ie"),
            _ => format!("{root}y"),
        };
    }
    if let Some(root) = word.strip_suffix("es")
        && ["ss", "x", "zz", "ch", "sh", "o", "us"]
            .iter()
            .any(|end| root.ends_with(end))
    {
        return root.to_owned();
    }
    if let Some(root) = word.strip_suffix('s')
        && !["s", "u", "i"].iter().any(|end| root.ends_with(end))
    {
        return root.to_owned();
    }
    for ending in ["ing", "ed"] {
        if let Some(root) = word.strip_suffix(ending)
            && root.len() >= 3
            && has_vowel(root)
        {
            return whole(root);
        }
    }
    match word.strip_suffix("ly") {
        Some(root) if root.len() >= 4 => root.to_owned(),
        _ => word.to_owned(),
    }
}

fn has_vowel(text: &str) -> bool {
    text.contains(['a', 'e', 'i', 'o', 'u', 'y'])
}

/// The word whose ending was taken off: "runn" is "run", "stor" is "store", "boil" is "boil".
fn whole(root: &str) -> String {
    let letters = root.as_bytes();
    let vowel = |letter: u8| b"aeiou".contains(&letter);
    match letters {
        [.., before, last] if before == last && !b"lsz".contains(last) => {
            root[..root.len() - 1].to_owned()
        }
        [.., b'v' | b'c'] | [.., b'b', b'l'] | [.., b'i', b'z'] => {
            format!("{root}e")
        }
        [_, _, .., before, b'a', b't'] if !vowel(*before) => format!("{root}e"),
        [start @ .., middle, last]
            if vowel(*middle)
                && !vowel(*last)
                && !b"wxy".contains(last)
                && !start.is_empty()
                && !start.iter().any(|letter| vowel(*letter)) =>
        {
            format!("{root}e")
        }
        _ => root.to_owned(),
    }
}

/// Whether two canonical words are the same, or one of them with a typing error.
pub(super) fn same_word(left: &str, right: &str) -> bool {
    left == right || typing_error(left, right)
}

/// Whether two words differ in a way in which people mistype: letters change places, or one is
/// doubled. Another letter makes another word too often.
fn typing_error(left: &str, right: &str) -> bool {
    if left.len().min(right.len()) < 5 || left.as_bytes()[0] != right.as_bytes()[0] {
        return false;
    }
    let known = |pair: &&&[&str]| pair.contains(&left) && pair.contains(&right);
    if LOOK_ALIKES.iter().any(|pair| known(&pair)) {
        return false;
    }
    singled(left) == singled(right) || swapped(left.as_bytes(), right.as_bytes())
}

/// Without doubled letters.
fn singled(word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    letters.dedup();
    letters.into_iter().collect()
}

fn swapped(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let apart: Vec<usize> = (0..left.len())
        .filter(|at| left[*at] != right[*at])
        .collect();
    matches!(apart[..], [first, second] if second == first + 1
        && left[first] == right[second] && left[second] == right[first])
}

/// What a word keeps when it is mistyped in a way that [`same_word`] forgives: it may only find
/// candidates.
pub(super) fn skeleton(word: &str) -> String {
    if !word.is_ascii() {
        return word.to_owned();
    }
    let mut letters: Vec<u8> = word.bytes().collect();
    if letters.len() >= 5 {
        letters[1..].sort_unstable();
        letters.dedup();
    }
    letters.into_iter().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_word_meet_and_words_do_not() {
        let same = |left: &str, right: &str, want: bool| {
            let (left, right) = (canonical(left), canonical(right));
            assert_eq!(same_word(&left, &right), want, "{left} {right}");
            if want {
                assert_eq!(skeleton(&left), skeleton(&right), "{left} {right}");
            }
        };
        same("stores", "storing", true);
        same("making", "made", true);
        same("running", "run", true);
        same("cities", "city", true);
        same("boxes", "box", true);
        same("installation", "instaling", true);
        same("recieved", "received", true);
        same("restaurnat", "restaurant", true);
        same("kilograms", "kg", true);
        same("desert", "dessert", false);
        same("causal", "casual", false);
        same("install", "uninstall", false);
        same("adduction", "abduction", false);
        same("sulfate", "sulfite", false);
        same("string", "str", true);
        same("car", "care", false);
        same("celsius", "kelvin", false);
    }
}
