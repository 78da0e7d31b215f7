//! `fieldbeat plant`: the simulated plant in its own process, separate from the gateway.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde::{Deserialize, Serialize};

use super::signals::{StopSignals, Wanted};
use crate::limits::{LINKS_MAX, TAGS_MAX};
use crate::plant::broker::Broker;
use crate::plant::can::{BusFaultError, CanNodes, CanSettings};
use crate::plant::{
    GatewaySettings, Plant, PlantConfig, Profile, ScanRates, ScheduledFault, SerialLines, SerialSettings,
};
use crate::tag::Nanos;

#[derive(Args, Clone)]
pub struct PlantArgs {
    /// Directory to write fieldbeat.toml and tags/ to, for a gateway that reads this plant. No default: files are
    /// overwritten.
    #[arg(short, long, value_name = "DIR")]
    config: PathBuf,
    #[command(flatten)]
    pub shape: PlantShape,
    /// First TCP port; each device uses one. Without it, free ports are chosen.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// Do not start an MQTT broker.
    #[arg(long)]
    no_broker: bool,
    /// Stop when standard input ends, and print a line of JSON per second: for programs that start it.
    #[arg(long, hide = true)]
    pub child: bool,
}

/// How large a plant, and how it misbehaves.
#[derive(Args, Clone)]
pub struct PlantShape {
    /// Number of devices, each a Modbus TCP server.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = up_to(LINKS_MAX))]
    pub devices: usize,
    /// Total number of tags.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = up_to(TAGS_MAX))]
    pub tags: usize,
    /// Scan every tag at this rate; without it a mix of 1 to 100 Hz.
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rate: Option<u64>,
    /// Only float32 values, instead of the mix of a real line.
    #[arg(long)]
    pub float32: bool,
    /// Number of additional serial lines: Modbus RTU on pseudo terminals, four units each.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=64))]
    pub serial: u64,
    /// Baud rate of the serial lines; transmission time is simulated.
    #[arg(long, value_name = "BAUD", default_value_t = 19_200, value_parser = clap::value_parser!(u32).range(1200..=3_000_000))]
    pub serial_baud: u32,
    /// Add CAN: five nodes that send messages on this interface, such as vcan0. Their DBC file is in tags/.
    #[arg(long, value_name = "INTERFACE")]
    pub can: Option<String>,
    /// Add a CANopen node on this interface, which may be the same. Its EDS is in tags/.
    #[arg(long, value_name = "INTERFACE")]
    pub canopen: Option<String>,
    /// Node id of the CANopen node.
    #[arg(long, value_name = "ID", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=127))]
    pub canopen_node: u8,
    /// Fault on CAN: NODE:KIND[=ARG][@FROM..TO]; NODE mixer, tank, drive, engine, batch, pump (CANopen) or *. Kinds:
    /// silence, short, stuck; of senders garbage, flood=FRAMES/S, error-frames, bus-off; of pump no-heartbeat,
    /// emergency=CODE, sdo-abort, sdo-silence, restart.
    #[arg(long = "can-fault", value_name = "FAULT")]
    pub can_faults: Vec<String>,
    /// Fault: DEVICE:KIND[=ARG][@FROM..TO], in seconds from the start; DEVICE a number, *, lineN or line*. Kinds:
    /// delay=MS, silence, exceptions=CODE, garbage, wrong-unit, half-frame, trickle; on TCP wrong-transaction, drop,
    /// refuse, mute=ADDRESS; on lines wrong-crc, noise, unplug.
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<String>,
}

/// A number from 1: more than `max` no gateway would read.
fn up_to(max: usize) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=max as u64)
}

impl PlantShape {
    /// The faults as they were typed; says what is wrong with them.
    pub fn faults(&self) -> Result<Vec<ScheduledFault>, ExitCode> {
        let faults: Result<Vec<ScheduledFault>, _> = self.faults.iter().map(|text| text.parse()).collect();
        let faults = faults.map_err(|error| super::fail(super::EXIT_CONFIG, format!("error: {error}")))?;
        match ScheduledFault::astray(&faults, self.devices, self.serial as usize) {
            Some(why) => Err(super::fail(super::EXIT_CONFIG, format!("error: {why}"))),
            None => Ok(faults),
        }
    }

