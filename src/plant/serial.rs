//! Simulated Modbus RTU lines on pseudo terminals: several units each, bytes that take their time, faults.
//!
//! A pseudo terminal hands bytes over at once. Here a line is paced: a request counts as arrived when its characters
//! could have been sent, the reply begins after the silence that a device needs to see the request's end (Modbus over
//! Serial Line V1.02, 2.5.1.1), and its bytes come 16 at a time, as from the buffer of a UART.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use serde_json::json;

use super::device::{self, DeviceMemory};
use super::fault::{Fault, ManualFault};
use super::layout::{self, PlantTag};
use super::protocol::{self, HEADER_BYTES, UnknownUnit};
use super::{PlantConfig, files, now, signal};
use crate::limits::MODBUS_ADU_BYTES_MAX;
use crate::rt::thread;
use crate::tag::{NANOS_PER_SEC, Nanos};

/// Start, 8 data bits, even parity, one stop bit.
const BITS_PER_CHARACTER: u64 = 11;
const REQUEST_BYTES: usize = 8;
const UART_BYTES: usize = 16;
/// How often a line looks whether it shall end.
const PATIENCE_MS: u8 = 50;
/// More than a real-time thread's wake-up is usually late, also on a virtual machine.
const SPIN_MARGIN: Nanos = Nanos::from_micros(200);

/// What the lines are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialSettings {
    /// Devices are lines here.
    pub plant: PlantConfig,
    pub baud_rate: u32,
    /// Where the lines are measured against: each thread runs at this SCHED_FIFO priority, on the plant's CPU, and
    /// spins for the last moment before a byte is due in either direction. `None`: it sleeps, and bytes are late by
    /// what an ordinary thread's wake-ups are.
    pub exact: Option<u8>,
}

/// What one line has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineCounts {
    pub requests: u64,
    pub replies: u64,
    /// Replies that a fault spoiled or swallowed.
    pub faults: u64,
    /// Requests that began before the line had been silent for 3.5 characters; they are not answered.
    pub too_soon: u64,
    /// Nanoseconds that frames and the silences between them took.
    pub busy_ns: u64,
    /// Nanoseconds that the line stood idle beyond the silence before requests.
    pub idle_ns: u64,
    /// Nanoseconds from when the last bytes of replies were due until they were on their way.
    pub late_ns: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    fault: ManualFault,
    requests: AtomicU64,
    replies: AtomicU64,
    faults: AtomicU64,
    too_soon: AtomicU64,
    busy_ns: AtomicU64,
    idle_ns: AtomicU64,
    late_ns: AtomicU64,
}

/// Running lines. They end when dropped.
#[derive(Debug)]
pub struct SerialLines {
    lines: Vec<(PathBuf, Arc<Shared>, Option<JoinHandle<()>>)>,
    tags: Vec<PlantTag>,
    baud_rate: u32,
}

struct Line {
    master: File,
    /// Held open, so that the line outlives who uses it.
    _slave: OwnedFd,
    memories: Arc<Vec<DeviceMemory>>,
    number: usize,
    start: Nanos,
    baud_rate: u64,
    shared: Arc<Shared>,
    /// Since when the line is silent.
    silent_since: Nanos,
    noise: u64,
    /// It spins instead of sleeping so long before something is due.
    margin: Nanos,
}

