//! How long ago a worker last stored something along each of its paths.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::run::Fork;
use super::tree::{Place, ROOT, RunAge, Tree};

/// The ages of one worker's blocks, in epochs of its own.
///
/// A block is as old as the last store in its run or after it: a prefix that many prompts begin
/// with is stored once, and used for as long as the prompts are.
#[derive(Debug)]
pub(super) struct PathAges(FxHashMap<u32, AgedRun>);

#[derive(Debug)]
struct AgedRun {
    /// How long ago something was stored in the run itself.
    own: u32,
    from: Fork,
    /// Runs before this one.
    depth: u32,
    /// Offsets where runs fork off, ascending, with the least age of what forks off there or later.
    forks: Vec<(u32, u32)>,
}

impl PathAges {
    /// The ages in `runs`, in each of which the worker of `slot` holds something.
    pub(super) fn new(tree: &Tree, slot: u32, epoch: u32, runs: impl Iterator<Item = u32>) -> Self {
        let mut ages = FxHashMap::default();
        for mut id in runs {
            let mut path = Vec::new();
            while id != ROOT.run && !ages.contains_key(&id) {
                let RunAge { newest, from } = tree.age(id, slot);
                path.push((id, newest, from));
                id = from.run;
            }
            let before = ages.get(&id).map_or(0, |run: &AgedRun| run.depth + 1);
            for ((id, newest, from), depth) in path.into_iter().rev().zip(before..) {
                let run = AgedRun {
                    own: newest.map_or(u32::MAX, |newest| epoch.wrapping_sub(newest)),
                    from,
                    depth,
                    forks: Vec::new(),
                };
                ages.insert(id, run);
            }
        }
        let mut deepest_first: Vec<_> = ages.iter().map(|(id, run)| (run.depth, *id)).collect();
        deepest_first.sort_unstable_by_key(|&run| Reverse(run));
        for (_, id) in deepest_first {
            let Some(run) = ages.get_mut(&id) else {
                continue;
            };
            run.forks.sort_unstable();
            let mut least = u32::MAX;
            for (_, age) in run.forks.iter_mut().rev() {
                least = least.min(*age);
                *age = least;
            }
            let (from, age) = (run.from, run.own.min(least));
            if let Some(parent) = ages.get_mut(&from.run) {
                parent.forks.push((from.offset, age));
            }
        }
        Self(ages)
    }

    /// Age of a block, and how many runs come before its own.
    pub(super) fn of(&self, place: Place) -> (u32, u32) {
        let Some(run) = self.0.get(&place.run) else {
            return (u32::MAX, 0);
        };
        let after = run.forks.partition_point(|fork| fork.0 <= place.position);
        let forked = run.forks.get(after).map_or(u32::MAX, |fork| fork.1);
        (run.own.min(forked), run.depth)
    }
}
