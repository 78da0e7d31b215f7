//! The configuration after validation: every default filled in, every reference resolved to an index.

mod decoding;
mod diagnostics;
mod field;
mod kind;
mod output;
mod pace;
mod reporting;
mod sensor;
mod serial;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::text::Source;

pub use decoding::*;
pub use diagnostics::*;
pub use field::*;
pub use kind::*;
pub use output::*;
pub use pace::*;
pub use reporting::*;
pub use sensor::*;
pub use serial::*;
pub use write::*;

use crate::tag::{Nanos, ScalarType, Scaling, ValueType};

/// A whole gateway. Every index in it is in range.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub gateway: GatewayConfig,
    pub realtime: RealtimeConfig,
    pub journal: JournalConfig,
    pub metrics: MetricsConfig,
    pub control: ControlConfig,
    pub watchdog: WatchdogConfig,
    /// `None`: switched off.
    pub diagnostics: Option<DiagnosticsConfig>,
    pub outputs: Vec<OutputConfig>,
    pub links: Vec<LinkConfig>,
    pub groups: Vec<GroupConfig>,
    pub tags: Vec<TagConfig>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GatewayConfig {
    pub id: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RealtimeConfig {
    /// CPUs of the executors, one each; `None`: the isolated CPUs, else the last one.
    pub cores: Option<Vec<u32>>,
    /// SCHED_FIFO priority, 1–99.
    pub priority: u8,
    pub guard: Guard,
    pub admission: AdmissionRule,
}

/// What becomes of a plan that this machine or its lines have too little time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionRule {
    /// It is not started.
    Refuse,
    /// It runs, and what comes too late is counted.
    Warn,
}

/// How long before a release an executor stops sleeping and spins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// Calibrated at start from the measured wake-up latency.
    Auto,
    Fixed(Nanos),
}

#[derive(Debug, Clone, PartialEq)]
pub struct JournalConfig {
    pub path: PathBuf,
    pub bytes_max: u64,
    /// Time between commits.
    pub commit: Nanos,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MetricsConfig {
    /// `None`: switched off.
    pub listen: Option<SocketAddr>,
    /// Times of each link beside those of all.
    pub per_link: bool,
}

/// How writes are asked for on this machine, and how many there may be, whatever the way.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlConfig {
    /// `None`: switched off.
    pub socket: Option<PathBuf>,
    /// Users of this group may ask, too; else the gateway's own user alone.
    pub group: Option<String>,
    /// Writes to the whole gateway.
    pub writes_per_s: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct WatchdogConfig {
    /// How long an executor and the journal's thread may stand still before the process ends.
    pub executor_stall: Nanos,
    pub journal_stall: Nanos,
    pub hardware: Option<HardwareWatchdogConfig>,
}

/// A device that resets the machine when it is not fed.
#[derive(Debug, Clone, PartialEq)]
pub struct HardwareWatchdogConfig {
    pub device: PathBuf,
    pub timeout_s: u32,
}

impl Default for ControlConfig {
    fn default() -> ControlConfig {
        ControlConfig { socket: None, group: None, writes_per_s: 20 }
    }
}

impl Default for WatchdogConfig {
    fn default() -> WatchdogConfig {
        let nanos = |bound: std::time::Duration| Nanos(bound.as_nanos() as u64);
        WatchdogConfig {
            executor_stall: nanos(crate::limits::EXECUTOR_STALL),
            journal_stall: nanos(crate::limits::JOURNAL_STALL),
            hardware: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct LinkConfig {
    pub name: String,
    pub source: Source,
    pub protocol: Box<dyn LinkSettings>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct GroupConfig {
    pub name: String,
    pub source: Source,
    pub pace: Pace,
    pub release: ReleaseMode,
}

impl GroupConfig {
    /// From one sample of its tags to the next; see [`Pace::interval`].
    pub fn interval(&self) -> Nanos {
        self.pace.interval()
    }
}

/// How a group's links start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseMode {
    /// Each link at a phase of its own: less contention.
    Spread,
    /// All links of an executor at one instant: a coherent snapshot.
    Together,
}

/// Which frames become samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// On the group's beat, the newest value since the last one.
    Latest,
    /// Each frame.
    Every,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TagConfig {
    pub name: String,
    pub source: Source,
    /// Index into [`Config::links`].
    pub link: usize,
    /// Index into [`Config::groups`].
    pub group: usize,
    pub address: Box<dyn TagAddress>,
    /// The value is raw × scale + offset; of a transmitter, so is what its range says.
    pub scale: f64,
    pub offset: f64,
    /// A transmitter, whose signal says whether its wire is broken.
    pub sensor: Option<SensorConfig>,
    /// Engineering unit, may be empty.
    pub unit: String,
    pub description: String,
    /// The lowest and the highest value that are usual, or that a transmitter is made for.
    pub range: Option<[f64; 2]>,
    /// `None`: it is only read.
    pub write: Option<WriteConfig>,
    /// Which samples are told; `None`: every one.
    pub reporting: Option<Reporting>,
    pub decoding: DecodingConfig,
}

impl TagConfig {
    /// The type of the tag's samples: the field's own type, or float64 once it is scaled.
    pub fn value_type(&self) -> ValueType {
        let own = self.scale != 1.0 || self.offset != 0.0 || self.sensor.is_some();
        let scaled = own || self.decoding.scale_from.is_some();
        let scalar = |ty: ScalarType| if scaled && ty != ScalarType::Bool { ScalarType::Float64 } else { ty };
        match self.address.value_type() {
            ValueType::Scalar(ty) => ValueType::Scalar(scalar(ty)),
            ValueType::Array { of, len } => ValueType::Array { of: scalar(of), len },
            text => text,
        }
    }

    /// What makes the tag's value of the raw one: what a DBC file says, and the tag's own on top of it.
    pub fn scaling(&self) -> Scaling {
        self.address.scaling(self.scale, self.offset)
    }
}
