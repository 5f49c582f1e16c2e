//! The kernels for x86-64 with AVX2 and FMA. All processors that have these have F16C, too.
#![allow(
    unsafe_code,
    reason = "loads and stores of vector registers take pointers; Product::check bounds them"
)]

use std::arch::x86_64::{
    __m256, _mm256_and_si256, _mm256_broadcast_ss, _mm256_castsi256_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_epi32, _mm256_setzero_ps, _mm256_slli_epi32,
    _mm256_storeu_ps,
};

use std::ops::Range;

use super::{LANES, Panels, Product, rows};

/// Depth that is computed before the next panel: a panel's part stays in the L1 cache.
const DEPTH_BLOCK: usize = 256;
/// Rows whose inputs for one depth block stay in the L2 cache.
const ROW_BLOCK: usize = 120;
/// From this many rows on, bf16 weights are widened once per block rather than once per tile.
const WIDEN_ROWS: usize = 12;

/// Shows that this machine has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof(());

impl Proof {
    pub(super) fn detect() -> Option<Self> {
        let present = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        present.then_some(Self(()))
    }
}

pub(super) fn multiply(_: Proof, product: &mut Product<'_>) {
    // SAFETY: the proof says that the instructions exist; Kernel::multiply has checked bounds.
    unsafe { multiply_avx2(product) }
}

pub(super) fn rms_norm(_: Proof, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    // SAFETY: the proof says that the instructions exist.
    unsafe { rms_norm_avx2(x, weight, eps, out) }
}

pub(super) fn softmax(_: Proof, scores: &mut [f32], stride: usize, visible: Range<usize>) -> f32 {
    // SAFETY: the proof says that the instructions exist.
    unsafe { softmax_avx2(scores, stride, visible) }
}

pub(super) fn softcap(_: Proof, x: &mut [f32], cap: f32) {
    // SAFETY: the proof says that the instructions exist.
    unsafe { softcap_avx2(x, cap) }
}

pub(super) fn swiglu(_: Proof, gate: &[f32], up: &[f32], out: &mut [f32]) {
    // SAFETY: the proof says that the instructions exist.
    unsafe { swiglu_avx2(gate, up, out) }
}

pub(super) fn geglu(_: Proof, gate: &[f32], up: &[f32], out: &mut [f32]) {
    // SAFETY: the proof says that the instructions exist.
    unsafe { geglu_avx2(gate, up, out) }
}

#[target_feature(enable = "avx2,fma")]
fn rms_norm_avx2(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    rows::rms_norm(x, weight, eps, out);
}

#[target_feature(enable = "avx2,fma")]
fn softmax_avx2(scores: &mut [f32], stride: usize, visible: Range<usize>) -> f32 {
    rows::softmax(scores, stride, visible)
}

#[target_feature(enable = "avx2,fma")]
fn softcap_avx2(x: &mut [f32], cap: f32) {
    rows::softcap(x, cap);
}

#[target_feature(enable = "avx2,fma")]
fn swiglu_avx2(gate: &[f32], up: &[f32], out: &mut [f32]) {
    rows::swiglu(gate, up, out);
}

#[target_feature(enable = "avx2,fma")]
fn geglu_avx2(gate: &[f32], up: &[f32], out: &mut [f32]) {
    rows::geglu(gate, up, out);
}

/// Weights of one or more panels at one depth block.
#[derive(Clone, Copy)]
struct Weights {
    /// `f32`, or words of two `bf16`.
    start: *const f32,
    /// Distance of panels and of depths, in 4-byte units.
    panel: usize,
    step: usize,
}

/// Rows of `x` and where their sums go.
#[derive(Clone, Copy)]
struct Rows {
    x: *const f32,
    stride: usize,
    depth: usize,
    out: *mut f32,
    out_panel: usize,
    accumulate: bool,
}

