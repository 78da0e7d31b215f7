//! A configuration as people write it, and what they change in it while the gateway runs.

use crate::config::ModbusTransport;
use std::collections::BTreeMap;
use std::path::Path;

use fastrand::Rng;

/// What may be asked for.
#[derive(Debug, Clone)]
pub struct Shape {
    pub links: usize,
    pub tags: usize,
    pub periods_ms: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Group {
    name: String,
    period_ms: u64,
    together: bool,
    /// Which samples its tags tell, as it is written.
    told: String,
}

#[derive(Debug, Clone)]
struct Link {
    name: String,
    /// See [`host_name`].
    host: u32,
    timeout_ms: u64,
    expected_ms: f64,
    connect_timeout_ms: u64,
    pipeline: u8,
    registers_max: u8,
    frames: Frames,
}

/// What a link's frames go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frames {
    Tcp,
    /// RTU through a serial server.
    RtuOverTcp,
    Serial {
        ascii: bool,
        baud_rate: u32,
        parity: char,
        stop_bits: u8,
    },
}

impl Frames {
    fn any(rng: &mut Rng) -> Frames {
        match rng.u8(..8) {
            0 => Frames::RtuOverTcp,
            1 | 2 => Frames::Serial {
                ascii: rng.u8(..4) == 0,
                baud_rate: [9_600, 19_200, 38_400, 115_200, 1_000_000][rng.usize(..5)],
                parity: ['N', 'E', 'O'][rng.usize(..3)],
                stop_bits: rng.u8(1..=2),
            },
            _ => Frames::Tcp,
        }
    }

    /// What is given up where it is too slow.
    fn faster(self) -> Frames {
        match self {
            Frames::Serial { ascii, baud_rate, parity, stop_bits } if baud_rate < 1_000_000 => {
                Frames::Serial { ascii, baud_rate: baud_rate * 4, parity, stop_bits }
            }
            Frames::Serial { .. } => Frames::Tcp,
            other => other,
        }
    }
}

#[derive(Debug, Clone)]
struct Tag {
    name: String,
    group: String,
    link: String,
    unit: u8,
    kind: Kind,
    first: u32,
    description: u8,
    /// Which samples are told, as it is written.
    told: String,
}

/// Function, how many registers (bits), and the rest as it is written.
#[derive(Debug, Clone)]
struct Kind {
    function: u8,
    count: u32,
    what: String,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Model {
    shape: Shape,
    groups: Vec<Group>,
    links: Vec<Link>,
    tags: Vec<Tag>,
    /// The next free address by link, unit and function.
    free: BTreeMap<(String, u8, u8), u32>,
    /// The numbers in the names of what comes.
    next_link: u32,
    next_tag: u32,
    next_group: u32,
    next_host: u32,
}

/// The name of a device's host.
pub fn host_name(host: u32) -> String {
    format!("10.0.{}.{}", host >> 8, host & 255)
}

/// The number of the host that a link's device is at.
pub fn host_of(transport: &ModbusTransport) -> Option<u32> {
    match transport {
        ModbusTransport::Tcp(at) | ModbusTransport::RtuOverTcp(at) => host_number(&at.host),
        ModbusTransport::Serial(serial) => port_number(&serial.port),
    }
}

/// The port of the line that a host is at the other end of.
fn port_name(host: u32) -> String {
    format!("/dev/sim{host}")
}

/// See [`host_of`].
pub fn port_number(port: &Path) -> Option<u32> {
    port.to_str()?.strip_prefix("/dev/sim")?.parse().ok()
}

/// See [`host_of`].
pub fn host_number(name: &str) -> Option<u32> {
    let (high, low) = name.strip_prefix("10.0.")?.split_once('.')?;
    Some(high.parse::<u32>().ok()? << 8 | low.parse::<u32>().ok()?)
}

impl Model {
    pub fn new(shape: Shape, rng: &mut Rng) -> Model {
        let mut model = Model {
            shape: shape.clone(),
            groups: Vec::new(),
            links: Vec::new(),
            tags: Vec::new(),
            free: BTreeMap::new(),
            next_link: 0,
            next_tag: 0,
            next_group: 0,
            next_host: 0,
        };
        (0..rng.usize(1..=3)).for_each(|_| model.add_group(rng));
        (0..shape.links).for_each(|_| model.add_link(rng));
        // The first tags give each link and group something to do.
        for i in 0..shape.tags.max(shape.links).max(model.groups.len()) {
            let (link, group) = (i % model.links.len(), i % model.groups.len());
            model.add_tag(link, group, rng);
        }
        model
    }

