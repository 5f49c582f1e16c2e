//! Which workers the index knows.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::index32;
use super::ledger::Ledger;
use crate::Worker;

/// A snapshot of the known workers.
///
/// The tree names workers by slots, which are few and small. A slot is given to another worker only
/// when the tree does not mention it any more, and a match resolves slots by the snapshot that was
/// current when it began, so a worker is never credited with another's blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    slots: Vec<Option<Worker>>,
    /// The workers in order, with their slots.
    in_order: Vec<(Worker, u32)>,
    ledgers: FxHashMap<Worker, Arc<Mutex<Ledger>>>,
}

impl Roster {
    pub(super) fn ledger(&self, worker: Worker) -> Option<&Arc<Mutex<Ledger>>> {
        self.ledgers.get(&worker)
    }

    pub(super) fn ledgers(&self) -> impl Iterator<Item = &Arc<Mutex<Ledger>>> {
        self.ledgers.values()
    }

    /// How many slots there are, taken or free.
    pub(super) fn slot_count(&self) -> usize {
        self.slots.len()
    }

    /// The workers in order, with their slots.
    pub(super) fn in_order(&self) -> &[(Worker, u32)] {
        &self.in_order
    }

    /// All ranks of a process.
    pub(super) fn ranks(&self, worker_id: u64) -> Vec<Worker> {
        let workers = self.ledgers.keys().copied();
        workers
            .filter(|worker| worker.worker_id == worker_id)
            .collect()
    }

    /// The roster with one more worker.
    pub(super) fn with(&self, worker: Worker) -> Self {
        let mut roster = self.clone();
        let free = roster.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            roster.slots.push(None);
            roster.slots.len() - 1
        });
        roster.slots[slot] = Some(worker);
        let slot = index32(slot);
        let after = roster.in_order.partition_point(|known| known.0 < worker);
        roster.in_order.insert(after, (worker, slot));
        let ledger = Arc::new(Mutex::new(Ledger::new(slot)));
        roster.ledgers.insert(worker, ledger);
        roster
    }

    /// The roster without some workers, whose ledgers are closed.
    pub(super) fn without(&self, workers: &[Worker]) -> Self {
        let mut roster = self.clone();
        for worker in workers {
            roster.ledgers.remove(worker);
        }
        roster.in_order.retain(|known| !workers.contains(&known.0));
        for slot in &mut roster.slots {
            *slot = slot.filter(|worker| !workers.contains(worker));
        }
        roster
    }
}
