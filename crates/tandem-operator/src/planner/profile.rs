//! What one worker can do, as a profiler measured it.
//!
//! The form is JSON with the names of Dynamo's profiler, whose tables these are:
//!
//! ```json
//! {"prefill": {"prefill_isl": [512, 4096],
//!              "prefill_ttft": [60, 410],
//!              "prefill_thpt_per_gpu": [8500, 9900]},
//!  "decode": {"x_kv_usage": [0.1, 0.9, 0.1, 0.9],
//!             "y_context_length": [1000, 1000, 4000, 4000],
//!             "z_itl": [8, 21, 9, 26],
//!             "z_thpt_per_gpu": [900, 3100, 300, 1100],
//!             "max_kv_tokens": 160000}}
//! ```
//!
//! Times are in milliseconds, throughputs in tokens per second and GPU. Between measurements,
//! figures are interpolated linearly; beyond them, the nearest one counts, because nobody has
//! measured that a worker can do more.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Points of KV usage at which a throughput is looked for.
const STEPS: u32 = 100;

/// What one worker can do.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// With prompts.
    pub prefill: PrefillProfile,
    /// With answers.
    pub decode: DecodeProfile,
}

/// Times and throughput by length of the prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PrefillProfile {
    first_token: Curve,
    throughput: Curve,
}

/// Times and throughput by share of KV blocks in use, for some context lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeProfile {
    /// Curves over KV usage, ascending by context length.
    contexts: Vec<(f64, Curve, Curve)>,
    max_kv_tokens: f64,
}

/// Why a profile is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not the JSON that is asked for.
    #[error("failed to read the profile as JSON; docs/planner.md shows its form")]
    Json(#[from] serde_json::Error),
    /// Its figures make no sense.
    #[error("failed to use the profile: {0}")]
    Figures(String),
}

/// A function between measured points, ascending.
#[derive(Debug, Clone, PartialEq)]
struct Curve(Vec<(f64, f64)>);

#[derive(Deserialize)]
struct Tables {
    prefill: PrefillTable,
    decode: DecodeTable,
}

#[derive(Deserialize)]
struct PrefillTable {
    prefill_isl: Vec<f64>,
    prefill_ttft: Vec<f64>,
    prefill_thpt_per_gpu: Vec<f64>,
}

#[derive(Deserialize)]
struct DecodeTable {
    x_kv_usage: Vec<f64>,
    y_context_length: Vec<f64>,
    z_itl: Vec<f64>,
    z_thpt_per_gpu: Vec<f64>,
    max_kv_tokens: f64,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// It is not JSON of that form, or a table is empty, uneven or not positive.
    pub fn parse(json: &[u8]) -> Result<Self, ProfileError> {
        let Tables { prefill, decode } = serde_json::from_slice(json)?;
        Ok(Self {
            prefill: PrefillProfile {
                first_token: curve("prefill_ttft", &prefill.prefill_isl, &prefill.prefill_ttft)?
                    .scaled(1e-3),
                throughput: curve(
                    "prefill_thpt_per_gpu",
                    &prefill.prefill_isl,
                    &prefill.prefill_thpt_per_gpu,
                )?,
            },
            decode: DecodeProfile::new(&decode)?,
        })
    }
}

impl PrefillProfile {
    /// Time to the first token of a prompt of so many tokens, in seconds.
    pub fn first_token(&self, prompt: f64) -> f64 {
        self.first_token.at(prompt)
    }

    /// Prompt tokens per second and GPU.
    pub fn throughput(&self, prompt: f64) -> f64 {
        self.throughput.at(prompt)
    }
}

impl DecodeProfile {
    fn new(table: &DecodeTable) -> Result<Self, ProfileError> {
        let points = table.x_kv_usage.len();
        if [&table.y_context_length, &table.z_itl, &table.z_thpt_per_gpu]
            .iter()
            .any(|column| column.len() != points)
        {
            return Err(ProfileError::Figures(
                "the columns of decode differ in length".to_owned(),
            ));
        }
        if !(table.max_kv_tokens.is_finite() && table.max_kv_tokens > 0.0) {
            return Err(ProfileError::Figures(
                "max_kv_tokens must be positive".to_owned(),
            ));
        }
        let mut rows: BTreeMap<u64, [Vec<f64>; 3]> = BTreeMap::new();
        for index in 0..points {
            let context = table.y_context_length[index];
            if !(context.is_finite() && context > 0.0) {
                return Err(ProfileError::Figures(
                    "y_context_length must be positive".to_owned(),
                ));
            }
            // Positive numbers have the order of their bits.
            let [usage, time, throughput] = rows.entry(context.to_bits()).or_default();
            usage.push(table.x_kv_usage[index]);
            time.push(table.z_itl[index]);
            throughput.push(table.z_thpt_per_gpu[index]);
        }
        let contexts = rows
            .into_iter()
            .map(|(context, [usage, time, throughput])| {
                let time = curve("z_itl", &usage, &time)?.scaled(1e-3);
                let throughput = curve("z_thpt_per_gpu", &usage, &throughput)?;
                Ok((f64::from_bits(context), time, throughput))
            });
        let contexts: Vec<_> = contexts.collect::<Result<_, ProfileError>>()?;
        if contexts.is_empty() {
            return Err(ProfileError::Figures("decode has no points".to_owned()));
        }
        Ok(Self {
            contexts,
            max_kv_tokens: table.max_kv_tokens,
        })
    }

