//! Memory for blocks that is costly to get, and therefore kept and lent again.
//!
//! It comes in slabs, each when there is no room left in those before: a slab takes long enough to be
//! noticed and short enough to be waited for, which all of them together do not.

use std::fmt::{self, Display};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::store::BlockData;

/// Where a [`SlabPool`] has its memory from.
pub trait SlabSource: Send + Sync + 'static {
    /// Memory of one block, a part of a slab. The slab must last as long as any of its rooms.
    type Room: AsRef<[f32]> + AsMut<[f32]> + Send + Sync + 'static;
    /// Why there is no slab.
    type Error: Display;

    /// The rooms of one more slab: at least one, and no more than `most`, which is not 0.
    fn slab(&self, most: usize) -> Result<Vec<Self::Room>, Self::Error>;
}

/// A bounded number of rooms for one block each. What is lent comes back by itself, and all memory
/// is given up with the pool and the last room that is lent.
pub struct SlabPool<S: SlabSource> {
    source: S,
    rooms: Mutex<Rooms<S::Room>>,
}

#[derive(Debug)]
struct Rooms<R> {
    free: Vec<R>,
    /// How many may still be asked for.
    left: usize,
}

/// A room that is lent. Its numbers are whatever was there before.
pub struct Lent<S: SlabSource> {
    /// `None` once it is given back.
    room: Option<S::Room>,
    pool: Arc<SlabPool<S>>,
}

impl<S: SlabSource> SlabPool<S> {
    /// A pool of at most `blocks` rooms; takes no memory yet.
    pub fn new(source: S, blocks: usize) -> Arc<Self> {
        let rooms = Rooms {
            free: Vec::new(),
            left: blocks,
        };
        Arc::new(Self {
            source,
            rooms: Mutex::new(rooms),
        })
    }

    /// Lends a room, of a new slab if there is no other. `None` if all are lent, or if there is no
    /// memory for more: then none is asked for again.
    pub fn lend(self: &Arc<Self>) -> Option<Lent<S>> {
        let mut rooms = self.rooms.lock();
        if rooms.free.is_empty() && rooms.left > 0 {
            match self.source.slab(rooms.left) {
                Ok(more) => {
                    rooms.left = rooms.left.saturating_sub(more.len());
                    rooms.free = more;
                }
                Err(error) => {
                    rooms.left = 0;
                    tracing::warn!(%error, "no more fast memory for kv blocks: they take ordinary memory, and longer");
                }
            }
        }
        Some(Lent {
            room: Some(rooms.free.pop()?),
            pool: Arc::clone(self),
        })
    }
}

impl<S: SlabSource> Lent<S> {
    fn room(&self) -> &S::Room {
        self.room.as_ref().expect("a room is given back last")
    }
}

impl<S: SlabSource> AsRef<[f32]> for Lent<S> {
    fn as_ref(&self) -> &[f32] {
        self.room().as_ref()
    }
}

impl<S: SlabSource> AsMut<[f32]> for Lent<S> {
    fn as_mut(&mut self) -> &mut [f32] {
        let room = self.room.as_mut().expect("a room is given back last");
        room.as_mut()
    }
}

impl<S: SlabSource> Drop for Lent<S> {
    fn drop(&mut self) {
        self.pool.rooms.lock().free.extend(self.room.take());
    }
}

impl<S: SlabSource> From<Lent<S>> for BlockData {
    fn from(lent: Lent<S>) -> Self {
        Self::from_owner(lent)
    }
}

impl<S: SlabSource> fmt::Debug for SlabPool<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rooms = self.rooms.lock();
        formatter
            .debug_struct("SlabPool")
            .field("free", &rooms.free.len())
            .field("left", &rooms.left)
            .finish_non_exhaustive()
    }
}

impl<S: SlabSource> fmt::Debug for Lent<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Lent")
    }
}

#[cfg(test)]
mod tests;
