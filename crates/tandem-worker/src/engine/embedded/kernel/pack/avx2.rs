//! Panels for x86-64 with AVX2: squares of eight rows and eight numbers are turned in registers.
#![allow(
    unsafe_code,
    reason = "loads and stores of vector registers take pointers; Kernel's methods check bounds"
)]

use std::arch::x86_64::{
    __m256, __m256i, _CMP_GT_OQ, _CMP_ORD_Q, _MM_FROUND_TO_NEAREST_INT, _mm_loadu_si128,
    _mm_storeu_si128, _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_and_ps, _mm256_and_si256,
    _mm256_castps_si256, _mm256_castsi256_ps, _mm256_cmp_ps, _mm256_cvtepu16_epi32,
    _mm256_cvtph_ps, _mm256_cvtps_epi32, _mm256_cvtps_ph, _mm256_div_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_max_epi8, _mm256_max_ps, _mm256_mul_ps, _mm256_packs_epi16,
    _mm256_packs_epi32, _mm256_permute2x128_si256, _mm256_set_m128i, _mm256_set1_epi8,
    _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi32,
    _mm256_storeu_ps, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use half::f16;

use super::{Rows, Weight, portable};
use crate::engine::embedded::kernel::LANES;
use crate::engine::embedded::kernel::avx2::Proof;
use crate::engine::embedded::kernel::quantized::BLOCK;

/// Numbers of 32 bits in a register.
pub(super) const WIDTH: usize = 8;

pub(super) fn f32(_: Proof, rows: &Rows<'_, f32>, panel: &mut [f32]) {
    let whole = rows[0].len() / WIDTH * WIDTH;
    // SAFETY: the proof says that the instructions exist; Kernel::pack_f32 has checked bounds.
    unsafe { f32_avx2(rows, whole, panel) }
    portable::f32(&rows.map(|row| &row[whole..]), &mut panel[whole * LANES..]);
}

pub(super) fn bf16(_: Proof, rows: &Rows<'_, u16>, panel: &mut [u32]) {
    let whole = rows[0].len() / WIDTH * WIDTH;
    // SAFETY: the proof says that the instructions exist; Kernel::pack_bf16 has checked bounds.
    unsafe { bf16_avx2(rows, whole, panel) }
    portable::bf16(&rows.map(|row| &row[whole..]), &mut panel[whole * WIDTH..]);
}

pub(super) fn q8<T: Weight>(
    _: Proof,
    rows: &Rows<'_, T>,
    (quants, scales): (&mut [i8], &mut [f16]),
) {
    let blocks = rows[0].len() / BLOCK;
    // SAFETY: the proof says that the instructions exist; Kernel::pack_q8 has checked bounds.
    unsafe { q8_avx2(rows, blocks, (quants.as_mut_ptr(), scales.as_mut_ptr())) }
    let rest = rows.map(|row| &row[blocks * BLOCK..]);
    let quants = &mut quants[blocks * BLOCK * LANES..];
    portable::q8(&rest, (quants, &mut scales[blocks * LANES..]));
}

/// # Safety
/// All rows have `inputs` numbers, a multiple of [`WIDTH`], and `panel` has room for them.
#[target_feature(enable = "avx2")]
unsafe fn f32_avx2(rows: &Rows<'_, f32>, inputs: usize, panel: &mut [f32]) {
    for k in (0..inputs).step_by(WIDTH) {
        for half in [0, WIDTH] {
            let mut square = [_mm256_setzero_si256(); WIDTH];
            // SAFETY: `k + WIDTH` is at most `inputs`, and `half + WIDTH` at most LANES.
            unsafe {
                for (numbers, row) in square.iter_mut().zip(&rows[half..]) {
                    *numbers = _mm256_loadu_si256(row.as_ptr().add(k).cast());
                }
                let start = panel.as_mut_ptr().add(k * LANES + half);
                for (index, lanes) in turn(square).into_iter().enumerate() {
                    _mm256_storeu_si256(start.add(index * LANES).cast(), lanes);
                }
            }
        }
    }
}

/// # Safety
/// As `f32_avx2`.
#[target_feature(enable = "avx2")]
unsafe fn bf16_avx2(rows: &Rows<'_, u16>, inputs: usize, panel: &mut [u32]) {
    for k in (0..inputs).step_by(WIDTH) {
        let mut square = [_mm256_setzero_si256(); WIDTH];
        // SAFETY: `k + WIDTH` is at most `inputs`.
        unsafe {
            for (lane, words) in square.iter_mut().enumerate() {
                let low = _mm_loadu_si128(rows[lane].as_ptr().add(k).cast());
                let high = _mm_loadu_si128(rows[lane + WIDTH].as_ptr().add(k).cast());
                *words =
                    _mm256_set_m128i(_mm_unpackhi_epi16(low, high), _mm_unpacklo_epi16(low, high));
            }
            let start = panel.as_mut_ptr().add(k * WIDTH);
            for (index, words) in turn(square).into_iter().enumerate() {
                _mm256_storeu_si256(start.add(index * WIDTH).cast(), words);
            }
        }
    }
}

/// # Safety
/// All rows have `blocks` blocks, and there is room for them.
#[target_feature(enable = "avx2,f16c")]
unsafe fn q8_avx2<T: Weight>(
    rows: &Rows<'_, T>,
    blocks: usize,
    (quants, scales): (*mut i8, *mut f16),
) {
    for block in 0..blocks {
        for half in [0, WIDTH] {
            // SAFETY: as the caller promises.
            unsafe {
                let start = |lane: usize| rows[half + lane].as_ptr().add(block * BLOCK);
                let mut sizes = [_mm256_setzero_si256(); WIDTH];
                for (lane, sizes) in sizes.iter_mut().enumerate() {
                    *sizes = _mm256_castps_si256(largest(start(lane)));
                }
                let mut most = _mm256_setzero_ps();
                for sizes in turn(sizes) {
                    most = _mm256_max_ps(_mm256_castsi256_ps(sizes), most);
                }
                let scale = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_div_ps(
                    most,
                    _mm256_set1_ps(127.0),
                ));
                _mm_storeu_si128(scales.add(block * LANES + half).cast(), scale);
                // Of what will be read, not of what was meant.
                let scale = _mm256_cvtph_ps(scale);
                let some = _mm256_cmp_ps::<_CMP_GT_OQ>(scale, _mm256_setzero_ps());
                let inverse = _mm256_div_ps(_mm256_set1_ps(1.0), scale);
                let mut inverses = [0.0; WIDTH];
                _mm256_storeu_ps(inverses.as_mut_ptr(), _mm256_and_ps(inverse, some));
                let mut rounded = [_mm256_setzero_si256(); WIDTH];
                for (lane, rounded) in rounded.iter_mut().enumerate() {
                    *rounded = round(start(lane), inverses[lane]);
                }
                let fours = quants.add(block * BLOCK * LANES + half * 4);
                for (index, lanes) in turn(rounded).into_iter().enumerate() {
                    // What packing has done to the order.
                    let four = index % 4 * 2 + index / 4;
                    let place = fours.add(four * 4 * LANES);
                    _mm256_storeu_si256(place.cast(), lanes);
                }
            }
        }
    }
}

