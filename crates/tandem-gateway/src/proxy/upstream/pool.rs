//! The servers of one model, and which of them gets a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use rand::RngExt;
use tandem_semantic_router::config::{Address, Backend, Balance, Credential, Reliability};

use super::server::{Attempt, Server};

/// The servers of one model.
#[derive(Debug)]
pub(in crate::proxy) struct Pool {
    members: Vec<Member>,
    reliability: Reliability,
    /// Where ties are broken.
    turn: AtomicUsize,
    /// What each member is owed, in rounds of [`Balance::RoundRobin`].
    owed: Mutex<Vec<f64>>,
}

/// A server as one model uses it.
#[derive(Debug)]
pub(in crate::proxy) struct Member {
    /// Name in logs and metrics.
    pub(in crate::proxy) name: String,
    credential: Credentials,
    pub(in crate::proxy) headers: Vec<(String, String)>,
    server: Arc<Server>,
    weight: f64,
}

/// Which credential a server is shown.
#[derive(Debug)]
pub(super) enum Credentials {
    /// Its own, if it has one.
    Own(Option<Credential>),
    /// That of the model: there is one server for all models.
    OfModel,
}

impl Member {
    pub(super) fn new(backend: &Backend, credential: Credentials, server: Arc<Server>) -> Self {
        Self {
            name: backend.name.clone(),
            credential,
            headers: backend.headers.clone(),
            server,
            weight: backend.weight,
        }
    }

    pub(in crate::proxy) fn address(&self) -> &Address {
        self.server.address()
    }

    /// What it is shown, if `of_model` is the credential of the request's model.
    pub(in crate::proxy) fn credential<'a>(
        &'a self,
        of_model: Option<&'a Credential>,
    ) -> Option<&'a Credential> {
        match &self.credential {
            Credentials::Own(credential) => credential.as_ref(),
            Credentials::OfModel => of_model,
        }
    }

    fn load(&self) -> f64 {
        let requests = u32::try_from(self.server.in_flight()).unwrap_or(u32::MAX);
        (f64::from(requests) + 1.0) / self.weight
    }
}

impl Pool {
    /// A pool of the `members` whose weight is not zero.
    pub(super) fn new(mut members: Vec<Member>, reliability: Reliability) -> Self {
        members.retain(|member| member.weight > 0.0);
        Self {
            owed: Mutex::new(vec![0.0; members.len()]),
            members,
            reliability,
            turn: AtomicUsize::new(0),
        }
    }

    pub(in crate::proxy) fn reliability(&self) -> &Reliability {
        &self.reliability
    }

    pub(in crate::proxy) fn member(&self, at: usize) -> &Member {
        &self.members[at]
    }

    /// Whether a server is left that has not been tried.
    pub(in crate::proxy) fn has_other(&self, tried: &[usize]) -> bool {
        (0..self.members.len()).any(|at| !tried.contains(&at))
    }

    /// A server that is none of `tried`, and the request that it is given now. Servers that are
    /// left alone are chosen only if there is no other: they may work again. `None` if all were
    /// tried.
    pub(in crate::proxy) fn choose(
        &self,
        tried: &[usize],
        now: Instant,
    ) -> Option<(usize, Attempt)> {
        let untried = (0..self.members.len()).filter(|at| !tried.contains(at));
        let (available, left_alone): (Vec<usize>, Vec<usize>) =
            untried.partition(|at| self.members[*at].server.is_available(now));
        let candidates = if available.is_empty() {
            left_alone
        } else {
            available
        };
        let at = match self.reliability.balance {
            Balance::LeastRequest => self.least_request(&candidates),
            Balance::RoundRobin => self.round_robin(&candidates),
            Balance::Random => self.random(&candidates),
        }?;
        let server = Arc::clone(&self.members[at].server);
        Some((at, Attempt::start(server, now)))
    }

    /// The server of an attempt did not answer, or with a server error. Returns whether it is left
    /// alone from now on.
    pub(in crate::proxy) fn failed(&self, attempt: &mut Attempt, now: Instant) -> bool {
        let ejection = &self.reliability.ejection;
        let trusted = |member: &&Member| member.server.is_trusted();
        let out = self.members.len() - self.members.iter().filter(trusted).count();
        let share = 100.0 * fraction(out + 1, self.members.len());
        attempt.failed(ejection, share <= ejection.max_percent, now)
    }

