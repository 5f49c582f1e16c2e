//! The engine's own thread: takes commands, plans, steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tandem_kv_cache::transfer::LeaseTable;
use tandem_kv_cache::{BlockData, BlockIdentity};
use tokio::sync::oneshot;

use super::disagg::FetchResult;
use super::scheduler::Scheduler;
use super::sequence::Sequence;
use super::step::{Model, finish};
use crate::engine::EngineCounters;

/// How long to wait for blocks to become free or arrive when nothing can run.
const STALLED: Duration = Duration::from_millis(5);

/// What the engine is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Submit(Box<Sequence>),
    Fetched {
        id: u64,
        result: FetchResult,
    },
    /// Blocks have come from a slower tier: look which sequences can go on.
    Onboarded,
    /// Another worker asks for blocks.
    Find {
        blocks: Vec<BlockIdentity>,
        reply: oneshot::Sender<Vec<BlockData>>,
    },
    Stop,
}

/// What the engine's thread tells others.
#[derive(Debug, Default)]
pub(super) struct Status {
    /// Requests that do not run yet. One number, since a request on its way from the channel to the
    /// scheduler must never be missing.
    pub(super) queued: AtomicUsize,
    pub(super) running: AtomicUsize,
    pub(super) counters: Mutex<EngineCounters>,
}

/// A request that waits before it is sent. Dropping it says that it waits no more.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Status>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.queued.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Status {
    /// Counts a request that cannot be sent yet.
    pub(super) fn wait(self: &Arc<Self>) -> Waiting {
        self.queued.fetch_add(1, Ordering::Relaxed);
        Waiting(Arc::clone(self))
    }

    /// Counts a prompt that is computed here although another worker has it.
    pub(super) fn fall_back(&self, reason: &'static str) {
        let mut counters = self.counters.lock();
        *counters.remote_prefill_fallbacks.entry(reason).or_default() += 1;
    }
}

/// The state of the engine's thread.
#[derive(Debug)]
pub(super) struct EngineThread {
    pub(super) commands: Receiver<Command>,
    pub(super) status: Arc<Status>,
    pub(super) scheduler: Scheduler,
    /// How many of [`Status::queued`] have been received.
    pub(super) received: usize,
    pub(super) model: Model,
    pub(super) leases: Option<Arc<LeaseTable>>,
}

impl EngineThread {
    /// Runs until the engine stops. What still runs then ends with it: streams whose sender is
    /// gone report that.
    pub(super) fn run(mut self) {
        while self.take_commands() {
            if let Some(leases) = &self.leases {
                leases.expire(Instant::now());
            }
            self.scheduler.drop_cancelled();
            let shares = self.scheduler.plan(&mut self.status.counters.lock());
            self.publish();
            if shares.is_empty() {
                continue;
            }
            let prompts = self.scheduler.prompt_tokens(&shares);
            let begun = Instant::now();
            let said = self.model.step(&mut self.scheduler, &shares);
            self.scheduler.pace.observe(prompts, begun.elapsed());
            let mut counters = self.status.counters.lock();
            let leases = self.leases.as_deref();
            finish(&mut self.scheduler, (&shares, said), leases, &mut counters);
            drop(counters);
            self.publish();
        }
    }

    /// Takes all commands that are there, waiting for one if nothing can run. False to stop.
    fn take_commands(&mut self) -> bool {
        let first = if self.scheduler.idle() {
            self.commands
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected)
        } else if self.scheduler.running.is_empty() {
            self.commands.recv_timeout(STALLED)
        } else {
            self.commands.recv_timeout(Duration::ZERO)
        };
        match first {
            Ok(command) => {
                if !self.obey(command) {
                    return false;
                }
            }
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => {}
        }
        while let Ok(command) = self.commands.try_recv() {
            if !self.obey(command) {
                return false;
            }
        }
        true
    }

    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Submit(sequence) => {
                self.scheduler.enqueue(*sequence);
                self.received += 1;
            }
            Command::Fetched { id, result } => {
                let mut counters = self.status.counters.lock();
                self.scheduler.fetched(id, result, &mut counters);
            }
            Command::Onboarded => {}
            Command::Find { blocks, reply } => {
                let found = self.scheduler.find(&blocks);
                let mut counters = self.status.counters.lock();
                counters.peer_blocks_served += found.len() as u64;
                drop(counters);
                // A failure means that the other worker waits no more.
                reply.send(found).ok();
            }
            Command::Stop => return false,
        }
        true
    }

    fn publish(&mut self) {
        let waiting = self.scheduler.waiting.len();
        let queued = &self.status.queued;
        if waiting < self.received {
            queued.fetch_sub(self.received - waiting, Ordering::Relaxed);
        } else {
            // Preempted sequences wait again.
            queued.fetch_add(waiting - self.received, Ordering::Relaxed);
        }
        self.received = waiting;
        let running = self.scheduler.running.len() + self.scheduler.fetching.len();
        // Whoever sees a sequence run sees it wait no more.
        self.status.running.store(running, Ordering::Release);
    }
}
