//! What a question asks, taken apart for comparison.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lexicon::{DIRECTIONS, GENERIC, NEGATIONS, STOPS, UNITS};
use super::rephrase::{is_english, rephrase};
use super::tokens::{Form, Pieces, Token, split};
use super::words::{canonical, numeral, skeleton};

/// Longest question that is compared: longer texts say too much for their words to be weighed.
pub(crate) const LONGEST: usize = 1_500;

/// The unit of a number that is a place in an order.
const ORDINAL: &str = "th";

/// A question, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Question {
    pub(super) kind: Kind,
    /// Whether it is key words only: no question word, no verb of a question, no task to do.
    pub(super) telegraphic: bool,
    pub(super) modal: Option<&'static str>,
    /// `None` where no auxiliary verb says.
    pub(super) tense: Option<Tense>,
    pub(super) negations: usize,
    /// Pronouns that something happens to: "I left him" is not "he left me".
    pub(super) objects: usize,
    pub(super) numbers: Vec<Number>,
    /// Code, symbols and other texts that must be the same to the letter, in their order. Where a
    /// text holds code, all of its words.
    pub(super) literals: Vec<String>,
    pub(super) words: Vec<Word>,
    /// Whether a word occurs more than once.
    pub(super) repeats: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub(super) enum Kind {
    /// A thing, an order, or bare key words.
    #[default]
    Thing,
    Person,
    Owner,
    Place,
    Time,
    Reason,
    Manner,
    /// Yes or no.
    Truth,
    /// A measure, by its name.
    Measure(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tense {
    Present,
    Past,
    Future,
}

/// A number, with what it measures if the text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) value: String,
    pub(super) unit: Option<String>,
}

/// A word that carries meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) stem: String,
    /// What the word before it says about its part.
    pub(super) direction: Option<&'static str>,
    /// Whether a question may lack it and still be the same.
    pub(super) generic: bool,
}

impl Question {
    /// Reads a text; `None` if there is nothing to compare, or too much.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let Pieces { tokens, exact } = split(text);
        let english = is_english(&tokens);
        let tokens = if english { rephrase(tokens) } else { tokens };
        let mut reader = Reader {
            question: Self::default(),
            asked: false,
            english,
        };
        for (at, token) in tokens.iter().enumerate() {
            reader.add(token, &tokens[..at], &tokens[at + 1..]);
        }
        let mut question = reader.finish(&tokens);
        if exact {
            question.literals = tokens.into_iter().map(|token| token.text).collect();
        }
        (!question.words.is_empty()).then_some(question)
    }

    /// What other ways to ask the same are found by: each of them shares at least one.
    pub(crate) fn terms(&self) -> Vec<u64> {
        let bare = self.words.iter().all(|word| word.generic);
        let words = self.words.iter().filter(|word| bare || !word.generic);
        let words = words.map(|word| term("word", &skeleton(&word.stem)));
        let numbers = self
            .numbers
            .iter()
            .map(|number| term("number", &number.value));
        let literals = self.literals.iter().map(|literal| term("literal", literal));
        let mut terms: Vec<u64> = words.chain(numbers).chain(literals).collect();
        terms.sort_unstable();
        terms.dedup();
        terms
    }
}

/// Reads the tokens of a question.
struct Reader {
    question: Question,
    /// Whether there was a question word.
    asked: bool,
    english: bool,
}

impl Reader {
    fn add(&mut self, token: &Token, before: &[Token], after: &[Token]) {
        let word = token.text.as_str();
        match token.form {
            Form::Literal => self.question.literals.push(token.text.clone()),
            _ if word.starts_with(|first: char| first.is_ascii_digit()) => self.number(word, after),
            Form::Name => self.word(name(word), direction(before), false),
            Form::Word if !self.english => self.word(word.to_owned(), None, false),
            Form::Word => self.english_word(word, before, after),
        }
    }

    fn english_word(&mut self, word: &str, before: &[Token], after: &[Token]) {
        if let Some(digits) = numeral(word) {
            self.number(digits, after);
        } else if NEGATIONS.contains(&word) {
            self.question.negations += 1;
        } else if matches!(word, "me" | "us" | "him" | "them") {
            self.question.objects += 1;
        } else if word == "do" && after.is_empty() && self.asked {
            // "What does it do?" is not "what is it?".
            self.word(word.to_owned(), None, false);
        } else if is_subject(word, before) {
            self.word(word.to_owned(), None, false);
        } else if self.grammar(word) || STOPS.contains(word) || is_direction(word) {
            // Says nothing by itself.
        } else {
            self.word(canonical(word), direction(before), GENERIC.contains(word));
        }
    }

