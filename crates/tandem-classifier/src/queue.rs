//! The bounded queue between callers and compute threads.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};

/// Items that wait for a compute thread, or that one works on between two turns.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    ready: Condvar,
    /// Most items at a time, waiting and worked on together.
    capacity: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    /// Items taken and not yet finished.
    taken: usize,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                taken: 0,
                closed: false,
            }),
            ready: Condvar::new(),
            capacity,
        }
    }

    /// Adds an item, or gives it back if the queue is full or closed.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed || state.waiting.len() + state.taken >= self.capacity {
            return Err(item);
        }
        state.waiting.push_back(item);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for items and takes up to `most` of them, fewer if other threads could help.
    /// `None` once the queue is closed.
    pub(crate) fn take(&self, most: usize, threads: usize) -> Option<Vec<T>> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if !state.waiting.is_empty() {
                let share = state.waiting.len().div_ceil(threads).min(most);
                state.taken += share;
                return Some(state.waiting.drain(..share).collect());
            }
            self.ready.wait(&mut state);
        }
    }

    /// Ends a turn of `taken` items: those unfinished go to the end of the line.
    pub(crate) fn end_turn(&self, taken: usize, unfinished: Vec<T>) {
        let mut state = self.state.lock();
        state.taken -= taken;
        state.waiting.extend(unfinished);
        let more = !state.waiting.is_empty();
        drop(state);
        if more {
            self.ready.notify_one();
        }
    }

    /// Drops what waits and ends the threads.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.ready.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Ok(()));
        assert_eq!(queue.push(3), Err(3));
        assert_eq!(queue.take(1, 1), Some(vec![1]));
        assert_eq!(queue.push(3), Err(3), "what is worked on still counts");
        queue.end_turn(1, vec![]);
        assert_eq!(queue.push(3), Ok(()));
    }

    #[test]
    fn unfinished_items_go_to_the_end() {
        let queue = Queue::new(8);
        for item in 1..=3 {
            queue.push(item).unwrap();
        }
        assert_eq!(queue.take(1, 1), Some(vec![1]));
        queue.end_turn(1, vec![1]);
        assert_eq!(queue.take(8, 1), Some(vec![2, 3, 1]));
    }

    #[test]
    fn threads_share() {
        let queue = Queue::new(8);
        for item in 1..=4 {
            queue.push(item).unwrap();
        }
        assert_eq!(queue.take(8, 2), Some(vec![1, 2]));
        queue.close();
        assert_eq!(queue.take(8, 2), None);
        assert_eq!(queue.push(9), Err(9));
    }
}
