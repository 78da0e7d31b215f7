//! A run as data: its configuration and every coarse event, in a file. A seed changes its meaning when the simulator
//! grows; a case keeps it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scenario::{Scenario, load};
use super::script::{Executed, Listed, Mood, Phase, Timed};
use crate::limits::{CONFIG_FILE_BYTES_MAX, WRITES_PENDING_MAX};

const MS: u64 = 1_000_000;
/// More than any run takes.
const TIME_MAX_NS: u64 = 100_000 * 3_600_000 * MS;
const HOUR_NS: u64 = 3_600_000 * MS;
const EXECUTORS_MAX: u16 = 8;
const RING_SLOTS_MAX: usize = 1 << 20;
const JOURNAL_BATCHES_MAX: usize = 1 << 10;

/// See the module. Times are of the run; what is not told here is drawn from the seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    pub seed: u64,
    pub executors: u16,
    /// Devices send by themselves every few milliseconds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fast: bool,
    /// There is a source beside the executors.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub source: bool,
    /// Nothing outside the devices goes wrong, so that steady links must not miss anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub calm: bool,
    /// Trouble ends then, and so much later the run.
    pub trouble_ns: u64,
    pub recovery_ns: u64,
    pub hub_period_ns: u64,
    pub ring_slots: usize,
    pub journal_batches: usize,
    /// Between two commits of the journal; 0: there is none.
    #[serde(default)]
    pub commit_ns: u64,
    /// The first tag file.
    pub tags: Value,
    #[serde(default)]
    pub events: Listed,
}

/// Why a file is no case.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("{path}: {error}")]
    File { path: PathBuf, error: std::io::Error },
    #[error("{path}: it has {bytes} bytes; allowed are {CONFIG_FILE_BYTES_MAX}")]
    TooLong { path: PathBuf, bytes: u64 },
    /// With line and column.
    #[error("{path}: {error}")]
    Syntax { path: PathBuf, error: serde_json::Error },
    #[error("{path}: {what}")]
    Nonsense { path: PathBuf, what: String },
}

impl Case {
    /// # Errors
    /// What is wrong with the file, and what is allowed.
    pub fn read(path: &Path) -> Result<Case, CaseError> {
        let of_file = |error| CaseError::File { path: path.to_owned(), error };
        let bytes = std::fs::metadata(path).map_err(of_file)?.len();
        if bytes > CONFIG_FILE_BYTES_MAX {
            return Err(CaseError::TooLong { path: path.to_owned(), bytes });
        }
        Case::parse(path, &std::fs::read_to_string(path).map_err(of_file)?)
    }

    /// # Errors
    /// What is wrong with the text, and what is allowed.
    pub fn parse(path: &Path, text: &str) -> Result<Case, CaseError> {
        let case: Case =
            serde_json::from_str(text).map_err(|error| CaseError::Syntax { path: path.to_owned(), error })?;
        case.check().map_err(|what| CaseError::Nonsense { path: path.to_owned(), what })?;
        Ok(case)
    }

    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CaseError> {
        let text = self.text().map_err(|error| CaseError::Syntax { path: path.to_owned(), error })?;
        std::fs::write(path, text).map_err(|error| CaseError::File { path: path.to_owned(), error })
    }