impl SerialLines {
    /// # Errors
    /// When the system gives no pseudo terminal or no thread, or the profile does not fit (`InvalidInput`).
    pub fn start(settings: &SerialSettings) -> io::Result<SerialLines> {
        let config = &settings.plant;
        let tags = layout::tags(config).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let memories = Arc::new(device::memories(config, &tags));
        let start = now();
        let mut lines = Vec::with_capacity(config.devices);
        for number in 0..config.devices {
            let pty = openpty(None, None)?;
            for end in [&pty.master, &pty.slave] {
                fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            }
            let mut raw = tcgetattr(&pty.slave)?;
            cfmakeraw(&mut raw);
            tcsetattr(&pty.slave, SetArg::TCSANOW, &raw)?;
            let path = fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd()))?;
            let shared = Arc::new(Shared::default());
            let line = Line {
                master: File::from(pty.master),
                _slave: pty.slave,
                memories: memories.clone(),
                number,
                start,
                baud_rate: u64::from(settings.baud_rate.max(1)),
                shared: shared.clone(),
                silent_since: Nanos::ZERO,
                noise: 1,
                margin: settings.exact.map_or(Nanos::ZERO, |_| SPIN_MARGIN),
            };
            let (cpu, priority) = (config.cpu, settings.exact);
            let thread = std::thread::Builder::new().name("plant-line".into()).spawn(move || {
                if let Some(priority) = priority {
                    thread::enter(cpu.unwrap_or(0) as u32, priority);
                }
                line.run();
            })?;
            lines.push((path, shared, Some(thread)));
        }
        Ok(SerialLines { lines, tags, baud_rate: settings.baud_rate })
    }

    /// The port of each line.
    pub fn ports(&self) -> impl Iterator<Item = &Path> {
        self.lines.iter().map(|(path, ..)| path.as_path())
    }

    pub fn tags(&self) -> &[PlantTag] {
        &self.tags
    }

    /// Makes a line misbehave from now on: delay, silence, exceptions, garbage, half frames, trickle, and for a wrong
    /// transaction a wrong CRC. Other faults silence it. A line that does not exist is ignored.
    pub fn set_fault(&self, line: usize, fault: Option<Fault>) {
        if let Some((_, shared, _)) = self.lines.get(line) {
            shared.fault.set(fault);
        }
    }

    /// Zeroes for a line that does not exist.
    pub fn counts(&self, line: usize) -> LineCounts {
        self.lines.get(line).map_or_else(LineCounts::default, |(_, shared, _)| LineCounts {
            requests: shared.requests.load(Relaxed),
            replies: shared.replies.load(Relaxed),
            faults: shared.faults.load(Relaxed),
            too_soon: shared.too_soon.load(Relaxed),
            busy_ns: shared.busy_ns.load(Relaxed),
            idle_ns: shared.idle_ns.load(Relaxed),
            late_ns: shared.late_ns.load(Relaxed),
        })
    }

    /// Writes `line0.json` and so on for a gateway that reads these lines. Their tags' names begin with the line's.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write_tags(&self, dir: &Path) -> io::Result<()> {
        for (number, (port, ..)) in self.lines.iter().enumerate() {
            let link = format!("line{number}");
            let own = self.tags.iter().filter(|tag| tag.device == number);
            let mut tags = Vec::new();
            for tag in own {
                let mut entry = serde_json::to_value(files::tag_entry(&link, tag))?;
                entry["protocol"] = "modbus_rtu".into();
                entry["name"] = format!("{link}.{}", tag.name).into();
                tags.push(entry);
            }
            let entry = json!({ "name": link, "protocol": "modbus_rtu", "port": port, "baudrate": self.baud_rate,
                                "parity": "E", "expected_reply_ms": 1, "addressing": "raw" });
            let file = json!({ "links": [entry], "tags": tags });
            fs::write(dir.join(format!("{link}.json")), serde_json::to_vec_pretty(&file)?)?;
        }
        Ok(())
    }
}