    /// The nodes on CAN, if any are asked for; says what is wrong with their faults.
    pub fn can_nodes(&self) -> Result<Option<CanSettings>, ExitCode> {
        let faults: Result<_, BusFaultError> = self.can_faults.iter().map(|text| text.parse()).collect();
        let faults = faults.map_err(|error| super::fail(super::EXIT_CONFIG, format!("error: {error}")))?;
        let (senders, canopen) = (self.can.clone(), self.canopen.clone());
        let is_wanted = senders.is_some() || canopen.is_some();
        Ok(is_wanted.then_some(CanSettings { senders, canopen, node_id: self.canopen_node, faults }))
    }
}

/// What a plant's process tells its parent each second; first when it is ready.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct PlantLine {
    pub broker: Option<SocketAddr>,
    pub requests: u64,
    pub faults: u64,
    pub messages: u64,
    pub message_bytes: u64,
}

/// Samples of the demo's journal are worth nothing tomorrow.
const JOURNAL_BYTES_MAX: u64 = 256 << 20;

pub fn plant(args: &PlantArgs) -> ExitCode {
    let signals = StopSignals::block();
    let last = usize::from(u16::MAX) + 1 - args.shape.devices;
    if let Some(base) = args.base_port
        && usize::from(base) > last
    {
        let devices = args.shape.devices;
        let why = format!("error: --base-port {base} with {devices} devices, a port each; allowed: 1 to {last}");
        return super::fail(super::EXIT_CONFIG, why);
    }
    let faults = match args.shape.faults() {
        Ok(faults) => faults,
        Err(code) => return code,
    };
    let can = match args.shape.can_nodes() {
        Ok(can) => can,
        Err(code) => return code,
    };
    let Running { plant, lines, nodes, broker } = match start(args, faults, can.as_ref()) {
        Ok(running) => running,
        Err(error) => return super::fail(super::EXIT_FAILED, format!("error: the plant does not start: {error}")),
    };
    if !args.child {
        out!(
            "plant: {} devices on {} to {}; run the gateway with: fieldbeat run --config {}",
            plant.addresses().len(),
            plant.addresses()[0],
            plant.addresses()[plant.addresses().len() - 1],
            args.config.display()
        );
        for port in lines.iter().flat_map(SerialLines::ports) {
            out!("serial line: {} at {} baud", port.display(), args.shape.serial_baud);
        }
        if nodes.is_some() {
            let [can, canopen] = [&args.shape.can, &args.shape.canopen].map(|name| name.as_deref().unwrap_or("none"));
            out!("CAN: senders on {can}, CANopen node on {canopen}");
        }
        if let Some(broker) = &broker {
            out!(
                "broker: mqtt://{}; watch it with: mosquitto_sub -p {} -t '#' -v",
                broker.addr(),
                broker.addr().port()
            );
        }
    }
    let of_lines = || lines.iter().map(SerialLines::faults).sum::<u64>();
    let spoiled = || of_lines() + nodes.as_ref().map_or(0, |nodes| nodes.counts().spoiled);
    serve(args.child, &signals, (&plant, &spoiled), broker.as_ref());
    ExitCode::SUCCESS
}

/// All that the plant is made of.
struct Running {
    plant: Plant,
    lines: Option<SerialLines>,
    nodes: Option<CanNodes>,
    broker: Option<Broker>,
}

fn start(args: &PlantArgs, faults: Vec<ScheduledFault>, can: Option<&CanSettings>) -> io::Result<Running> {
    let shape = &args.shape;
    let devices = shape.devices;
    let tags_per_device = shape.tags.div_ceil(devices);
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let plant = Plant::start(PlantConfig {
        devices,
        profile: if shape.float32 { Profile::Float32 { tags_per_device } } else { Profile::Line { tags_per_device } },
        scan_rates: shape.rate.map_or(ScanRates::Mixed, |hz| ScanRates::Uniform(Nanos(1_000_000_000 / hz))),
        base_port: args.base_port,
        faults: faults.clone(),
        // The gateway's executors take the last CPU: the plant keeps to the first.
        cpu: (cpus > 1).then_some(0),
        ..PlantConfig::default()
    })?;
    let broker = match args.no_broker {
        true => None,
        false => Some(Broker::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?),
    };
    write_config(&args.config, &plant, broker.as_ref())?;
    let lines = match shape.serial {
        0 => None,
        _ => {
            let lines = start_lines(shape, faults, args.config.join("ports"))?;
            lines.write_tags(&args.config.join("tags"))?;
            Some(lines)
        }
    };
    let nodes = can.map(CanNodes::start).transpose().map_err(io::Error::other)?;
    if let Some(can) = can {
        can.write_tags(&args.config.join("tags"))?;
    }
    Ok(Running { plant, lines, nodes, broker })
}

