//! GPIO lines by the character device, uAPI version 2.
//!
//! Lines that are set up alike share one request of the kernel, so that they are read at one instant.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::device::{Fault, GpioLines, LineEvent};
use super::uapi::{self, GpioLineConfig, GpioLineEvent, GpioLineInfo, GpioLineRequest, GpioLineValues};
use crate::limits::LOCAL_IO_EDGES_AT_ONCE_MAX;
use crate::protocol::local_io::model::{GpioBias, GpioDrive, GpioEdge, GpioLine, GpioSetting};
use crate::tag::Nanos;

/// As others see who has a line.
pub const CONSUMER: &str = "fieldbeat";
/// Events that the kernel keeps for a request while nobody takes them; its most.
const EVENTS_KEPT: u32 = 64 * 16;
/// The kernel's own number, which drivers of chips let out.
const ENOTSUPP: i32 = 524;
/// Names of lines that an error tells at most.
const NAMES_TOLD_MAX: usize = 12;

/// Lines of one chip.
pub struct GpioChip {
    requests: Vec<Request>,
    /// Of the requests with edges.
    descriptors: Vec<RawFd>,
}

struct Request {
    fd: OwnedFd,
    /// Of the setup's lines, by the request's bits.
    lines: Vec<usize>,
    offsets: Vec<u32>,
    has_edges: bool,
}

/// Why lines could not be had.
pub enum LineFault {
    /// Someone has it.
    Busy(String),
    Other(String),
}

impl GpioChip {
    /// Takes the lines.
    pub fn new(chip: &File, name: &str, lines: &[(GpioLine, GpioSetting)]) -> Result<GpioChip, LineFault> {
        let info = chip_info(chip).map_err(|error| {
            LineFault::Other(format!("{name} is not a GPIO chip ({error}); check \"chip\" of the link (gpiodetect)"))
        })?;
        let names = if lines.iter().any(|(line, _)| matches!(line, GpioLine::Name(_))) {
            line_names(chip, info.lines)
        } else {
            BTreeMap::new()
        };
        let mut alike: BTreeMap<GpioSetting, Vec<(usize, u32)>> = BTreeMap::new();
        for (at, (line, setting)) in lines.iter().enumerate() {
            let offset = offset_of(line, name, info.lines, &names).map_err(LineFault::Other)?;
            alike.entry(*setting).or_default().push((at, offset));
        }
        let mut requests: Vec<Request> = Vec::new();
        for (setting, members) in alike {
            let offsets: Vec<u32> = members.iter().map(|(_, offset)| *offset).collect();
            let fd = request(chip, &setting, &offsets).map_err(|error| line_fault(chip, name, &offsets, &error))?;
            let lines = members.iter().map(|(at, _)| *at).collect();
            requests.push(Request { fd, lines, offsets, has_edges: setting.edge.is_some() });
        }
        let descriptors = requests.iter().filter(|r| r.has_edges).map(|r| r.fd.as_raw_fd()).collect();
        Ok(GpioChip { requests, descriptors })
    }
}

fn chip_info(chip: &File) -> io::Result<uapi::GpioChipInfo> {
    let mut info = uapi::GpioChipInfo { name: [0; 32], label: [0; 32], lines: 0 };
    // SAFETY: the request fills the structure.
    unsafe { uapi::ioctl(chip.as_raw_fd(), uapi::GPIO_GET_CHIPINFO, &mut info)? };
    Ok(info)
}

fn line_info(chip: &File, offset: u32) -> io::Result<GpioLineInfo> {
    // SAFETY: zeroes are a value of the structure.
    let mut info: GpioLineInfo = unsafe { std::mem::zeroed() };
    info.offset = offset;
    // SAFETY: the request reads and fills the structure.
    unsafe { uapi::ioctl(chip.as_raw_fd(), uapi::GPIO_GET_LINEINFO, &mut info)? };
    Ok(info)
}

/// Numbers by name. A chip has some hundred lines; a name that comes twice is that of the first.
fn line_names(chip: &File, lines: u32) -> BTreeMap<String, u32> {
    let mut names = BTreeMap::new();
    for offset in 0..lines.min(4096) {
        let Ok(info) = line_info(chip, offset) else { continue };
        let name = uapi::name(&info.name);
        if !name.is_empty() {
            names.entry(name).or_insert(offset);
        }
    }
    names
}

