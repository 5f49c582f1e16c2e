//! Which of a decision's models.

use xxhash_rust::xxh3::xxh3_64;

use crate::config::{
    Decision, Fallback, LatencyAware, ModelRef, MultiFactor, RouterConfig, Selection,
};
use crate::statistics::ModelStatistics;

/// What a choice is made from, beside the decision.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    pub(crate) config: &'a RouterConfig,
    pub(crate) statistics: &'a ModelStatistics,
    /// A weighted choice is drawn from the request id, so that a request that is repeated with its
    /// id goes to the same model.
    pub(crate) request_id: &'a str,
}

/// What is known of one candidate.
struct Candidate<'a> {
    model: &'a ModelRef,
    quality: f64,
    /// Mean of the prices per million tokens.
    cost: Option<f64>,
    /// Milliseconds.
    ttft: Option<f64>,
    /// Milliseconds.
    tpot: Option<f64>,
    inflight: u64,
}

/// Chooses a candidate. Equals are decided by the order of the file, so that the same observations
/// always give the same choice.
pub(crate) fn choose<'a>(decision: &'a Decision, among: Candidates<'_>) -> Option<&'a ModelRef> {
    match &decision.selection {
        Selection::Static => heaviest(&decision.models),
        Selection::Weighted => draw(&decision.models, among.request_id),
        Selection::LatencyAware(settings) => {
            let candidates = among.observe(
                &decision.models,
                settings.ttft_percentile,
                settings.tpot_percentile,
            );
            fastest(&candidates, settings)
        }
        Selection::MultiFactor(settings) => {
            let percentile = Some(settings.latency_percentile);
            let candidates = among.observe(&decision.models, percentile, percentile);
            best(candidates, settings)
        }
    }
}

impl Candidates<'_> {
    #[allow(
        clippy::cast_precision_loss,
        reason = "an index of a candidate is far below 2^53, where the cast is exact"
    )]
    fn observe<'a>(
        &self,
        models: &'a [ModelRef],
        ttft_percentile: Option<u8>,
        tpot_percentile: Option<u8>,
    ) -> Vec<Candidate<'a>> {
        let observe = |model: &'a ModelRef| {
            let name = model.served_name();
            let settings = self.config.model(&model.model);
            let quality = settings.and_then(|settings| settings.quality);
            let pricing = settings.and_then(|settings| settings.pricing.as_ref());
            Candidate {
                model,
                quality: f64::from(quality.unwrap_or(model.weight)),
                cost: pricing.map(crate::config::Pricing::blended_per_1m),
                ttft: ttft_percentile.and_then(|rank| self.statistics.ttft_ms(name, rank)),
                tpot: tpot_percentile.and_then(|rank| self.statistics.tpot_ms(name, rank)),
                inflight: self.statistics.inflight(name),
            }
        };
        models.iter().map(observe).collect()
    }
}

fn heaviest(models: &[ModelRef]) -> Option<&ModelRef> {
    let mut models = models.iter();
    let first = models.next()?;
    Some(models.fold(first, |best, model| {
        if model.weight > best.weight {
            model
        } else {
            best
        }
    }))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a share of the 64-bit range needs no more than the digits of an f32"
)]
fn draw<'a>(models: &'a [ModelRef], request_id: &str) -> Option<&'a ModelRef> {
    let total: f32 = models.iter().map(|model| model.weight).sum();
    let share = xxh3_64(request_id.as_bytes()) as f32 / u64::MAX as f32;
    let mut left = share * total;
    for model in models {
        left -= model.weight;
        if left < 0.0 {
            return Some(model);
        }
    }
    models.last()
}

