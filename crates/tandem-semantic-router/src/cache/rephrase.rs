//! One way to say what can be said in many.

use super::lexicon::{ENDINGS, OPENINGS};
use super::tokens::{Form, Token};
use super::words::{full_form, phrase};

/// Most words of a phrase.
const LONGEST_PHRASE: usize = 10;

/// Whether the words' meaning can be told from the tables, which are English.
pub(super) fn is_english(tokens: &[Token]) -> bool {
    const COMMON: &[&str] = &[
        "the", "is", "are", "what", "how", "of", "to", "and", "do", "does", "can", "why", "when",
        "where", "who", "which", "should", "my", "i", "with", "for", "me", "you", "it",
    ];
    const FOREIGN: &[&str] = &[
        "der", "die", "das", "ist", "und", "wie", "le", "la", "les", "el", "los", "que", "est",
        "une", "un", "il", "di", "che", "het", "een", "para", "con", "como", "por", "och", "ich",
    ];
    let words = tokens.iter().filter(|token| token.form != Form::Literal);
    let (mut common, mut foreign, mut other) = (0, 0, 0);
    for token in words {
        let word = token.text.to_lowercase();
        common += usize::from(COMMON.contains(&word.as_str()));
        foreign += usize::from(FOREIGN.contains(&word.as_str()));
        other += usize::from(!word.is_ascii());
    }
    other == 0 && (foreign == 0 || common > 2 * foreign) || common > 3 * (foreign + other)
}

/// Writes contractions out, drops what only frames the question, and replaces known phrases.
pub(super) fn rephrase(tokens: Vec<Token>) -> Vec<Token> {
    let mut full = Vec::with_capacity(tokens.len());
    for token in tokens {
        match full_form(&token.text).filter(|_| token.form == Form::Word) {
            None => full.push(token),
            Some(words) => {
                for (at, word) in words.split(' ').enumerate() {
                    full.push(Token {
                        text: word.to_owned(),
                        form: Form::Word,
                        first: token.first && at == 0,
                    });
                }
            }
        }
    }
    let mut kept = without_frames(&full);
    let mut at = 0;
    while at < kept.len() {
        let rest = kept[at..].iter().take(LONGEST_PHRASE);
        let words: Vec<&str> = rest.map(Token::phrase_word).collect();
        let Some(found) = phrase(&words) else {
            at += 1;
            continue;
        };
        let first = kept[at].first;
        let words = found.to.iter().enumerate().map(|(nth, word)| Token {
            text: (*word).to_owned(),
            form: Form::Word,
            first: first && nth == 0,
        });
        let words: Vec<Token> = words.collect();
        kept.splice(at..at + found.from.len(), words);
        at += 1;
    }
    conversion(&mut kept);
    kept
}

/// "How many pounds are 5 kilograms" and "what is 5 kilograms in pounds" are conversions.
fn conversion(tokens: &mut Vec<Token>) {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text.as_str()).collect();
    let is_number = |text: &&str| text.starts_with(|first: char| first.is_ascii_digit());
    let word = |text: &str| Token {
        text: text.to_owned(),
        form: Form::Word,
        first: false,
    };
    match &texts[..] {
        [
            "how_many" | "how_much",
            unit,
            "is" | "are" | "in" | "equals",
            number,
            own @ ..,
        ] if is_number(number) && !own.is_empty() && own.len() <= 2 => {
            let mut order = vec![word("convert"), word(number)];
            order.extend(own.iter().map(|text| word(text)));
            order.extend([word("to"), word(unit)]);
            *tokens = order;
        }
        ["what", "is" | "are", number, .., "in" | "to", _] if is_number(number) => {
            tokens.splice(..2, [word("convert")]);
            let at = tokens.len() - 2;
            tokens[at] = word("to");
        }
        _ => {}
    }
}

/// Without the openings and endings of its sentences that ask for nothing more.
fn without_frames(tokens: &[Token]) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while !rest.is_empty() {
        let end = rest[1..].iter().position(|token| token.first);
        let (sentence, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        let asked = unframed(sentence);
        let begins = kept.len();
        kept.extend_from_slice(asked);
        if let Some(first) = kept.get_mut(begins) {
            first.first = true;
        }
        rest = after;
    }
    kept
}

fn unframed(mut sentence: &[Token]) -> &[Token] {
    let is = |tokens: &[Token], words: &[&str]| {
        let pairs = tokens.iter().zip(words);
        tokens.len() >= words.len()
            && pairs
                .into_iter()
                .all(|(token, word)| token.phrase_word() == *word)
    };
    while let Some(opening) = OPENINGS.iter().find(|opening| is(sentence, opening)) {
        sentence = &sentence[opening.len()..];
    }
    let ends = |sentence: &[Token], ending: &[&str]| {
        let start = sentence.len().checked_sub(ending.len())?;
        is(&sentence[start..], ending).then_some(start)
    };
    while let Some(start) = ENDINGS.iter().find_map(|ending| ends(sentence, ending)) {
        sentence = &sentence[..start];
    }
    sentence
}