    fn word(&mut self, stem: String, direction: Option<&'static str>, generic: bool) {
        let words = &mut self.question.words;
        match words.iter_mut().find(|word| word.stem == stem) {
            Some(known) => {
                known.generic &= generic;
                self.question.repeats = true;
            }
            None => words.push(Word {
                stem,
                direction,
                generic,
            }),
        }
    }

    fn number(&mut self, word: &str, after: &[Token]) {
        let digits = word.find(char::is_alphabetic).unwrap_or(word.len());
        let (value, suffix) = word.split_at(digits);
        let mut next = after
            .iter()
            .skip_while(|token| token.text.starts_with("degree"));
        let unit = match suffix {
            "" => next.next().map(|next| canonical(&next.text.to_lowercase())),
            "st" | "nd" | "rd" | "th" => Some(ORDINAL.to_owned()),
            suffix => {
                let unit = canonical(suffix);
                self.word(unit.clone(), None, false);
                Some(unit)
            }
        };
        let unit = unit.filter(|unit| unit == ORDINAL || UNITS.contains(&unit.as_str()));
        let value = value.replace(',', "");
        self.question.numbers.push(Number { value, unit });
    }

    /// Takes what the word says about the form of the question; whether it is such a word.
    fn grammar(&mut self, word: &str) -> bool {
        if let Some(kind) = question_word(word) {
            // The first one asks; the others are part of what is asked.
            let condition = word == "when" && !self.question.words.is_empty();
            if self.asked || condition {
                return kind == Kind::Thing && !self.asked;
            }
            self.asked = true;
            self.question.kind = kind;
            return true;
        }
        if let Some(tense) = tense(word) {
            // The one that is not the present says more.
            self.question.tense = self
                .question
                .tense
                .filter(|known| *known != Tense::Present)
                .or(Some(tense));
            return true;
        }
        let modal = match word {
            "can" | "could" => "can",
            "should" => "should",
            "must" => "must",
            "may" | "might" => "may",
            _ => return false,
        };
        self.question.modal = self.question.modal.or(Some(modal));
        true
    }

    /// Adds what only the whole text says.
    fn finish(self, tokens: &[Token]) -> Question {
        let mut question = self.question;
        let noun = question.words.first().and_then(|word| asked_by(&word.stem));
        if let Some(kind) = noun
            && self.asked
            && question.kind == Kind::Thing
            && question.words.len() > 1
        {
            question.kind = kind;
            question.words.remove(0);
        }
        if question.kind == Kind::Manner {
            question.modal = None;
        }
        let begins = |token: &&Token| token.first && TRUTH.contains(&token.text.as_str());
        if !self.asked && self.english && tokens.iter().any(|token| begins(&token)) {
            question.kind = Kind::Truth;
        }
        let task = tokens
            .iter()
            .any(|token| token.first && TASKS.contains(&token.text.as_str()));
        question.telegraphic = self.english
            && !self.asked
            && !task
            && question.kind == Kind::Thing
            && question.tense.is_none()
            && question.modal.is_none();
        let compares = |word: &Word| word.stem == "difference";
        if question.words.iter().any(compares) {
            // "How does tea differ from coffee?" asks for the difference between coffee and tea.
            question.kind = match question.kind {
                Kind::Manner => Kind::Thing,
                kind => kind,
            };
            for word in &mut question.words {
                word.direction = None;
            }
        }
        question
    }
}

/// Names keep their endings: "Alien" and "Aliens" are two films.
fn name(word: &str) -> String {
    let lower = word.to_lowercase();
    let lower = lower.strip_suffix("'s").unwrap_or(&lower);
    let known = canonical(lower);
    match lower.strip_prefix(&known) {
        Some("s" | "es") => lower.to_owned(),
        _ => known,
    }
}

fn term(kind: &str, text: &str) -> u64 {
    xxh3_64_with_seed(text.as_bytes(), kind.len() as u64)
}