    /// Time between tokens, in seconds, of a worker that holds so many tokens in contexts of this
    /// length.
    pub fn inter_token(&self, kv_tokens: f64, context: f64) -> f64 {
        self.between(context, |(_, time, _)| {
            time.at(kv_tokens / self.max_kv_tokens)
        })
    }

    /// Most tokens per second and GPU with no more than `limit` seconds between tokens; those of
    /// the emptiest worker that was measured if even that takes longer.
    pub fn throughput_within(&self, limit: f64, context: f64) -> f64 {
        let usages = (0..=STEPS)
            .rev()
            .map(|step| f64::from(step) / f64::from(STEPS));
        let mut within =
            usages.filter(|usage| self.between(context, |(_, time, _)| time.at(*usage)) <= limit);
        let usage = within.next().unwrap_or(0.0);
        self.between(context, |(_, _, throughput)| throughput.at(usage))
    }

    /// A figure between the contexts that were measured.
    fn between(&self, context: f64, figure: impl Fn(&(f64, Curve, Curve)) -> f64) -> f64 {
        let points = self.contexts.iter().map(|row| (row.0, figure(row)));
        Curve(points.collect()).at(context)
    }
}

impl Curve {
    fn scaled(self, factor: f64) -> Self {
        Self(self.0.into_iter().map(|(x, y)| (x, y * factor)).collect())
    }

    fn at(&self, x: f64) -> f64 {
        let after = self.0.partition_point(|point| point.0 < x);
        let last = self.0[self.0.len() - 1];
        let &(right, high) = self.0.get(after).unwrap_or(&last);
        let Some(&(left, low)) = after.checked_sub(1).and_then(|before| self.0.get(before)) else {
            return high;
        };
        if x >= right || right <= left {
            return high;
        }
        low + (high - low) * (x - left) / (right - left)
    }
}

/// Checks a table and puts it into order.
fn curve(name: &str, xs: &[f64], ys: &[f64]) -> Result<Curve, ProfileError> {
    let wrong = |what: &str| Err(ProfileError::Figures(format!("{name} {what}")));
    if xs.len() != ys.len() {
        return wrong("has another length than what it depends on");
    }
    if xs.is_empty() {
        return wrong("is empty");
    }
    if xs.iter().any(|x| !x.is_finite()) || ys.iter().any(|y| !(y.is_finite() && *y > 0.0)) {
        return wrong("has figures that are not positive");
    }
    let mut points: Vec<_> = xs.iter().copied().zip(ys.iter().copied()).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    Ok(Curve(points))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::planner) const EXAMPLE: &str = r#"
        {"prefill": {"prefill_isl": [512, 4096], "prefill_ttft": [60, 410],
                     "prefill_thpt_per_gpu": [8500, 9900]},
         "decode": {"x_kv_usage": [0.1, 0.9, 0.1, 0.9],
                    "y_context_length": [1000, 1000, 4000, 4000],
                    "z_itl": [8, 21, 9, 26], "z_thpt_per_gpu": [900, 3100, 300, 1100],
                    "max_kv_tokens": 160000}}"#;

    fn example() -> Profile {
        Profile::parse(EXAMPLE.as_bytes()).unwrap()
    }

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} is not {other}");
    }

    #[test]
    fn figures_lie_on_lines_between_measurements() {
        let Profile { prefill, decode } = example();
        near(prefill.first_token(2304.0), 0.235);
        near(prefill.first_token(1.0), 0.06);
        near(prefill.throughput(1e9), 9900.0);
        near(decode.inter_token(0.5 * 160_000.0, 1000.0), 0.0145);
        near(decode.inter_token(0.5 * 160_000.0, 2500.0), 0.016);
        // 21 ms is reached at 90% of the blocks, 14.5 ms at half.
        near(decode.throughput_within(0.1, 1000.0), 3100.0);
        near(decode.throughput_within(0.0145, 1000.0), 2000.0);
        near(decode.throughput_within(0.001, 1000.0), 900.0);
    }

    #[test]
    fn tables_that_make_no_sense_are_refused() {
        for (from, to, says) in [
            ("[60, 410]", "[60]", "prefill_ttft"),
            ("[60, 410]", "[60, -1]", "not positive"),
            ("[8, 21, 9, 26]", "[8, 21, 9]", "length"),
            ("160000", "0", "max_kv_tokens"),
            ("\"prefill\"", "\"other\"", "planner.md"),
        ] {
            let error = Profile::parse(EXAMPLE.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn a_looser_limit_never_allows_less(
            limit in 0.0..0.05_f64, more in 0.0..0.05_f64, context in 0.0..9000.0_f64,
        ) {
            let decode = example().decode;
            let (tight, loose) = (decode.throughput_within(limit, context),
                                  decode.throughput_within(limit + more, context));
            prop_assert!(tight > 0.0 && loose >= tight);
        }
    }
}
