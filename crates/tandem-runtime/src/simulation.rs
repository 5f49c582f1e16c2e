//! Which simulations of the network tests run. Every simulation has a seed, which a failure prints.
//! `TANDEM_SEED=7` runs that one only, and `TANDEM_SEEDS=1000` as many.

use std::ops::Range;

/// Seeds to run: `count` unless the environment says otherwise.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let number = |name| {
        let value = std::env::var_os(name)?;
        value.to_str()?.parse::<u64>().ok()
    };
    let seeds: Range<u64> = match number("TANDEM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TANDEM_SEEDS").unwrap_or(count),
    };
    seeds.inspect(|seed| println!("TANDEM_SEED={seed}"))
}
