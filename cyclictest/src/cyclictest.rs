//! rt-tests' cyclictest: how it is run, and what it printed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::child::{Child, Pause};
use crate::histogram::{Latencies, US};
use crate::options::PERIOD_US;

/// Longest latency that its histogram holds, in microseconds: 100 ms. What is longer is counted, and the largest known.
const HISTOGRAM_US: u64 = 100_000;
/// How long it may take beyond what it was asked for.
const GRACE: Duration = Duration::from_secs(15);

/// What this machine's cyclictest can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cyclictest {
    pub version: String,
    has_json: bool,
    has_histfile: bool,
    has_main_affinity: bool,
}

/// Its threads' latencies, by CPU.
pub type ByCpu = BTreeMap<u32, Latencies>;

impl Cyclictest {
    /// Asks for its help. `None`: it is not installed.
    pub fn find() -> Option<Cyclictest> {
        let output = Command::new("cyclictest").arg("--help").stdin(Stdio::null()).output().ok()?;
        let help = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        let version = help.lines().find_map(|line| line.strip_prefix("cyclictest V ")).unwrap_or("unknown").trim();
        Some(Cyclictest {
            version: version.to_owned(),
            has_json: help.contains("--json"),
            has_histfile: help.contains("--histfile"),
            has_main_affinity: help.contains("--mainaffinity"),
        })
    }

    /// The words after `cyclictest`: SMP or the chosen CPUs, memory locked, one priority, 1 ms, distance 0.
    pub fn arguments(&self, run: &Run, json: &Path) -> Vec<String> {
        let cpus: Vec<String> = run.cpus.iter().map(u32::to_string).collect();
        let mut words = if run.is_all_cpus {
            vec!["-S".to_owned()]
        } else {
            vec!["-a".to_owned(), cpus.join(","), "-t".to_owned(), cpus.len().to_string()]
        };
        words.push("-m".to_owned());
        for (option, value) in
            [("-p", u64::from(run.priority)), ("-i", PERIOD_US), ("-d", 0), ("-D", run.seconds), ("-h", HISTOGRAM_US)]
        {
            words.extend([option.to_owned(), value.to_string()]);
        }
        words.push("-q".to_owned());
        if self.has_json {
            words.push(format!("--json={}", json.display()));
            if self.has_histfile {
                words.push("--histfile=/dev/null".to_owned());
            }
        }
        if self.has_main_affinity && !run.other_cpus.is_empty() {
            let others: Vec<String> = run.other_cpus.iter().map(u32::to_string).collect();
            words.push(format!("--mainaffinity={}", others.join(",")));
        }
        words
    }

    /// Runs it once. `None`: interrupted.
    ///
    /// # Errors
    /// When it does not start, fails, does not end in time, or prints what is not understood.
    pub fn run(&self, run: &Run, dir: &Path, pause: &Pause) -> io::Result<Option<ByCpu>> {
        let (json, text) = (dir.join("cyclictest.json"), dir.join("cyclictest.txt"));
        let _ = std::fs::remove_file(&json);
        let printed = File::create(&text)?;
        let mut command = Command::new("cyclictest");
        command.args(self.arguments(run, &json)).stdout(printed.try_clone()?).stderr(printed);
        let mut child = Child::start(command, "cyclictest", &[])?;
        let deadline = Instant::now() + Duration::from_secs(run.seconds) + GRACE;
        let status = loop {
            if pause(Duration::from_millis(50)) {
                return Ok(None);
            }
            if let Some(status) = child.ended()? {
                break status;
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("cyclictest did not end within {GRACE:?} after its run time")));
            }
        };
        let printed = read(&text)?;
        if !status.success() {
            let tail: Vec<&str> = printed.lines().rev().filter(|l| !l.trim().is_empty()).take(3).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            return Err(io::Error::other(format!("cyclictest ended with {status}: {}", tail.join("; "))));
        }
        let parsed = if self.has_json { parse_json(&read(&json)?) } else { parse_text(&printed, &run.cpus) };
        let by_cpu = parsed.map_err(|what| io::Error::other(format!("cyclictest's output: {what}")))?;
        match run.cpus.iter().find(|cpu| by_cpu.get(cpu).is_none_or(|l| l.count() == 0)) {
            Some(cpu) => Err(io::Error::other(format!("cyclictest has no counts for CPU {cpu}"))),
            None => Ok(Some(by_cpu)),
        }
    }
}

