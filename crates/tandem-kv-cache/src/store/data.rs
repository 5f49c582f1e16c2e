//! The numbers of one block, wherever their memory comes from.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The numbers of one block. Whoever holds one sees it unchanged for as long as they hold it.
#[derive(Clone)]
pub struct BlockData(Memory);

#[derive(Clone)]
enum Memory {
    Heap(Arc<[f32]>),
    /// Of somebody who wants it back.
    Owned(Arc<dyn AsRef<[f32]> + Send + Sync>),
}

impl BlockData {
    /// Numbers that are not in the heap. `owner` says where, always the same, and is dropped with the
    /// last handle, on whichever thread that is.
    pub fn from_owner(owner: impl AsRef<[f32]> + Send + Sync + 'static) -> Self {
        Self(Memory::Owned(Arc::new(owner)))
    }

    /// The numbers in the heap, where they are copied to if they are not there.
    pub(crate) fn into_heap(self) -> Arc<[f32]> {
        match self.0 {
            Memory::Heap(numbers) => numbers,
            Memory::Owned(owner) => Arc::from((*owner).as_ref()),
        }
    }
}

impl Deref for BlockData {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Memory::Heap(numbers) => numbers,
            Memory::Owned(owner) => (**owner).as_ref(),
        }
    }
}

impl From<Arc<[f32]>> for BlockData {
    fn from(numbers: Arc<[f32]>) -> Self {
        Self(Memory::Heap(numbers))
    }
}

impl From<Vec<f32>> for BlockData {
    fn from(numbers: Vec<f32>) -> Self {
        Self(Memory::Heap(numbers.into()))
    }
}

impl FromIterator<f32> for BlockData {
    fn from_iter<I: IntoIterator<Item = f32>>(numbers: I) -> Self {
        Self(Memory::Heap(numbers.into_iter().collect()))
    }
}

impl fmt::Debug for BlockData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlockData({} numbers)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that say when they are given back.
    struct Lender(Vec<f32>, #[allow(dead_code, reason = "is dropped")] Arc<()>);

    impl AsRef<[f32]> for Lender {
        fn as_ref(&self) -> &[f32] {
            &self.0
        }
    }

    #[test]
    fn an_owner_is_dropped_with_the_last_handle() {
        let lent = Arc::new(());
        let data = BlockData::from_owner(Lender(vec![1.0, 2.0], Arc::clone(&lent)));
        let other = data.clone();
        drop(data);
        assert_eq!((&other[..], Arc::strong_count(&lent)), (&[1.0, 2.0][..], 2));
        assert_eq!(*other.into_heap(), [1.0, 2.0]);
        assert_eq!(Arc::strong_count(&lent), 1);
    }

    #[test]
    fn what_is_in_the_heap_is_not_copied() {
        let data = BlockData::from(vec![1.0]);
        let at = data.as_ptr();
        assert_eq!(data.clone().into_heap().as_ptr(), at);
        let heap = data.into_heap();
        assert_eq!(heap.as_ptr(), at);
        assert_eq!(BlockData::from(heap).as_ptr(), at);
    }
}
