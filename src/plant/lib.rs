//! Simulated field devices: real Modbus TCP servers on loopback, RTU lines on pseudo terminals, and nodes on CAN
//! interfaces of the kernel, for the demo and for tests.
//!
//! One thread serves every device, and one each line. Values are functions of time and address, computed when they are read, so
//! nothing runs between requests and [`Plant::expected`] can say what a reader should have seen.

pub mod broker;
pub mod can;
mod canopen;
mod connection;
mod device;
mod fault;
mod files;
mod layout;
mod protocol;
mod serial;
mod server;
mod signal;
mod write;

use fieldbeat_core::{config, limits, tag};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::tag::{Nanos, UnitId, Value};
use fieldbeat_engine::protocol::modbus::model::Table;

pub use fault::{Fault, FaultError, Faulty, ScheduledFault};
pub use files::GatewaySettings;
pub use layout::{PlantTag, Profile, ScanRates};
pub use protocol::UnknownUnit;
pub use serial::{LineCounts, SerialLines, SerialSettings};

use device::DeviceMemory;
use fault::ManualFault;

/// A reply of a device without delay, over loopback, on a machine that is busy.
const REPLY_EXPECTED: Nanos = Nanos::from_micros(100);

/// What a plant is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct PlantConfig {
    /// Devices, each a listener of its own.
    pub devices: usize,
    /// Modbus units behind each device, numbered from 1; the device's tags are dealt out among them.
    pub units_per_device: u8,
    pub profile: Profile,
    pub scan_rates: ScanRates,
    /// Device `i` listens on `base_port + i`; `None`: on any free port.
    pub base_port: Option<u16>,
    /// Time from request to reply, by device; devices beyond the list answer at once.
    pub reply_delays: Vec<Nanos>,
    /// What a request for a unit that does not exist gets.
    pub unknown_unit: UnknownUnit,
    pub faults: Vec<ScheduledFault>,
    /// Pins the plant's thread to this CPU.
    pub cpu: Option<usize>,
}

impl Default for PlantConfig {
    /// 10 devices, 1000 tags.
    fn default() -> PlantConfig {
        PlantConfig {
            devices: 10,
            units_per_device: 1,
            profile: Profile::Line { tags_per_device: 100 },
            scan_rates: ScanRates::Mixed,
            base_port: None,
            reply_delays: Vec::new(),
            unknown_unit: UnknownUnit::Exception,
            faults: Vec::new(),
            cpu: None,
        }
    }
}

/// What one device has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceCounts {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// Whole requests received.
    pub requests: u64,
    /// Replies begun, exceptions and broken ones included.
    pub replies: u64,
    /// Requests and connections that a fault spoiled.
    pub faults: u64,
}

#[derive(Debug, Default)]
struct DeviceCounters {
    connections: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    replies: AtomicU64,
    faults: AtomicU64,
}

/// What the plant's thread and its owner share.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    wake: EventFd,
    manual: Vec<ManualFault>,
    counters: Vec<DeviceCounters>,
}

/// A running plant. Stops when dropped.
#[derive(Debug)]
pub struct Plant {
    shared: Arc<Shared>,
    memories: Arc<Vec<DeviceMemory>>,
    tags: Vec<PlantTag>,
    addresses: Vec<SocketAddr>,
    reply_delays: Vec<Nanos>,
    start: Nanos,
    thread: Option<JoinHandle<()>>,
}

