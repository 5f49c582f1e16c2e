//! Whether the store can be believed when it says that entries are gone.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// An answer that takes longer says that the store, or the way to it, is in trouble.
const SLOW: Duration = Duration::from_secs(1);

/// What renewing a lease says about everybody's: while the store answered nobody, nobody could
/// renew, and leases of processes that are well have expired.
#[derive(Debug)]
pub(super) struct Contact {
    /// How long such a process may take to come back.
    grace: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when an answer is awaited.
    asked: Option<Instant>,
    /// When the last trouble was over.
    trouble: Option<Instant>,
}

impl Contact {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            state: Mutex::default(),
        }
    }

    /// A question was sent.
    pub(super) fn ask(&self, now: Instant) {
        self.state.lock().asked = Some(now);
    }

    /// The question was answered, as it is when all is `well`, or not.
    pub(super) fn answered(&self, well: bool, now: Instant) {
        let mut state = self.state.lock();
        let asked = state.asked.take();
        if !well || asked.is_some_and(|asked| now - asked > SLOW) {
            state.trouble = Some(now);
        }
    }

    /// Until when an entry that vanishes now may come back; `None` if it is simply gone.
    pub(super) fn doubt(&self, now: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let waiting = state.asked.is_some_and(|asked| now - asked > SLOW);
        let lately = state
            .trouble
            .is_some_and(|trouble| now - trouble < self.grace);
        (waiting || lately).then(|| now + self.grace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn what_vanishes_after_trouble_may_come_back() {
        let contact = Contact::new(GRACE);
        let at = |start: Instant, millis| start + Duration::from_millis(millis);
        let mut start = Instant::now();
        let check = |start: Instant, millis, doubtful: bool| {
            let now = at(start, millis);
            assert_eq!(contact.doubt(now), doubtful.then(|| now + GRACE));
        };
        check(start, 0, false);
        // A prompt answer.
        contact.ask(start);
        check(start, 500, false);
        contact.answered(true, at(start, 900));
        check(start, 60_000, false);
        // None yet, then a late one.
        contact.ask(start);
        check(start, 1001, true);
        contact.answered(true, at(start, 2000));
        check(start, 11_999, true);
        check(start, 12_000, false);
        // An error, or the news that the lease is gone.
        start += Duration::from_secs(60);
        contact.ask(start);
        contact.answered(false, at(start, 10));
        check(start, 10_009, true);
        check(start, 10_010, false);
    }
}
