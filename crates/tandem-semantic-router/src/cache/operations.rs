//! What was asked of a store, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a store is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    Similar,
    Put,
    Invalidate,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Hit,
    Miss,
    Success,
    Error,
    Timeout,
    Full,
    /// It was not asked, because it does not answer.
    Open,
    /// It was not asked, because too much was to be written.
    Dropped,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Get, Self::Similar, Self::Put, Self::Invalidate];

    const fn name(self) -> &'static str {
        match self {
            Self::Get => "get_by_id",
            Self::Similar => "find_similar",
            Self::Put => "add_entry",
            Self::Invalidate => "invalidate",
        }
    }
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Hit,
        Self::Miss,
        Self::Success,
        Self::Error,
        Self::Timeout,
        Self::Full,
        Self::Open,
        Self::Dropped,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Success => "success",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Full => "full",
            Self::Open => "circuit_open",
            Self::Dropped => "dropped",
        }
    }
}

/// Upper ends of the classes of durations, in seconds.
const BOUNDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.5, 1.0, 10.0,
];

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Operations([Counts; Operation::ALL.len()]);

#[derive(Debug, Default)]
struct Counts {
    by_status: [AtomicU64; Status::ALL.len()],
    /// Those that took no longer than a bound, and longer than the one before; then the others.
    by_duration: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What one operation of a store came to, since the start.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationStatistics {
    /// The operation, as metrics call it.
    pub operation: &'static str,
    /// How often it came to what.
    pub by_status: Vec<(&'static str, u64)>,
    /// How many took longer than the last bound, in seconds, and no longer than this one.
    pub by_duration: Vec<(f64, u64)>,
    /// Time that they took together.
    pub total: Duration,
}

impl Operations {
    /// The store was asked.
    pub(super) fn record(&self, operation: Operation, status: Status, took: Duration) {
        self.count(operation, status);
        let counts = &self.0[operation as usize];
        let seconds = took.as_secs_f64();
        let class = BOUNDS.iter().position(|bound| seconds <= *bound);
        let class = class.unwrap_or(BOUNDS.len());
        counts.by_duration[class].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// The store should have been asked.
    pub(super) fn count(&self, operation: Operation, status: Status) {
        self.0[operation as usize].by_status[status as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Vec<OperationStatistics> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let operations = Operation::ALL.into_iter().zip(&self.0);
        let operations = operations.map(|(operation, counts)| {
            let statuses = Status::ALL.into_iter().zip(&counts.by_status);
            let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
            OperationStatistics {
                operation: operation.name(),
                by_status: statuses
                    .map(|(status, counter)| (status.name(), read(counter)))
                    .collect(),
                by_duration: bounds
                    .zip(&counts.by_duration)
                    .map(|(bound, counter)| (bound, read(counter)))
                    .collect(),
                total: Duration::from_micros(read(&counts.micros)),
            }
        });
        operations.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_by_what_came_of_them_and_how_long_they_took() {
        let operations = Operations::default();
        operations.record(Operation::Similar, Status::Hit, Duration::from_millis(1));
        operations.record(Operation::Similar, Status::Timeout, Duration::from_secs(20));
        operations.count(Operation::Similar, Status::Open);
        let read = operations.read();
        let similar = read.iter().find(|one| one.operation == "find_similar");
        let similar = similar.unwrap();
        let counted = |name: &str| similar.by_status.iter().find(|(own, _)| *own == name);
        for (name, want) in [("hit", 1), ("timeout", 1), ("circuit_open", 1), ("miss", 0)] {
            assert_eq!(counted(name), Some(&(name, want)));
        }
        let classes: Vec<_> = similar.by_duration.iter().filter(|one| one.1 > 0).collect();
        assert_eq!(classes, [&(0.001, 1), &(f64::INFINITY, 1)]);
        assert_eq!(similar.total, Duration::from_millis(20_001));
        let others = read.iter().filter(|one| one.operation != "find_similar");
        for other in others {
            assert!(other.by_status.iter().all(|(_, count)| *count == 0));
        }
    }
}
