//! How a decision chooses one of its models.

use super::reader::{Section, unknown};
use crate::config::{
    FactorWeights, Fallback, LatencyAware, Limits, LoadAware, MultiFactor, Selection,
};

/// Algorithms of the original router that are not supported.
const UNSUPPORTED: [&str; 18] = [
    "automix",
    "confidence",
    "elo",
    "fusion",
    "gmtrouter",
    "hybrid",
    "kmeans",
    "knn",
    "mlp",
    "momentum",
    "prompt",
    "ratings",
    "remom",
    "rl_driven",
    "router_dc",
    "session_aware",
    "svm",
    "workflows",
];

const SUPPORTED: [&str; 4] = ["static", "weighted", "latency_aware", "multi_factor"];

/// Percentile when none is configured.
const PERCENTILE: u8 = 50;

pub(super) fn selection(section: &Section<'_>) -> Selection {
    let Some(algorithm) = section.section("algorithm") else {
        return Selection::Static;
    };
    let Some(kind) = algorithm.get("type") else {
        return Selection::Static;
    };
    match kind.text().as_deref() {
        Some("static") | None => Selection::Static,
        Some("weighted") => Selection::Weighted,
        Some("latency_aware") => latency_aware(&algorithm),
        Some("multi_factor") => multi_factor(&algorithm),
        Some(name) if UNSUPPORTED.contains(&name) => {
            kind.warn(format!(
                "accepted, and has no effect because the algorithm `{name}` is not supported: the \
                 model of the highest weight is used"
            ));
            Selection::Static
        }
        Some(name) => {
            let names = SUPPORTED.into_iter().chain(UNSUPPORTED);
            kind.error(unknown("algorithm", name, names));
            Selection::Static
        }
    }
}

/// `load_aware` and `load_tolerance`.
pub(super) fn load_aware(section: &Section<'_>) -> Option<LoadAware> {
    let algorithm = section.section("algorithm")?;
    let tolerance = algorithm.get("load_tolerance");
    let tolerance = tolerance.and_then(|cursor| cursor.number());
    if algorithm.boolean("load_aware") != Some(true) {
        return None;
    }
    if algorithm.text("type").as_deref() == Some("weighted")
        && let Some(at) = algorithm.get("load_aware")
    {
        at.warn("accepted, and has no effect because `weighted` draws models and has no best one");
        return None;
    }
    Some(LoadAware {
        tolerance: tolerance.unwrap_or(LoadAware::DEFAULT_TOLERANCE),
    })
}

fn latency_aware(algorithm: &Section<'_>) -> Selection {
    let settings = algorithm.section("latency_aware");
    let percentile = |key| {
        settings
            .as_ref()
            .and_then(|section| percentile(section, key))
    };
    let (ttft, tpot) = (percentile("ttft_percentile"), percentile("tpot_percentile"));
    let neither = ttft.is_none() && tpot.is_none();
    Selection::LatencyAware(LatencyAware {
        ttft_percentile: ttft.or(neither.then_some(PERCENTILE)),
        tpot_percentile: tpot.or(neither.then_some(PERCENTILE)),
    })
}

fn percentile(section: &Section<'_>, key: &'static str) -> Option<u8> {
    u8::try_from(section.integer(key)?).ok()
}

fn multi_factor(algorithm: &Section<'_>) -> Selection {
    let settings = algorithm.section("multi_factor");
    let settings = settings.as_ref();
    let weights = settings.and_then(|section| section.section("weights"));
    let slo = settings.and_then(|section| section.section("slo"));
    let number = |section: &Option<Section<'_>>, key| {
        let cursor = section.as_ref()?.get(key)?;
        cursor.number()
    };
    // A file that names some factors means these alone.
    let default = if weights.is_some() { 0.0 } else { 1.0 };
    let weight = |key| number(&weights, key).unwrap_or(default);
    let fallbacks = [
        ("cheapest", Fallback::Cheapest),
        ("fastest", Fallback::Fastest),
        ("best", Fallback::Best),
        ("first", Fallback::First),
    ];
    let max_inflight = slo.as_ref().and_then(|slo| slo.integer("max_inflight"));
    let selection = MultiFactor {
        weights: FactorWeights {
            quality: weight("quality"),
            latency: weight("latency"),
            cost: weight("cost"),
            load: weight("load"),
        },
        limits: Limits {
            max_tpot_ms: number(&slo, "max_tpot_ms"),
            max_ttft_ms: number(&slo, "max_ttft_ms"),
            max_cost_per_1m: number(&slo, "max_cost_per_1m"),
            max_inflight: max_inflight.and_then(|number| u64::try_from(number).ok()),
        },
        latency_percentile: settings
            .and_then(|section| percentile(section, "latency_percentile"))
            .unwrap_or(PERCENTILE),
        fallback: settings
            .and_then(|section| section.choice("on_no_candidates", &fallbacks))
            .unwrap_or(Fallback::First),
    };
    Selection::MultiFactor(selection)
}
