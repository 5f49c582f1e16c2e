//! The figures as a table, and ours against the better of the others'.

use crate::measure::Figures;

struct Row {
    name: &'static str,
    figure: fn(&Figures) -> f64,
    /// Whether less is better.
    cost: bool,
}

const ROWS: [Row; 13] = [
    cost("store, ns of CPU per block", |figures| figures.store),
    cost("remove, ns of CPU per block", |figures| figures.remove),
    cost("trace's events, ns of CPU per block", |figures| {
        figures.trace
    }),
    cost("trace's events on two threads, ns per block", |figures| {
        figures.trace_two_threads
    }),
    cost(
        "trace's events on two threads, ns of CPU per block",
        |figures| figures.trace_two_threads_cpu,
    ),
    cost("match p50, ns", |figures| figures.match_p50),
    cost("match p99, ns", |figures| figures.match_p99),
    cost("match of 2,000 blocks p99, ns", |figures| {
        figures.long_match_p99
    }),
    cost("match, ns of CPU", |figures| figures.match_cpu),
    gain("matches/s on two threads", |figures| {
        figures.matches_per_second_two_threads
    }),
    cost("match p99 while events are applied, ns", |figures| {
        figures.busy_match_p99
    }),
    gain("matches/s while events are applied", |figures| {
        figures.busy_matches_per_second
    }),
    cost("bytes per block", |figures| figures.bytes),
];

/// Prints the figures of the indexes, ours first.
pub fn print(columns: &[(&str, Figures)]) {
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    println!("| | {} | better than the best other |", names.join(" | "));
    println!("|---|{}", "---|".repeat(columns.len() + 1));
    for row in &ROWS {
        let figures = columns.iter().map(|(_, figures)| (row.figure)(figures));
        // An index that has no such figure has 0.
        let figures: Vec<_> = figures
            .map(|figure| (figure > 0.0).then_some(figure))
            .collect();
        let Some((Some(ours), others)) =
            figures.split_first().map(|(ours, others)| (*ours, others))
        else {
            continue;
        };
        let others = others.iter().flatten().copied();
        let best = if row.cost {
            others.reduce(f64::min)
        } else {
            others.reduce(f64::max)
        };
        let ratio = best.map(|best| if row.cost { best / ours } else { ours / best });
        let cells = figures
            .iter()
            .map(|figure| figure.map_or("-".to_owned(), |it| format!("{it:.0}")));
        let cells: Vec<_> = cells.collect();
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1}x"));
        println!("| {} | {} | {ratio} |", row.name, cells.join(" | "));
    }
    println!();
}

const fn cost(name: &'static str, figure: fn(&Figures) -> f64) -> Row {
    Row {
        name,
        figure,
        cost: true,
    }
}

const fn gain(name: &'static str, figure: fn(&Figures) -> f64) -> Row {
    Row {
        name,
        figure,
        cost: false,
    }
}
