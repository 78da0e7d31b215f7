//! The work of one device file of the machine: what its thread reads for each scan, and how long that takes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::model::{
    Formula, GpioLine, GpioSetting, LocalIoAddress, LocalIoConfig, LocalIoDevice, LocalIoPoint, Program, RegisterWrite,
    Step,
};
use crate::config::TagConfig;
use crate::limits::{LOCAL_IO_PRIORITY_MAX, LOCAL_IO_REQUEST_ITEMS_MAX};
use crate::plan::{ScanId, Scanning, SensorLimits};
use crate::tag::{GroupId, NANOS_PER_SEC, Nanos, ScalarType, Scaling, TagId, ValueType};

/// The work of one device file.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalIoPlan {
    pub config: LocalIoConfig,
    /// What its thread needs to know; with another one, the device is opened anew.
    pub setup: Arc<LocalIoSetup>,
    pub requests: Vec<LocalIoRequest>,
    /// By the setup's items.
    pub tags: Vec<LocalIoTag>,
    /// By the setup's writes.
    pub writes: Vec<TagId>,
}

/// Tags of one scan that are read together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalIoRequest {
    pub scan: ScanId,
    pub group: GroupId,
    /// Of the items and the tags.
    pub items: Range<u32>,
    /// On the bus, by its clock, with what the accesses cost besides.
    pub time: Nanos,
    /// What comes on top the first time, and after a failure: chips are set up.
    pub setup_time: Nanos,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalIoTag {
    pub tag: TagId,
    pub ty: ScalarType,
}

/// A device, and what is read from it and written to it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalIoSetup {
    pub device: LocalIoDevice,
    pub timeout: Nanos,
    /// SCHED_FIFO priority of its thread; 0: an ordinary thread.
    pub priority: u8,
    pub lines: Vec<(GpioLine, GpioSetting)>,
    pub programs: Vec<Arc<Program>>,
    pub channels: Vec<String>,
    pub items: Vec<LocalIoItem>,
    /// Of the items, by request.
    pub requests: Vec<Range<u32>>,
    pub writes: Vec<LocalIoWrite>,
}

/// No number in it is NaN: the configuration has none.
impl Eq for LocalIoSetup {}

/// Where one value comes from, and how it travels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalIoItem {
    pub source: LocalIoSource,
    pub ty: ScalarType,
    pub scaling: Scaling,
    pub sensor: Option<SensorLimits>,
}

/// Indices are into the setup.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LocalIoSource {
    /// Of a line; its edges are told, too, where it has them.
    Level {
        line: u16,
    },
    /// Edges of a line so far.
    Count {
        line: u16,
    },
    Register {
        program: u16,
        formula: Formula,
    },
    Channel(u16),
}

/// Where a write goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalIoWrite {
    Line(u16),
    Register {
        address: u8,
        write: RegisterWrite,
    },
    /// Of an IIO device; the payload is a float64 in the kernel's unit.
    Channel(u16),
}

