//! The configuration after validation: every default filled in, every reference resolved to an index.

mod bus;
mod can;
mod canopen;
mod decoding;
mod diagnostics;
mod field;
mod modbus;
mod output;
mod sensor;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

pub use bus::*;
pub use can::*;
pub use canopen::*;
pub use decoding::*;
pub use diagnostics::*;
pub use field::*;
pub use modbus::*;
pub use output::*;
pub use sensor::*;
pub use write::*;

use super::reporting::Reporting;
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

/// Where something was written, for messages: `tags/boiler.json:12:5`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
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
    pub protocol: LinkProtocol,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LinkProtocol {
    Modbus(ModbusConfig),
    Can(CanConfig),
    CanOpen(CanOpenConfig),
    Bus(BusConfig),
    /// The gateway's own tags; in no file.
    Diagnostics,
}

impl LinkProtocol {
    /// As it is written in the tag files.
    pub fn name(&self) -> &'static str {
        match self {
            LinkProtocol::Modbus(modbus) => match modbus.transport {
                ModbusTransport::Tcp(_) => "modbus_tcp",
                ModbusTransport::Serial(_) => "modbus_rtu",
                ModbusTransport::RtuOverTcp(_) => "modbus_rtu_tcp",
            },
            LinkProtocol::Can(_) => "can",
            LinkProtocol::CanOpen(_) => "canopen",
            LinkProtocol::Bus(bus) => bus.device.protocol(),
            LinkProtocol::Diagnostics => "diagnostics",
        }
    }

    pub fn modbus(&self) -> Option<&ModbusConfig> {
        if let LinkProtocol::Modbus(modbus) = self { Some(modbus) } else { None }
    }

    pub fn modbus_mut(&mut self) -> Option<&mut ModbusConfig> {
        if let LinkProtocol::Modbus(modbus) = self { Some(modbus) } else { None }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct GroupConfig {
    pub name: String,
    pub source: Source,
    pub period: Nanos,
    pub release: ReleaseMode,
}

/// How a group's links start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseMode {
    /// Each link at a phase of its own: less contention.
    Spread,
    /// All links of an executor at one instant: a coherent snapshot.
    Together,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TagConfig {
    pub name: String,
    pub source: Source,
    /// Index into [`Config::links`].
    pub link: usize,
    /// Index into [`Config::groups`].
    pub group: usize,
    pub address: TagAddress,
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
        match &self.address {
            TagAddress::Can(can) => Scaling::new(can.scale, can.offset).then(self.scale, self.offset),
            _ => Scaling::new(self.scale, self.offset),
        }
    }
}

/// By the kind of its link.
#[derive(Debug, Clone, PartialEq)]
pub enum TagAddress {
    Modbus(ModbusAddress),
    Can(CanAddress),
    CanOpen(CanOpenAddress),
    Bus(BusAddress),
    Diagnostics(DiagnosticSignal),
}

impl TagAddress {
    /// The type of what lies there, before it is scaled.
    pub(in crate::config) fn value_type(&self) -> ValueType {
        match self {
            TagAddress::Modbus(address) => address.value_type(),
            TagAddress::Can(address) => address.ty,
            TagAddress::CanOpen(address) => address.ty,
            TagAddress::Bus(address) => address.ty,
            TagAddress::Diagnostics(signal) => ValueType::Scalar(signal.ty()),
        }
    }

    pub fn modbus(&self) -> Option<&ModbusAddress> {
        if let TagAddress::Modbus(address) = self { Some(address) } else { None }
    }
}
