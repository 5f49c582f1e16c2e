//! Where a worker keeps its KV blocks.
//!
//! A [`BlockPool`] decides which block holds what: it allocates, shares, evicts, and reports what
//! became reusable and what ceased to be. A [`BlockCache`] is the pool with its subscribers.
//! [`KvShape`] and [`BlockStore`] say where a block's numbers lie, and a [`SlabPool`] lends memory of
//! another kind to those that have left a device. [`tier`] keeps what the pool has no room for,
//! [`transfer`] moves blocks to another worker.
//!
//! This crate must not know what an engine, a model or a discovery service is.

mod block;
mod cache;
mod layout;
mod pool;
mod slabs;
mod store;
pub mod tier;
pub mod transfer;

pub use block::{BlockId, BlockIdentity};
pub use cache::{BlockCache, KvEventSubscription, Lagged};
pub use layout::{KvShape, LANES};
pub use pool::{Allocated, BlockPool, PoolUsage};
pub use slabs::{Lent, SlabPool, SlabSource};
pub use store::{BlockData, BlockStore};