/// The lowest sum of latencies, each in proportion to the lowest among the candidates. A model that
/// was never observed counts as the fastest, so that it gets observed.
fn fastest<'a>(candidates: &[Candidate<'a>], settings: &LatencyAware) -> Option<&'a ModelRef> {
    let ttft = settings.ttft_percentile.is_some();
    let tpot = settings.tpot_percentile.is_some();
    let lowest = |of: fn(&Candidate<'_>) -> Option<f64>| {
        let known = candidates.iter().filter_map(of);
        known.fold(f64::MAX, f64::min).max(f64::MIN_POSITIVE)
    };
    let (least_ttft, least_tpot) = (lowest(|one| one.ttft), lowest(|one| one.tpot));
    let slowness = |one: &Candidate<'_>| {
        let relative = |wanted: bool, value: Option<f64>, least: f64| {
            if wanted {
                value.map_or(0.0, |value| value / least)
            } else {
                0.0
            }
        };
        relative(ttft, one.ttft, least_ttft) + relative(tpot, one.tpot, least_tpot)
    };
    lowest_first(candidates.iter(), slowness)
}

/// The first candidate of the lowest value.
fn lowest_first<'a, 'c>(
    candidates: impl Iterator<Item = &'c Candidate<'a>>,
    value: impl Fn(&Candidate<'a>) -> f64,
) -> Option<&'a ModelRef>
where
    'a: 'c,
{
    let least = candidates.min_by(|left, right| value(left).total_cmp(&value(right)));
    least.map(|one| one.model)
}

fn best<'a>(candidates: Vec<Candidate<'a>>, settings: &MultiFactor) -> Option<&'a ModelRef> {
    let limits = settings.limits;
    let keeps = |one: &Candidate<'_>| {
        let within = |value: Option<f64>, most: Option<f64>| {
            value.zip(most).is_none_or(|(value, most)| value <= most)
        };
        within(one.ttft, limits.max_ttft_ms)
            && within(one.tpot, limits.max_tpot_ms)
            && within(one.cost, limits.max_cost_per_1m)
            && limits.max_inflight.is_none_or(|most| one.inflight <= most)
    };
    let (within, beyond): (Vec<_>, Vec<_>) = candidates.into_iter().partition(keeps);
    if within.is_empty() {
        return fall_back(&beyond, settings);
    }
    let quality = Scale::of(within.iter().map(|one| Some(one.quality)));
    let cost = Scale::of(within.iter().map(|one| one.cost));
    let ttft = Scale::of(within.iter().map(|one| one.ttft));
    let tpot = Scale::of(within.iter().map(|one| one.tpot));
    let load = Scale::of(within.iter().map(|one| Some(load(one))));
    let weights = settings.weights;
    // What is unknown is neither good nor bad.
    let good = |scale: &Scale, value: Option<f64>| value.map_or(0.5, |value| scale.place(value));
    let lack = |one: &Candidate<'a>| {
        let latency = f64::midpoint(good(&ttft, one.ttft), good(&tpot, one.tpot));
        weights.quality * (1.0 - good(&quality, Some(one.quality)))
            + weights.latency * latency
            + weights.cost * good(&cost, one.cost)
            + weights.load * good(&load, Some(self::load(one)))
    };
    lowest_first(within.iter(), lack)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "requests in flight are far below 2^53, where the cast is exact"
)]
fn load(one: &Candidate<'_>) -> f64 {
    one.inflight as f64
}

fn fall_back<'a>(candidates: &[Candidate<'a>], settings: &MultiFactor) -> Option<&'a ModelRef> {
    match settings.fallback {
        Fallback::First => candidates.first().map(|one| one.model),
        Fallback::Best => lowest_first(candidates.iter(), |one| -one.quality),
        Fallback::Cheapest => lowest_first(candidates.iter(), |one| one.cost.unwrap_or(f64::MAX)),
        Fallback::Fastest => {
            let both = LatencyAware {
                ttft_percentile: Some(settings.latency_percentile),
                tpot_percentile: Some(settings.latency_percentile),
            };
            fastest(candidates, &both)
        }
    }
}

/// The range of a factor among the candidates.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = Option<f64>>) -> Self {
        let mut scale = Self {
            least: f64::MAX,
            most: f64::MIN,
        };
        for value in values.flatten() {
            scale.least = scale.least.min(value);
            scale.most = scale.most.max(value);
        }
        scale
    }

    /// 0 for the least, 1 for the most, and 0 where all are equal.
    fn place(&self, value: f64) -> f64 {
        let width = self.most - self.least;
        if width > 0.0 {
            (value - self.least) / width
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests;
