//! Element-wise arithmetic of an encoder, written so that the compiler vectorises it.
//!
//! Every function is inlined into the dispatchers of [`super::kernel`], which compile it once per
//! instruction set; `FMA` says whether a fused multiply-add is one instruction there.

/// How many independent sums a reduction keeps.
const LANES: usize = 8;

/// 1.5 * 2^23: adding it rounds to an integer that then stands in the low mantissa bits.
pub(super) const ROUND: f32 = 12_582_912.0;

#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x to within 2e-7 of its value.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Written so that it compiles to one instruction per bound.
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let shifted = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = mul_add::<FMA>(n, -0.693_359_4, x);
    let r = mul_add::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = mul_add::<FMA>(p, r, 1.398_199_9e-3);
    p = mul_add::<FMA>(p, r, 8.333_452e-3);
    p = mul_add::<FMA>(p, r, 4.166_579_6e-2);
    p = mul_add::<FMA>(p, r, 1.666_666_5e-1);
    p = mul_add::<FMA>(p, r, 0.5);
    let value = mul_add::<FMA>(p * r, r, r) + 1.0;
    let power = (shifted.to_bits() << 23).wrapping_add(127 << 23);
    value * f32::from_bits(power)
}

/// The error function to within 2e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf<const FMA: bool>(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / mul_add::<FMA>(0.327_591_1, a, 1.0);
    let mut p = 1.061_405_4;
    p = mul_add::<FMA>(p, t, -1.453_152_1);
    p = mul_add::<FMA>(p, t, 1.421_413_7);
    p = mul_add::<FMA>(p, t, -0.284_496_74);
    p = mul_add::<FMA>(p, t, 0.254_829_6);
    let value = 1.0 - p * t * exp::<FMA>(-a * a);
    value.copysign(x)
}

#[inline(always)]
pub(super) fn gelu<const FMA: bool>(x: f32) -> f32 {
    0.5 * x * (1.0 + erf::<FMA>(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp::<FMA>(2.0 * x))
}

/// The approximation of GELU that some checkpoints were trained with.
#[inline(always)]
pub(super) fn gelu_tanh<const FMA: bool>(x: f32) -> f32 {
    const ROOT: f32 = 0.797_884_6;
    let inner = ROOT * mul_add::<FMA>(0.044_715 * x * x, x, x);
    0.5 * x * (1.0 + tanh::<FMA>(inner))
}

#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn sum_of_squares(values: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks
        .remainder()
        .iter()
        .map(|v| (v - mean) * (v - mean))
        .sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += (value - mean) * (value - mean);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
pub(super) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let mut most = f32::NEG_INFINITY;
    for value in chunks.remainder() {
        most = most.max(*value);
    }
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    lanes.iter().fold(most, |most, lane| most.max(*lane))
}

/// Normalises each row of `input` to mean 0 and variance 1, then scales and shifts it.
#[inline(always)]
pub(super) fn layer_norm<const FMA: bool>(norm: &super::Norm, input: &[f32], output: &mut [f32]) {
    let width = norm.weight.len();
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2^24")]
    let count = width as f32;
    for (row, out) in input
        .chunks_exact(width)
        .zip(output.chunks_exact_mut(width))
    {
        let mean = sum(row) / count;
        let variance = sum_of_squares(row, mean) / count;
        let scale = 1.0 / (variance + norm.eps).sqrt();
        for ((out, value), weight) in out.iter_mut().zip(row).zip(&norm.weight) {
            *out = (value - mean) * scale * weight;
        }
        for (out, bias) in out.iter_mut().zip(&norm.bias) {
            *out += bias;
        }
    }
}

/// Turns a row of scores into probabilities; a score of minus infinity gets almost none.
#[inline(always)]
pub(super) fn softmax<const FMA: bool>(row: &mut [f32]) {
    let most = max(row);
    for value in row.iter_mut() {
        *value = exp::<FMA>(*value - most);
    }
    let scale = 1.0 / sum(row);
    for value in row {
        *value *= scale;
    }
}

/// Applies an activation to every value.
#[inline(always)]
pub(super) fn activate<const FMA: bool>(activation: super::Activation, values: &mut [f32]) {
    use super::Activation;
    match activation {
        Activation::Gelu => values.iter_mut().for_each(|v| *v = gelu::<FMA>(*v)),
        Activation::GeluTanh => values.iter_mut().for_each(|v| *v = gelu_tanh::<FMA>(*v)),
        Activation::Relu => values.iter_mut().for_each(|v| *v = v.max(0.0)),
        Activation::Silu => values.iter_mut().for_each(|v| *v /= 1.0 + exp::<FMA>(-*v)),
        Activation::Tanh => values.iter_mut().for_each(|v| *v = tanh::<FMA>(*v)),
    }
}

/// Per row of `2 * width` values: the activation of the first half times the second half.
#[inline(always)]
pub(super) fn gate<const FMA: bool>(
    activation: super::Activation,
    width: usize,
    input: &mut [f32],
    output: &mut [f32],
) {
    for (row, out) in input
        .chunks_exact_mut(2 * width)
        .zip(output.chunks_exact_mut(width))
    {
        let (values, gates) = row.split_at_mut(width);
        activate::<FMA>(activation, values);
        for ((out, value), gate) in out.iter_mut().zip(values).zip(gates) {
            *out = *value * *gate;
        }
    }
}

/// Rotates each pair `(x[d], x[d + width])` of a head by its position's angle.
#[inline(always)]
pub(super) fn rotate<const FMA: bool>(cos: &[f32], sin: &[f32], head: &mut [f32]) {
    let (left, right) = head.split_at_mut(cos.len());
    for (((a, b), cos), sin) in left.iter_mut().zip(right).zip(cos).zip(sin) {
        let (x, y) = (*a, *b);
        *a = x * cos - y * sin;
        *b = y * cos + x * sin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close() {
        for step in -8_700..8_800 {
            let x = step as f32 / 100.0;
            let expect = f64::from(x).exp();
            let error = (f64::from(exp::<false>(x)) - expect).abs() / expect;
            assert!(error < 3e-7, "{x}: {error}");
        }
        assert!(exp::<false>(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn activations_are_close() {
        // Reference values of torch 2.
        let check = |got: f32, expect: f32| assert!((got - expect).abs() < 2e-6, "{got} {expect}");
        check(gelu::<false>(-3.0), -0.004_049_694_6);
        check(gelu::<false>(-0.5), -0.154_268_8);
        check(gelu::<false>(0.0), 0.0);
        check(gelu::<false>(1.5), 1.399_788_7);
        check(gelu_tanh::<false>(1.5), 1.399_571_5);
        check(gelu_tanh::<false>(-0.5), -0.154_285_9);
        check(tanh::<false>(0.3), 0.291_312_6);
        check(tanh::<false>(-40.0), -1.0);
    }
}
