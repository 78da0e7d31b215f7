//! Is this machine fit for real-time scanning? Each check says what was found, why it matters and how to fix it.
//!
//! Nothing is changed: files under `/proc` and `/sys` are read, and what the own process may do is asked of the
//! kernel. What a machine does not show (a container, another architecture, no rights) is [`State::Unknown`],
//! never an error.
//!
//! | file | subject |
//! |---|---|
//! | `machine` | where `/proc` and `/sys` are read |
//! | `rights` | what the process may: SCHED_FIFO, locked memory |
//! | `kernel` | PREEMPT_RT, throttling, timers, watchdog, clock |
//! | `cpus` | the executors' CPUs: online, isolated, without tick and RCU work, not shared |
//! | `interrupts` | which interrupts the executors' CPUs serve |
//! | `power` | sleep states and frequency |
//! | `memory` | huge pages, swap |
//! | `waiting` | the system call by which executors wait |
//! | `wake_up` | how late an executor wakes here, and the guard that it would choose |
//! | `journal` | the journal's directory and its room |

mod cpus;
mod interrupts;
mod journal;
mod kernel;
mod machine;
mod memory;
mod power;
mod rights;
mod waiting;
mod wake_up;

use serde::Serialize;

use crate::config::Config;

pub use cpus::CpuSet;
pub use machine::Machine;
pub use wake_up::measure;

/// How well a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// The machine does not tell.
    Unknown,
    /// The gateway runs; now and then a release is late.
    Warn,
    /// The beat cannot be kept, or the gateway cannot start.
    Bad,
}

impl State {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Unknown => "unknown",
            State::Warn => "warn",
            State::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Short and stable, for scripts.
    pub id: &'static str,
    pub state: State,
    /// What is there.
    pub found: String,
    /// Why it matters, in one line.
    pub why: &'static str,
    /// The command, kernel parameter or setting that mends it; `None` when nothing needs mending.
    pub mend: Option<String>,
}

impl Check {
    fn ok(id: &'static str, why: &'static str, found: impl Into<String>) -> Check {
        Check { id, state: State::Ok, found: found.into(), why, mend: None }
    }

    fn unknown(id: &'static str, why: &'static str, found: impl Into<String>) -> Check {
        Check { id, state: State::Unknown, found: found.into(), why, mend: None }
    }

    fn warn(id: &'static str, why: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { id, state: State::Warn, found: found.into(), why, mend: Some(mend.into()) }
    }

    fn bad(id: &'static str, why: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Check {
        Check { id, state: State::Bad, found: found.into(), why, mend: Some(mend.into()) }
    }
}

/// All checks of one visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Visit {
    /// The worst of all states.
    pub worst: State,
    /// CPUs of the executors: the configured ones, else those the gateway would take.
    pub executor_cpus: Vec<u32>,
    pub checks: Vec<Check>,
}

impl Visit {
    /// The checks that stand so.
    pub fn standing(&self, state: State) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(move |check| check.state == state)
    }

    /// Whether scripts should stop here.
    pub fn is_bad(&self) -> bool {
        self.worst == State::Bad
    }
}

/// Looks at `machine`, and at what `config` needs of it.
pub fn visit(machine: &Machine, config: Option<&Config>) -> Visit {
    let realtime = config.map(|config| &config.realtime);
    let cpus = match realtime.and_then(|realtime| realtime.cores.clone()) {
        Some(cores) => CpuSet::from_cpus(cores),
        None => cpus::of_executors(machine),
    };
    let priority = realtime.map_or(rights::PRIORITY_DEFAULT, |realtime| realtime.priority);
    let mut checks = rights::checks(machine, priority);
    checks.extend(kernel::checks(machine, &cpus));
    checks.extend(waiting::checks(machine));
    checks.extend(cpus::checks(machine, &cpus));
    checks.extend(interrupts::checks(machine, &cpus));
    checks.extend(power::checks(machine, &cpus));
    checks.extend(memory::checks(machine));
    if let Some(config) = config {
        checks.extend(journal::checks(&config.journal));
    }
    let worst = checks.iter().map(|check| check.state).max().unwrap_or(State::Ok);
    Visit { worst, executor_cpus: cpus.iter().collect(), checks }
}
