//! Which of a decision's models.

use std::borrow::Cow;
use std::time::Instant;

use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::prefix::PromptPrefixes;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::{
    Decision, Fallback, LatencyAware, LoadAware, ModelRef, MultiFactor, RouterConfig, Selection,
};
use crate::explain::FirstTokenPrediction;
use crate::load_view::first_token;
use crate::plugin::system_prompt;
use crate::statistics::ModelStatistics;

/// What a choice is made from, beside the decision.
#[derive(Clone, Copy)]
pub(crate) struct Candidates<'a> {
    pub(crate) config: &'a RouterConfig,
    pub(crate) statistics: &'a ModelStatistics,
    /// A weighted choice is drawn from the request id, so that a request that is repeated with its
    /// id goes to the same model.
    pub(crate) request_id: &'a str,
    /// The request, in which prompts are found that servers have cached.
    pub(crate) body: &'a JsonObject,
    /// Decides which views of the load are too old.
    pub(crate) now: Instant,
}

/// A choice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chosen<'a> {
    pub(crate) model: &'a ModelRef,
    /// What decided among those that were close; empty if scores alone did.
    pub(crate) predictions: Vec<FirstTokenPrediction>,
}

/// A candidate and how good it is: more is better.
type Scored<'a> = (&'a ModelRef, f64);

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
pub(crate) fn choose<'a>(decision: &'a Decision, among: Candidates<'_>) -> Option<Chosen<'a>> {
    let scored = match &decision.selection {
        Selection::Static => weights(&decision.models),
        Selection::Weighted => {
            let drawn = draw(&decision.models, among.request_id);
            drawn.map(|model| (model, 1.0)).into_iter().collect()
        }
        Selection::LatencyAware(settings) => {
            let candidates = among.observe(
                &decision.models,
                settings.ttft_percentile,
                settings.tpot_percentile,
            );
            speeds(&candidates, settings)
        }
        Selection::MultiFactor(settings) => {
            let percentile = Some(settings.latency_percentile);
            let candidates = among.observe(&decision.models, percentile, percentile);
            weigh(candidates, settings)
        }
    };
    let best = best(&scored)?;
    if let Some(load_aware) = decision.load_aware {
        let close = close(&scored, best.1, load_aware);
        if close.len() > 1 {
            return Some(among.soonest(decision, best.0, &close));
        }
    }
    Some(Chosen {
        model: best.0,
        predictions: Vec::new(),
    })
}

/// The first candidate of the highest score.
fn best<'a>(scored: &[Scored<'a>]) -> Option<Scored<'a>> {
    let mut scored = scored.iter().copied();
    let first = scored.next()?;
    Some(scored.fold(first, |best, one| if one.1 > best.1 { one } else { best }))
}

/// The candidates whose score is less than the best one by at most the tolerance, the best first.
fn close<'a>(scored: &[Scored<'a>], best: f64, settings: LoadAware) -> Vec<&'a ModelRef> {
    let least = best * (1.0 - settings.tolerance);
    let near = scored.iter().copied().filter(|(_, score)| *score >= least);
    let mut close: Vec<Scored<'a>> = near.collect();
    // A stable sort: equals keep the order of the file.
    close.sort_by(|left, right| right.1.total_cmp(&left.1));
    close.into_iter().map(|(model, _)| model).collect()
}