/// Its files are some hundred KiB; more is not its output.
fn read(path: &Path) -> io::Result<String> {
    let length = std::fs::metadata(path)?.len();
    if length > 256 << 20 {
        return Err(io::Error::other(format!("{} has {length} bytes", path.display())));
    }
    std::fs::read_to_string(path)
}

/// One run's options.
#[derive(Debug, Clone)]
pub struct Run {
    pub seconds: u64,
    pub priority: u8,
    /// Ascending.
    pub cpus: Vec<u32>,
    /// These are all CPUs of the machine.
    pub is_all_cpus: bool,
    /// For its main thread, which measures nothing.
    pub other_cpus: Vec<u32>,
}

/// Reads what `--json` wrote (rt-tests 2.0 and later).
///
/// # Errors
/// What is missing or no number.
pub fn parse_json(text: &str) -> Result<ByCpu, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    let threads = file["thread"].as_object().ok_or("no \"thread\" in it")?;
    let mut by_cpu = ByCpu::new();
    for (name, thread) in threads {
        let number = |key: &str| thread[key].as_u64().ok_or(format!("thread {name}: \"{key}\" is not a number"));
        let cpu = number("cpu")?.try_into().map_err(|_| format!("thread {name}: \"cpu\" is not a CPU"))?;
        let (cycles, max_us) = (number("cycles")?, number("max")?);
        let histogram = thread["histogram"].as_object().ok_or(format!("thread {name}: no \"histogram\""))?;
        let latencies: &mut Latencies = by_cpu.entry(cpu).or_insert_with(|| Latencies::new(US));
        let mut counted: u64 = 0;
        for (bucket, n) in histogram {
            let bucket = bucket.parse().map_err(|_| format!("thread {name}: bucket {bucket:?} is not a number"))?;
            let n = n.as_u64().ok_or(format!("thread {name}: bucket {bucket} does not hold a number"))?;
            counted = counted.checked_add(n).ok_or(format!("thread {name}: counts out of range"))?;
            latencies.add_bucket(bucket, n);
        }
        // "cycles" counts all; the histogram lacks what lies above its end.
        latencies.add_overflow(cycles.saturating_sub(counted), max_us.saturating_mul(US));
    }
    Ok(by_cpu)
}

