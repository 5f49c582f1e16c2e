//! How long nothing was heard of the other side.

use std::time::Duration;

/// Time between two looks.
pub(super) const TICK: Duration = Duration::from_millis(2500);
/// Looks without a sign of life after which the other side is given up.
const PATIENCE: u32 = 4;

/// Counts looks at a connection since the other side was heard last. Looks are cheaper than a timer
/// that every frame resets.
#[derive(Debug, Default)]
pub(super) struct Silence {
    looks: u32,
}

/// What to do about the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was heard a moment ago.
    Alive,
    /// Ask whether it is there.
    Ask,
    /// It is gone.
    Gone,
}

impl Silence {
    pub(super) const fn heard(&mut self) {
        self.looks = 0;
    }

    pub(super) const fn look(&mut self) -> Verdict {
        let silent = self.looks;
        self.looks += 1;
        match silent {
            0 => Verdict::Alive,
            PATIENCE.. => Verdict::Gone,
            _ => Verdict::Ask,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_silent_are_asked_and_then_given_up_after_ten_seconds() {
        let mut silence = Silence::default();
        assert_eq!(silence.look(), Verdict::Alive);
        assert_eq!(silence.look(), Verdict::Ask);
        silence.heard();
        assert_eq!(silence.look(), Verdict::Alive);
        let verdicts = [(); 4].map(|()| silence.look());
        let [first @ .., last] = verdicts;
        assert_eq!(first, [Verdict::Ask; 3]);
        assert_eq!(last, Verdict::Gone);
        assert_eq!(TICK * PATIENCE, Duration::from_secs(10));
    }
}
