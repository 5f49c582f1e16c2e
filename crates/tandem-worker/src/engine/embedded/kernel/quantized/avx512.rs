//! The products for x86-64 with AVX-512 and its instructions for dot products of bytes (VNNI).
#![allow(
    unsafe_code,
    reason = "loads and stores of vector registers take pointers; QuantizedProduct::check bounds them"
)]

use std::arch::x86_64::{
    __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_sub_epi32, _mm512_xor_si512,
};

use half::f16;

use super::QuantizedProduct;
use super::block::{BLOCK, GROUPS};
use super::tiles::{Tile, Weights, each};
use crate::engine::embedded::kernel::{LANES, avx2};

/// Shows that this machine has the instructions, and those of AVX2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof(avx2::Proof);

impl Proof {
    pub(in super::super) fn detect(avx2: avx2::Proof) -> Option<Self> {
        let present = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        present.then_some(Self(avx2))
    }

    /// For what needs no wider vectors.
    pub(in super::super) const fn avx2(self) -> avx2::Proof {
        self.0
    }
}

pub(super) fn multiply(_: Proof, product: &mut QuantizedProduct<'_>) {
    // SAFETY: the proof says that the instructions exist; Kernel::multiply_quantized has checked
    // bounds.
    unsafe { multiply_avx512(product) }
}

/// # Safety
/// `product.check()` has passed.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn multiply_avx512(product: &mut QuantizedProduct<'_>) {
    // SAFETY: the tiles compute as many rows as they say.
    unsafe {
        each(product, |tile, left| {
            // Eight rows fill the registers.
            let take = match left {
                1..=3 => left,
                4..=7 => 4,
                _ => 8,
            };
            match (tile.weights, take) {
                (Weights::Q8 { quants, scales }, 1) => q8::<1>(tile, quants, scales),
                (Weights::Q8 { quants, scales }, 2) => q8::<2>(tile, quants, scales),
                (Weights::Q8 { quants, scales }, 3) => q8::<3>(tile, quants, scales),
                (Weights::Q8 { quants, scales }, 4) => q8::<4>(tile, quants, scales),
                (Weights::Q8 { quants, scales }, _) => q8::<8>(tile, quants, scales),
                (Weights::Q4 { .. }, 1) => q4::<1>(tile),
                (Weights::Q4 { .. }, 2) => q4::<2>(tile),
                (Weights::Q4 { .. }, 3) => q4::<3>(tile),
                (Weights::Q4 { .. }, 4) => q4::<4>(tile),
                (Weights::Q4 { .. }, _) => q4::<8>(tile),
            }
            take
        });
    }
}

/// # Safety
/// `R` rows of the tile, and the weights of its blocks, are within bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn q8<const R: usize>(tile: Tile, quants: *const i8, scales: *const f16) {
    // SAFETY: as the caller promises.
    unsafe {
        // The instruction wants one side without sign: inputs get 128 more, which is 128 times the
        // sum of the weights too much.
        let sign = _mm512_set1_epi8(-128);
        let mut sums = begin::<R>(tile);
        for block in 0..tile.blocks {
            let mut excess = _mm512_setzero_si512();
            let mut dots = [_mm512_setzero_si512(); R];
            for four in 0..BLOCK / 4 {
                let place = (block * BLOCK + four * 4) * LANES;
                let weights = _mm512_loadu_si512(quants.add(place).cast());
                excess = _mm512_dpbusd_epi32(excess, sign, weights);
                for (row, dot) in dots.iter_mut().enumerate() {
                    let x = _mm512_xor_si512(inputs(tile, row, block, four), sign);
                    *dot = _mm512_dpbusd_epi32(*dot, x, weights);
                }
            }
            let scales = load_f16(scales.add(block * LANES));
            for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                let x_scale = _mm512_set1_ps(*tile.scales.add(row * tile.stride + block));
                let dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(dot, excess));
                *sum = _mm512_fmadd_ps(dot, _mm512_mul_ps(scales, x_scale), *sum);
            }
        }
        finish(tile, &sums);
    }
}

/// # Safety
/// As `q8`; the tile's weights are of 4 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
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
        let low_bits = _mm512_set1_epi8(15);
        let mut sums = begin::<R>(tile);
        for block in 0..tile.blocks {
            let mut dots = [_mm512_setzero_si512(); R];
            for four in 0..BLOCK / 8 {
                let place = (block * BLOCK / 2 + four * 4) * LANES;
                let both = _mm512_loadu_si512(quants.add(place).cast());
                let low = _mm512_and_si512(both, low_bits);
                let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_bits);
                for (row, dot) in dots.iter_mut().enumerate() {
                    let x = inputs(tile, row, block, four);
                    let y = inputs(tile, row, block, four + BLOCK / 8);
                    *dot = _mm512_dpbusd_epi32(*dot, low, x);
                    *dot = _mm512_dpbusd_epi32(*dot, high, y);
                }
            }
            let eight = scales.add((offset + block) / GROUPS * 2 * LANES);
            let group = groups.add(block * 2 * LANES);
            let scales = times_u8(load_f16(eight), group);
            let mins = times_u8(load_f16(eight.add(LANES)), group.add(LANES));
            for (row, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                let place = row * tile.stride + block;
                let x_scale = _mm512_set1_ps(*tile.scales.add(place));
                let x_sum = _mm512_set1_ps(*tile.sums.add(place));
                let scale = _mm512_mul_ps(scales, x_scale);
                *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, *sum);
                *sum = _mm512_fnmadd_ps(mins, x_sum, *sum);
            }
        }
        finish(tile, &sums);
    }
}

/// Four inputs, repeated.
///
/// # Safety
/// They are within bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn inputs(tile: Tile, row: usize, block: usize, four: usize) -> __m512i {
    let place = (row * tile.stride + block) * BLOCK + four * 4;
    // SAFETY: as the caller promises; the pointer need not be aligned.
    let bits = unsafe { tile.quants.add(place).cast::<i32>().read_unaligned() };
    _mm512_set1_epi32(bits)
}

/// # Safety
/// [`LANES`] numbers are within bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn load_f16(start: *const f16) -> __m512 {
    // SAFETY: as the caller promises.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(start.cast())) }
}

/// # Safety
/// [`LANES`] bytes are within bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn times_u8(scales: __m512, start: *const u8) -> __m512 {
    // SAFETY: as the caller promises.
    let bytes = unsafe { _mm_loadu_si128(start.cast()) };
    _mm512_mul_ps(scales, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
}

/// # Safety
/// `R` rows of the tile's `out` are within bounds.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn begin<const R: usize>(tile: Tile) -> [__m512; R] {
    let mut sums = [_mm512_setzero_ps(); R];
    if tile.accumulate {
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: as the caller promises.
            *sum = unsafe { _mm512_loadu_ps(tile.out.add(row * LANES)) };
        }
    }
    sums
}

/// # Safety
/// As `begin`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
unsafe fn finish<const R: usize>(tile: Tile, sums: &[__m512; R]) {
    for (row, &sum) in sums.iter().enumerate() {
        // SAFETY: as the caller promises.
        unsafe { _mm512_storeu_ps(tile.out.add(row * LANES), sum) };
    }
}
