//! Answers that the original router stored.
//!
//! Its rows do not say whose they are, and it found them by the last question alone. So they are
//! shared where everyone shares answers, and only with the very same request: the row has the whole
//! request that it answers.

use bytes::Bytes;
use tandem_protocol::openai::body::JsonObject;

use super::answer::{self, Answer};
use super::entry::{Asked, Entry, Moment};
use super::key::Keys;
use super::{Wanted, fresh};
use crate::config::CacheScope;

/// An answer and the request to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) request: String,
    pub(super) response: String,
    pub(super) stored: Moment,
    /// `None` if the row does not say.
    pub(super) expires: Option<Moment>,
}

/// Whether a request may have such an answer at all.
pub(super) fn may_have(wanted: &Wanted<'_>) -> bool {
    wanted.policy.scope == CacheScope::Global && !wanted.stream
}

impl Original {
    /// The entry, if it is the answer to this very request. Which model a client names does not
    /// count: the router chose it.
    pub(super) fn entry(self, wanted: &Wanted<'_>, asked: &Asked, now: Moment) -> Option<Entry> {
        let mut request = JsonObject::parse(self.request.as_bytes()).ok()?;
        request.set("model", &wanted.partition.model);
        let keys = Keys::of(&wanted.partition, &request.to_bytes())?;
        if !may_have(wanted) || keys.exact != wanted.keys.exact {
            return None;
        }
        let kind = answer::read(self.response.as_bytes(), false)?;
        let own = wanted.policy.ttl.map(|ttl| self.stored.after(ttl));
        let entry = Entry {
            key: keys.exact,
            question: (kind == Answer::Text).then(|| asked.clone()),
            answer: Bytes::from(self.response),
            model: wanted.model.to_owned(),
            decision: wanted.decision.map(str::to_owned),
            stored: self.stored,
            expires: [own, self.expires].into_iter().flatten().min(),
        };
        (!entry.is_expired(now) && fresh(&entry, wanted.control, now)).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{ANSWER, Asks};
    use super::super::{CacheControl, CachePolicy};
    use super::*;

    const REQUEST: &str = r#"{"model":"MoM","user":"u","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"What is the capital of Peru?"}]}"#;

    fn global() -> Asks {
        Asks {
            policy: CachePolicy {
                scope: CacheScope::Global,
                ..CachePolicy::default()
            },
            ..Asks::default()
        }
    }

    fn original() -> Original {
        Original {
            request: REQUEST.to_owned(),
            response: ANSWER.to_owned(),
            stored: Moment::now(),
            expires: None,
        }
    }

    #[track_caller]
    fn check(original: Original, asks: &Asks, want: bool) {
        let wanted = asks.wanted();
        let (_, asked) = wanted.asked().unwrap();
        let entry = original.entry(&wanted, &asked, Moment::now());
        assert_eq!(entry.is_some(), want);
        assert!(entry.is_none_or(|entry| entry.key == wanted.keys.exact && entry.answer == ANSWER));
    }

    #[test]
    fn the_very_same_request_has_it_where_everyone_shares_answers() {
        check(original(), &global(), true);
        check(original(), &Asks::default(), false);
        for (from, to) in [
            ("Be brief.", "Be long."),
            ("Peru", "Chile"),
            ("\"user\":", "\"seed\":"),
            ("{\"model\"", "[\"model\""),
        ] {
            let other = Original {
                request: REQUEST.replace(from, to),
                ..original()
            };
            check(other, &global(), false);
        }
    }

    #[test]
    fn it_must_be_whole_and_young() {
        let broken = r#"{"error":{"message":"busy"}}"#.to_owned();
        check(
            Original {
                response: broken,
                ..original()
            },
            &global(),
            false,
        );
        let hours_ago = Moment::now().before(Duration::from_secs(7200));
        check(
            Original {
                stored: hours_ago,
                ..original()
            },
            &global(),
            false,
        );
        check(
            Original {
                expires: Some(hours_ago),
                ..original()
            },
            &global(),
            false,
        );
        let minute_ago = Moment::now().before(Duration::from_secs(60));
        let impatient = Asks {
            control: CacheControl {
                max_age: Some(Duration::from_secs(5)),
                ..CacheControl::default()
            },
            ..global()
        };
        let old = Original {
            stored: minute_ago,
            ..original()
        };
        check(old.clone(), &global(), true);
        check(old, &impatient, false);
    }
}
