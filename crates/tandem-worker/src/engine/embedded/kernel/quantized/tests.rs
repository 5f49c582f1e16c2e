use proptest::prelude::*;

use super::*;
use crate::engine::embedded::kernel::{Matrix, Quantization};
use crate::engine::embedded::model::{RandomWeights, TensorSource, Values};

const KINDS: [Quantization; 2] = [Quantization::Q8_0, Quantization::Q4K];

fn random(name: &str, shape: &[usize]) -> Values {
    let weights = RandomWeights {
        seed: 3,
        bf16: false,
    };
    weights.tensor(&format!("{name}.weight"), shape).unwrap()
}

/// The instruction sets that this machine has.
fn kernels() -> Vec<Kernel> {
    let mut kernels = vec![Kernel::Portable];
    #[cfg(target_arch = "x86_64")]
    if let Some(proof) = super::super::avx2::Proof::detect() {
        kernels.push(Kernel::Avx2(proof));
        kernels.extend(Avx512::detect(proof).map(Kernel::Avx512));
    }
    kernels
}

fn apply(kernel: Kernel, matrix: &Matrix, x: &[f32]) -> Vec<f32> {
    let compute = Compute::with_kernel(2, kernel).unwrap();
    let mut out = Vec::new();
    compute.run(|| matrix.apply(&compute, x, &mut out));
    out
}

/// Products of what is left after rounding, in double precision.
fn naive(x: &[f32], matrix: &Matrix, (inputs, outputs): (usize, usize)) -> Vec<f64> {
    let compute = Compute::with_kernel(1, Kernel::Portable).unwrap();
    let rounded = QuantizedRows::new(&compute, x, inputs);
    let mut weights = vec![0.0; inputs];
    let rows = x.len() / inputs;
    let mut all = vec![0.0; rows * outputs];
    for output in 0..outputs {
        matrix.copy_row(output, &mut weights);
        for row in 0..rows {
            let terms = weights.iter().enumerate().map(|(k, &weight)| {
                let quant = rounded.quants[row * rounded.inputs() + k];
                let scale = rounded.scales[row * rounded.blocks + k / BLOCK];
                f64::from(weight) * f64::from(scale) * f64::from(quant)
            });
            all[row * outputs + output] = terms.sum();
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn products_are_the_same_bits_on_all_instruction_sets_and_in_any_company(
        rows in 1..40_usize,
        inputs in 1..1100_usize,
        outputs in 1..70_usize,
    ) {
        let weights = random("w", &[outputs, inputs]);
        let x = random("x", &[rows, inputs]).into_f32();
        for kind in KINDS {
            let matrix = Matrix::pack(std::slice::from_ref(&weights), inputs, kind);
            let expect = apply(Kernel::Portable, &matrix, &x);
            let naive = naive(&x, &matrix, (inputs, outputs));
            let at = |row: usize, output: usize| {
                expect[(output / LANES * rows + row) * LANES + output % LANES]
            };
            for (place, naive) in naive.iter().enumerate() {
                let found = f64::from(at(place / outputs, place % outputs));
                prop_assert!((found - naive).abs() < 1e-4, "{kind:?}: {found} {naive}");
            }
            for kernel in kernels() {
                prop_assert_eq!(&apply(kernel, &matrix, &x), &expect, "{:?} {:?}", kind, kernel);
                let row = rows / 2;
                let alone = apply(kernel, &matrix, &x[row * inputs..][..inputs]);
                for (output, &alone) in alone.iter().enumerate().take(outputs) {
                    prop_assert_eq!(alone, at(row, output), "{:?} {:?}", kind, kernel);
                }
            }
        }
    }

    #[test]
    fn inputs_are_rounded_to_the_nearest(
        x in proptest::collection::vec(-50.0_f32..50.0, 1..200),
    ) {
        let rounded: Vec<_> = kernels()
            .into_iter()
            .map(|kernel| {
                let compute = Compute::with_kernel(1, kernel).unwrap();
                QuantizedRows::new(&compute, &x, x.len())
            })
            .collect();
        for other in &rounded[1..] {
            prop_assert_eq!(&other.quants, &rounded[0].quants);
            prop_assert_eq!(&other.scales, &rounded[0].scales);
            prop_assert_eq!(&other.sums, &rounded[0].sums);
        }
        for (index, x) in x.iter().enumerate() {
            let scale = rounded[0].scales[index / BLOCK];
            let error = (f32::from(rounded[0].quants[index]) * scale - x).abs();
            prop_assert!(error <= scale * 0.501, "{x}");
        }
    }
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    // Every weight and input at an end of its range, signs included.
    for signs in [[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]] {
        let x = vec![signs[0] * 3.0; 512];
        let weights = Values::F32(vec![signs[1] * 2.0; 512 * 16].into());
        for kind in KINDS {
            let matrix = Matrix::pack(std::slice::from_ref(&weights), 512, kind);
            for kernel in kernels() {
                let expect = signs[0] * signs[1] * 3.0 * 2.0 * 512.0;
                let found = apply(kernel, &matrix, &x)[5];
                assert!((found - expect).abs() < 4.0, "{kind:?} {kernel:?}: {found}");
            }
        }
    }
}

#[test]
fn parts_of_a_matrix_may_differ_in_format() {
    let x = random("x", &[3, 64]).into_f32();
    let (first, second) = (random("a", &[20, 64]), random("b", &[40, 64]));
    let eight: Vec<_> = (0..20)
        .flat_map(|row| {
            let weights = first.row(row, 64);
            [&weights[..32], &weights[32..]].map(Q8Block::quantize)
        })
        .collect();
    let mixed = Matrix::pack(
        &[Values::Q8(eight.into()), second.clone()],
        64,
        Quantization::None,
    );
    let alone = Matrix::pack(&[first], 64, Quantization::Q8_0);
    let plain = Matrix::pack(&[second], 64, Quantization::None);
    for kernel in kernels() {
        let expect = [apply(kernel, &alone, &x), apply(kernel, &plain, &x)].concat();
        assert_eq!(apply(kernel, &mixed, &x), expect);
    }
}

#[test]
fn large_products_are_split_without_a_trace() {
    let (rows, inputs, outputs) = (21, 1024, 500);
    let x = random("x", &[rows, inputs]).into_f32();
    for kind in KINDS {
        let matrix = Matrix::pack(&[random("w", &[outputs, inputs])], inputs, kind);
        let one = {
            let compute = Compute::with_kernel(1, Kernel::detect()).unwrap();
            let mut out = Vec::new();
            matrix.apply(&compute, &x, &mut out);
            out
        };
        assert_eq!(apply(Kernel::detect(), &matrix, &x), one, "{kind:?}");
    }
}

/// How one group becomes 4 bits, weight after weight: `scale * quant - min`.
fn fit(weights: &[f32]) -> (f32, f32) {
    let quant = |x: f32| ((x + 12_582_912.0) - 12_582_912.0).clamp(0.0, 15.0);
    let error = |(scale, min): (f32, f32)| {
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        let off = |weight: f32| scale * quant((weight + min) * inverse) - min - weight;
        weights.iter().fold(0.0, |sum, &weight| {
            let off = off(weight);
            sum + off * off
        })
    };
    let low = weights.iter().copied().fold(0.0, f32::min);
    let high = weights.iter().copied().fold(0.0, f32::max);
    let mut best = ((high - low) / 15.0, -low);
    if high <= low {
        return best;
    }
    let mut least = error(best);
    for step in [-1.0, -0.6, -0.3, 0.0, 0.3, 0.6] {
        let inverse = (15.0 + step) / (high - low);
        let quants: Vec<f32> = weights.iter().map(|x| quant((x - low) * inverse)).collect();
        let sum = quants.iter().fold(0.0, |sum, q| sum + q);
        let squares = quants.iter().fold(0.0, |sum, q| sum + q * q);
        let total = weights.iter().fold(0.0, |sum, w| sum + w);
        let mixed = quants
            .iter()
            .zip(weights)
            .fold(0.0, |sum, (q, w)| sum + q * w);
        let determinant = 32.0 * squares - sum * sum;
        if determinant <= 0.0 {
            continue;
        }
        let scale = (32.0 * mixed - sum * total) / determinant;
        let min = (sum * mixed - squares * total) / determinant;
        let found = if min >= 0.0 {
            (scale, min)
        } else {
            (mixed / squares, 0.0)
        };
        if found.0 > 0.0 && error(found) < least {
            (best, least) = (found, error(found));
        }
    }
    best
}

/// A weight: mostly small, sometimes 0, large or tiny.
fn weight() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -2.0_f32..2.0,
        1 => proptest::sample::select(&[0.0, -0.0, 1.0, 1e-30, -1e-41, 6e4, -3e38][..]),
    ]
}

