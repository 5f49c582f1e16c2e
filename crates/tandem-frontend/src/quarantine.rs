//! Instances that did not respond, and when they may be tried again.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long an instance is left alone after the first failure; doubles with every failed trial.
const MIN_PAUSE: Duration = Duration::from_secs(5);
/// The longest that an instance is left alone.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// After each pause one request tries the instance, and the others wait for what comes of it: one
/// that hangs keeps every request that is sent to it for a while.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    instances: HashMap<u64, Absence>,
}

#[derive(Debug)]
struct Absence {
    until: Instant,
    pause: Duration,
    /// Whether a request tries the instance.
    tried: bool,
}

impl Quarantine {
    /// The instance did not respond. Requests that fail together count once.
    pub(crate) fn failed(&mut self, instance_id: u64, now: Instant) {
        // Of those that are gone for good nobody will hear again.
        self.instances
            .retain(|_, absence| now < absence.until + MAX_PAUSE);
        let absence = self.instances.entry(instance_id).or_insert(Absence {
            until: now + MIN_PAUSE,
            pause: MIN_PAUSE,
            tried: false,
        });
        if absence.tried || absence.until <= now {
            absence.pause = (absence.pause * 2).min(MAX_PAUSE);
            absence.until = now + absence.pause;
            absence.tried = false;
        }
    }

    /// The instance responded.
    pub(crate) fn responded(&mut self, instance_id: u64) {
        self.instances.remove(&instance_id);
    }

    /// A request is sent to the instance: if it was left alone until now, this one tries it.
    pub(crate) fn chosen(&mut self, instance_id: u64, now: Instant) {
        if let Some(absence) = self.instances.get_mut(&instance_id)
            && absence.until <= now
        {
            absence.tried = true;
            absence.until = now + absence.pause;
        }
    }

    /// Whether the instance should be left alone.
    pub(crate) fn holds(&self, instance_id: u64, now: Instant) -> bool {
        let absence = self.instances.get(&instance_id);
        absence.is_some_and(|absence| now < absence.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds from `now` that instance 1 is left alone.
    fn held(quarantine: &Quarantine, now: Instant) -> u64 {
        let seconds = (0..100).find(|s| !quarantine.holds(1, now + Duration::from_secs(*s)));
        seconds.unwrap()
    }

    #[test]
    fn the_pause_doubles_with_every_failed_trial() {
        let mut quarantine = Quarantine::default();
        let mut now = Instant::now();
        quarantine.failed(1, now);
        for want in [5, 10, 20, 40, 60, 60] {
            // Those that failed with the first one say nothing new.
            quarantine.failed(1, now + Duration::from_secs(1));
            assert_eq!(held(&quarantine, now), want);
            assert!(!quarantine.holds(2, now));
            now += Duration::from_secs(want);
            quarantine.chosen(1, now);
            assert_eq!(held(&quarantine, now), want, "one request at a time");
            now += Duration::from_secs(2);
            quarantine.failed(1, now);
        }
    }

    #[test]
    fn who_responds_is_free() {
        let mut quarantine = Quarantine::default();
        let now = Instant::now();
        quarantine.failed(1, now);
        quarantine.failed(1, now + Duration::from_secs(5));
        quarantine.responded(1);
        assert!(!quarantine.holds(1, now + Duration::from_secs(5)));
        quarantine.failed(1, now);
        assert_eq!(held(&quarantine, now), 5, "what was before is forgotten");
    }

    #[test]
    fn a_trial_without_an_end_is_tried_again() {
        let mut quarantine = Quarantine::default();
        let now = Instant::now();
        quarantine.failed(1, now);
        quarantine.chosen(1, now + Duration::from_secs(1));
        assert_eq!(
            held(&quarantine, now),
            5,
            "nobody else was left to be chosen"
        );
        quarantine.chosen(1, now + Duration::from_secs(7));
        assert_eq!(held(&quarantine, now + Duration::from_secs(7)), 5);
    }
}
