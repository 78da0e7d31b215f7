//! Limits by board, and whether a run keeps them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::histogram::Latencies;
use crate::options::{LoadKind, PERIOD_US};

/// The limits that come with the program.
pub const BUILT_IN: &str = include_str!("../gate.toml");
/// A gate file is a page; more is none.
pub const GATE_FILE_BYTES_MAX: u64 = 1 << 20;
/// p99.99 of fewer wake-ups is just their maximum.
const COUNT_MIN: u64 = 10_000;

/// All boards of a gate file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct GateFile {
    #[serde(default)]
    board: BTreeMap<String, Limits>,
}

/// What one board must keep on every CPU that is measured. Microseconds.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// For the reader.
    #[serde(default)]
    pub about: String,
    /// The latest wake-up.
    pub wakeup_max_us: f64,
    /// The 99.99th percentile.
    pub wakeup_p9999_us: f64,
    /// p99.9 less p50.
    pub jitter_us: f64,
    /// Beats of the probe that passed before their wake-up came, in percent of all.
    pub missed_deadlines_percent: f64,
    /// The load under which the board is judged; "all" includes each.
    #[serde(default = "no_load")]
    pub load: LoadKind,
    /// How long the probe must have measured at least.
    #[serde(default)]
    pub seconds_min: u64,
}

fn no_load() -> LoadKind {
    LoadKind::None
}

/// Reads the limits of `board` out of `text`, which is called `name`.
///
/// # Errors
/// What is wrong, and where; for a board that is not there, those that are.
pub fn limits_of(board: &str, text: &str, name: &str) -> Result<Limits, String> {
    let file: GateFile = toml::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let boards: Vec<&str> = file.board.keys().map(String::as_str).collect();
    let Some(limits) = file.board.get(board) else {
        let boards = if boards.is_empty() { "none".to_owned() } else { boards.join(", ") };
        return Err(format!("{name}: no board {board:?}; known boards: {boards}"));
    };
    for (key, value) in limits.numbers() {
        if !value.is_finite() || value < 0.0 {
            return Err(format!("{name}: board.{board}.{key} is {value}; it must be 0 or more"));
        }
    }
    Ok(limits.clone())
}

impl Limits {
    fn numbers(&self) -> [(&'static str, f64); 4] {
        [
            ("wakeup_max_us", self.wakeup_max_us),
            ("wakeup_p9999_us", self.wakeup_p9999_us),
            ("jitter_us", self.jitter_us),
            ("missed_deadlines_percent", self.missed_deadlines_percent),
        ]
    }

    /// Holds one CPU's wake-ups against the limits. What equals a limit keeps it.
    fn lines(&self, cpu: u32, latencies: &Latencies) -> Vec<Line> {
        let missed = latencies.missed(PERIOD_US * 1000);
        let us = |ns: u64| ns as f64 / 1e3;
        let measured = [
            us(latencies.max_ns()),
            us(latencies.quantile_ns(9999)),
            us(latencies.quantile_ns(9990) - latencies.quantile_ns(5000)),
            missed as f64 * 100.0 / (latencies.count() + missed).max(1) as f64,
        ];
        self.numbers()
            .into_iter()
            .zip(measured)
            .map(|((what, limit), measured)| Line { cpu, what, measured, limit, pass: measured <= limit })
            .collect()
    }

    /// Judges a run of the probe.
    pub fn judge(&self, board: &str, run: &Judged) -> Verdict {
        let mut why_not_comparable = run.missing.to_vec();
        if self.load != LoadKind::None && run.load != self.load && run.load != LoadKind::All {
            let wanted = self.load.name();
            why_not_comparable.push(format!("the board is judged under load; measure with --load {wanted}"));
        }
        if run.seconds < self.seconds_min {
            why_not_comparable.push(format!("too short; measure with --seconds {} at least", self.seconds_min));
        }
        for (cpu, latencies) in run.by_cpu {
            let count = latencies.count();
            if count < COUNT_MIN {
                why_not_comparable.push(format!("CPU {cpu}: {count} wake-ups; p99.99 needs {COUNT_MIN}"));
            }
        }
        let lines: Vec<Line> = run.by_cpu.iter().flat_map(|(cpu, latencies)| self.lines(*cpu, latencies)).collect();
        let pass = why_not_comparable.is_empty() && !lines.is_empty() && lines.iter().all(|line| line.pass);
        Verdict { board: board.to_owned(), pass, why_not_comparable, lines }
    }
}

/// What is judged: the probe's wake-ups, and the circumstances.
pub struct Judged<'a> {
    pub by_cpu: &'a BTreeMap<u32, Latencies>,
    pub load: LoadKind,
    pub seconds: u64,
    /// What the machine did not give.
    pub missing: &'a [String],
}

/// One limit on one CPU.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    pub cpu: u32,
    pub what: &'static str,
    pub measured: f64,
    pub limit: f64,
    pub pass: bool,
}

/// The gate's word. What is not comparable does not pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub board: String,
    pub pass: bool,
    pub why_not_comparable: Vec<String>,
    pub lines: Vec<Line>,
}

