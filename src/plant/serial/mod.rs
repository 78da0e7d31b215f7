//! Simulated Modbus RTU lines on pseudo terminals: several units each, bytes that take their time, faults.

mod line;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use serde_json::json;

use super::device::{self, DeviceMemory};
use super::fault::{Fault, ManualFault, ScheduledFault};
use super::layout::{self, PlantTag};
use super::{PlantConfig, files, now};
use fieldbeat_engine::rt::thread;
use line::Line;

/// What the lines are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct SerialSettings {
    /// Devices are lines here; of the faults, those of lines count.
    pub plant: PlantConfig,
    pub baud_rate: u32,
    /// Folder for the ports: links `line0` and so on to the pseudo terminals, so that a port that was pulled out is
    /// plugged in under its name.
    pub ports: PathBuf,
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
    /// Replies that a fault spoiled or swallowed, bursts of noise, and times that the port was pulled out.
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

impl SerialLines {
    /// # Errors
    /// When the system gives no pseudo terminal, no link or no thread, or the profile does not fit (`InvalidInput`).
    pub fn start(settings: &SerialSettings) -> io::Result<SerialLines> {
        let config = &settings.plant;
        let invalid = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        let tags = layout::tags(config).map_err(invalid)?;
        // Those of devices are for others.
        ScheduledFault::astray(&config.faults, usize::MAX, config.devices).map_or(Ok(()), |why| Err(invalid(why)))?;
        let memories: Arc<Vec<DeviceMemory>> = Arc::new(device::memories(config, &tags));
        fs::create_dir_all(&settings.ports)?;
        let ports = settings.ports.canonicalize()?;
        let start = now();
        let mut lines = Vec::with_capacity(config.devices);
        for number in 0..config.devices {
            let port = ports.join(format!("line{number}"));
            let shared = Arc::new(Shared::default());
            let line = Line::new((number, port.clone()), settings, memories.clone(), start, shared.clone())?;
            let (cpu, priority) = (config.cpu, settings.exact);
            let thread = std::thread::Builder::new().name("plant-line".into()).spawn(move || {
                if let Some(priority) = priority {
                    thread::enter(cpu.unwrap_or(0) as u32, priority);
                }
                line.run();
            })?;
            lines.push((port, shared, Some(thread)));
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

    /// Makes a line misbehave from now on, whatever its schedule says; `None` returns it to its schedule. Faults of
    /// devices on TCP silence it. A line that does not exist is ignored.
    pub fn set_fault(&self, line: usize, fault: Option<Fault>) {
        if let Some((_, shared, _)) = self.lines.get(line) {
            shared.fault.set(fault);
        }
    }

    /// Of all lines together.
    pub fn faults(&self) -> u64 {
        (0..self.lines.len()).map(|line| self.counts(line).faults).sum()
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

#[cfg(test)]
mod tests {
    use super::super::{Profile, ScanRates};
    use super::line::crc16;
    use super::*;
    use crate::tag::Nanos;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::time::Duration;

    #[test]
    fn a_line_answers_in_its_time_and_as_its_fault_says() {
        let plant = PlantConfig {
            devices: 1,
            units_per_device: 2,
            profile: Profile::Float32 { tags_per_device: 8 },
            scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
            ..PlantConfig::default()
        };
        let dir = tempfile::TempDir::new().unwrap();
        let ports = dir.path().to_owned();
        let lines = SerialLines::start(&SerialSettings { plant, baud_rate: 19_200, ports, exact: None }).unwrap();
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
        lines.set_fault(0, Some(Fault::WrongCrc));
        assert_ne!(crc16(&ask(1, 9).0), 0);
        lines.set_fault(0, Some(Fault::WrongUnit));
        let (reply, _) = ask(1, 9);
        assert_eq!((reply[0] != 1, crc16(&reply)), (true, 0));
        lines.set_fault(0, Some(Fault::Exceptions(4)));
        assert_eq!(ask(1, 5).0[..3], [1, 0x83, 4]);
        lines.set_fault(0, Some(Fault::HalfFrame));
        assert_eq!(ask(1, 4).0[..3], [1, 3, 4]);
        let counts = lines.counts(0);
        assert_eq!((counts.requests, counts.replies, counts.faults, counts.too_soon), (6, 6, 4, 0));
    }

    #[test]
    fn a_port_is_pulled_out_and_plugged_in_under_its_name_by_the_schedule() {
        let dir = tempfile::TempDir::new().unwrap();
        let plant = PlantConfig {
            devices: 2,
            profile: Profile::Float32 { tags_per_device: 4 },
            scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
            faults: vec!["line1:unplug@0.2..0.6".parse().unwrap()],
            ..PlantConfig::default()
        };
        let ports = dir.path().join("ports");
        let lines = SerialLines::start(&SerialSettings { plant, baud_rate: 115_200, ports, exact: None }).unwrap();
        let ports: Vec<PathBuf> = lines.ports().map(Path::to_owned).collect();
        let mut held = File::options().read(true).write(true).open(&ports[1]).unwrap();
        let wait_until = |there: bool| {
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while ports[1].exists() != there {
                assert!(std::time::Instant::now() < end, "{there}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_until(false);
        assert!(ports[0].exists(), "the other line is left alone");
        assert!(held.read(&mut [0; 8]).is_ok_and(|n| n == 0) || held.write(&[0]).is_err(), "whoever held it is told");
        wait_until(true);
        assert!(File::options().read(true).write(true).open(&ports[1]).is_ok());
        assert_eq!((lines.counts(0).faults, lines.counts(1).faults), (0, 1));
        drop(lines);
        assert!(ports.iter().all(|port| !port.exists() && !port.is_symlink()), "nothing is left behind");
    }
}
