//! The tasks of a process or of one of its parts, and their end.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns tasks: they are asked to stop together and waited for together.
///
/// A clone shares the tasks. [`Lifecycle::child`] makes a part that can be stopped alone and that
/// stops with its parent.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Some tasks did not end in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{remaining} tasks did not stop in time")]
pub struct StopTimeout {
    /// Tasks that still run.
    pub remaining: usize,
}

impl Lifecycle {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part with tasks of its own.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            stopping: self.stopping.child_token(),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs `task` until it ends or this lifecycle stops, whichever comes first.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let stopping = self.stopping.clone();
        self.tasks
            .spawn(async move { stopping.run_until_cancelled_owned(task).await })
    }

    /// Runs `task` to its end: it has to watch [`Lifecycle::stopping`] itself.
    pub fn spawn_to_end<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Cancelled when the tasks should stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// Asks the tasks to stop and waits for them.
    ///
    /// # Errors
    /// Some tasks still run after `timeout`.
    pub async fn stop(&self, timeout: Duration) -> Result<(), StopTimeout> {
        self.stopping.cancel();
        self.tasks.close();
        tokio::time::timeout(timeout, self.tasks.wait())
            .await
            .map_err(|_| StopTimeout {
                remaining: self.tasks.len(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn stop_waits_for_tasks_and_names_those_that_hang() {
        let lifecycle = Lifecycle::new();
        lifecycle.spawn(std::future::pending::<()>());
        lifecycle.stop(Duration::from_secs(1)).await.unwrap();

        let lifecycle = Lifecycle::new();
        lifecycle.spawn_to_end(std::future::pending::<()>());
        let error = lifecycle.stop(Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.remaining, 1);
    }

    #[tokio::test]
    async fn a_child_stops_with_its_parent_but_not_the_other_way_round() {
        let parent = Lifecycle::new();
        let child = parent.child();
        child.stop(Duration::from_secs(1)).await.unwrap();
        assert!(!parent.stopping().is_cancelled());
        let child = parent.child();
        parent.stop(Duration::from_secs(1)).await.unwrap();
        assert!(child.stopping().is_cancelled());
    }
}
