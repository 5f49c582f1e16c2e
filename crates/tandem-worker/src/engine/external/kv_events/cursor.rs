//! How far a publisher's numbered messages have been read.

/// How far the messages have been read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cursor {
    /// Number of the next message; `None` if any may be the first.
    next: Option<u64>,
    /// When the last one was published, by the publisher's clock.
    time: f64,
}

/// What a message means to somebody who has read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one.
    Next,
    /// It was read before.
    Known,
    /// There are messages before it that have not been read.
    Missed,
    /// The publisher has begun anew: numbers do not go back otherwise.
    Restarted,
}

impl Cursor {
    /// Nothing has been read. If earlier messages can be had, the first one is the first ever.
    pub(super) const fn new(from_the_beginning: bool) -> Self {
        Self {
            next: if from_the_beginning { Some(0) } else { None },
            time: f64::NEG_INFINITY,
        }
    }

    /// Number of the message to read next.
    pub(super) fn next(&self) -> u64 {
        self.next.unwrap_or(0)
    }

    /// What a message means with this number, published at `time`.
    ///
    /// A message that was repeated comes a second time over the subscription, so a low number alone
    /// says nothing; but one that is younger than all that were read is not a repetition.
    pub(super) fn judge(&self, sequence: u64, time: f64) -> Verdict {
        match self.next {
            None => Verdict::Next,
            Some(next) if sequence == next => Verdict::Next,
            Some(next) if sequence > next => Verdict::Missed,
            Some(_) if time > self.time => Verdict::Restarted,
            Some(_) => Verdict::Known,
        }
    }

    /// Notes that everything up to a message has been read.
    pub(super) fn passed(&mut self, sequence: u64, time: f64) {
        self.next = Some(sequence.saturating_add(1));
        self.time = self.time.max(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_judged_by_number_and_time() {
        let mut cursor = Cursor::new(true);
        assert_eq!(cursor.judge(0, 1.0), Verdict::Next);
        assert_eq!(cursor.judge(2, 1.0), Verdict::Missed);
        cursor.passed(0, 1.0);
        cursor.passed(1, 2.0);
        assert_eq!(cursor.judge(0, 1.0), Verdict::Known);
        assert_eq!(cursor.judge(1, 2.0), Verdict::Known);
        assert_eq!(cursor.judge(2, 3.0), Verdict::Next);
        assert_eq!(cursor.judge(0, 3.0), Verdict::Restarted);
        assert_eq!(cursor.judge(4, 3.0), Verdict::Missed);
    }

    #[test]
    fn without_a_past_the_first_message_may_have_any_number() {
        let mut cursor = Cursor::new(false);
        assert_eq!(cursor.judge(17, 1.0), Verdict::Next);
        cursor.passed(17, 1.0);
        assert_eq!(cursor.judge(17, 1.0), Verdict::Known);
        assert_eq!(cursor.next(), 18);
    }
}
