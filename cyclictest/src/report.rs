//! What was measured, as a table for people and as JSON for programs.

use std::collections::BTreeMap;

use fieldbeat::tag::Nanos;
use serde::Serialize;

use crate::cyclictest::ByCpu;
use crate::gate::Verdict;
use crate::histogram::{Latencies, ratio};
use crate::machine::Machine;
use crate::options::PERIOD_US;

/// The quantiles shown, of ten thousand.
const QUANTILES: [(&str, u64); 4] = [("p50", 5000), ("p99", 9900), ("p99.9", 9990), ("p99.99", 9999)];
/// Those whose ratio is shown.
const RATIOS: [(&str, u64); 3] = [("p50", 5000), ("p99", 9900), ("p99.9", 9990)];

/// Both tools' turns, in order.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    pub probe: Vec<ByCpu>,
    pub cyclictest: Vec<ByCpu>,
    /// By CPU, one a turn.
    pub guards: BTreeMap<u32, Vec<Nanos>>,
    /// CPU time of the probe's executors in all turns, by CPU.
    pub cpu_time: BTreeMap<u32, Nanos>,
}

/// All turns together.
pub fn together(turns: &[ByCpu]) -> ByCpu {
    let mut all = ByCpu::new();
    for (cpu, latencies) in turns.iter().flatten() {
        match all.entry(*cpu) {
            std::collections::btree_map::Entry::Vacant(none) => {
                none.insert(latencies.clone());
            }
            std::collections::btree_map::Entry::Occupied(mut some) => some.get_mut().merge(latencies),
        }
    }
    all
}

/// One tool on one CPU.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub tool: &'static str,
    pub cpu: u32,
    pub count: u64,
    pub min_us: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub p9999_us: f64,
    pub max_us: f64,
    /// Beats that passed before their wake-up came.
    pub missed: u64,
    /// What only cyclictest's counts know: above its histogram.
    pub above_histogram: u64,
    /// Whole microseconds, cut off, and how often.
    pub histogram_us: Vec<(u64, u64)>,
}

impl Row {
    fn of(tool: &'static str, cpu: u32, latencies: &Latencies) -> Row {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantile = |of_10000| us(latencies.quantile_ns(of_10000));
        let [p50_us, p99_us, p999_us, p9999_us] = QUANTILES.map(|(_, of_10000)| quantile(of_10000));
        Row {
            tool,
            cpu,
            count: latencies.count(),
            min_us: us(latencies.min_ns()),
            p50_us,
            p99_us,
            p999_us,
            p9999_us,
            max_us: us(latencies.max_ns()),
            missed: latencies.missed(PERIOD_US * 1000),
            above_histogram: latencies.overflow(),
            histogram_us: latencies.by_us().into_iter().collect(),
        }
    }
}

/// Fieldbeat's quantile to cyclictest's, on one CPU.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    pub cpu: u32,
    pub quantile: &'static str,
    /// Of all turns together.
    pub all: f64,
    /// The median of the turns' ratios, which one disturbed turn does not move.
    pub median_of_turns: f64,
    pub turns: Vec<f64>,
}

/// Everything, as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub program: String,
    pub machine: Machine,
    pub options: BTreeMap<&'static str, serde_json::Value>,
    /// What the machine did not give.
    pub missing: Vec<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
    pub results: Vec<Row>,
    pub ratios: Vec<Ratio>,
    /// By CPU, one a turn.
    pub guards_us: BTreeMap<u32, Vec<f64>>,
    /// What the probe's executor used of its CPU, by CPU: waking, spinning, reporting.
    pub probe_cpu_percent: BTreeMap<u32, f64>,
    pub gate: Option<Verdict>,
}

pub fn rows(turns: &Turns) -> Vec<Row> {
    let row = |tool| move |(cpu, latencies): (&u32, &Latencies)| Row::of(tool, *cpu, latencies);
    let (probe, cyclictest) = (together(&turns.probe), together(&turns.cyclictest));
    probe.iter().map(row("fieldbeat")).chain(cyclictest.iter().map(row("cyclictest"))).collect()
}

