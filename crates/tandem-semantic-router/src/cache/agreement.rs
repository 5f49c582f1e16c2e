//! Whether the answer to one question is the answer to another.
//!
//! Vectors of a small encoder lie as close for "to Celsius" and "from Celsius" as for two ways to
//! ask the same, so similarity alone would serve wrong answers. Here every word that carries meaning
//! must have its counterpart. Doubt is a miss.

use super::question::{Kind, Question, Tense, Word};
use super::words::same_word;

/// Words without a counterpart that one of two questions may have, all of them generic. Where both
/// have some, one word may stand in the place of another.
const MOST_UNMATCHED: usize = 4;

/// Most words of a question of which some may stand elsewhere in the other.
const MOST_MOVED: usize = 12;

/// Whether both ask for the same.
pub(crate) fn agree(left: &Question, right: &Question) -> bool {
    left.literals == right.literals
        && left.negations == right.negations
        && left.objects == right.objects
        && same_tense(left.tense, right.tense)
        && same_modal(left, right)
        && same_kind(left, right)
        && same_numbers(left, right)
        && same_words(left, right)
}

/// Key words ask how something is done as well as what it is: they are few, and the answer to
/// either begins the other.
fn same_kind(left: &Question, right: &Question) -> bool {
    let how = |keys: &Question, other: &Question| keys.telegraphic && other.kind == Kind::Manner;
    left.kind == right.kind || how(left, right) || how(right, left)
}

/// A text without an auxiliary verb speaks of the future only where it says so.
fn same_tense(left: Option<Tense>, right: Option<Tense>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => left == right,
        (Some(one), None) | (None, Some(one)) => one != Tense::Future,
        (None, None) => true,
    }
}

fn same_modal(left: &Question, right: &Question) -> bool {
    // "How many can there be?" is not "how many are there?".
    let matters = matches!(left.kind, Kind::Truth | Kind::Measure(_));
    left.modal == right.modal || !matters && (left.modal.is_none() || right.modal.is_none())
}

fn same_numbers(left: &Question, right: &Question) -> bool {
    left.numbers.len() == right.numbers.len()
        && left
            .numbers
            .iter()
            .zip(&right.numbers)
            .all(|(left, right)| {
                let units = left.unit.as_ref().zip(right.unit.as_ref());
                left.value == right.value
                    && left.is_ordinal() == right.is_ordinal()
                    && units.is_none_or(|(left, right)| left == right)
            })
}

fn same_words(left: &Question, right: &Question) -> bool {
    let mut places = Vec::with_capacity(left.words.len());
    let mut taken = vec![false; right.words.len()];
    let mut lacking = 0;
    for word in &left.words {
        let place = right
            .words
            .iter()
            .enumerate()
            .position(|(at, other)| !taken[at] && same_word(&word.stem, &other.stem));
        match place {
            Some(at) => {
                if !same_direction(word, &right.words[at]) {
                    return false;
                }
                taken[at] = true;
                places.push((word, at));
            }
            None if word.generic => lacking += 1,
            None => return false,
        }
    }
    let mut unmatched = 0;
    for (word, _) in right.words.iter().zip(&taken).filter(|(_, taken)| !**taken) {
        if !word.generic {
            return false;
        }
        unmatched += 1;
    }
    let meaning = places
        .iter()
        .filter(|(word, at)| !word.generic || !right.words[*at].generic)
        .count();
    (lacking == 0 || unmatched == 0)
        && lacking + unmatched <= MOST_UNMATCHED
        && (meaning > 0 || lacking + unmatched == 0)
        && (same_order(&places, left, right)
            || (left.telegraphic || right.telegraphic)
                && !is_strict(left)
                && !is_strict(right)
                && is_loose(&places, right))
}

fn same_direction(left: &Word, right: &Word) -> bool {
    match (left.direction, right.direction) {
        (Some(left), Some(right)) => left == right || weak(left) && weak(right),
        _ => left.is_source() == right.is_source(),
    }
}

/// Directions that stand for each other in most phrases.
fn weak(direction: &str) -> bool {
    matches!(direction, "in" | "of" | "for" | "with")
}

/// Whether words must stand in the same order whatever they are: where some are repeated, or there
/// are many, their places say what belongs to what.
fn is_strict(question: &Question) -> bool {
    question.repeats || question.words.len() > MOST_MOVED
}

/// Whether the words of which one text consists may stand in any order. Not if they are two, as in
/// "travel time", and not if only one of the texts says where something goes.
fn is_loose(places: &[(&Word, usize)], right: &Question) -> bool {
    let strong = |word: &Word| word.direction.filter(|direction| !weak(direction));
    let mut places = places.iter();
    places.len() > 2 && places.all(|(word, at)| strong(word) == strong(&right.words[*at]))
}

/// Words may change places only where that does not exchange their parts.
fn same_order(places: &[(&Word, usize)], left: &Question, right: &Question) -> bool {
    if is_strict(left) || is_strict(right) {
        return places.is_sorted_by_key(|(_, at)| *at);
    }
    let symmetric = places
        .iter()
        .any(|(word, _)| matches!(word.stem.as_str(), "difference" | "versus" | "between"));
    if symmetric {
        return true;
    }
    for (at, (first, place)) in places.iter().enumerate() {
        for (second, other) in &places[at + 1..] {
            let (first_there, second_there) = (&right.words[*place], &right.words[*other]);
            let inverted = other < place;
            let swapped = first.direction.is_some() && first.direction == second_there.direction
                || second.direction.is_some() && second.direction == first_there.direction;
            let free = is_free(first, first_there) || is_free(second, second_there);
            if inverted && (swapped || !free) {
                return false;
            }
        }
    }
    true
}

/// Whether a word may stand anywhere: one that says little, or an adjunct, as in "in Java, how …".
fn is_free(here: &Word, there: &Word) -> bool {
    [here, there]
        .iter()
        .any(|word| word.generic || word.direction.is_some_and(weak))
}

#[cfg(test)]
mod tests;