/// # Safety
/// `product.check()` has passed.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_avx2(product: &mut Product<'_>) {
    let (bf16, weights) = match product.panels {
        Panels::F32 { data, panel, step } => {
            let start = data.as_ptr();
            (false, Weights { start, panel, step })
        }
        Panels::Bf16(words) => {
            let start = words.as_ptr().cast();
            let step = LANES / 2;
            let panel = step * product.depth;
            (true, Weights { start, panel, step })
        }
    };
    // SAFETY: the callees stay within the bounds that `check` has verified.
    unsafe {
        match (product.rows, bf16) {
            (1..=3, true) => few_rows::<true>(product, weights),
            (1..=3, false) => few_rows::<false>(product, weights),
            (_, true) => many_rows::<true>(product, weights),
            (_, false) => many_rows::<false>(product, weights),
        }
    }
}

/// Memory-bound: several panels at a time, so that enough sums are in flight.
///
/// # Safety
/// As `multiply_avx2`; `weights` are those of `product`.
#[target_feature(enable = "avx2,fma")]
unsafe fn few_rows<const BF16: bool>(product: &mut Product<'_>, weights: Weights) {
    let panels = product.panel_count();
    let out_panel = product.rows * LANES;
    let together = if product.rows == 1 { 4 } else { 2 };
    let mut panel = 0;
    while panel < panels {
        let whole = panel + together <= panels;
        // SAFETY: `panel` is below the number of panels, and so are the ones taken with it.
        unsafe {
            let weights = weights.at(panel, 0);
            let rows = Rows {
                x: product.x.as_ptr(),
                stride: product.stride,
                depth: product.depth,
                out: product.out.as_mut_ptr().add(panel * out_panel),
                out_panel,
                accumulate: product.accumulate,
            };
            match (product.rows, whole) {
                (1, true) => tile::<1, 4, BF16>(rows, weights),
                (1, false) => tile::<1, 1, BF16>(rows, weights),
                (2, true) => tile::<2, 2, BF16>(rows, weights),
                (2, false) => tile::<2, 1, BF16>(rows, weights),
                (_, true) => tile::<3, 2, BF16>(rows, weights),
                (_, false) => tile::<3, 1, BF16>(rows, weights),
            }
        }
        panel += if whole { together } else { 1 };
    }
}

/// Compute-bound: blocked so that weights come from the L1 cache and inputs from the L2 cache.
///
/// # Safety
/// As `few_rows`.
#[target_feature(enable = "avx2,fma")]
unsafe fn many_rows<const BF16: bool>(product: &mut Product<'_>, weights: Weights) {
    let panels = product.panel_count();
    let mut wide = [0.0; DEPTH_BLOCK * LANES];
    for depth_start in (0..product.depth).step_by(DEPTH_BLOCK) {
        let depth = DEPTH_BLOCK.min(product.depth - depth_start);
        for row_start in (0..product.rows).step_by(ROW_BLOCK) {
            let row_end = product.rows.min(row_start + ROW_BLOCK);
            for panel in 0..panels {
                // SAFETY: starts are below the product's depth, rows and panels; `wide` holds
                // one panel of a depth block.
                unsafe {
                    let weights = weights.at(panel, depth_start);
                    let out = (panel * product.rows + row_start) * LANES;
                    let rows = Rows {
                        x: product
                            .x
                            .as_ptr()
                            .add(row_start * product.stride + depth_start),
                        stride: product.stride,
                        depth,
                        out: product.out.as_mut_ptr().add(out),
                        out_panel: 0,
                        accumulate: product.accumulate || depth_start > 0,
                    };
                    if BF16 && row_end - row_start >= WIDEN_ROWS {
                        widen(weights.start, depth, &mut wide);
                        let weights = Weights {
                            start: wide.as_ptr(),
                            panel: 0,
                            step: LANES,
                        };
                        tiles::<false>(rows, row_end - row_start, weights);
                    } else {
                        tiles::<BF16>(rows, row_end - row_start, weights);
                    }
                }
            }
        }
    }
}