pub fn ratios(turns: &Turns) -> Vec<Ratio> {
    let of = |ours: &ByCpu, theirs: &ByCpu, cpu: u32, q: u64| {
        Some(ratio(ours.get(&cpu)?.quantile_ns(q), theirs.get(&cpu)?.quantile_ns(q)))
    };
    let (ours, theirs) = (together(&turns.probe), together(&turns.cyclictest));
    let mut ratios = Vec::new();
    for cpu in ours.keys().copied() {
        for (quantile, of_10000) in RATIOS {
            let pairs = turns.probe.iter().zip(&turns.cyclictest);
            let each: Vec<f64> = pairs.filter_map(|(a, b)| of(a, b, cpu, of_10000)).collect();
            let mut sorted = each.clone();
            sorted.sort_by(f64::total_cmp);
            if let (Some(all), Some(median)) = (of(&ours, &theirs, cpu, of_10000), sorted.get(sorted.len() / 2)) {
                ratios.push(Ratio { cpu, quantile, all, median_of_turns: *median, turns: each });
            }
        }
    }
    ratios
}

impl Report {
    /// As it is printed, without the gate.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<11} {:>4} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>7}   (µs)\n",
            "tool", "CPU", "count", "min", "p50", "p99", "p99.9", "p99.99", "max", "missed"
        );
        for r in &self.results {
            text += &format!(
                "{:<11} {:>4} {:>9} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>9.1} {:>9.1} {:>7}\n",
                r.tool, r.cpu, r.count, r.min_us, r.p50_us, r.p99_us, r.p999_us, r.p9999_us, r.max_us, r.missed
            );
        }
        for Ratio { cpu, quantile, all, median_of_turns, turns } in &self.ratios {
            let (lowest, highest) = turns.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
            text += &format!(
                "fieldbeat / cyclictest  CPU {cpu:<3} {quantile:<6} {all:>6.2}   median of turns {median_of_turns:.2} ({lowest:.2} to {highest:.2})\n"
            );
        }
        for (cpu, guards) in &self.guards_us {
            let guards: Vec<String> = guards.iter().map(|us| format!("{us:.1}")).collect();
            text += &format!("guard on CPU {cpu}, by turn: {} µs\n", guards.join(", "));
        }
        for (cpu, percent) in &self.probe_cpu_percent {
            text += &format!("executor on CPU {cpu}: {percent:.2} % of that CPU\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_cpu(unit_ns: u64, ns: &[u64]) -> ByCpu {
        let mut latencies = Latencies::new(unit_ns);
        ns.iter().for_each(|ns| latencies.record(*ns));
        ByCpu::from([(3, latencies)])
    }

    #[test]
    fn turns_are_counted_together_and_their_ratios_one_by_one() {
        let turns = Turns {
            probe: vec![by_cpu(100, &[1_200; 10]), by_cpu(100, &[4_700; 10]), by_cpu(100, &[1_300; 10])],
            cyclictest: vec![by_cpu(1000, &[14_000; 10]), by_cpu(1000, &[4_000; 10]), by_cpu(1000, &[14_000; 10])],
            ..Turns::default()
        };
        let rows = rows(&turns);
        assert_eq!(
            rows.iter().map(|r| (r.tool, r.cpu, r.count)).collect::<Vec<_>>(),
            [("fieldbeat", 3, 30), ("cyclictest", 3, 30)]
        );
        assert_eq!((rows[0].p50_us, rows[1].p50_us, rows[1].max_us), (1.3, 14.0, 14.0));
        assert_eq!(rows[0].histogram_us, [(1, 20), (4, 10)]);
        let ratios = ratios(&turns);
        assert_eq!(ratios.iter().map(|r| r.quantile).collect::<Vec<_>>(), ["p50", "p99", "p99.9"]);
        assert!((ratios[0].all - 1.5 / 14.5).abs() < 1e-12);
        assert!((ratios[0].median_of_turns - 1.5 / 14.5).abs() < 1e-12);
        assert!((ratios[0].turns[1] - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_cyclictest_there_are_rows_and_no_ratios() {
        let turns = Turns { probe: vec![by_cpu(100, &[1_200])], ..Turns::default() };
        assert_eq!((rows(&turns).len(), ratios(&turns).len()), (1, 0));
    }
}
