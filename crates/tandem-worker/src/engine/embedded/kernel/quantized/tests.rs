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
        let weights = Values::F32(vec![signs[1] * 2.0; 512 * 16]);
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
    let mixed = Matrix::pack(&[Values::Q8(eight), second.clone()], 64, Quantization::None);
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
