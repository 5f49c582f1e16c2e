//! Windows over a long text, and how their answers become one.

/// Sizes of the windows, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowRule {
    /// Tokens of the text in a window; the two special tokens come on top.
    pub(crate) body: usize,
    /// Distance between the starts of two windows.
    pub(crate) stride: usize,
}

impl WindowRule {
    /// The rule for inputs of `size` tokens, special ones included.
    pub(crate) fn new(size: usize, stride: usize) -> Option<Self> {
        let body = size.checked_sub(2)?;
        (1..=body)
            .contains(&stride)
            .then_some(Self { body, stride })
    }

    /// The tokens of window `index` among `tokens` so far, and whether it is the last. `None`
    /// while more tokens are needed to tell.
    pub(crate) fn range(
        self,
        index: usize,
        tokens: usize,
        complete: bool,
    ) -> Option<(std::ops::Range<usize>, bool)> {
        let start = index * self.stride;
        let end = start + self.body;
        if tokens > end {
            Some((start..end, false))
        } else if complete {
            Some((start.min(tokens)..tokens, true))
        } else {
            None
        }
    }
}

/// Sum of vectors, one per window, weighted by the tokens of the window.
#[derive(Debug, Default)]
pub(crate) struct WeightedMean {
    sum: Vec<f32>,
    weight: f32,
}

impl WeightedMean {
    pub(crate) fn add(&mut self, vector: &[f32], tokens: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a window is short")]
        let weight = tokens.max(1) as f32;
        self.sum.resize(vector.len(), 0.0);
        for (sum, value) in self.sum.iter_mut().zip(vector) {
            *sum += weight * value;
        }
        self.weight += weight;
    }

    /// The mean; `None` if nothing was added.
    pub(crate) fn finish(self) -> Option<Vec<f32>> {
        let weight = self.weight;
        (weight > 0.0).then(|| self.sum.into_iter().map(|value| value / weight).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(rule: WindowRule, tokens: usize) -> Vec<std::ops::Range<usize>> {
        let mut all = Vec::new();
        loop {
            let (range, last) = rule.range(all.len(), tokens, true).unwrap();
            all.push(range);
            if last {
                return all;
            }
        }
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "the lists hold ranges")]
    fn windows_cover_the_text() {
        let rule = WindowRule::new(12, 6).unwrap();
        assert_eq!(windows(rule, 0), [0..0]);
        assert_eq!(windows(rule, 10), [0..10]);
        assert_eq!(windows(rule, 11), [0..10, 6..11]);
        assert_eq!(windows(rule, 16), [0..10, 6..16]);
        assert_eq!(windows(rule, 17), [0..10, 6..16, 12..17]);
    }

    #[test]
    fn a_window_waits_for_the_token_after_it() {
        let rule = WindowRule::new(12, 6).unwrap();
        assert_eq!(rule.range(0, 10, false), None);
        assert_eq!(rule.range(0, 11, false), Some((0..10, false)));
        assert_eq!(rule.range(1, 11, false), None);
    }

    #[test]
    fn bad_rules_are_refused() {
        assert_eq!(WindowRule::new(1, 1), None);
        assert_eq!(WindowRule::new(12, 0), None);
        assert_eq!(WindowRule::new(12, 11), None);
    }
}