    /// The tag file. Links and groups without tags are left out.
    pub fn text(&self) -> String {
        let used = |named: &dyn Fn(&Tag) -> &str, name: &str| self.tags.iter().any(|tag| named(tag) == name);
        let groups = self.groups.iter().filter(|group| used(&|tag| &tag.group, &group.name)).map(|group| {
            let release = if group.together { "together" } else { "spread" };
            format!(
                r#"{{"name": "{}", "scan_rate_ms": {}, "release": "{release}"{}}}"#,
                group.name, group.period_ms, group.told
            )
        });
        let links = self.links.iter().filter(|link| used(&|tag| &tag.link, &link.name)).map(|link| {
            let Link { name, host, timeout_ms, expected_ms, connect_timeout_ms, pipeline, registers_max, frames } =
                link;
            let (port, host) = (port_name(*host), host_name(*host));
            let connect = format!(r#""host": "{host}", "connect_timeout_ms": {connect_timeout_ms}"#);
            let wire = match frames {
                Frames::Tcp => format!(r#""modbus_tcp", {connect}, "pipeline": {pipeline}"#),
                Frames::RtuOverTcp => format!(r#""modbus_rtu_tcp", {connect}"#),
                Frames::Serial { ascii, baud_rate, parity, stop_bits } => {
                    let framing = if *ascii { "ascii" } else { "rtu" };
                    format!(
                        r#""modbus_rtu", "port": "{port}", "baudrate": {baud_rate}, "parity": "{parity}",
                        "stop_bits": {stop_bits}, "framing": "{framing}""#
                    )
                }
            };
            format!(
                r#"{{"name": "{name}", "protocol": {wire}, "timeout_ms": {timeout_ms},
                "expected_reply_ms": {expected_ms:.3}, "addressing": "raw", "max_registers": {registers_max}}}"#
            )
        });
        let tags = self.tags.iter().map(|tag| {
            let Kind { function, count, what } = &tag.kind;
            let Tag { name, group, link, unit, first, description, told, .. } = tag;
            format!(
                r#"{{"name": "{name}", "group": "{group}", "address": "{link}:{unit}:{function}:{first}:{count}", {what},
                "description": "{description}"{told}}}"#
            )
        });
        let (groups, links, tags): (Vec<_>, Vec<_>, Vec<_>) = (groups.collect(), links.collect(), tags.collect());
        format!(
            "{{\"groups\": [{}],\n\"links\": [{}],\n\"tags\": [\n{}\n]}}",
            groups.join(", "),
            links.join(",\n"),
            tags.join(",\n")
        )
    }

    /// Twice as slow, on faster lines: for a plan that would not fit.
    pub fn slow_down(&mut self) {
        self.links.iter_mut().for_each(|link| link.frames = link.frames.faster());
        self.groups.iter_mut().for_each(|group| group.period_ms = (group.period_ms * 2).min(1000));
    }

    fn shortest_ms(&self) -> u64 {
        self.groups.iter().map(|group| group.period_ms).min().unwrap_or(1)
    }

    fn add_group(&mut self, rng: &mut Rng) {
        let name = format!("g{}", self.next_group);
        self.next_group += 1;
        let period_ms = self.shape.periods_ms[rng.usize(..self.shape.periods_ms.len())];
        let told = if rng.u8(..6) == 0 { told(None, rng) } else { String::new() };
        self.groups.push(Group { name, period_ms, together: rng.bool(), told });
    }