    fn least_request(&self, candidates: &[usize]) -> Option<usize> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let rotated = (0..candidates.len()).map(|i| candidates[(first + i) % candidates.len()]);
        rotated.min_by(|a, b| self.members[*a].load().total_cmp(&self.members[*b].load()))
    }

    /// Smooth weighted round robin: everybody is owed its weight, whoever is owed most is chosen
    /// and pays for all.
    fn round_robin(&self, candidates: &[usize]) -> Option<usize> {
        let mut owed = self.owed.lock();
        let mut total = 0.0;
        for at in candidates {
            owed[*at] += self.members[*at].weight;
            total += self.members[*at].weight;
        }
        // The first of equals.
        let most = |a: &&usize, b: &&usize| owed[**a].total_cmp(&owed[**b]).then(b.cmp(a));
        let at = *candidates.iter().max_by(most)?;
        owed[at] -= total;
        Some(at)
    }

    fn random(&self, candidates: &[usize]) -> Option<usize> {
        let total: f64 = candidates.iter().map(|at| self.members[*at].weight).sum();
        let mut point = rand::rng().random::<f64>() * total;
        let chosen = candidates.iter().find(|at| {
            point -= self.members[**at].weight;
            point < 0.0
        });
        chosen.or(candidates.last()).copied()
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a model has far fewer than 2^53 servers"
)]
fn fraction(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tandem_semantic_router::config::Ejection;

    fn pool(weights: &[f64], balance: Balance) -> Pool {
        let members = weights.iter().enumerate().map(|(at, weight)| {
            let address = Address {
                tls: false,
                authority: format!("h:{at}"),
                path: String::new(),
            };
            let backend = Backend {
                name: at.to_string(),
                address: address.clone(),
                weight: *weight,
                credential: None,
                headers: Vec::new(),
            };
            Member::new(
                &backend,
                Credentials::OfModel,
                Arc::new(Server::new(address)),
            )
        });
        let reliability = Reliability {
            balance,
            ejection: Ejection {
                consecutive_5xx: 1,
                base_time: Duration::from_secs(10),
                max_percent: 50.0,
            },
            ..Reliability::default()
        };
        Pool::new(members.collect(), reliability)
    }

    /// How often each server is chosen when every request ends at once.
    fn shares(weights: &[f64], balance: Balance) -> Vec<usize> {
        let pool = pool(weights, balance);
        let mut counts = vec![0; weights.len()];
        for _ in 0..1000 {
            let (at, mut attempt) = pool.choose(&[], Instant::now()).unwrap();
            attempt.succeeded();
            counts[at] += 1;
        }
        counts
    }

    #[test]
    fn weights_are_shares() {
        assert_eq!(shares(&[3.0, 1.0], Balance::RoundRobin), [750, 250]);
        assert_eq!(shares(&[1.0, 1.0], Balance::LeastRequest), [500, 500]);
        let random = shares(&[3.0, 1.0], Balance::Random);
        assert!((650..850).contains(&random[0]), "{random:?}");
        assert_eq!(
            pool(&[0.0], Balance::Random)
                .choose(&[], Instant::now())
                .map(|(at, _)| at),
            None
        );
    }

    #[test]
    fn requests_in_flight_count_by_weight() {
        let pool = pool(&[2.0, 1.0], Balance::LeastRequest);
        let running: Vec<_> = (0..6)
            .map(|_| pool.choose(&[], Instant::now()).unwrap())
            .collect();
        let first = running.iter().filter(|(at, _)| *at == 0).count();
        assert_eq!(first, 4);
    }

    #[test]
    fn failing_servers_are_left_alone_but_not_all_of_them() {
        let pool = pool(&[1.0, 1.0], Balance::RoundRobin);
        let now = Instant::now();
        let (at, mut attempt) = pool.choose(&[1], now).unwrap();
        assert!(pool.failed(&mut attempt, now));
        assert_eq!(pool.choose(&[], now).unwrap().0, 1 - at);
        assert_eq!(pool.choose(&[], now).unwrap().0, 1 - at);
        let (_, mut attempt) = pool.choose(&[0], now).unwrap();
        assert!(!pool.failed(&mut attempt, now), "half of them already");
        assert_eq!(
            pool.choose(&[1], now).unwrap().0,
            0,
            "when there is no other"
        );
        assert!(pool.choose(&[0, 1], now).is_none());
        assert!(!pool.has_other(&[0, 1]) && pool.has_other(&[1]));
    }

    #[test]
    fn unhealthy_servers_are_avoided() {
        let pool = pool(&[1.0, 1.0], Balance::LeastRequest);
        pool.members[0].server.checked(false);
        for _ in 0..4 {
            assert_eq!(pool.choose(&[], Instant::now()).unwrap().0, 1);
        }
        pool.members[0].server.checked(true);
        let chosen: Vec<usize> = (0..2)
            .map(|_| pool.choose(&[], Instant::now()).unwrap().0)
            .collect();
        assert!(chosen.contains(&0), "{chosen:?}");
    }
}
