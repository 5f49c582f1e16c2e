//! One request to a model where many ask the same at the same time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::key::Key;

/// The requests that are being answered.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flying: Mutex<HashMap<Key, watch::Receiver<()>>>,
}

/// Whether a request is the first of its kind.
#[derive(Debug)]
pub(crate) enum Boarding {
    /// It is, and fetches the answer for all.
    Leads(Flight),
    /// Another one is on its way.
    Follows(Arrival),
}

/// A request on its way; dropping it ends the wait of those who follow.
#[derive(Debug)]
pub(crate) struct Flight {
    flights: Arc<Flights>,
    key: Key,
    /// Closes when this is dropped, which is all that followers look at.
    _landing: watch::Sender<()>,
}

/// The end of another request.
#[derive(Debug)]
pub(crate) struct Arrival(watch::Receiver<()>);

impl Flights {
    pub(crate) fn board(self: &Arc<Self>, key: Key) -> Boarding {
        match self.flying.lock().entry(key) {
            Entry::Occupied(other) => Boarding::Follows(Arrival(other.get().clone())),
            Entry::Vacant(place) => {
                let (landing, arrival) = watch::channel(());
                place.insert(arrival);
                Boarding::Leads(Flight {
                    flights: Arc::clone(self),
                    key,
                    _landing: landing,
                })
            }
        }
    }
}

impl Arrival {
    /// Waits until the other request has its answer, or has none.
    pub(crate) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.flights.flying.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn followers_wait_for_the_leader_and_then_one_of_them_leads() {
        let flights = Arc::new(Flights::default());
        let key = Key::of(&[b"k"]);
        let Boarding::Leads(leader) = flights.board(key) else {
            panic!("nobody flies yet")
        };
        assert!(matches!(
            flights.board(Key::of(&[b"other"])),
            Boarding::Leads(_)
        ));
        let Boarding::Follows(arrival) = flights.board(key) else {
            panic!("another one flies")
        };
        let mut wait = Box::pin(arrival.wait());
        assert!(futures::poll!(&mut wait).is_pending());
        drop(leader);
        wait.await;
        assert!(matches!(flights.board(key), Boarding::Leads(_)));
    }
}