impl LocalIoPlan {
    pub fn new(config: &LocalIoConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> LocalIoPlan {
        let mut setup = LocalIoSetup {
            device: config.device.clone(),
            timeout: config.timeout,
            priority: scanning.priority.saturating_sub(1).min(LOCAL_IO_PRIORITY_MAX),
            lines: Vec::new(),
            programs: Vec::new(),
            channels: Vec::new(),
            items: Vec::new(),
            requests: Vec::new(),
            writes: Vec::new(),
        };
        let mut places = Places::default();
        let mut plan = LocalIoPlan {
            config: config.clone(),
            setup: Arc::default(),
            requests: Vec::new(),
            tags: Vec::new(),
            writes: Vec::new(),
        };
        // By ids, so that a link whose tags stay as they are is planned as it was, in whatever order files are read.
        let mut parts: Vec<(GroupId, TagId, &TagConfig, &LocalIoAddress)> = Vec::new();
        for (id, tag) in tags {
            let Some(address) = tag.address.get::<LocalIoAddress>() else { continue };
            parts.push((scanning.groups[tag.group], *id, tag, address));
        }
        parts.sort_by_key(|(group, id, ..)| (*group, *id));
        for (group, id, tag, address) in parts {
            let scan = scanning.scan(group, plan.requests.len() as u32);
            let at = setup.items.len() as u32;
            let source = places.source(address, &mut setup);
            let ValueType::Scalar(ty) = tag.value_type() else { continue };
            let (scaling, sensor) = (tag.scaling(), tag.sensor.as_ref().map(SensorLimits::of));
            setup.items.push(LocalIoItem { source, ty, scaling, sensor });
            plan.tags.push(LocalIoTag { tag: id, ty });
            if tag.write.is_some()
                && let Some(write) = write_of(address, source, &setup)
            {
                setup.writes.push(write);
                plan.writes.push(id);
            }
            match plan.requests.last_mut() {
                Some(last) if last.scan == scan && last.items.len() < LOCAL_IO_REQUEST_ITEMS_MAX => last.items.end += 1,
                _ => plan.requests.push(LocalIoRequest {
                    scan,
                    group,
                    items: at..at + 1,
                    time: Nanos::ZERO,
                    setup_time: Nanos::ZERO,
                }),
            }
            scanning.scans[scan].requests.end = plan.requests.len() as u32;
        }
        for request in &mut plan.requests {
            (request.time, request.setup_time) = times(config, &setup, request.items.clone());
        }
        setup.requests = plan.requests.iter().map(|request| request.items.clone()).collect();
        plan.setup = Arc::new(setup);
        plan
    }

    /// Samples that are told as they come, at most.
    pub fn samples_per_s(&self) -> u64 {
        match &self.setup.device {
            LocalIoDevice::Iio { buffer: Some(buffer), .. } if buffer.every => {
                buffer.scans_per_s_max() * self.setup.items.len() as u64
            }
            _ => 0,
        }
    }

    /// Items whose edges are told one by one.
    pub fn items_that_tell(&self) -> usize {
        let has_edges =
            |line: u16| self.setup.lines.get(usize::from(line)).is_some_and(|(_, setting)| setting.edge.is_some());
        let tells = |item: &&LocalIoItem| matches!(item.source, LocalIoSource::Level { line } if has_edges(line));
        self.setup.items.iter().filter(tells).count()
    }
}

/// Places of what several tags share.
#[derive(Default)]
struct Places {
    lines: BTreeMap<GpioLine, u16>,
    /// By address; few programs have the same.
    programs: BTreeMap<u8, Vec<u16>>,
    channels: BTreeMap<String, u16>,
}

impl Places {
    fn source(&mut self, address: &LocalIoAddress, setup: &mut LocalIoSetup) -> LocalIoSource {
        match &address.point {
            LocalIoPoint::Gpio(point) => {
                let line = *self.lines.entry(point.line.clone()).or_insert_with(|| {
                    setup.lines.push((point.line.clone(), GpioSetting::default()));
                    (setup.lines.len() - 1) as u16
                });
                // Tags of one line have one setting, but for the edges that some of them want.
                if let Some((_, setting)) = setup.lines.get_mut(usize::from(line)) {
                    let edge = setting.edge.or(point.setting.edge);
                    *setting = GpioSetting { edge, ..point.setting };
                }
                if point.counts { LocalIoSource::Count { line } } else { LocalIoSource::Level { line } }
            }
            LocalIoPoint::Register { program, formula, .. } => {
                let of_address = self.programs.entry(program.address).or_default();
                let known = of_address.iter().copied().find(|at| setup.programs.get(usize::from(*at)) == Some(program));
                let at = known.unwrap_or_else(|| {
                    setup.programs.push(program.clone());
                    let at = (setup.programs.len() - 1) as u16;
                    of_address.push(at);
                    at
                });
                LocalIoSource::Register { program: at, formula: *formula }
            }
            LocalIoPoint::Iio { channel } => {
                LocalIoSource::Channel(*self.channels.entry(channel.clone()).or_insert_with(|| {
                    setup.channels.push(channel.clone());
                    (setup.channels.len() - 1) as u16
                }))
            }
        }
    }
}

fn write_of(address: &LocalIoAddress, source: LocalIoSource, setup: &LocalIoSetup) -> Option<LocalIoWrite> {
    match (&address.point, source) {
        (LocalIoPoint::Gpio(point), LocalIoSource::Level { line }) if point.setting.is_output => {
            Some(LocalIoWrite::Line(line))
        }
        (LocalIoPoint::Register { write: Some(write), .. }, LocalIoSource::Register { program, .. }) => {
            let address = setup.programs.get(usize::from(program))?.address;
            Some(LocalIoWrite::Register { address, write: write.clone() })
        }
        (LocalIoPoint::Iio { .. }, LocalIoSource::Channel(channel)) if address.is_writable() => {
            Some(LocalIoWrite::Channel(channel))
        }
        _ => None,
    }
}

/// What a request takes, and what setting up its chips takes.
fn times(config: &LocalIoConfig, setup: &LocalIoSetup, items: Range<u32>) -> (Nanos, Nanos) {
    let items = setup.items.get(items.start as usize..items.end as usize).unwrap_or_default();
    let mut programs = std::collections::BTreeSet::new();
    let mut settings = std::collections::BTreeSet::new();
    let mut channels = 0u64;
    for item in items {
        match item.source {
            LocalIoSource::Level { line } | LocalIoSource::Count { line } => {
                settings.extend(setup.lines.get(usize::from(line)).map(|(_, setting)| *setting));
            }
            LocalIoSource::Register { program, .. } => {
                programs.insert(program);
            }
            LocalIoSource::Channel(_) => channels += 1,
        }
    }
    // One read takes all that is in a buffer.
    let buffered = matches!(config.device, LocalIoDevice::Iio { buffer: Some(_), .. });
    let accesses = settings.len() as u64 + if buffered { channels.min(1) } else { channels };
    let (mut time, mut setup_time) = (Nanos(config.overhead.0 * accesses), Nanos::ZERO);
    for program in programs.iter().filter_map(|at| setup.programs.get(usize::from(*at))) {
        let of = |steps: &[Step]| steps.iter().fold(Nanos::ZERO, |sum, step| sum + step_time(config, step));
        time += of(&program.measure);
        setup_time += of(&program.setup) + of(&program.calibration);
    }
    (time, setup_time)
}

/// What one access takes: its bits by the bus's clock, and what it costs besides.
pub fn step_time(config: &LocalIoConfig, step: &Step) -> Nanos {
    let (written, read) = match step {
        Step::Wait(pause) => return *pause,
        Step::Write(bytes) | Step::Exchange(bytes) => (bytes.len() as u64, 0),
        Step::Read { command, bytes } => (command.len() as u64, u64::from(*bytes)),
        Step::Identify { .. } => (1, 1),
    };
    let (bits, hz) = match &config.device {
        // Nine bits a byte with its acknowledge (NXP UM10204, 3.1.5), the address before each direction, start and
        // stop, and half a byte's time for a repeated start.
        LocalIoDevice::I2c { clock_hz, .. } => {
            let part = |bytes: u64| if bytes > 0 { 9 * (bytes + 1) + 1 } else { 0 };
            (part(written) + part(read) + 1, *clock_hz)
        }
        LocalIoDevice::Spi { speed_hz, .. } => (8 * (written + read), *speed_hz),
        LocalIoDevice::Gpio { .. } | LocalIoDevice::Iio { .. } => (0, 1),
    };
    Nanos((bits * NANOS_PER_SEC).div_ceil(u64::from(hz.max(1)))) + config.overhead
}