fn offset_of(line: &GpioLine, chip: &str, lines: u32, names: &BTreeMap<String, u32>) -> Result<u32, String> {
    match line {
        GpioLine::Offset(offset) if *offset < lines => Ok(*offset),
        GpioLine::Offset(offset) => {
            Err(format!("{chip} has no line {offset}; its lines are 0 to {}", lines.saturating_sub(1)))
        }
        GpioLine::Name(name) => names.get(name).copied().ok_or_else(|| {
            let mut some: Vec<&str> = names.keys().take(NAMES_TOLD_MAX).map(String::as_str).collect();
            if names.len() > some.len() {
                some.push("…");
            }
            let there = if some.is_empty() { "no line has a name".to_owned() } else { some.join(", ") };
            format!("{chip} has no line named \"{name}\": {there} (gpioinfo shows all)")
        }),
    }
}

fn line_fault(chip: &File, name: &str, offsets: &[u32], error: &io::Error) -> LineFault {
    let busy = |offset: &u32| {
        let info = line_info(chip, *offset).ok().filter(|info| info.flags & uapi::LINE_USED != 0)?;
        Some((*offset, uapi::name(&info.consumer)))
    };
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            let who = match offsets.iter().find_map(busy) {
                Some((offset, consumer)) if consumer.is_empty() => format!("line {offset} is used by the kernel"),
                Some((offset, consumer)) => format!("line {offset} is used by \"{consumer}\""),
                None => "a line is in use".to_owned(),
            };
            LineFault::Busy(format!("{name}: {who}; release it there, or remove it from the tag files"))
        }
        Some(libc::EPERM) => LineFault::Other(format!("{name}: a line of {offsets:?} must not be used as configured")),
        Some(libc::ENXIO) => {
            LineFault::Other(format!("{name}: a line of {offsets:?} does not support edges ({error}); remove \"edge\""))
        }
        Some(ENOTSUPP | libc::EOPNOTSUPP) => LineFault::Other(format!(
            "{name} cannot set lines {offsets:?} up as configured ({error}); remove bias or \
                drive"
        )),
        _ => LineFault::Other(format!("{name}: lines {offsets:?} cannot be requested: {error}")),
    }
}

fn flags(setting: &GpioSetting) -> u64 {
    let mut flags = if setting.is_output { uapi::LINE_OUTPUT } else { uapi::LINE_INPUT };
    if setting.active_low {
        flags |= uapi::LINE_ACTIVE_LOW;
    }
    flags |= match setting.bias {
        GpioBias::AsIs => 0,
        GpioBias::Disabled => uapi::LINE_BIAS_DISABLED,
        GpioBias::PullUp => uapi::LINE_PULL_UP,
        GpioBias::PullDown => uapi::LINE_PULL_DOWN,
    };
    flags |= match setting.drive {
        GpioDrive::PushPull => 0,
        GpioDrive::OpenDrain => uapi::LINE_OPEN_DRAIN,
        GpioDrive::OpenSource => uapi::LINE_OPEN_SOURCE,
    };
    flags
        | match setting.edge {
            None => 0,
            Some(GpioEdge::Rising) => uapi::LINE_EDGE_RISING,
            Some(GpioEdge::Falling) => uapi::LINE_EDGE_FALLING,
            Some(GpioEdge::Both) => uapi::LINE_EDGE_RISING | uapi::LINE_EDGE_FALLING,
        }
}

fn all(lines: usize) -> u64 {
    u64::MAX.checked_shr(64 - lines.min(64) as u32).unwrap_or(0)
}

fn attribute(config: &mut GpioLineConfig, id: u32, value: uapi::AttributeValue, mask: u64) {
    let at = config.num_attrs as usize;
    if let Some(attribute) = config.attrs.get_mut(at) {
        attribute.attr = uapi::GpioLineAttribute { id, padding: 0, value };
        attribute.mask = mask;
        config.num_attrs += 1;
    }
}

