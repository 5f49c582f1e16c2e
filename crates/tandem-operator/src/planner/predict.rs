//! What the next interval will be like, judged by those before.
//!
//! Series are evenly spaced, the latest value last. What is not a number says nothing and is
//! skipped; a prediction is never negative, because everything that is predicted is a quantity.

use clap::ValueEnum;

/// Weight of the latest value in the level.
const LEVEL: f64 = 0.5;
/// Weight of the latest change in the trend.
const TREND: f64 = 0.2;
/// Weight of the latest deviation in the season.
const SEASON: f64 = 0.3;
/// Share of the trend that is believed to go on: less than all of it, so that a ramp that ends
/// is not followed beyond its end for long (Gardner and McKenzie, 1985).
const DAMPING: f64 = 0.9;
/// Fewest values that a trend is read from.
const LEAST_TREND: usize = 4;

/// How the next value is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// It will be as the last one was
    Constant,
    /// It will be the mean of the last ones
    MovingAverage,
    /// It will go on as it went: exponential smoothing with a damped trend
    #[value(alias = "arima", alias = "kalman")]
    Trend,
    /// It will go on as it went, with what repeats every period: Holt and Winters' smoothing
    #[value(alias = "prophet")]
    Seasonal,
}

/// A method with its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predictor {
    /// How to guess.
    pub method: Method,
    /// Values that a moving average is over; at least 1 is taken.
    pub window: usize,
    /// Values in a period of [`Method::Seasonal`].
    pub period: usize,
}

impl Predictor {
    /// How many values back it looks.
    pub fn memory(&self) -> usize {
        match self.method {
            Method::Constant => 1,
            Method::MovingAverage | Method::Trend => self.window.max(LEAST_TREND),
            Method::Seasonal => self.window.max(4 * self.period),
        }
    }

    /// The next value after `series`; `None` if that has none that is a number.
    pub fn predict(&self, series: impl IntoIterator<Item = f64>) -> Option<f64> {
        let known = series.into_iter().filter(|value| value.is_finite());
        let known: Vec<_> = known.collect();
        let last = *known.last()?;
        let predicted = match self.method {
            Method::Constant => last,
            Method::MovingAverage => {
                let start = known.len().saturating_sub(self.window.max(1));
                mean(&known[start..])
            }
            Method::Trend => trend(&known),
            Method::Seasonal => seasonal(&known, self.period),
        };
        // Sums of enormous values may leave the range of numbers.
        Some(
            if predicted.is_finite() {
                predicted
            } else {
                last
            }
            .max(0.0),
        )
    }
}

/// Level and trend of a series.
#[derive(Debug, Clone, Copy)]
struct Line {
    level: f64,
    slope: f64,
}

impl Line {
    fn next(self) -> f64 {
        self.level + DAMPING * self.slope
    }

    fn learn(self, value: f64) -> Self {
        let level = LEVEL * value + (1.0 - LEVEL) * self.next();
        let slope = TREND * (level - self.level) + (1.0 - TREND) * DAMPING * self.slope;
        Self { level, slope }
    }
}

fn trend(series: &[f64]) -> f64 {
    if series.len() < LEAST_TREND {
        return series[series.len() - 1];
    }
    let start = Line {
        level: series[0],
        slope: series[1] - series[0],
    };
    let line = series[1..]
        .iter()
        .fold(start, |line, &value| line.learn(value));
    line.next()
}

/// Falls back to the trend until two whole periods are known.
fn seasonal(series: &[f64], period: usize) -> f64 {
    if period < 2 || series.len() < 2 * period {
        return trend(series);
    }
    let (first, second) = (mean(&series[..period]), mean(&series[period..2 * period]));
    let mut line = Line {
        level: first,
        slope: (second - first) / as_f64(period),
    };
    let mut season: Vec<_> = series[..period].iter().map(|value| value - first).collect();
    for (index, &value) in series.iter().enumerate().skip(period) {
        let usual = &mut season[index % period];
        let next = line.learn(value - *usual);
        *usual = SEASON * (value - next.level) + (1.0 - SEASON) * *usual;
        line = next;
    }
    line.next() + season[series.len() % period]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / as_f64(values.len())
}

#[allow(clippy::cast_precision_loss, reason = "lengths of short series")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METHODS: [Method; 4] = [
        Method::Constant,
        Method::MovingAverage,
        Method::Trend,
        Method::Seasonal,
    ];

    fn predictor(method: Method) -> Predictor {
        Predictor {
            method,
            window: 6,
            period: 12,
        }
    }

    fn predict(method: Method, series: &[f64]) -> f64 {
        predictor(method).predict(series.iter().copied()).unwrap()
    }

    #[test]
    fn a_ramp_goes_on_only_where_trends_are_believed() {
        let ramp: Vec<_> = (0..30).map(|i| 10.0 * f64::from(i)).collect();
        assert!((predict(Method::Constant, &ramp) - 290.0).abs() < 1e-9);
        assert!((predict(Method::MovingAverage, &ramp) - 265.0).abs() < 1e-9);
        let next = predict(Method::Trend, &ramp);
        assert!((290.0..=300.0).contains(&next), "{next}");
    }

    #[test]
    fn a_peak_is_expected_where_the_last_periods_had_one() {
        let day = |hour: usize| if hour % 12 == 8 { 100.0 } else { 10.0 };
        let until_peak: Vec<_> = (0..44).map(day).collect();
        let next = predict(Method::Seasonal, &until_peak);
        assert!((90.0..=110.0).contains(&next), "{next}");
        assert!(predict(Method::Trend, &until_peak) < 30.0);
        let after: Vec<_> = (0..45).map(day).collect();
        assert!(predict(Method::Seasonal, &after) < 30.0);
    }

    #[test]
    fn nothing_known_predicts_nothing() {
        for method in METHODS {
            let predictor = predictor(method);
            assert_eq!(predictor.predict([]), None);
            assert_eq!(predictor.predict([f64::NAN, f64::INFINITY]), None);
            assert_eq!(predictor.predict([f64::NAN, 3.0]), Some(3.0));
        }
    }

    proptest! {
        #[test]
        fn a_prediction_is_a_quantity(series in prop::collection::vec(any::<f64>(), 1..60)) {
            for method in METHODS {
                if let Some(next) = predictor(method).predict(series.iter().copied()) {
                    prop_assert!(next >= 0.0 && next.is_finite(), "{method:?}: {next}");
                }
            }
        }

        #[test]
        fn what_stays_is_expected_to_stay(value in 0.0..1e6_f64, count in 1..80_usize) {
            for method in METHODS {
                let next = predict(method, &vec![value; count]);
                prop_assert!((next - value).abs() <= 1e-9 * value.max(1.0), "{method:?}: {next}");
            }
        }

        #[test]
        fn a_mean_lies_within(series in prop::collection::vec(0.0..1e6_f64, 1..40)) {
            let next = predict(Method::MovingAverage, &series);
            let most = series.iter().copied().fold(0.0, f64::max);
            let least = series.iter().copied().fold(f64::MAX, f64::min);
            prop_assert!(next >= least - 1e-6 && next <= most + 1e-6);
        }

        /// Twice the traffic all the time is expected to be twice the traffic.
        #[test]
        fn predictions_scale(series in prop::collection::vec(0.0..1e5_f64, 1..60)) {
            let twice: Vec<_> = series.iter().map(|value| 2.0 * value).collect();
            for method in METHODS {
                let (one, two) = (predict(method, &series), predict(method, &twice));
                prop_assert!((two - 2.0 * one).abs() <= 1e-6 * (1.0 + two), "{method:?}");
            }
        }
    }
}
