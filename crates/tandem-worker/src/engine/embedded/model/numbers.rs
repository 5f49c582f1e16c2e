//! Numbers of weights, in memory of their own or in a mapped file.

use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use memmap2::MmapMut;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};
use zerocopy::{FromBytes, Immutable, IntoBytes};

// Files are little-endian, and what is mapped is read as it is.
const _: () = assert!(cfg!(target_endian = "little"));

const PAGES: &str = "pages are aligned for all numbers, and were asked for to hold whole ones";

/// What can be read from the bytes of a file, whatever they are.
pub trait Plain: FromBytes + IntoBytes + Immutable + Copy + Send + Sync {}

impl<T: FromBytes + IntoBytes + Immutable + Copy + Send + Sync> Plain for T {}

/// Numbers that lie one after the other: a vector, or part of a mapping.
#[derive(Debug, Clone)]
pub struct Numbers<T>(Memory<T>);

#[derive(Debug, Clone)]
enum Memory<T> {
    Vector(Vec<T>),
    /// Aligned, and a whole number of `T`.
    Mapped(Bytes),
}

/// Numbers that are zero until they are written.
#[derive(Debug)]
pub(in super::super) struct Blank<T>(Pages<T>);

#[derive(Debug)]
enum Pages<T> {
    Vector(Vec<T>),
    Map(MmapMut),
}

impl<T: Plain> Numbers<T> {
    /// Those in the bytes of a file, which are copied only if they are not aligned. Bytes beyond the
    /// last whole number are left out.
    pub fn read(bytes: &Bytes) -> Self {
        let whole = bytes.len() / size_of::<T>() * size_of::<T>();
        let bytes = bytes.slice(..whole);
        if <[T]>::ref_from_bytes(&bytes).is_ok() {
            return Self(Memory::Mapped(bytes));
        }
        let numbers = bytes.chunks_exact(size_of::<T>());
        let numbers = numbers.map(|bytes| T::read_from_bytes(bytes).expect("of the right length"));
        numbers.collect::<Vec<_>>().into()
    }

    /// As many numbers as `from` has, each made of one of them.
    pub fn convert<U: Sync>(from: &[U], convert: impl Fn(&[U], &mut [T]) + Sync) -> Self {
        const PIECE: usize = 1 << 16;
        let mut all = Blank::new(from.len());
        all.par_chunks_mut(PIECE)
            .enumerate()
            .for_each(|(index, to)| convert(&from[index * PIECE..][..to.len()], to));
        all.into()
    }

    /// Copies what is mapped, so that the file may change.
    pub fn detach(self) -> Self {
        match self.0 {
            Memory::Vector(_) => self,
            Memory::Mapped(..) => Self::convert(&self, |from, to| to.copy_from_slice(from)),
        }
    }

    /// The first `count` of them, and the others.
    pub fn split(self, count: usize) -> [Self; 2] {
        match self.0 {
            Memory::Vector(mut first) => {
                let second = first.split_off(count);
                [first.into(), second.into()]
            }
            Memory::Mapped(mut first) => {
                let second = first.split_off(count * size_of::<T>());
                [first, second].map(|bytes| Self(Memory::Mapped(bytes)))
            }
        }
    }
}

impl<T: Plain> Blank<T> {
    /// Large ones lie in huge pages, where the system has them: to touch the pages of a model for
    /// the first time takes longer than to write it.
    pub(in super::super) fn new(length: usize) -> Self {
        /// Below this, what the last huge page leaves empty would count.
        const LARGE: usize = 8 << 20;
        let bytes = length * size_of::<T>();
        if bytes >= LARGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            #[cfg(target_os = "linux")]
            if let Err(error) = map.advise(memmap2::Advice::HugePage) {
                tracing::debug!(%error, "no huge pages for weights");
            }
            return Self(Pages::Map(map));
        }
        Self(Pages::Vector(vec![T::new_zeroed(); length]))
    }
}

impl<T: Plain> Deref for Blank<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Pages::Vector(numbers) => numbers,
            Pages::Map(map) => <[T]>::ref_from_bytes(map).expect(PAGES),
        }
    }
}

impl<T: Plain> DerefMut for Blank<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Pages::Vector(numbers) => numbers,
            Pages::Map(map) => <[T]>::mut_from_bytes(map).expect(PAGES),
        }
    }
}

impl<T> From<Blank<T>> for Numbers<T> {
    fn from(blank: Blank<T>) -> Self {
        match blank.0 {
            Pages::Vector(numbers) => numbers.into(),
            Pages::Map(map) => Self(Memory::Mapped(Bytes::from_owner(map))),
        }
    }
}

impl<T> From<Vec<T>> for Numbers<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self(Memory::Vector(numbers))
    }
}

impl<T: Plain> Deref for Numbers<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Memory::Vector(numbers) => numbers,
            Memory::Mapped(bytes) => {
                <[T]>::ref_from_bytes(bytes).expect("it was found to be aligned and whole")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_any_place_of_a_file() {
        let file = Bytes::from_iter((0..50_u16).flat_map(u16::to_le_bytes));
        for start in 0..4 {
            // Of two neighbours, at most one is aligned; an odd byte at the end is left out.
            let part = file.slice(start..start + 21);
            let pairs = part.chunks_exact(2);
            let expect: Vec<_> = pairs.map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
            let numbers = Numbers::<u16>::read(&part);
            assert_eq!(*numbers, expect);
            assert_eq!(*numbers.clone().detach(), expect);
            let [first, second] = numbers.split(3);
            assert_eq!((&*first, &*second), expect.split_at(3));
        }
    }

    #[test]
    fn blanks_of_all_sizes_are_zero_and_keep_what_is_written() {
        for length in [0, 10, (8 << 20) / 4, (9 << 20) / 4] {
            let mut blank = Blank::<u32>::new(length);
            assert_eq!(blank.len(), length);
            assert!(blank.iter().all(|&number| number == 0));
            for (number, place) in blank.iter_mut().zip(0..) {
                *number = place;
            }
            let numbers = Numbers::from(blank).detach();
            assert!(
                numbers
                    .iter()
                    .zip(0..)
                    .all(|(&number, place)| number == place)
            );
        }
    }
}
