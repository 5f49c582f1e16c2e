//! The products for x86-64 with AVX2.
#![allow(
    unsafe_code,
    reason = "loads and stores of vector registers take pointers; QuantizedProduct::check bounds them"
)]

use std::arch::x86_64::{
    __m256, __m256i, _MM_HINT_T0, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_prefetch, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_broadcastd_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32, _mm256_cvtph_ps,
    _mm256_fmadd_ps, _mm256_fnmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_srli_epi16, _mm256_storeu_ps,
};

use half::f16;

use super::QuantizedProduct;
use super::block::{BLOCK, GROUPS};
use super::tiles::{Tile, Weights, each};
use crate::engine::embedded::kernel::avx2::Proof;
use crate::engine::embedded::kernel::{LANES, rows};

const HALF: usize = LANES / 2;

pub(super) fn multiply(_: Proof, product: &mut QuantizedProduct<'_>) {
    // SAFETY: the proof says that the instructions exist; Kernel::multiply_quantized has checked
    // bounds.
    unsafe { multiply_avx2(product) }
}

pub(super) fn quantize(_: Proof, x: &[f32], out: (&mut [i8], &mut [f32], &mut [f32])) {
    // SAFETY: the proof says that the instructions exist.
    unsafe { quantize_avx2(x, out) }
}

#[target_feature(enable = "avx2,fma")]
fn quantize_avx2(x: &[f32], out: (&mut [i8], &mut [f32], &mut [f32])) {
    rows::quantize(x, out);
}

/// # Safety
/// `product.check()` has passed.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn multiply_avx2(product: &mut QuantizedProduct<'_>) {
    // SAFETY: the tiles compute as many rows as they say.
    unsafe {
        each(product, |tile, left| {
            let take = left.min(3);
            match (tile.weights, take) {
                (Weights::Q8 { quants, scales }, 1) => q8::<1>(tile, quants, scales),
                (Weights::Q8 { quants, scales }, 2) => q8::<2>(tile, quants, scales),
                (Weights::Q8 { quants, scales }, _) => q8::<3>(tile, quants, scales),
                (Weights::Q4 { .. }, 1) => q4::<1>(tile),
                (Weights::Q4 { .. }, 2) => q4::<2>(tile),
                (Weights::Q4 { .. }, _) => q4::<3>(tile),
            }
            take
        });
    }
}

/// # Safety
/// `R` rows of the tile, and the weights of its blocks, are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q8<const R: usize>(tile: Tile, quants: *const i8, scales: *const f16) {
    // SAFETY: as the caller promises.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut sums = begin::<R>(tile);
        for block in 0..tile.blocks {
            if R == 1 {
                fetch_ahead(quants, block);
            }
            let mut dots = [[_mm256_setzero_si256(); 2]; R];
            for four in 0..BLOCK / 4 {
                for half in 0..2 {
                    let place = (block * BLOCK + four * 4) * LANES + half * BLOCK;
                    let weights = _mm256_loadu_si256(quants.add(place).cast());
                    let sizes = _mm256_abs_epi8(weights);
                    for (row, dots) in dots.iter_mut().enumerate() {
                        let x = inputs(tile, row, block, four);
                        // At most 2 * 127 * 128, which 16 bits hold.
                        let pairs = _mm256_maddubs_epi16(sizes, _mm256_sign_epi8(x, weights));
                        dots[half] = _mm256_add_epi32(dots[half], _mm256_madd_epi16(pairs, ones));
                    }
                }
            }
            let scales = load_f16(scales.add(block * LANES));
            for (row, (sums, dots)) in sums.iter_mut().zip(dots).enumerate() {
                let x_scale = _mm256_set1_ps(*tile.scales.add(row * tile.stride + block));
                for half in 0..2 {
                    let scale = _mm256_mul_ps(scales[half], x_scale);
                    sums[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[half]), scale, sums[half]);
                }
            }
        }
        finish(tile, &sums);
    }
}

