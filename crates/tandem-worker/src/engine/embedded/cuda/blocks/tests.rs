//! On a GPU, if `TANDEM_TEST_DEVICE` names one.

use std::time::{Duration, Instant};

use tandem_kv_cache::BlockPool;

use super::*;
use crate::engine::embedded::Device;

/// That of TinyLlama 1.1B: 0.72 MB in a block.
const SHAPE: KvShape = KvShape {
    layers: 22,
    kv_heads: 4,
    head_dim: 64,
    block_size: 16,
};

#[allow(clippy::disallowed_methods, reason = "tests have no flags")]
fn gpu() -> Option<Arc<Gpu>> {
    let device = std::env::var("TANDEM_TEST_DEVICE").ok()?;
    match device.parse().unwrap() {
        Device::Cpu => None,
        Device::Cuda(ordinal) => Some(Gpu::open(ordinal).unwrap()),
    }
}

/// Memory for `count` blocks, of which as many as `rooms` find page-locked memory.
fn device_blocks(gpu: &Arc<Gpu>, count: usize, rooms: usize) -> (DeviceBlocks, Vec<BlockId>) {
    let slabs = PinnedSlabs::new(&gpu.context, SHAPE.block_len());
    let blocks = DeviceBlocks {
        pinned: SlabPool::new(slabs, rooms),
        ..DeviceBlocks::new(gpu, SHAPE, count, 0).unwrap()
    };
    (blocks, BlockPool::new(count).allocate(count).unwrap())
}

/// Numbers that no other block has, at any place.
fn numbers(block: usize) -> BlockData {
    let first = u32::try_from(block << 20).unwrap();
    let numbers = first..first + u32::try_from(SHAPE.block_len()).unwrap();
    numbers.map(f32::from_bits).collect()
}

fn assert_same(found: &[f32], expect: &[f32]) {
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    assert_eq!(found.len(), expect.len());
    assert_eq!(found.iter().zip(expect).position(differs), None);
}

#[test]
fn blocks_come_back_as_they_left_whatever_memory_they_were_in() {
    let Some(gpu) = gpu() else { return };
    // Page-locked: all, whole slabs and some of the last, none.
    for rooms in [300, 57, 0] {
        let (mut blocks, ids) = device_blocks(&gpu, 100, rooms);
        let expect: Vec<_> = (0..ids.len()).map(numbers).collect();
        blocks.install_all(ids.iter().copied().zip(&expect));
        let out = blocks.share_all(&ids);
        // To other places, from where they went.
        blocks.install_all(ids.iter().rev().copied().zip(&out));
        let again = blocks.share_all(&ids);
        drop(blocks);
        // The last handles are dropped where nobody knows of the GPU.
        let check = move || {
            let backwards = again.iter().rev();
            for ((out, again), expect) in out.iter().zip(backwards).zip(&expect) {
                assert_same(out, expect);
                assert_same(again, expect);
            }
        };
        std::thread::spawn(check).join().unwrap();
    }
}

#[test]
fn memory_that_is_lent_again_leaves_readers_alone() {
    let Some(gpu) = gpu() else { return };
    let (mut blocks, ids) = device_blocks(&gpu, 2, 2);
    for round in 0..50 {
        let expect = [numbers(round), numbers(round + 1)];
        blocks.install_all(ids.iter().copied().zip(&expect));
        let lent = blocks.share_all(&ids);
        // There is no room left for this one.
        let heap = blocks.share(ids[1]);
        blocks.install_all(ids.iter().copied().zip(lent.iter().rev()));
        assert_same(&lent[0], &expect[0]);
        assert_same(&lent[1], &expect[1]);
        assert_same(&heap, &expect[1]);
    }
}

/// How blocks were copied before there was page-locked memory: one by one, into the heap.
fn share_pageable(blocks: &DeviceBlocks, block: BlockId) -> BlockData {
    let length = SHAPE.block_len();
    let start = block.index() * length;
    let numbers = blocks.numbers.slice(start..start + length);
    let copy = must(blocks.gpu.stream.clone_dtoh(&numbers));
    must(blocks.gpu.stream.synchronize());
    copy.into()
}

fn install_pageable(blocks: &mut DeviceBlocks, block: BlockId, data: &BlockData) {
    let length = SHAPE.block_len();
    let start = block.index() * length;
    let mut numbers = blocks.numbers.slice_mut(start..start + length);
    must(blocks.gpu.stream.memcpy_htod(&data[..], &mut numbers));
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = work();
    times.push(begun.elapsed());
    result
}

#[test]
#[ignore = "measures"]
fn speed_of_the_ways_out_and_back() {
    const BLOCKS: usize = 128;
    const NAMES: [&str; 7] = [
        "out, heap, one by one (before)",
        "out, page-locked, one by one",
        "out, page-locked, at once",
        "back, heap, one by one (before)",
        "back, heap, at once",
        "back, page-locked, one by one",
        "back, page-locked, at once",
    ];
    let gpu = gpu().expect("TANDEM_TEST_DEVICE names no GPU");
    let (mut blocks, ids) = device_blocks(&gpu, BLOCKS, 2 * BLOCKS);
    let mut times = NAMES.map(|_| Vec::new());
    let mut first = Vec::new();
    // Before any slab is there.
    drop(timed(&mut first, || blocks.share_all(&ids)));
    for _ in 0..30 {
        let [
            out_heap,
            out_single,
            out,
            back_heap,
            back_heap_all,
            back_single,
            back,
        ] = &mut times;
        let one = |&id: &BlockId| blocks.share_all(&[id]).pop();
        let heap: Vec<_> = timed(out_heap, || {
            ids.iter().map(|&id| share_pageable(&blocks, id)).collect()
        });
        let single: Vec<_> = timed(out_single, || ids.iter().map(one).collect());
        drop(single);
        let pinned = timed(out, || blocks.share_all(&ids));
        timed(back_heap, || {
            for (&id, data) in ids.iter().zip(&heap) {
                install_pageable(&mut blocks, id, data);
            }
            must(gpu.stream.synchronize());
        });
        timed(back_heap_all, || {
            blocks.install_all(ids.iter().copied().zip(&heap));
        });
        timed(back_single, || {
            for pair in ids.iter().copied().zip(&pinned) {
                blocks.install_all([pair]);
            }
        });
        timed(back, || {
            blocks.install_all(ids.iter().copied().zip(&pinned));
        });
    }
    let bytes = (BLOCKS * SHAPE.block_bytes()) as f64;
    println!("{BLOCKS} blocks of {} bytes", SHAPE.block_bytes());
    println!("out, page-locked, at once, with new slabs: {:?}", first[0]);
    for (name, mut times) in NAMES.into_iter().zip(times) {
        times.sort_unstable();
        let (best, median) = (times[0], times[times.len() / 2]);
        let speed = bytes / median.as_secs_f64() / 1e9;
        println!("{name}: best {best:?}, median {median:?}, {speed:.1} GB/s");
    }
}