    fn add_link(&mut self, rng: &mut Rng) {
        let shortest = self.shortest_ms();
        let timeout_ms = [10, 20, 50, 100, 200][rng.usize(..5)].max(shortest / 4);
        self.links.push(Link {
            name: format!("l{}", self.next_link),
            host: self.next_host,
            timeout_ms,
            expected_ms: (shortest as f64 / rng.usize(20..100) as f64).clamp(0.02, timeout_ms as f64 / 4.0),
            connect_timeout_ms: rng.u64(50..500),
            pipeline: rng.u8(1..=4),
            registers_max: rng.u8(12..=125),
            frames: Frames::any(rng),
        });
        self.next_link += 1;
        self.next_host += 1;
    }

    fn add_tag(&mut self, link: usize, group: usize, rng: &mut Rng) {
        let unit = [1, 1, 1, 7][rng.usize(..4)];
        let kind = kind(rng);
        let (link, group) = (self.links[link].name.clone(), self.groups[group].name.clone());
        let first = self.place(&link, unit, &kind, rng);
        let name = format!("t{}", self.next_tag);
        self.next_tag += 1;
        let told = if rng.u8(..3) == 0 { told(Some(&kind), rng) } else { String::new() };
        self.tags.push(Tag { name, group, link, unit, kind, first, description: 0, told });
    }

    /// Where a tag lies: mostly behind the last, now and then where another lies.
    fn place(&mut self, link: &str, unit: u8, kind: &Kind, rng: &mut Rng) -> u32 {
        let same = |tag: &&Tag| tag.link == link && tag.unit == unit && tag.kind.function == kind.function;
        if rng.u8(..12) == 0
            && let Some(other) = self.tags.iter().rev().find(same)
        {
            return other.first;
        }
        let next = self.free.entry((link.to_owned(), unit, kind.function)).or_insert_with(|| rng.u32(..50));
        if *next > 60_000 {
            *next = 0;
        }
        let first = *next;
        *next += kind.count + if rng.u8(..6) == 0 { rng.u32(1..200) } else { 0 };
        first
    }

    /// What someone changes before the next reload: one thing, or several.
    pub fn change(&mut self, past: &[Model], rng: &mut Rng) {
        if !past.is_empty() && rng.u8(..6) == 0 {
            // Back to what was: tags and links come again under their old names.
            let back = past[rng.usize(..past.len())].clone();
            (self.groups, self.links, self.tags) = (back.groups, back.links, back.tags);
            return;
        }
        for _ in 0..[1, 1, 1, 2, 5][rng.usize(..5)] {
            self.change_one(rng);
        }
    }

    fn change_one(&mut self, rng: &mut Rng) {
        let link = rng.usize(..self.links.len());
        let group = rng.usize(..self.groups.len());
        let tag = rng.usize(..self.tags.len());
        match rng.u8(..19) {
            0 | 1 if self.tags.len() < self.shape.tags * 2 + 8 => {
                (0..rng.usize(1..=4)).for_each(|_| self.add_tag(link, group, rng));
            }
            2 => {
                for _ in 0..rng.usize(1..=3) {
                    if self.tags.len() > 1 {
                        self.tags.swap_remove(rng.usize(..self.tags.len()));
                    }
                }
            }
            3 | 4 => {
                // Another type or scale, elsewhere.
                let (kind, link, unit) = (kind(rng), self.tags[tag].link.clone(), self.tags[tag].unit);
                self.tags[tag].first = self.place(&link, unit, &kind, rng);
                self.tags[tag].told = told(Some(&kind), rng);
                self.tags[tag].kind = kind;
            }
            5 => {
                let Tag { kind, link, unit, .. } = self.tags[tag].clone();
                self.tags[tag].first = self.place(&link, unit, &kind, rng);
            }
            6 => self.tags[tag].group = self.groups[group].name.clone(),
            7 => {
                self.groups[group].period_ms = self.shape.periods_ms[rng.usize(..self.shape.periods_ms.len())];
            }
            8 => self.groups[group].together = !self.groups[group].together,
            9 if self.links.len() < self.shape.links + 3 => {
                self.add_link(rng);
                let new = self.links.len() - 1;
                (0..rng.usize(1..=4)).for_each(|_| self.add_tag(new, group, rng));
            }
            10 if self.links.len() > 1 => {
                let gone = self.links.swap_remove(link).name;
                let all = self.tags.len();
                self.tags.retain(|tag| tag.link != gone);
                if self.tags.is_empty() {
                    (0..all).for_each(|_| self.add_tag(0, group, rng));
                }
            }
            11 => {
                self.links[link].host = self.next_host;
                self.next_host += 1;
            }
            12 => {
                // Two links change places.
                let other = rng.usize(..self.links.len());
                let host = self.links[link].host;
                self.links[link].host = self.links[other].host;
                self.links[other].host = host;
            }
            13 => {
                let (name, Tag { kind, unit, .. }) = (self.links[link].name.clone(), self.tags[tag].clone());
                self.tags[tag].first = self.place(&name, unit, &kind, rng);
                self.tags[tag].link = name;
            }
            14 => {
                let timeout_ms = [10, 20, 50, 100, 200][rng.usize(..5)].max(self.shortest_ms() / 4);
                let link = &mut self.links[link];
                link.pipeline = rng.u8(1..=4);
                link.registers_max = rng.u8(12..=125);
                if rng.u8(..4) == 0 {
                    link.frames = Frames::any(rng);
                }
                link.timeout_ms = timeout_ms.max((link.expected_ms * 4.0).ceil() as u64);
            }
            15 => {
                self.add_group(rng);
                let new = self.groups.len() - 1;
                self.add_tag(link, new, rng);
            }
            16 => {
                let Tag { kind, told: now, .. } = &mut self.tags[tag];
                *now = if rng.bool() { told(Some(kind), rng) } else { String::new() };
            }
            17 => self.groups[group].told = if rng.bool() { told(None, rng) } else { String::new() },
            // Nothing that the floor knows of.
            _ => self.tags[tag].description = self.tags[tag].description.wrapping_add(1),
        }
    }
}