/// # Safety
/// As `q8`; the tile's weights are of 4 bits.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4<const R: usize>(tile: Tile) {
    let Weights::Q4 {
        quants,
        groups,
        scales,
        offset,
    } = tile.weights
    else {
        return;
    };
    // SAFETY: as the caller promises.
    unsafe {
        let low_bits = _mm256_set1_epi8(15);
        let ones = _mm256_set1_epi16(1);
        let mut sums = begin::<R>(tile);
        for block in 0..tile.blocks {
            // 8 products of pairs, each at most 2 * 15 * 127: 16 bits hold their sum.
            let mut pairs = [[_mm256_setzero_si256(); 2]; R];
            for four in 0..BLOCK / 8 {
                for half in 0..2 {
                    let place = (block * BLOCK / 2 + four * 4) * LANES + half * BLOCK;
                    let both = _mm256_loadu_si256(quants.add(place).cast());
                    let low = _mm256_and_si256(both, low_bits);
                    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_bits);
                    for (row, pairs) in pairs.iter_mut().enumerate() {
                        let x = inputs(tile, row, block, four);
                        let y = inputs(tile, row, block, four + BLOCK / 8);
                        let sum = _mm256_add_epi16(
                            _mm256_maddubs_epi16(low, x),
                            _mm256_maddubs_epi16(high, y),
                        );
                        pairs[half] = _mm256_add_epi16(pairs[half], sum);
                    }
                }
            }
            let eight = scales.add((offset + block) / GROUPS * 2 * LANES);
            let (of_scale, of_min) = (load_f16(eight), load_f16(eight.add(LANES)));
            let group = groups.add(block * 2 * LANES);
            let scales = times_u8(of_scale, group);
            let mins = times_u8(of_min, group.add(LANES));
            for (row, (sums, pairs)) in sums.iter_mut().zip(pairs).enumerate() {
                let place = row * tile.stride + block;
                let x_scale = _mm256_set1_ps(*tile.scales.add(place));
                let x_sum = _mm256_set1_ps(*tile.sums.add(place));
                for half in 0..2 {
                    let dots = _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs[half], ones));
                    let scale = _mm256_mul_ps(scales[half], x_scale);
                    sums[half] = _mm256_fmadd_ps(dots, scale, sums[half]);
                    sums[half] = _mm256_fnmadd_ps(mins[half], x_sum, sums[half]);
                }
            }
        }
        finish(tile, &sums);
    }
}

/// Asks for the weights of a later block: a single row waits for memory more than it computes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn fetch_ahead(quants: *const i8, block: usize) {
    const AHEAD: usize = 4;
    const LINE: usize = 64;
    let start = quants.wrapping_add((block + AHEAD) * BLOCK * LANES);
    for line in (0..BLOCK * LANES).step_by(LINE) {
        // An address beyond the weights is passed over.
        _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line));
    }
}

/// Four inputs, repeated.
///
/// # Safety
/// They are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn inputs(tile: Tile, row: usize, block: usize, four: usize) -> __m256i {
    let place = (row * tile.stride + block) * BLOCK + four * 4;
    // SAFETY: as the caller promises; the pointer need not be aligned.
    let bits = unsafe { tile.quants.add(place).cast::<i32>().read_unaligned() };
    _mm256_broadcastd_epi32(_mm_cvtsi32_si128(bits))
}

/// # Safety
/// [`LANES`] numbers are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load_f16(start: *const f16) -> [__m256; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        [
            _mm256_cvtph_ps(_mm_loadu_si128(start.cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(start.add(HALF).cast())),
        ]
    }
}

/// # Safety
/// [`LANES`] bytes are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn times_u8(scales: [__m256; 2], start: *const u8) -> [__m256; 2] {
    // SAFETY: as the caller promises.
    let (low, high) = unsafe {
        (
            _mm_loadl_epi64(start.cast()),
            _mm_loadl_epi64(start.add(HALF).cast()),
        )
    };
    [
        _mm256_mul_ps(scales[0], _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(low))),
        _mm256_mul_ps(scales[1], _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(high))),
    ]
}

/// # Safety
/// `R` rows of the tile's `out` are within bounds.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn begin<const R: usize>(tile: Tile) -> [[__m256; 2]; R] {
    let mut sums = [[_mm256_setzero_ps(); 2]; R];
    if tile.accumulate {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: as the caller promises.
            unsafe {
                let out = tile.out.add(row * LANES);
                *sums = [_mm256_loadu_ps(out), _mm256_loadu_ps(out.add(HALF))];
            }
        }
    }
    sums
}

/// # Safety
/// As `begin`.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn finish<const R: usize>(tile: Tile, sums: &[[__m256; 2]; R]) {
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe {
            let out = tile.out.add(row * LANES);
            _mm256_storeu_ps(out, sums[0]);
            _mm256_storeu_ps(out.add(HALF), sums[1]);
        }
    }
}
