//! The threads that compute, and how work is cut for them.

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use super::{Kernel, LANES, Panels, Product, QuantizedPanels, QuantizedProduct, QuantizedRows};

/// Multiplications below which other threads cost more than they save.
const WORTH_SPLITTING: usize = 1 << 18;

/// The threads and the instruction set that an engine computes with.
#[derive(Debug)]
pub struct Compute {
    pool: ThreadPool,
    kernel: Kernel,
}

impl Compute {
    /// `threads` threads of its own.
    pub fn new(threads: usize) -> Result<Self, ThreadPoolBuildError> {
        Self::with_kernel(threads, Kernel::detect())
    }

    pub(super) fn with_kernel(
        threads: usize,
        kernel: Kernel,
    ) -> Result<Self, ThreadPoolBuildError> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("compute-{index}"))
            .build()?;
        Ok(Self { pool, kernel })
    }

    /// Runs `work` on these threads and waits for it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    pub(crate) fn kernel(&self) -> Kernel {
        self.kernel
    }

    pub(crate) fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Calls `work` with each piece of `data` of length `piece`; in parallel if `operations`, a
    /// rough total, says that it pays.
    pub(crate) fn for_each_piece(
        &self,
        data: &mut [f32],
        piece: usize,
        operations: usize,
        work: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        if self.threads() == 1 || operations < WORTH_SPLITTING {
            for (index, piece) in data.chunks_mut(piece).enumerate() {
                work(index, piece);
            }
            return;
        }
        let least = (data.len() / piece / (self.threads() * 4)).max(1);
        data.par_chunks_mut(piece)
            .with_min_len(least)
            .enumerate()
            .for_each(|(index, piece)| work(index, piece));
    }

    /// `x` (`[rows][depth]`) times `panels`, as `[panel][row][LANES]`.
    pub(crate) fn multiply(
        &self,
        x: &[f32],
        (rows, depth): (usize, usize),
        panels: Panels<'_>,
        out: &mut [f32],
    ) {
        let count = out.len() / (rows * LANES);
        let together = self.panels_together(count);
        let operations = rows * depth * count * LANES;
        self.for_each_piece(out, together * rows * LANES, operations, |index, out| {
            self.kernel.multiply(&mut Product {
                x,
                stride: depth,
                rows,
                depth,
                panels: from_panel(panels, index * together, depth),
                out,
                accumulate: false,
            });
        });
    }

    /// `x` times `panels`, as `[panel][row][LANES]`.
    pub(crate) fn multiply_quantized(
        &self,
        x: &QuantizedRows,
        panels: QuantizedPanels<'_>,
        out: &mut [f32],
    ) {
        let count = out.len() / (x.rows() * LANES);
        let together = self.panels_together(count);
        let piece = together * x.rows() * LANES;
        let operations = x.rows() * x.inputs() * count * LANES;
        self.for_each_piece(out, piece, operations, |index, out| {
            let panels = panels.skip(index * together, x.blocks());
            self.kernel
                .multiply_quantized(&mut QuantizedProduct { x, panels, out });
        });
    }

    /// Few large pieces for a long run through memory, yet enough to even out the threads.
    fn panels_together(&self, count: usize) -> usize {
        if self.threads() == 1 {
            return count;
        }
        count.div_ceil(self.threads() * 4).next_multiple_of(4)
    }
}

fn from_panel(panels: Panels<'_>, first: usize, depth: usize) -> Panels<'_> {
    match panels {
        Panels::F32 { data, panel, step } => Panels::F32 {
            data: &data[first * panel..],
            panel,
            step,
        },
        Panels::Bf16(words) => Panels::Bf16(&words[first * depth * LANES / 2..]),
    }
}
