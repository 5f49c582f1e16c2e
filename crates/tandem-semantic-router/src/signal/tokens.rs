//! How many tokens a text has, roughly.

/// An estimate without a tokenizer: four bytes of ASCII a token, and one token for every other
/// character, which is close for scripts without spaces and too high for accented letters.
pub(super) fn estimate(text: &str) -> u64 {
    let ascii = text.bytes().filter(u8::is_ascii).count() as u64;
    let others = text.chars().filter(|c| !c.is_ascii()).count() as u64;
    ascii.div_ceil(4) + others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_of_the_right_order() {
        let check = |text: &str, want: u64| assert_eq!(estimate(text), want, "{text}");
        check("", 0);
        check("word", 1);
        check("What is the capital of France?", 8);
        check("在家学习", 4);
    }
}