/// Report by exception, of a tag or a group. Values are spread over the whole range of their type, so that what is held
/// back must be far from it.
fn told(kind: Option<&Kind>, rng: &mut Rng) -> String {
    let is = |what: &str| kind.is_some_and(|kind| kind.what.contains(what));
    let mut out = match (is("bool") || is("string"), rng.u8(..3)) {
        (true, _) | (_, 0) => r#", "report": "change""#.to_owned(),
        _ => format!(r#", "deadband": {}"#, ["0.5", "1000", "20000", "1e9", "1e30"][rng.usize(..5)]),
    };
    out += [r#", "max_silence_ms": 2000"#, r#", "max_silence_ms": 7000"#, ""][rng.usize(..3)];
    out += [r#", "suppress": "journal""#, r#", "suppress": "ring""#, ""][rng.usize(..3)];
    if !is("array") && !is("string") && rng.bool() {
        out += r#", "keep_last": true"#;
    }
    out
}

fn kind(rng: &mut Rng) -> Kind {
    let function = [3, 3, 3, 4, 1, 2][rng.usize(..6)];
    let order = ["ABCD", "DCBA", "BADC", "CDAB"][rng.usize(..4)];
    let scaled = if rng.u8(..4) == 0 { r#", "scale": 0.5, "offset": -3"# } else { "" };
    let (count, what) = match (function, rng.u8(..13)) {
        (1 | 2, 0) => (24, r#""data_type": "bool", "array": 24"#.to_owned()),
        (1 | 2, _) => (1, r#""data_type": "bool""#.to_owned()),
        (4, 0..4) => (9, format!(r#""data_type": "string", "byte_order": "{order}""#)),
        (_, 0) => (1, format!(r#""data_type": "bool", "bit": {}"#, rng.u8(..16))),
        (_, 1) => (10, format!(r#""data_type": "int32", "array": 5, "byte_order": "{order}"{scaled}"#)),
        (_, 2) => {
            let (name, size) = [("bcd16", 1), ("bcd32", 2)][rng.usize(..2)];
            (size, format!(r#""data_type": "{name}", "byte_order": "{order}"{scaled}"#))
        }
        (_, n) => {
            let (name, size) =
                [("int16", 1), ("uint16", 1), ("int32", 2), ("uint32", 2), ("float32", 2), ("uint64", 4)]
                    [usize::from(n) % 6];
            let scaled = if name == "float32" { "" } else { scaled };
            (size, format!(r#""data_type": "{name}", "byte_order": "{order}"{scaled}"#))
        }
    };
    Kind { function, count, what }
}