impl Candidates<'_> {
    /// The one of `close` whose first token should come first, and `best` where nothing is known of
    /// its own: then nothing says that another is sooner.
    fn soonest<'a>(
        &self,
        decision: &Decision,
        best: &'a ModelRef,
        close: &[&'a ModelRef],
    ) -> Chosen<'a> {
        let loads = self.statistics.loads();
        let unknown = |model: &&ModelRef| !loads.contains_key(&model.model);
        if close.iter().any(|model| unknown(model) && **model == *best) {
            return Chosen {
                model: best,
                predictions: Vec::new(),
            };
        }
        let prompts = self.prompts(decision);
        let predict = |model: &ModelRef| {
            let views = loads.get(&model.model)?;
            let since = self.statistics.sent_since(model.served_name());
            let each = prompts
                .iter()
                .map(|prompt| first_token(views, prompt, since, self.now));
            each.reduce(|one, other| Some(one?.max(other?)))?
        };
        let seconds: Vec<Option<f64>> = close.iter().map(|model| predict(model)).collect();
        let mut chosen = (best, f64::MAX);
        for (model, seconds) in std::iter::zip(close, &seconds) {
            if let Some(seconds) = *seconds
                && seconds < chosen.1
            {
                chosen = (*model, seconds);
            }
        }
        let own = std::iter::zip(close, &seconds).find(|(model, _)| ***model == *best);
        if own.is_none_or(|(_, seconds)| seconds.is_none()) {
            chosen.0 = best;
        }
        let predictions = std::iter::zip(close, seconds).map(|(model, seconds)| {
            let model = model.served_name().to_owned();
            FirstTokenPrediction { model, seconds }
        });
        Chosen {
            model: chosen.0,
            predictions: predictions.collect(),
        }
    }

    /// The beginnings of the prompts as the models of `decision` would get them.
    fn prompts(&self, decision: &Decision) -> Vec<PromptPrefixes> {
        let mut body = Cow::Borrowed(self.body);
        if let Some(prompt) = &decision.plugins.system_prompt {
            system_prompt::inject(body.to_mut(), prompt);
        }
        PromptPrefixes::of(&body)
    }

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

fn weights(models: &[ModelRef]) -> Vec<Scored<'_>> {
    let scored = models.iter().map(|model| (model, f64::from(model.weight)));
    scored.collect()
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

/// Scores by the sum of latencies, each in proportion to the lowest among the candidates. A model
/// that was never observed counts as the fastest, so that it gets observed.
fn speeds<'a>(candidates: &[Candidate<'a>], settings: &LatencyAware) -> Vec<Scored<'a>> {
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
    let score = |one: &Candidate<'a>| (one.model, 1.0 / slowness(one));
    candidates.iter().map(score).collect()
}

/// The first candidate of the lowest value.
fn lowest_first<'a>(
    candidates: &[Candidate<'a>],
    value: impl Fn(&Candidate<'a>) -> f64,
) -> Option<&'a ModelRef> {
    let least = candidates
        .iter()
        .min_by(|left, right| value(left).total_cmp(&value(right)));
    least.map(|one| one.model)
}

/// Scores of the candidates within the limits, or of the one that is taken if there is none.
fn weigh<'a>(candidates: Vec<Candidate<'a>>, settings: &MultiFactor) -> Vec<Scored<'a>> {
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
        let taken = fall_back(&beyond, settings);
        return taken.map(|model| (model, 1.0)).into_iter().collect();
    }
    let quality = Scale::of(within.iter().map(|one| Some(one.quality)));
    let cost = Scale::of(within.iter().map(|one| one.cost));
    let ttft = Scale::of(within.iter().map(|one| one.ttft));
    let tpot = Scale::of(within.iter().map(|one| one.tpot));
    let load = Scale::of(within.iter().map(|one| Some(load(one))));
    let weights = settings.weights;
    // What is unknown is neither good nor bad.
    let good = |scale: &Scale, value: Option<f64>| value.map_or(0.5, |value| scale.place(value));
    let score = |one: &Candidate<'a>| {
        let latency = f64::midpoint(good(&ttft, one.ttft), good(&tpot, one.tpot));
        let score = weights.quality * good(&quality, Some(one.quality))
            + weights.latency * (1.0 - latency)
            + weights.cost * (1.0 - good(&cost, one.cost))
            + weights.load * (1.0 - good(&load, Some(self::load(one))));
        (one.model, score)
    };
    within.iter().map(score).collect()
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
        Fallback::Best => lowest_first(candidates, |one| -one.quality),
        Fallback::Cheapest => lowest_first(candidates, |one| one.cost.unwrap_or(f64::MAX)),
        Fallback::Fastest => {
            let both = LatencyAware {
                ttft_percentile: Some(settings.latency_percentile),
                tpot_percentile: Some(settings.latency_percentile),
            };
            best(&speeds(candidates, &both)).map(|(model, _)| model)
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