/// Whether a question is about the one who asks or is asked: "am I", "did you". Elsewhere both are
/// anyone: "can I", "do you".
fn is_subject(word: &str, before: &[Token]) -> bool {
    const VERBS: &[&str] = &["am", "are", "was", "were", "did"];
    let verb = before
        .last()
        .is_some_and(|token| VERBS.contains(&token.text.as_str()));
    verb && matches!(word, "i" | "you" | "we" | "they" | "it")
}

/// Words that an order begins with: it wants the thing, not how it is done.
const TASKS: &[&str] = &[
    "write",
    "create",
    "generate",
    "make",
    "draft",
    "compose",
    "list",
    "give",
    "name",
    "explain",
    "describe",
    "translate",
    "summarize",
    "summarise",
    "rewrite",
    "rephrase",
    "convert",
    "calculate",
    "compute",
    "solve",
    "show",
    "tell",
    "suggest",
    "recommend",
    "plan",
    "design",
    "correct",
    "improve",
    "compare",
    "classify",
    "extract",
    "count",
    "sort",
    "find",
    "add",
    "implement",
    "prove",
    "simplify",
    "shorten",
    "invent",
    "define",
];

/// Words that a question begins with whose answer is yes or no.
const TRUTH: &[&str] = &[
    "is", "are", "am", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could",
    "should", "must", "may", "might", "will", "would",
];

fn tense(word: &str) -> Option<Tense> {
    match word {
        "was" | "were" | "did" | "had" => Some(Tense::Past),
        "will" | "shall" => Some(Tense::Future),
        "is" | "are" | "am" | "do" | "does" | "has" | "have" => Some(Tense::Present),
        _ => None,
    }
}

/// What a noun makes of "what is the …".
fn asked_by(noun: &str) -> Option<Kind> {
    match noun {
        "way" | "trick" | "step" | "formula" | "technique" | "process" | "procedure" => {
            Some(Kind::Manner)
        }
        "cause" => Some(Kind::Reason),
        "number" | "count" => Some(Kind::Measure("how_many")),
        "weight" => Some(Kind::Measure("how_heavy")),
        _ => None,
    }
}

fn question_word(word: &str) -> Option<Kind> {
    const MEASURES: &[&str] = &[
        "how_many",
        "how_long",
        "how_old",
        "how_often",
        "how_far",
        "how_high",
        "how_big",
        "how_deep",
        "how_heavy",
        "how_fast",
        "how_hot",
        "how_cold",
        "how_well",
        "how_hard",
        "how_safe",
    ];
    Some(match word {
        "what" | "which" => Kind::Thing,
        "who" | "whom" => Kind::Person,
        "whose" => Kind::Owner,
        "where" => Kind::Place,
        "when" => Kind::Time,
        "why" => Kind::Reason,
        "how" => Kind::Manner,
        "how_much" => Kind::Measure("how_many"),
        _ => Kind::Measure(MEASURES.iter().find(|measure| **measure == word)?),
    })
}

/// Verbs before whoever does something: "can a website see", "does my cat like".
const AUXILIARIES: &[&str] = &[
    "do", "does", "did", "can", "could", "should", "must", "may", "might", "will", "would",
];

fn is_direction(word: &str) -> bool {
    DIRECTIONS.iter().any(|(name, _)| *name == word)
}

/// What the word before says about the part that a word plays; articles are passed over.
fn direction(before: &[Token]) -> Option<&'static str> {
    for token in before.iter().rev() {
        let word = token.text.as_str();
        if let Some((_, direction)) = DIRECTIONS.iter().find(|(name, _)| *name == word) {
            return Some(direction);
        }
        if AUXILIARIES.contains(&word) {
            return Some("subject");
        }
        if !matches!(
            word,
            "a" | "an" | "the" | "my" | "your" | "his" | "her" | "its" | "our" | "their"
        ) {
            return None;
        }
    }
    None
}

impl Number {
    /// Whether it is a place in an order: "fifth", not "five".
    pub(super) fn is_ordinal(&self) -> bool {
        self.unit.as_deref() == Some(ORDINAL)
    }
}

impl Word {
    /// Whether it must be said that something comes from it.
    pub(super) fn is_source(&self) -> bool {
        self.direction == Some("from")
    }
}