    /// # Errors
    /// None that is known.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    fn check(&self) -> Result<(), String> {
        within("executors", self.executors, 1, EXECUTORS_MAX)?;
        within("trouble_ns", self.trouble_ns, 0, TIME_MAX_NS)?;
        within("recovery_ns", self.recovery_ns, MS, HOUR_NS)?;
        within("hub_period_ns", self.hub_period_ns, MS, HOUR_NS)?;
        within("ring_slots", self.ring_slots, 192, RING_SLOTS_MAX)?;
        within("journal_batches", self.journal_batches, 1, JOURNAL_BATCHES_MAX)?;
        if self.commit_ns > 0 {
            within("commit_ns", self.commit_ns, MS, HOUR_NS)?;
        }
        self.check_events()?;
        self.check_hosts()?;
        Scenario::of_case(self).map_err(|error| format!("tags: {error}"))?;
        let changes = self.events.changes.iter().enumerate();
        changes.into_iter().try_for_each(|(at, change)| match load(&change.tags.to_string(), self.source) {
            Ok(_) => within(&format!("events.changes[{at}].pause_ns"), change.pause_ns, 0, TIME_MAX_NS),
            Err(error) => Err(format!("events.changes[{at}].tags: {error}")),
        })
    }

    fn check_events(&self) -> Result<(), String> {
        let events = &self.events;
        if self.calm && !(events.stalls.is_empty() && events.storms.is_empty()) {
            return Err("calm is true, and there are stalls or storms; allowed: one of both".to_owned());
        }
        self.check_executed("events.stalls", &events.stalls)?;
        self.check_executed("events.storms", &events.storms)?;
        self.check_executed("events.writes", &events.writes)?;
        in_order("events.consumer_stops", &events.consumer_stops)?;
        in_order("events.clock_steps", &events.clock_steps)?;
        in_order("events.crashes", &events.crashes)?;
        in_order("events.journal_faults", &events.journal_faults)?;
        in_order("events.log_stalls", &events.log_stalls)?;
        for stall in &events.stalls {
            within("events.stalls: length_ns", stall.length_ns, 0, HOUR_NS)?;
        }
        for span in &events.consumer_stops {
            within("events.consumer_stops: until_ns", span.until_ns, span.from_ns, TIME_MAX_NS)?;
        }
        for span in &events.log_stalls {
            within("events.log_stalls: until_ns", span.until_ns, span.from_ns, TIME_MAX_NS)?;
        }
        for fault in &events.journal_faults {
            within("events.journal_faults: length_ns", fault.length_ns, 0, HOUR_NS)?;
        }
        for step in &events.clock_steps {
            within("events.clock_steps: by_ns", step.by_ns, -(HOUR_NS as i64), HOUR_NS as i64)?;
        }
        for write in &events.writes {
            within("events.writes: orders", write.orders, 1, WRITES_PENDING_MAX as u16)?;
        }
        if !(events.crashes.is_empty() && events.journal_faults.is_empty()) && self.commit_ns == 0 {
            let what = "events.crashes, events.journal_faults: there are some";
            return Err(format!("{what}, and commit_ns is 0: there is no journal"));
        }
        Ok(())
    }

    fn check_executed<T: Executed>(&self, what: &str, events: &[T]) -> Result<(), String> {
        in_order(what, events)?;
        let last = self.executors - 1;
        events.iter().try_for_each(|event| within(&format!("{what}: executor"), event.executor(), 0, last))
    }

    fn check_hosts(&self) -> Result<(), String> {
        let hosts = &self.events.hosts;
        for (at, host) in hosts.iter().enumerate() {
            let what = format!("events.hosts[{at}] (host {})", host.host);
            if hosts[..at].iter().any(|other| other.host == host.host) {
                return Err(format!("{what}: it is listed twice"));
            }
            phases(&what, &host.modbus)?;
            phases(&what, &host.local)?;
            phases(&what, &host.can)?;
            phases(&what, &host.canopen)?;
        }
        Ok(())
    }
}

fn within<T: PartialOrd + Copy + std::fmt::Display>(what: &str, found: T, least: T, most: T) -> Result<(), String> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(format!("{what} is {found}; allowed are {least} to {most}"))
}

fn in_order<T: Timed>(what: &str, events: &[T]) -> Result<(), String> {
    events.iter().try_for_each(|event| within(&format!("{what}: time"), event.at(), 0, TIME_MAX_NS))?;
    if events.is_sorted_by_key(Timed::at) { Ok(()) } else { Err(format!("{what}: they must be in order")) }
}

fn phases<M: Mood>(what: &str, phases: &[Phase<M>]) -> Result<(), String> {
    let mut end = 0;
    for Phase { from_ns, until_ns, .. } in phases {
        within(&format!("{what}: from_ns of a phase"), *from_ns, end, TIME_MAX_NS)?;
        within(&format!("{what}: until_ns of a phase"), *until_ns, *from_ns + 1, TIME_MAX_NS)?;
        end = *until_ns;
    }
    Ok(())
}