impl Verdict {
    /// As it is printed.
    pub fn table(&self) -> String {
        let word = |pass| if pass { "PASS" } else { "FAIL" };
        let mut text = format!("gate of board {}\n", self.board);
        for Line { cpu, what, measured, limit, pass } in &self.lines {
            text += &format!("  {}  CPU {cpu:<3} {what:<25} {measured:>10.3}  limit {limit:>10.3}\n", word(*pass));
        }
        for reason in &self.why_not_comparable {
            text += &format!("  NOT COMPARABLE  {reason}\n");
        }
        text + &format!("gate: {}\n", word(self.pass))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "[board.one]\nwakeup_max_us = 100\nwakeup_p9999_us = 50.0\njitter_us = 10\nmissed_deadlines_percent = 0\n";

    fn judged(values_ns: &[(u64, u64)], limits: &Limits, missing: &[String]) -> Verdict {
        let mut latencies = Latencies::new(100);
        values_ns.iter().for_each(|(ns, n)| (0..*n).for_each(|_| latencies.record(*ns)));
        let by_cpu = BTreeMap::from([(1, latencies)]);
        limits.judge("one", &Judged { by_cpu: &by_cpu, load: LoadKind::None, seconds: 20, missing })
    }

    fn passes(verdict: &Verdict) -> Vec<bool> {
        verdict.lines.iter().map(|line| line.pass).collect()
    }

    #[test]
    fn what_equals_a_limit_keeps_it_and_what_is_above_does_not() {
        let limits = limits_of("one", ONE, "gate").unwrap();
        // Of 20,000: the rank of p99.9 is 19,980, that of p99.99 19,998.
        let on_it = judged(&[(2_000, 19_970), (12_000, 10), (50_000, 18), (100_000, 2)], &limits, &[]);
        assert_eq!(passes(&on_it), [true; 4], "{on_it:?}");
        assert!(on_it.pass);
        let max = judged(&[(2_000, 19_999), (100_001, 1)], &limits, &[]);
        assert_eq!((passes(&max), max.pass), (vec![false, true, true, true], false));
        let p9999 = judged(&[(2_000, 19_997), (50_100, 3)], &limits, &[]);
        assert_eq!((passes(&p9999), p9999.pass), (vec![true, false, true, true], false));
        let jitter = judged(&[(2_000, 19_979), (12_100, 21)], &limits, &[]);
        assert_eq!((passes(&jitter), jitter.pass), (vec![true, true, false, true], false));
        let missed = judged(&[(2_000, 19_999), (1_000_000, 1)], &limits, &[]);
        assert_eq!((passes(&missed), missed.pass), (vec![false, true, true, false], false));
        assert!(missed.table().contains("FAIL  CPU 1   missed_deadlines_percent"), "{}", missed.table());
    }

    #[test]
    fn a_hundredth_of_a_percent_is_one_beat_of_ten_thousand() {
        let limits =
            Limits { wakeup_max_us: 1e9, missed_deadlines_percent: 0.01, ..limits_of("one", ONE, "gate").unwrap() };
        let one = judged(&[(2_000, 19_997), (1_500_000, 2)], &limits, &[]);
        assert!(one.lines[3].pass, "{one:?}");
        assert!(!judged(&[(2_000, 19_997), (1_500_000, 3)], &limits, &[]).lines[3].pass);
    }

    #[test]
    fn what_is_not_comparable_does_not_pass_though_each_limit_is_kept() {
        let limits = limits_of("one", ONE, "gate").unwrap();
        let unprivileged = judged(&[(2_000, 20_000)], &limits, &["no SCHED_FIFO".to_owned()]);
        assert_eq!((passes(&unprivileged), unprivileged.pass), (vec![true; 4], false));
        assert!(unprivileged.table().contains("NOT COMPARABLE  no SCHED_FIFO"));
        assert!(!judged(&[(2_000, 9_999)], &limits, &[]).pass, "too few for p99.99");
        assert!(judged(&[(2_000, 10_000)], &limits, &[]).pass);
        let longer = Limits { seconds_min: 21, ..limits.clone() };
        assert!(!judged(&[(2_000, 20_000)], &longer, &[]).pass);
        let loaded = Limits { load: LoadKind::Disk, ..limits };
        assert!(!judged(&[(2_000, 20_000)], &loaded, &[]).pass);
        let nothing =
            loaded.judge("one", &Judged { by_cpu: &BTreeMap::new(), load: LoadKind::All, seconds: 20, missing: &[] });
        assert!(nothing.why_not_comparable.is_empty(), "all loads include the disk's");
        assert!(!nothing.pass, "nothing measured passes nothing");
    }

    #[test]
    fn the_gate_that_comes_with_the_program_is_readable_and_names_its_boards() {
        let error = limits_of("toaster", BUILT_IN, "gate.toml").unwrap_err();
        for board in ["jetson-orin-agx", "jetson-orin-nano", "x86-64-dev"] {
            assert!(error.contains(board), "{error}");
            limits_of(board, BUILT_IN, "gate.toml").unwrap();
        }
    }

    #[test]
    fn a_bad_gate_file_is_refused_with_what_is_wrong() {
        for (text, word) in [
            ("", "none"),
            ("[board.two]\nwakeup_max_us = 1", "missing field"),
            ("[board.one]\nwakeup_max_us = \"x\"", "wakeup_max_us"),
            ("[boards.one]", "unknown field"),
            ("[board", "TOML parse error"),
            (&format!("{ONE}latency = 3"), "unknown field `latency`"),
            (&format!("{ONE}load = \"gpu\""), "unknown variant"),
            (&ONE.replace("= 100", "= -1"), "wakeup_max_us is -1"),
            (&ONE.replace("= 10\n", "= nan\n"), "jitter_us is NaN"),
            (&ONE.replace("= 50.0", "= inf"), "wakeup_p9999_us is inf"),
        ] {
            let error = limits_of("one", text, "gate").unwrap_err();
            assert!(error.contains(word) && error.starts_with("gate: "), "{text:?}: {error}");
        }
    }
}