/// # Safety
/// `rows` has `count` rows, and `weights` a panel, within bounds.
#[target_feature(enable = "avx2,fma")]
unsafe fn tiles<const BF16: bool>(mut rows: Rows, mut count: usize, weights: Weights) {
    while count > 0 {
        // Two tiles of 4 rows beat one of 6 and one of 2.
        let take = match count {
            7 | 8 => 4,
            _ => count.min(6),
        };
        // SAFETY: `take` rows are left.
        unsafe {
            match take {
                1 => tile::<1, 1, BF16>(rows, weights),
                2 => tile::<2, 1, BF16>(rows, weights),
                3 => tile::<3, 1, BF16>(rows, weights),
                4 => tile::<4, 1, BF16>(rows, weights),
                5 => tile::<5, 1, BF16>(rows, weights),
                _ => tile::<6, 1, BF16>(rows, weights),
            }
            rows.x = rows.x.add(take * rows.stride);
            rows.out = rows.out.add(take * LANES);
        }
        count -= take;
    }
}

/// `R` rows by `P` panels, all sums in registers; along the depth in order.
///
/// # Safety
/// `R` rows of `x` and `out`, and `P` panels of `weights`, are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const R: usize, const P: usize, const BF16: bool>(rows: Rows, weights: Weights) {
    let mut sums = [[[_mm256_setzero_ps(); 2]; R]; P];
    // SAFETY: as the caller promises.
    unsafe {
        if rows.accumulate {
            for (p, sums) in sums.iter_mut().enumerate() {
                for (r, sums) in sums.iter_mut().enumerate() {
                    let out = rows.out.add(p * rows.out_panel + r * LANES);
                    *sums = [_mm256_loadu_ps(out), _mm256_loadu_ps(out.add(LANES / 2))];
                }
            }
        }
        for k in 0..rows.depth {
            for (p, sums) in sums.iter_mut().enumerate() {
                let [low, high] = load::<BF16>(weights.at(p, k).start);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let x = _mm256_broadcast_ss(&*rows.x.add(r * rows.stride + k));
                    sums[0] = _mm256_fmadd_ps(x, low, sums[0]);
                    sums[1] = _mm256_fmadd_ps(x, high, sums[1]);
                }
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            for (r, sums) in sums.iter().enumerate() {
                let out = rows.out.add(p * rows.out_panel + r * LANES);
                _mm256_storeu_ps(out, sums[0]);
                _mm256_storeu_ps(out.add(LANES / 2), sums[1]);
            }
        }
    }
}

impl Weights {
    /// # Safety
    /// The place is within bounds.
    #[inline(always)]
    unsafe fn at(self, panel: usize, depth: usize) -> Self {
        // SAFETY: as the caller promises.
        let start = unsafe { self.start.add(panel * self.panel + depth * self.step) };
        Self { start, ..self }
    }
}

/// The [`LANES`] weights at `start`.
///
/// # Safety
/// They are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<const BF16: bool>(start: *const f32) -> [__m256; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        if BF16 {
            let words = _mm256_loadu_si256(start.cast());
            let high = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)),
                _mm256_castsi256_ps(_mm256_and_si256(words, high)),
            ]
        } else {
            [
                _mm256_loadu_ps(start),
                _mm256_loadu_ps(start.add(LANES / 2)),
            ]
        }
    }
}

/// # Safety
/// `words` holds `depth` times [`LANES`] bf16, with `depth` at most [`DEPTH_BLOCK`].
#[target_feature(enable = "avx2,fma")]
unsafe fn widen(words: *const f32, depth: usize, wide: &mut [f32; DEPTH_BLOCK * LANES]) {
    for (k, lanes) in wide.chunks_exact_mut(LANES).take(depth).enumerate() {
        // SAFETY: `k` is below `depth`, and `lanes` has room for LANES numbers.
        unsafe {
            let [low, high] = load::<true>(words.add(k * LANES / 2));
            _mm256_storeu_ps(lanes.as_mut_ptr(), low);
            _mm256_storeu_ps(lanes.as_mut_ptr().add(LANES / 2), high);
        }
    }
}