/// Takes lines that are set up alike. An output without an initial value is first taken as it is, to learn its level.
fn request(chip: &File, setting: &GpioSetting, offsets: &[u32]) -> io::Result<OwnedFd> {
    // SAFETY: zeroes are a value of the structure.
    let mut request: GpioLineRequest = unsafe { std::mem::zeroed() };
    request.consumer[..CONSUMER.len()].copy_from_slice(CONSUMER.as_bytes());
    for (slot, offset) in request.offsets.iter_mut().zip(offsets) {
        *slot = *offset;
    }
    request.num_lines = offsets.len().min(uapi::GPIO_LINES_MAX) as u32;
    let mask = all(offsets.len());
    let mut config = GpioLineConfig { flags: flags(setting), ..GpioLineConfig::default() };
    if setting.debounce_us > 0 {
        let value = uapi::AttributeValue { debounce_period_us: setting.debounce_us };
        attribute(&mut config, uapi::ATTR_DEBOUNCE, value, mask);
    }
    if let (true, Some(initial)) = (setting.is_output, setting.initial) {
        let values = if initial { mask } else { 0 };
        attribute(&mut config, uapi::ATTR_OUTPUT_VALUES, uapi::AttributeValue { values }, mask);
    }
    if setting.edge.is_some() {
        request.event_buffer_size = EVENTS_KEPT;
    }
    let as_it_is = setting.is_output && setting.initial.is_none();
    request.config = if as_it_is {
        GpioLineConfig { flags: flags(setting) & uapi::LINE_ACTIVE_LOW, ..GpioLineConfig::default() }
    } else {
        config
    };
    // SAFETY: the request reads and fills the structure.
    unsafe { uapi::ioctl(chip.as_raw_fd(), uapi::GPIO_GET_LINE, &mut request)? };
    // SAFETY: the kernel has just made the descriptor for us.
    let fd = unsafe { OwnedFd::from_raw_fd(request.fd) };
    if as_it_is {
        let mut values = GpioLineValues { bits: 0, mask };
        // SAFETY: the request reads and fills the structure.
        unsafe { uapi::ioctl(fd.as_raw_fd(), uapi::GPIO_GET_VALUES, &mut values)? };
        let values = uapi::AttributeValue { values: values.bits & mask };
        attribute(&mut config, uapi::ATTR_OUTPUT_VALUES, values, mask);
        // SAFETY: the request reads the structure.
        unsafe { uapi::ioctl(fd.as_raw_fd(), uapi::GPIO_SET_CONFIG, &mut config)? };
    }
    Ok(fd)
}

impl GpioLines for GpioChip {
    fn levels(&mut self, wanted: &[bool], levels: &mut [bool]) -> Result<(), Fault> {
        for request in &self.requests {
            let wants = |at: &usize| wanted.get(*at).copied().unwrap_or_default();
            let mask = request.lines.iter().enumerate().filter(|(_, at)| wants(at)).fold(0, |m, (bit, _)| m | 1 << bit);
            if mask == 0 {
                continue;
            }
            let mut values = GpioLineValues { bits: 0, mask };
            // SAFETY: the request reads and fills the structure.
            unsafe { uapi::ioctl(request.fd.as_raw_fd(), uapi::GPIO_GET_VALUES, &mut values) }
                .map_err(|error| Fault::of(&error))?;
            for (bit, at) in request.lines.iter().enumerate().filter(|(bit, _)| mask & 1 << bit != 0) {
                if let Some(level) = levels.get_mut(*at) {
                    *level = values.bits & 1 << bit != 0;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, line: usize, level: bool) -> Result<(), Fault> {
        for request in &self.requests {
            let Some(bit) = request.lines.iter().position(|at| *at == line) else { continue };
            let mut values = GpioLineValues { bits: u64::from(level) << bit, mask: 1 << bit };
            // SAFETY: the request reads the structure.
            unsafe { uapi::ioctl(request.fd.as_raw_fd(), uapi::GPIO_SET_VALUES, &mut values) }
                .map_err(|error| Fault::of(&error))?;
            return Ok(());
        }
        Err(Fault::Failed(libc::EINVAL))
    }

    fn descriptors(&self) -> &[RawFd] {
        &self.descriptors
    }

    fn events(&mut self, events: &mut Vec<LineEvent>) -> Result<bool, Fault> {
        let mut more = false;
        for request in self.requests.iter().filter(|request| request.has_edges) {
            let fd = request.fd.as_raw_fd();
            let mut ready = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one entry, which lives through the call. A read without events would wait.
            match unsafe { libc::poll(&raw mut ready, 1, 0) } {
                1.. => {}
                0 => continue,
                _ => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => continue,
                    error => return Err(Fault::of(&error)),
                },
            }
            if ready.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
                return Err(Fault::Gone);
            }
            let mut buffer = [GpioLineEvent::default(); LOCAL_IO_EDGES_AT_ONCE_MAX];
            // SAFETY: pointer and length are those of a live array, of structures for which all bytes are values.
            let len = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), size_of_val(&buffer)) };
            let Ok(len) = usize::try_from(len) else { return Err(Fault::of(&io::Error::last_os_error())) };
            let count = len / size_of::<GpioLineEvent>();
            more |= count == buffer.len();
            for event in buffer.iter().take(count) {
                let Some(bit) = request.offsets.iter().position(|offset| *offset == event.offset) else { continue };
                let Some(line) = request.lines.get(bit).copied() else { continue };
                let (rising, t) = (event.id == uapi::EVENT_RISING, Nanos(event.timestamp_ns));
                events.push(LineEvent { line, rising, t, number: event.line_seqno });
            }
        }
        Ok(more)
    }
}