impl Drop for SerialLines {
    fn drop(&mut self) {
        self.lines.iter().for_each(|(_, shared, _)| shared.stop.store(true, Relaxed));
        for thread in self.lines.iter_mut().filter_map(|(_, _, thread)| thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Line {
    fn run(mut self) {
        let mut received = Vec::with_capacity(2 * REQUEST_BYTES);
        let mut buffer = [0u8; 256];
        let mut began = Nanos::ZERO;
        while !self.shared.stop.load(Relaxed) {
            if !self.readable() {
                // A part of a request that does not go on is none.
                received.clear();
                continue;
            }
            let Ok(n) = self.master.read(&mut buffer) else { return };
            if received.is_empty() {
                began = now();
            }
            received.extend_from_slice(&buffer[..n]);
            if received.len() < REQUEST_BYTES {
                continue;
            }
            if received.len() == REQUEST_BYTES && crc16(&received) == 0 {
                self.answer(&received, began);
            }
            received.clear();
        }
    }

    /// Waits for a request; false: none came for a while.
    fn readable(&self) -> bool {
        let ready = |patience: PollTimeout| {
            let mut ends = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            poll(&mut ends, patience).is_ok_and(|ready| ready > 0)
        };
        if self.margin > Nanos::ZERO && self.silent_since > Nanos::ZERO {
            // The next may be there as soon as the silence is over.
            let due = self.silent_since + self.silence();
            sleep_until(Nanos(due.0.saturating_sub(self.margin.0)));
            while now() < due + self.margin {
                if ready(PollTimeout::ZERO) {
                    return true;
                }
            }
        }
        ready(PollTimeout::from(PATIENCE_MS))
    }

    /// Sleeps, and spins where the line is exact.
    fn until(&self, at: Nanos) {
        sleep_until(Nanos(at.0.saturating_sub(self.margin.0)));
        while now() < at {
            std::hint::spin_loop();
        }
    }

    fn characters(&self, count: u64) -> Nanos {
        Nanos(count * BITS_PER_CHARACTER * NANOS_PER_SEC / self.baud_rate)
    }

    /// 3.5 characters, or 1.75 ms above 19200 baud.
    fn silence(&self) -> Nanos {
        if self.baud_rate > 19_200 { Nanos::from_micros(1_750) } else { Nanos(self.characters(7).0 / 2) }
    }

    fn answer(&mut self, request: &[u8], began: Nanos) {
        let shared = self.shared.clone();
        shared.requests.fetch_add(1, Relaxed);
        let arrived = began + self.characters(request.len() as u64);
        if began < self.silent_since + self.silence() && self.silent_since != Nanos::ZERO {
            shared.too_soon.fetch_add(1, Relaxed);
            self.silent_since = arrived;
            return;
        }
        if self.silent_since != Nanos::ZERO {
            let idle = began.since(self.silent_since + self.silence());
            shared.idle_ns.fetch_add(idle.0, Relaxed);
        }
        let seen = arrived + self.silence();
        let Some(mut reply) = self.reply(request) else {
            self.silent_since = arrived;
            return;
        };
        let fault = shared.fault.get();
        shared.faults.fetch_add(u64::from(fault.is_some()), Relaxed);
        let mut at = seen;
        let mut gap = Nanos::ZERO;
        match fault {
            None | Some(Fault::Exceptions(_)) => {}
            Some(Fault::Delay(ms)) => at += Nanos::from_millis(u64::from(ms)),
            Some(Fault::Trickle(ms)) => gap = Nanos::from_millis(u64::from(ms)),
            Some(Fault::HalfFrame) => reply.truncate(reply.len() / 2),
            Some(Fault::WrongTransaction) => {
                let last = reply.len() - 1;
                reply[last] ^= 0x55;
            }
            Some(Fault::Garbage) => reply.iter_mut().for_each(|byte| *byte = self.noise_byte()),
            Some(Fault::Silence | Fault::DropConnection | Fault::Refuse) => {
                self.silent_since = arrived;
                return;
            }
        }
        let piece = if gap == Nanos::ZERO { UART_BYTES } else { 1 };
        let mut sent = 0;
        while sent < reply.len() {
            let end = reply.len().min(sent + piece);
            at += self.characters((end - sent) as u64) + gap;
            self.until(at);
            if self.master.write_all(&reply[sent..end]).is_err() || self.shared.stop.load(Relaxed) {
                return;
            }
            sent = end;
        }
        self.silent_since = at;
        shared.late_ns.fetch_add(now().since(at).0, Relaxed);
        let busy = at.since(began) + self.silence();
        shared.busy_ns.fetch_add(busy.0, Relaxed);
        shared.replies.fetch_add(1, Relaxed);
    }

    /// The reply of the line's devices, with its CRC; `None`: none of them answers.
    fn reply(&self, request: &[u8]) -> Option<Vec<u8>> {
        // The devices know Modbus TCP; the header is put before and taken off again.
        let pdu = &request[..REQUEST_BYTES - 2];
        let mut framed = vec![0, 0, 0, 0, 0, pdu.len() as u8];
        framed.extend_from_slice(pdu);
        let mut out = [0; MODBUS_ADU_BYTES_MAX];
        let device = self.memories.get(self.number)?;
        let tick = signal::tick(now(), self.start);
        let mut bytes = protocol::answer(device, UnknownUnit::Silence, &framed, tick, &mut out)?;
        if let Some(Fault::Exceptions(code)) = self.shared.fault.get() {
            bytes = protocol::exception(&framed, code, &mut out);
        }
        let mut reply = out[HEADER_BYTES..bytes].to_vec();
        let crc = crc16(&reply);
        reply.extend(crc.to_le_bytes());
        Some(reply)
    }

    fn noise_byte(&mut self) -> u8 {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.noise >> 56) as u8
    }
}

fn sleep_until(at: Nanos) {
    let left = at.since(now());
    if left > Nanos::ZERO {
        std::thread::sleep(Duration::from_nanos(left.0));
    }
}

/// Appendix B of the serial line's specification, bit by bit: not the gateway's own way.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Profile, ScanRates};
    use super::*;

    #[test]
    fn a_line_answers_in_its_time_and_as_its_fault_says() {
        let plant = PlantConfig {
            devices: 1,
            units_per_device: 2,
            profile: Profile::Float32 { tags_per_device: 8 },
            scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
            ..PlantConfig::default()
        };
        let lines = SerialLines::start(&SerialSettings { plant, baud_rate: 19_200, exact: None }).unwrap();
        let mut port = File::options().read(true).write(true).open(lines.ports().next().unwrap()).unwrap();
        let mut ask = |unit: u8, reply_bytes: usize| {
            let mut request = vec![unit, 3, 0, 0, 0, 2];
            request.extend(crc16(&request).to_le_bytes());
            let sent = now();
            port.write_all(&request).unwrap();
            let mut reply = vec![0; reply_bytes];
            port.read_exact(&mut reply).unwrap();
            let took = now().since(sent);
            std::thread::sleep(Duration::from_millis(10));
            (reply, took)
        };
        for unit in [1, 2] {
            let (reply, took) = ask(unit, 9);
            assert_eq!((reply[..3].to_vec(), crc16(&reply)), (vec![unit, 3, 4], 0));
            // 17 characters of 11 bits at 19200 baud and the silence between them.
            assert!(took >= Nanos::from_micros(9_739 + 2_005), "{took:?}");
        }
        lines.set_fault(0, Some(Fault::WrongTransaction));
        assert_ne!(crc16(&ask(1, 9).0), 0);
        lines.set_fault(0, Some(Fault::Exceptions(4)));
        assert_eq!(ask(1, 5).0[..3], [1, 0x83, 4]);
        lines.set_fault(0, Some(Fault::HalfFrame));
        assert_eq!(ask(1, 4).0[..3], [1, 3, 4]);
        let counts = lines.counts(0);
        assert_eq!((counts.requests, counts.replies, counts.faults, counts.too_soon), (5, 5, 3, 0));
    }
}