proptest! {
    #[test]
    fn groups_are_rounded_to_four_bits_as_if_alone(
        weights in proptest::collection::vec(weight(), Q4Block::WEIGHTS),
        shifts in proptest::collection::vec(-3.0_f32..3.0, GROUPS),
        missing in 0..Q4Block::WEIGHTS,
        plain: bool,
    ) {
        let mut weights = weights;
        for (weights, shift) in weights.chunks_mut(BLOCK).zip(shifts) {
            // Some groups have a minimum, some are all of one sign, some are what they are.
            let shift = if plain || shift.abs() < 1.0 { 0.0 } else { shift };
            for weight in weights {
                *weight += shift;
            }
        }
        let end = if plain { weights.len() } else { weights.len() - missing };
        let mut whole = weights.clone();
        whole[end..].fill(0.0);
        let fits: Vec<_> = whole.chunks(BLOCK).map(fit).collect();
        let scale = fits.iter().fold(0.0_f32, |most, fit| most.max(fit.0)) / 63.0;
        let min = fits.iter().fold(0.0_f32, |most, fit| most.max(fit.1)) / 63.0;
        for kernel in kernels() {
            let block = kernel.quantize_q4(&weights[..end]);
            prop_assert_eq!(block.scale.to_bits(), f16::from_f32(scale).to_bits());
            prop_assert_eq!(block.min.to_bits(), f16::from_f32(min).to_bits());
            let inverse = |x: f16| if x.to_f32() > 0.0 { 1.0 / x.to_f32() } else { 0.0 };
            let (of_scale, of_min) = (inverse(block.scale), inverse(block.min));
            for (group, fit) in fits.iter().enumerate() {
                // What is not a number becomes 0.
                let six = |x: f32| x.round_ties_even().clamp(0.0, 63.0).max(0.0);
                prop_assert_eq!(f32::from(block.scales[group]), six(fit.0 * of_scale));
                prop_assert_eq!(f32::from(block.mins[group]), six(fit.1 * of_min));
                let (scale, min) = block.affine(group);
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                for (i, weight) in whole[group * BLOCK..][..BLOCK].iter().enumerate() {
                    let expect = ((weight + min) * inverse).round_ties_even().clamp(0.0, 15.0);
                    let quant = f32::from(block.quant(group * BLOCK + i));
                    prop_assert_eq!(quant, expect.max(0.0));
                }
            }
        }
    }
}
