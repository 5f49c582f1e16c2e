//! How far two words are apart.

/// Levenshtein distance in characters.
pub(crate) fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_in_characters() {
        let check = |left: &str, right: &str, want: usize| {
            assert_eq!(edit_distance(left, right), want);
            assert_eq!(edit_distance(right, left), want);
        };
        check("", "abc", 3);
        check("kitten", "sitting", 3);
        check("größe", "grosse", 3);
        check("same", "same", 0);
    }
}