/// Reads the histogram that it prints: a line a microsecond, a column a thread; thread i is on the i-th of `cpus`.
///
/// # Errors
/// What is missing or no number.
pub fn parse_text(text: &str, cpus: &[u32]) -> Result<ByCpu, String> {
    let mut columns = vec![Latencies::new(US); cpus.len()];
    let mut maxima = Vec::new();
    let mut overflows = Vec::new();
    let mut lines_counted = 0;
    for line in text.lines() {
        let numbers = |text: &str| -> Result<Vec<u64>, String> {
            text.split_whitespace().map(|n| n.parse().map_err(|_| format!("no number in {line:?}"))).collect()
        };
        if let Some(rest) = line.strip_prefix("# Max Latencies:") {
            maxima = numbers(rest)?;
        } else if let Some(rest) = line.strip_prefix("# Histogram Overflows:") {
            overflows = numbers(rest)?;
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let row = numbers(line)?;
            let [bucket, counts @ ..] = row.as_slice() else { continue };
            if counts.len() != cpus.len() {
                return Err(format!("{} columns for {} CPUs in {line:?}", counts.len(), cpus.len()));
            }
            columns.iter_mut().zip(counts).for_each(|(column, n)| column.add_bucket(*bucket, *n));
            lines_counted += 1;
        }
    }
    if lines_counted == 0 || maxima.len() != cpus.len() || overflows.len() != cpus.len() {
        return Err("the text has no histogram, or no final lines".to_owned());
    }
    for (column, (overflow, max_us)) in columns.iter_mut().zip(overflows.iter().zip(&maxima)) {
        column.add_overflow(*overflow, max_us.saturating_mul(US));
    }
    Ok(cpus.iter().copied().zip(columns).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by cyclictest 2.40.
    const SMP_JSON: &str = include_str!("../tests/captured/smp.json");
    const OVERFLOW_JSON: &str = include_str!("../tests/captured/overflow.json");
    const SMP_TEXT: &str = include_str!("../tests/captured/smp.txt");

    #[test]
    fn its_json_is_read() {
        let by_cpu = parse_json(SMP_JSON).unwrap();
        assert_eq!(by_cpu.keys().copied().collect::<Vec<_>>(), [0, 1]);
        let first = &by_cpu[&0];
        assert_eq!((first.count(), first.overflow()), (1983, 0));
        assert_eq!((first.min_ns(), first.max_ns()), (13_000, 11_126_000));
        assert_eq!((first.by_us()[&15], first.by_us()[&11126]), (569, 1));
        assert_eq!(first.quantile_ns(5000), 16_000);
        assert_eq!(first.missed(1_000_000), 6 + 11);
    }

    #[test]
    fn what_its_histogram_does_not_hold_is_counted() {
        let only = &parse_json(OVERFLOW_JSON).unwrap()[&1];
        assert_eq!(only.count(), 1980);
        assert!(only.overflow() > 0);
        assert_eq!(only.quantile_ns(10_000), only.max_ns());
        assert!(only.max_ns() > 30_000);
    }

    #[test]
    fn its_text_is_read() {
        let by_cpu = parse_text(SMP_TEXT, &[0, 1]).unwrap();
        assert!(by_cpu.values().all(|l| l.count() > 1900), "{by_cpu:?}");
    }

    #[test]
    fn what_it_did_not_print_is_refused() {
        for text in ["", "{}", "{\"thread\": {\"0\": {}}}", "{\"thread\": {\"0\": {\"cpu\": -1}}}", "[", "null"] {
            assert!(parse_json(text).is_err(), "{text:?}");
        }
        let cut = &SMP_JSON[..SMP_JSON.len() / 2];
        assert!(parse_json(cut).is_err());
        assert!(parse_text("", &[0]).is_err());
        assert!(parse_text(SMP_TEXT, &[0]).unwrap_err().contains("columns"));
        assert!(parse_text(&SMP_TEXT[..400], &[0, 1]).is_err());
        assert!(parse_text("000001 0000x1\n", &[0]).unwrap_err().contains("no number"));
    }

    fn run(is_all_cpus: bool) -> Run {
        Run { seconds: 3, priority: 80, cpus: vec![2, 3], is_all_cpus, other_cpus: vec![0, 1] }
    }

    #[test]
    fn it_gets_the_options_of_the_sheet() {
        let mut tool =
            Cyclictest { version: "2.40".into(), has_json: true, has_histfile: true, has_main_affinity: true };
        let json = Path::new("/tmp/x.json");
        assert_eq!(
            tool.arguments(&run(true), json).join(" "),
            "-S -m -p 80 -i 1000 -d 0 -D 3 -h 100000 -q --json=/tmp/x.json --histfile=/dev/null --mainaffinity=0,1"
        );
        tool.has_json = false;
        tool.has_main_affinity = false;
        assert_eq!(tool.arguments(&run(false), json).join(" "), "-a 2,3 -t 2 -m -p 80 -i 1000 -d 0 -D 3 -h 100000 -q");
    }
}
