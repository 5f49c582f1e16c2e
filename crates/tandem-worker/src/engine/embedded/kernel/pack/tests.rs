use proptest::prelude::*;

use super::*;

/// Numbers that rounding gets wrong first: ends, ties, the smallest, and none at all.
const ODD: [f32; 20] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    127.0,
    -127.0,
    0.5,
    1.5,
    -2.5,
    f32::MIN_POSITIVE,
    -1e-45,
    6e-8,
    -3.1e-6,
    65_504.0,
    -8.4e6,
    f32::MAX,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    -f32::NAN,
];

fn weight() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => -3.0_f32..3.0,
        1 => proptest::sample::select(&ODD[..]),
        // Halves of steps, where the largest is 127.
        1 => (-254_i16..=254).prop_map(|halves| f32::from(halves) / 2.0),
        1 => any::<u32>().prop_map(f32::from_bits),
    ]
}

/// The rows of a panel: blocks of numbers of one kind are mixed with blocks of all kinds.
fn panel() -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1..100_usize).prop_flat_map(|inputs| {
        let plain = proptest::collection::vec(-3.0_f32..3.0, inputs);
        let odd = proptest::collection::vec(weight(), inputs);
        let tiny = proptest::collection::vec((-1e-5_f32..1e-5).prop_map(|x| x * x * x), inputs);
        let ties = (-254_i16..=254).prop_map(|halves| f32::from(halves) / 2.0);
        let ties = proptest::collection::vec(ties, inputs).prop_map(|mut row| {
            row[0] = 127.0;
            row
        });
        proptest::collection::vec(prop_oneof![plain, odd, tiny, ties], LANES)
    })
}

fn rows<T>(panel: &[Vec<T>]) -> Rows<'_, T> {
    std::array::from_fn(|lane| &panel[lane][..])
}

/// The best instruction set of this machine.
fn best() -> Kernel {
    Kernel::detect()
}

type Rounded = (Vec<i8>, Vec<u16>);

fn rounded<T: Weight>(kernel: Kernel, panel: &[Vec<T>]) -> Rounded {
    let blocks = panel[0].len().div_ceil(BLOCK);
    let mut quants = vec![0; blocks * BLOCK * LANES];
    let mut scales = vec![f16::ZERO; blocks * LANES];
    kernel.pack_q8(&rows(panel), (&mut quants, &mut scales));
    let scales = scales.into_iter().map(f16::to_bits).collect();
    (quants, scales)
}

/// What the layout says, with each weight rounded by itself.
fn expected(panel: &[Vec<f32>]) -> Rounded {
    let blocks = panel[0].len().div_ceil(BLOCK);
    let mut quants = vec![0; blocks * BLOCK * LANES];
    let mut scales = vec![0; blocks * LANES];
    for (lane, row) in panel.iter().enumerate() {
        for (block, weights) in row.chunks(BLOCK).enumerate() {
            let largest = weights.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
            let scale = f16::from_f32(largest / 127.0);
            scales[block * LANES + lane] = scale.to_bits();
            let scale = scale.to_f32();
            for (i, weight) in weights.iter().enumerate() {
                let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                let whole = (weight * inverse).round_ties_even().clamp(-127.0, 127.0);
                let place = (block * BLOCK + i / 4 * 4) * LANES + lane * 4 + i % 4;
                #[allow(clippy::cast_possible_truncation, reason = "clamped to 8 bits")]
                let quant = whole as i8;
                quants[place] = quant;
            }
        }
    }
    (quants, scales)
}

proptest! {
    #[test]
    fn rounding_to_eight_bits_is_the_same_on_all_instruction_sets(panel in panel()) {
        let expect = expected(&panel);
        prop_assert_eq!(&rounded(Kernel::Portable, &panel), &expect);
        prop_assert_eq!(&rounded(best(), &panel), &expect);
        let upper = |row: &Vec<f32>| -> Vec<u16> {
            row.iter().map(|x| half::bf16::from_f32(*x).to_bits()).collect()
        };
        let narrow: Vec<_> = panel.iter().map(upper).collect();
        let wide: Vec<Vec<_>> = narrow
            .iter()
            .map(|row| row.iter().map(|bits| bits.widen()).collect())
            .collect();
        let expect = expected(&wide);
        prop_assert_eq!(&rounded(Kernel::Portable, &narrow), &expect);
        prop_assert_eq!(&rounded(best(), &narrow), &expect);
    }

    #[test]
    fn every_number_comes_to_its_place(inputs in 0..600_usize) {
        let number = |lane: usize, k: usize| u16::try_from(lane * 1000 + k).unwrap();
        let panel: Vec<Vec<u16>> = (0..LANES)
            .map(|lane| (0..inputs).map(|k| number(lane, k)).collect())
            .collect();
        let wide: Vec<Vec<f32>> = panel
            .iter()
            .map(|row| row.iter().map(|&number| f32::from(number)).collect())
            .collect();
        for kernel in [Kernel::Portable, best()] {
            let mut words = vec![0; inputs * LANES / 2];
            kernel.pack_bf16(&rows(&panel), &mut words);
            let mut numbers = vec![0.0; inputs * LANES];
            kernel.pack_f32(&rows(&wide), &mut numbers);
            for k in 0..inputs {
                for lane in 0..LANES {
                    let word: u32 = words[k * LANES / 2 + lane % (LANES / 2)];
                    let halves = [word & 0xffff, word >> 16];
                    let expect = number(lane, k);
                    prop_assert_eq!(halves[lane / (LANES / 2)], u32::from(expect));
                    prop_assert_eq!(numbers[k * LANES + lane], f32::from(expect));
                }
            }
        }
    }
}
