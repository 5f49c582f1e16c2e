use proptest::prelude::*;

use super::*;
use crate::engine::embedded::model::{RandomWeights, TensorSource, Values};

fn random(name: &str, shape: &[usize], bf16: bool) -> Values {
    let weights = RandomWeights { seed: 7, bf16 };
    weights.tensor(&format!("{name}.weight"), shape).unwrap()
}

/// What the kernels must give, up to rounding.
fn naive(x: &[f32], weights: &Values, inputs: usize) -> Vec<f64> {
    let dot = |row: &[f32], output: usize| -> f64 {
        let weight = |k| f64::from(weights.get(output * inputs + k));
        (0..inputs).map(|k| f64::from(row[k]) * weight(k)).sum()
    };
    let outputs = weights.len() / inputs;
    x.chunks_exact(inputs)
        .flat_map(|row| (0..outputs).map(move |output| dot(row, output)))
        .collect()
}

/// `[panel][row][LANES]` as `[row][output]`.
fn by_row(product: &[f32], rows: usize, outputs: usize) -> Vec<f32> {
    let at = |row: usize, output: usize| {
        product[((output / LANES) * rows + row) * LANES + output % LANES]
    };
    (0..rows)
        .flat_map(|row| (0..outputs).map(move |output| at(row, output)))
        .collect()
}

fn compute(threads: usize, kernel: Kernel) -> Compute {
    Compute::with_kernel(threads, kernel).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_are_right_and_do_not_depend_on_company(
        rows in 1..140_usize,
        inputs in 1..600_usize,
        outputs in 1..90_usize,
        bf16: bool,
        portable: bool,
    ) {
        let kernel = if portable { Kernel::Portable } else { Kernel::detect() };
        let weights = random("w", &[outputs, inputs], bf16);
        let x = random("x", &[rows, inputs], false).into_f32();
        let matrix = Matrix::pack(std::slice::from_ref(&weights), inputs, Quantization::None);
        let mut product = Vec::new();
        matrix.apply(&compute(3, kernel), &x, &mut product);
        let together = by_row(&product, rows, outputs);
        for (found, expect) in together.iter().zip(naive(&x, &weights, inputs)) {
            prop_assert!((f64::from(*found) - expect).abs() < 1e-3, "{found} {expect}");
        }
        for row in [0, rows / 2, rows - 1] {
            let mut alone = Vec::new();
            matrix.apply(&compute(1, kernel), &x[row * inputs..][..inputs], &mut alone);
            let alone = by_row(&alone, 1, outputs);
            prop_assert_eq!(&together[row * outputs..][..outputs], &alone[..]);
        }
    }
}

#[test]
fn large_products_are_split_without_a_trace() {
    let (rows, inputs, outputs) = (9, 512, 1000);
    let weights = random("w", &[outputs, inputs], true);
    let matrix = Matrix::pack(&[weights], inputs, Quantization::None);
    let x = random("x", &[rows, inputs], false).into_f32();
    let (mut one, mut four) = (Vec::new(), Vec::new());
    matrix.apply(&compute(1, Kernel::detect()), &x, &mut one);
    let threads = compute(4, Kernel::detect());
    threads.run(|| matrix.apply(&threads, &x, &mut four));
    assert_eq!(one, four);
}

#[test]
fn parts_start_new_panels_and_rows_come_back() {
    let check = |bf16: bool| {
        let (first, second) = (random("a", &[20, 24], bf16), random("b", &[5, 24], bf16));
        let matrix = Matrix::pack(&[first.clone(), second.clone()], 24, Quantization::None);
        assert_eq!(matrix.panels(), 3);
        let mut row = vec![0.0; 24];
        for output in 0..20 {
            matrix.copy_row(output, &mut row);
            assert!((0..24).all(|k| row[k] == first.get(output * 24 + k)));
        }
        matrix.copy_row(32, &mut row);
        assert!((0..24).all(|k| row[k] == second.get(k)));
    };
    check(true);
    check(false);
}

#[test]
fn row_operations_agree_between_instruction_sets() {
    let x = random("x", &[1, 40], false).into_f32();
    let up = random("y", &[1, 40], false).into_f32();
    let run = |kernel: Kernel| {
        let mut out = vec![0.0; 160];
        kernel.rms_norm(&x, &up, 1e-5, &mut out[..40]);
        kernel.swiglu(&x, &up, &mut out[40..80]);
        kernel.geglu(&x, &up, &mut out[80..120]);
        out[120..].copy_from_slice(&x);
        kernel.softcap(&mut out[120..], 0.5);
        let mut scores = x[..32].to_vec();
        out.push(kernel.softmax(&mut scores, LANES, 3..20));
        out.extend(scores);
        out
    };
    for (a, b) in run(Kernel::Portable).iter().zip(run(Kernel::detect())) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}