/// Four units a line, each with eight tags, once a second: what the slowest line can carry.
fn start_lines(shape: &PlantShape, faults: Vec<ScheduledFault>, ports: PathBuf) -> io::Result<SerialLines> {
    let plant = PlantConfig {
        devices: shape.serial as usize,
        units_per_device: 4,
        profile: Profile::Line { tags_per_device: 32 },
        scan_rates: ScanRates::Uniform(Nanos::from_millis(1000)),
        faults,
        ..PlantConfig::default()
    };
    SerialLines::start(&SerialSettings { plant, baud_rate: shape.serial_baud, ports, exact: None })
}

fn write_config(dir: &Path, plant: &Plant, broker: Option<&Broker>) -> io::Result<()> {
    let output = broker.map(|b| format!("[outputs.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n", b.addr()));
    let settings = GatewaySettings {
        id: "demo".into(),
        journal_path: Some("journal".into()),
        journal_bytes_max: Some(JOURNAL_BYTES_MAX),
        metrics_listen: Some("127.0.0.1:0".into()),
        more: output.unwrap_or_default(),
        ..GatewaySettings::default()
    };
    plant.write_config(dir, &settings)
}

fn serve(child: bool, signals: &StopSignals, (plant, spoiled): (&Plant, &dyn Fn() -> u64), broker: Option<&Broker>) {
    let parent_gone = child.then(watch_stdin);
    let mut next_line = Instant::now();
    loop {
        if child && Instant::now() >= next_line {
            next_line += Duration::from_secs(1);
            let totals = plant.totals();
            let line = PlantLine {
                broker: broker.map(Broker::addr),
                requests: totals.requests,
                faults: totals.faults + spoiled(),
                messages: broker.map_or(0, |b| b.stats().messages.load(Relaxed)),
                message_bytes: broker.map_or(0, |b| b.stats().bytes.load(Relaxed)),
            };
            let Ok(text) = serde_json::to_string(&line) else { return };
            out!("{text}");
        }
        let gone = parent_gone.as_ref().is_some_and(|gone| gone.load(Relaxed));
        // A child's Ctrl-C is its parent's business, which then closes our input.
        if gone || (signals.wait(Duration::from_millis(50)) == Some(Wanted::Stop) && !child) {
            return;
        }
    }
}

/// True once standard input has ended.
fn watch_stdin() -> std::sync::Arc<std::sync::atomic::AtomicBool> {
    let gone = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = gone.clone();
    std::thread::spawn(move || {
        let mut buffer = [0u8; 64];
        while matches!(io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
        flag.store(true, Relaxed);
    });
    gone
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        plant: PlantArgs,
    }

    fn parse(option: &str, value: &str) -> Result<Line, String> {
        let line = ["plant", "--config", "x", option, value];
        Line::try_parse_from(line).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_that_no_plant_can_have_are_refused_with_what_is_allowed() {
        for (option, allowed) in [
            ("--devices", "1..=4096"),
            ("--tags", "1..=100000"),
            ("--base-port", "1..=65535"),
            ("--rate", "1..=1000"),
            ("--serial", "0..=64"),
            ("--serial-baud", "1200..=3000000"),
            ("--canopen-node", "1..=127"),
        ] {
            for value in ["18446744073709551615", "99999999999999999999999", "-1", "1e9", "NaN", ""] {
                assert!(parse(option, value).is_err(), "{option} {value}");
            }
            let text = parse(option, "9000000").err().unwrap();
            assert!(text.contains(allowed) && text.contains(option), "{text}");
        }
        for option in ["--devices", "--tags", "--base-port", "--rate"] {
            assert!(parse(option, "0").is_err_and(|text| text.contains("is not in 1..=")), "{option}");
        }
        assert!(parse("--devices", "4096").is_ok() && parse("--tags", "100000").is_ok());
    }

    #[test]
    fn ports_beyond_the_last_are_refused_before_anything_starts() {
        let line = parse("--base-port", "65530").unwrap();
        assert_eq!(format!("{:?}", plant(&line.plant)), format!("{:?}", ExitCode::from(super::super::EXIT_CONFIG)));
        assert!(!Path::new("x").exists());
    }
}