/// [`WIDTH`] weights, widened.
///
/// # Safety
/// They are within bounds.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn load<T: Weight>(start: *const T) -> __m256 {
    // SAFETY: as the caller promises.
    unsafe {
        if T::BF16 {
            let halves = _mm_loadu_si128(start.cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves)))
        } else {
            _mm256_loadu_ps(start.cast())
        }
    }
}

/// The largest absolute values of a block in eight lanes; what is not a number is passed over.
///
/// # Safety
/// A block is within bounds.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn largest<T: Weight>(start: *const T) -> __m256 {
    let without_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
    let mut most = _mm256_setzero_ps();
    for part in 0..BLOCK / WIDTH {
        // SAFETY: as the caller promises.
        let weights = unsafe { load(start.add(part * WIDTH)) };
        most = _mm256_max_ps(_mm256_and_ps(weights, without_sign), most);
    }
    most
}

/// A block in 8 bits, of which four times four of the first halves of registers come first.
///
/// # Safety
/// A block is within bounds.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn round<T: Weight>(start: *const T, inverse: f32) -> __m256i {
    let inverse = _mm256_set1_ps(inverse);
    let mut parts = [_mm256_setzero_si256(); BLOCK / WIDTH];
    for (part, whole) in parts.iter_mut().enumerate() {
        // SAFETY: as the caller promises.
        let weights = unsafe { load(start.add(part * WIDTH)) };
        let scaled = _mm256_mul_ps(weights, inverse);
        // What is not a number becomes 0.
        let number = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_ORD_Q>(scaled, scaled));
        *whole = _mm256_and_si256(_mm256_cvtps_epi32(scaled), number);
    }
    let low = _mm256_packs_epi32(parts[0], parts[1]);
    let high = _mm256_packs_epi32(parts[2], parts[3]);
    _mm256_max_epi8(_mm256_packs_epi16(low, high), _mm256_set1_epi8(-127))
}

/// Eight registers of eight numbers, transposed.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn turn(rows: [__m256i; WIDTH]) -> [__m256i; WIDTH] {
    let mut twos = rows;
    for pair in (0..WIDTH).step_by(2) {
        twos[pair] = _mm256_unpacklo_epi32(rows[pair], rows[pair + 1]);
        twos[pair + 1] = _mm256_unpackhi_epi32(rows[pair], rows[pair + 1]);
    }
    // Columns 0 to 3 of four rows in the low halves, 4 to 7 in the high ones.
    let mut fours = twos;
    for four in [0, 4] {
        for part in 0..2 {
            let (first, second) = (twos[four + part], twos[four + part + 2]);
            fours[four + 2 * part] = _mm256_unpacklo_epi64(first, second);
            fours[four + 2 * part + 1] = _mm256_unpackhi_epi64(first, second);
        }
    }
    let mut columns = fours;
    for column in 0..4 {
        let (first, second) = (fours[column], fours[column + 4]);
        columns[column] = _mm256_permute2x128_si256::<0x20>(first, second);
        columns[column + 4] = _mm256_permute2x128_si256::<0x31>(first, second);
    }
    columns
}
