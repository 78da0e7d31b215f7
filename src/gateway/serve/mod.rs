//! Interfaces for clients: metrics and health over HTTP, the control socket, the report of a run.

mod ask;
mod control;
#[doc(hidden)]
pub mod fuzz;
mod health;
mod http;
mod metrics;
mod process;
mod report;
mod retired;
mod tags;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};

use crate::command::WriteStats;
use crate::hub::Taps;
use crate::hub::stats::Statistics;
use crate::lane::{Counters, Image};
use crate::plan::Plan;
use crate::store::CommitTimes;
use crate::tag::{LinkId, Nanos};

pub use control::{ControlError, ControlSocket, PART as CONTROL_PART};
pub use health::{Condition, Health, HealthReport, Severity};
pub use http::{HttpServer, ServeError};
pub use process::ProcessUsage;
pub use report::{
    GroupReport, LinkReport, OutputReport, PolledReport, ProcessReport, Quantiles, RunReport, SamplesReport, ScanReport,
};
pub use retired::{Current, totals_of};
pub use tags::{TagCounts, TagState, TagTrouble, Tags, cause_of, newest, reason, units_of};

/// How full a ring is, in slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RingFill {
    pub used: u64,
    pub capacity: u64,
}

/// What the journal tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalView {
    /// On disk.
    pub bytes: u64,
    /// The bound.
    pub bytes_max: u64,
    pub blocks: u64,
    /// Time since the oldest block was made; zero when there is none.
    pub oldest_age: Nanos,
    /// Samples that are durable, since the start.
    pub stored: u64,
    /// Samples that the journal was given and could not store, since the start.
    pub dropped: u64,
    /// Samples removed at the bound before every output had them, since the start.
    pub evicted: u64,
    /// Samples that were stored and are lost with a file that was removed, replaced or damaged, before every output had
    /// them, since the start. They are among the stored ones.
    pub lost: u64,
    /// Damaged files that were set aside, since the start.
    pub set_aside: u64,
    /// Blocks that readers skipped because they are damaged, each time that one came by.
    pub blocks_damaged: u64,
    pub commits: u64,
    pub commit_times: CommitTimes,
}

/// Whether an output reaches its other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputState {
    /// No connection, waiting to try again.
    #[default]
    Down,
    Connecting,
    Up,
}

impl OutputState {
    pub const ALL: [OutputState; 3] = [OutputState::Down, OutputState::Connecting, OutputState::Up];

    pub fn name(self) -> &'static str {
        match self {
            OutputState::Down => "down",
            OutputState::Connecting => "connecting",
            OutputState::Up => "up",
        }
    }
}

/// What an output tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutputView {
    pub state: OutputState,
    /// Samples in the journal behind its cursor.
    pub lag: u64,
    /// Samples acknowledged by the other side, since the start.
    pub acknowledged: u64,
    /// Samples that its choice of tags leaves out, since the start.
    pub left_out: u64,
    /// Samples that the other side does not take, whatever is done, since the start.
    pub refused: u64,
    /// Messages sent, repeats included, since the start.
    pub published: u64,
    /// Which of its servers it uses, counted from 0.
    pub server: u64,
    /// Messages sent and not yet acknowledged.
    pub in_flight: u64,
    /// Samples that the journal's bound removed, or that were lost with its file, before the other side had acknowledged
    /// them, ever.
    pub lost: u64,
}

/// What is read when it is asked for.
pub type View<T> = Box<dyn Fn() -> T + Send + Sync>;

/// Everything that is read from: counts of the floor, and the views of the parts above it.
pub struct Observed {
    /// The gateway's id.
    pub gateway: String,
    /// As samples name it.
    pub boot: String,
    pub started: Nanos,
    /// Those who read live.
    pub taps: Taps,
    pub current: Mutex<Current>,
    pub counters: Arc<Counters>,
    pub image: Arc<Image>,
    /// Why links have no connection, in words, of those that have none.
    pub link_troubles: View<BTreeMap<LinkId, String>>,
    pub statistics: Arc<Statistics>,
    /// By [`crate::tag::LaneId`].
    pub rings: Vec<View<RingFill>>,
    pub journal: View<JournalView>,
    /// With their names.
    pub outputs: Vec<(String, View<OutputView>)>,
    pub health: Arc<Health>,
    pub reloads: Reloads,
    pub writes: Arc<WriteStats>,
}

/// What became of the configurations that were found while the gateway ran.
#[derive(Debug, Default)]
pub struct Reloads {
    pub adopted: AtomicU64,
    pub refused: AtomicU64,
    /// The files are not what runs.
    pub last_refused: AtomicBool,
    /// When the files were last found to be, or made, what runs.
    pub last_success_utc_ns: AtomicI64,
}

impl Reloads {
    /// What the gateway was started with runs.
    pub fn started_now() -> Reloads {
        Reloads { last_success_utc_ns: AtomicI64::new(crate::hub::clock_pair().utc_ns), ..Reloads::default() }
    }
}

impl Observed {
    /// The plan that runs now.
    pub fn plan(&self) -> Arc<Plan> {
        self.current().plan
    }

    /// The same with what was counted for those before.
    pub fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another plan runs from now on; its counts and distributions are there, and nobody counts any more for what it lacks.
    pub fn set_plan(&self, plan: Arc<Plan>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = current.followed_by(plan, &self.counters);
    }
}

#[cfg(test)]
mod tests;
