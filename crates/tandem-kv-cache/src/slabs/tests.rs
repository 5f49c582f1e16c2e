use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const BLOCK_LEN: usize = 4;

/// Memory in the heap, three blocks a slab, which counts what there is of it.
struct Counted {
    /// Slabs that were asked for, and those that there are.
    asked: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
    /// Slabs before the system has no more.
    available: usize,
}

impl Counted {
    fn new(available: usize) -> Self {
        Self {
            asked: Arc::default(),
            alive: Arc::default(),
            available,
        }
    }
}

struct Slab(Arc<AtomicUsize>);

impl Drop for Slab {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Room(
    Vec<f32>,
    #[allow(dead_code, reason = "is dropped")] Arc<Slab>,
);

impl AsRef<[f32]> for Room {
    fn as_ref(&self) -> &[f32] {
        &self.0
    }
}

impl AsMut<[f32]> for Room {
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl SlabSource for Counted {
    type Room = Room;
    type Error = &'static str;

    fn slab(&self, most: usize) -> Result<Vec<Room>, &'static str> {
        assert!(most > 0, "nothing is asked for");
        if self.asked.fetch_add(1, Ordering::Relaxed) == self.available {
            return Err("no more");
        }
        self.alive.fetch_add(1, Ordering::Relaxed);
        let slab = Arc::new(Slab(Arc::clone(&self.alive)));
        let room = |_| Room(vec![0.0; BLOCK_LEN], Arc::clone(&slab));
        Ok((0..most.min(3)).map(room).collect())
    }
}

fn block(pool: &Arc<SlabPool<Counted>>, number: f32) -> Option<BlockData> {
    let mut lent = pool.lend()?;
    lent.as_mut().fill(number);
    Some(lent.into())
}

#[test]
fn memory_is_taken_when_it_is_needed_and_lent_again() {
    let source = Counted::new(usize::MAX);
    let asked = Arc::clone(&source.asked);
    let pool = SlabPool::new(source, 5);
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    let mut held: Vec<_> = (0..5_u8)
        .map(|at| block(&pool, at.into()).unwrap())
        .collect();
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert!(block(&pool, 9.0).is_none(), "the pool has no bound");
    let reader = held[1].clone();
    let freed = held.remove(1);
    drop(freed);
    assert!(block(&pool, 9.0).is_none(), "a reader has lost its block");
    assert_eq!(*reader, [1.0; BLOCK_LEN]);
    drop(reader);
    held.push(block(&pool, 9.0).unwrap());
    let first: Vec<_> = held.iter().map(|data| data[0]).collect();
    assert_eq!(first, [0.0, 2.0, 3.0, 4.0, 9.0]);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[test]
fn what_the_system_refuses_is_not_asked_for_again() {
    let source = Counted::new(1);
    let asked = Arc::clone(&source.asked);
    let pool = SlabPool::new(source, 100);
    let held: Vec<_> = std::iter::from_fn(|| block(&pool, 1.0)).collect();
    assert_eq!(held.len(), 3);
    assert!(block(&pool, 1.0).is_none());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    // What there is goes on being used.
    drop(held);
    assert_eq!(*block(&pool, 2.0).unwrap(), [2.0; BLOCK_LEN]);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert!(SlabPool::new(Counted::new(0), 1).lend().is_none());
    assert!(SlabPool::new(Counted::new(1), 0).lend().is_none());
}

#[test]
fn memory_outlives_the_pool_and_not_its_last_block() {
    let source = Counted::new(usize::MAX);
    let alive = Arc::clone(&source.alive);
    let pool = SlabPool::new(source, 4);
    let held: Vec<_> = std::iter::from_fn(|| block(&pool, 7.0)).collect();
    drop(pool);
    assert_eq!(alive.load(Ordering::Relaxed), 2);
    let last = held.into_iter().next_back().unwrap();
    // As the thread that writes to disk does.
    let read = std::thread::spawn(move || last.iter().sum::<f32>());
    assert_eq!(read.join().unwrap(), 28.0);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn threads_share_a_pool() {
    let pool = SlabPool::new(Counted::new(usize::MAX), 6);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..500_u16 {
                    let number = f32::from(round) + f32::from(thread) / 8.0;
                    let Some(data) = block(pool, number) else {
                        continue;
                    };
                    std::thread::yield_now();
                    assert_eq!(*data, [number; BLOCK_LEN]);
                }
            });
        }
    });
    let held: Vec<_> = std::iter::from_fn(|| pool.lend()).collect();
    assert_eq!(held.len(), 6, "a room is lost, or lent twice");
}