impl Plant {
    /// Binds every device and starts the thread that serves them.
    ///
    /// # Errors
    /// A port that is taken, a profile that does not fit the address space (`InvalidInput`), or a thread that
    /// cannot be pinned or started.
    pub fn start(config: PlantConfig) -> io::Result<Plant> {
        let tags = layout::tags(&config).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        // Those of lines are for others.
        if let Some(why) = ScheduledFault::astray(&config.faults, config.devices, usize::MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let memories = Arc::new(device::memories(&config, &tags));
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
            manual: (0..config.devices).map(|_| ManualFault::default()).collect(),
            counters: (0..config.devices).map(|_| DeviceCounters::default()).collect(),
        });
        let start = now();
        let server = server::Server::bind(&config, start, Arc::clone(&memories), Arc::clone(&shared))?;
        let addresses = server.addresses();
        let (report, pinned) = std::sync::mpsc::sync_channel(1);
        let reply_delays = config.reply_delays.clone();
        let thread = std::thread::Builder::new().name("plant".into()).spawn(move || {
            let result = server.pin();
            let served = result.is_ok();
            let _ = report.send(result);
            if served {
                server.run();
            }
        })?;
        match pinned.recv() {
            Ok(result) => result?,
            Err(_) => return Err(io::Error::other("the plant's thread died at its start")),
        }
        Ok(Plant { shared, memories, tags, addresses, reply_delays, start, thread: Some(thread) })
    }

    /// Where each device listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What a reply of a device takes when all goes well.
    pub fn reply_expected(&self, device: usize) -> Nanos {
        self.reply_delays.get(device).copied().unwrap_or_default() + REPLY_EXPECTED
    }

    /// Every tag that the plant offers, device by device.
    pub fn tags(&self) -> &[PlantTag] {
        &self.tags
    }

    /// When the plant started, CLOCK_MONOTONIC; its values and its faults' schedules count from here.
    pub fn started(&self) -> Nanos {
        self.start
    }

    /// What a reader sees in a register (or bit, as 0 or 1) at a moment of CLOCK_MONOTONIC; `None` where the
    /// device has nothing. Values change on whole milliseconds after [`Plant::started`], all registers of one
    /// request at once: a value read between two moments is the expected one of a millisecond between them.
    pub fn expected(&self, device: usize, unit: UnitId, table: Table, address: u16, at: Nanos) -> Option<u16> {
        self.memories.get(device)?.unit(unit)?.register(table, address, self.tick(at))
    }

    /// A tag's value (scaled where the tag is) at a moment of CLOCK_MONOTONIC.
    pub fn expected_value(&self, tag: &PlantTag, at: Nanos) -> Value {
        tag.value(self.tick(at))
    }

    fn tick(&self, at: Nanos) -> u64 {
        signal::tick(at, self.start)
    }

    /// Makes a device misbehave from now on, whatever its schedule says; `None` returns it to its schedule.
    /// A device that does not exist is ignored.
    pub fn set_fault(&self, device: usize, fault: Option<Fault>) {
        if let Some(manual) = self.shared.manual.get(device) {
            manual.set(fault);
            self.wake();
        }
    }

    /// What a device has counted so far; zeroes for one that does not exist.
    pub fn counts(&self, device: usize) -> DeviceCounts {
        self.shared.counters.get(device).map_or_else(DeviceCounts::default, |c| DeviceCounts {
            connections: c.connections.load(Relaxed),
            open: c.open.load(Relaxed),
            requests: c.requests.load(Relaxed),
            replies: c.replies.load(Relaxed),
            faults: c.faults.load(Relaxed),
        })
    }

    /// The sum over all devices.
    pub fn totals(&self) -> DeviceCounts {
        (0..self.addresses.len()).map(|device| self.counts(device)).fold(DeviceCounts::default(), |a, b| DeviceCounts {
            connections: a.connections + b.connections,
            open: a.open + b.open,
            requests: a.requests + b.requests,
            replies: a.replies + b.replies,
            faults: a.faults + b.faults,
        })
    }

    fn wake(&self) {
        // It fails only when the counter is full, and then the thread is awake anyway.
        let _ = self.shared.wake.write(1);
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// CLOCK_MONOTONIC.
fn now() -> Nanos {
    match nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC) {
        Ok(t) => Nanos(t.tv_sec() as u64 * crate::tag::NANOS_PER_SEC + t.tv_nsec() as u64),
        Err(_) => unreachable!("CLOCK_MONOTONIC exists on every Linux"),
    }
}
