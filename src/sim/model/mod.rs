//! A configuration as people write it, and what they change in it while the gateway runs.
//!
//! | file | subject |
//! |---|---|
//! | `change` | what people change |
//! | `modbus`, `local`, `can`, `canopen` | links and tags, by kind |
//! | `dbc` | the DBC file of CAN links |
//! | `places` | what the names of devices' places say |

mod can;
mod canopen;
mod change;
pub mod dbc;
mod local;
mod modbus;
mod places;

use std::collections::BTreeMap;

use fastrand::Rng;

use modbus::{Frames, Kind};
pub use places::{CANOPEN, host_of, host_of_link};

/// What may be asked for.
#[derive(Debug, Clone)]
pub struct Shape {
    pub links: usize,
    pub tags: usize,
    pub periods_ms: Vec<u64>,
    /// Links of other kinds than Modbus.
    pub others: bool,
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
    how: How,
}

/// How a link's device is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Modbus(Frames),
    Local(local::Device),
    Can(can::Can),
    CanOpen(canopen::CanOpen),
}

impl How {
    /// What is given up where it is too slow.
    fn faster(self) -> How {
        match self {
            How::Modbus(frames) => How::Modbus(frames.faster()),
            other => other,
        }
    }
}

/// Where a tag lies.
#[derive(Debug, Clone)]
enum Spot {
    Modbus {
        unit: u8,
        kind: Kind,
        first: u32,
    },
    /// Behind the link's name, and what else is written.
    Other {
        at: String,
        keys: String,
    },
}

impl Spot {
    /// What is written of its value.
    fn keys(&self) -> &str {
        match self {
            Spot::Modbus { kind, .. } => &kind.what,
            Spot::Other { keys, .. } => keys,
        }
    }
}

#[derive(Debug, Clone)]
struct Tag {
    name: String,
    group: String,
    link: String,
    spot: Spot,
    description: u8,
    /// Which samples are told, as it is written.
    told: String,
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
            let Link { name, host, timeout_ms, .. } = link;
            let rest = match link.how {
                How::Modbus(frames) => {
                    let Link { expected_ms, connect_timeout_ms, pipeline, registers_max, .. } = link;
                    let wire = frames.text(*host, *connect_timeout_ms, *pipeline);
                    format!(
                        r#"{wire}, "timeout_ms": {timeout_ms}, "expected_reply_ms": {expected_ms:.3}, "addressing": "raw",
                        "max_registers": {registers_max}"#
                    )
                }
                How::Local(device) => format!(r#"{}, "timeout_ms": {timeout_ms}"#, device.text(*host)),
                How::Can(can) => can.text(*host),
                How::CanOpen(canopen) => format!(r#"{}, "timeout_ms": {timeout_ms}"#, canopen.text(*host)),
            };
            format!(r#"{{"name": "{name}", "protocol": {rest}}}"#)
        });
        let tags = self.tags.iter().map(|tag| {
            let Tag { name, group, link, spot, description, told } = tag;
            let (at, keys) = match spot {
                Spot::Modbus { unit, kind: Kind { function, count, what }, first } => {
                    (format!("{unit}:{function}:{first}:{count}"), what)
                }
                Spot::Other { at, keys } => (at.clone(), keys),
            };
            format!(
                r#"{{"name": "{name}", "group": "{group}", "address": "{link}:{at}", {keys},
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
        self.links.iter_mut().for_each(|link| link.how = link.how.faster());
        self.groups.iter_mut().for_each(|group| group.period_ms = (group.period_ms * 2).min(1000));
    }

    /// Without every other tag: for a plan that does not fit as slow as it can be.
    pub fn thin_out(&mut self) {
        let mut at = 0;
        self.tags.retain(|_| {
            at += 1;
            at % 2 == 1
        });
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
            how: Model::how(self.shape.others, self.links.is_empty(), rng),
        });
        self.next_link += 1;
        self.next_host += 1;
    }

    /// Where there are other kinds, half of the links are of one, and the first is.
    fn how(others: bool, is_first: bool, rng: &mut Rng) -> How {
        if others && (is_first || rng.bool()) {
            return match rng.u8(..3) {
                0 => How::Local(local::Device::any(rng)),
                1 => How::Can(can::Can::any(rng)),
                _ => How::CanOpen(canopen::CanOpen::any(rng)),
            };
        }
        How::Modbus(Frames::any(rng))
    }

    fn add_tag(&mut self, link: usize, group: usize, rng: &mut Rng) {
        let (of, group) = (self.links[link].name.clone(), self.groups[group].name.clone());
        let spot = self.spot(&of, rng);
        let name = format!("t{}", self.next_tag);
        self.next_tag += 1;
        let told = if rng.u8(..3) == 0 { told(Some(&spot), rng) } else { String::new() };
        self.tags.push(Tag { name, group, link: of, spot, description: 0, told });
    }

    /// A place for a tag of a link.
    fn spot(&mut self, link: &str, rng: &mut Rng) -> Spot {
        let how = self.links.iter().find(|known| known.name == link).map(|known| known.how);
        match how {
            Some(How::Can(can)) => {
                let (at, keys) = can.spot(self.next_place(link), rng);
                Spot::Other { at, keys }
            }
            Some(How::CanOpen(canopen)) => {
                let (at, keys) = canopen.spot(self.next_place(link), rng);
                Spot::Other { at, keys }
            }
            Some(How::Local(device)) => {
                let n = self.next_place(link);
                if n < device.places_max() {
                    let (at, keys) = device.spot(n, rng);
                    return Spot::Other { at, keys };
                }
                // No more room: it lies where another lies that is only read.
                let is_read = |tag: &&Tag| tag.link == link && !tag.spot.keys().contains("write");
                let other = self.tags.iter().find(is_read).map(|tag| tag.spot.clone());
                other.unwrap_or_else(|| Spot::Other { at: "0".to_owned(), keys: r#""data_type": "bool""#.to_owned() })
            }
            Some(How::Modbus(_)) | None => {
                let unit = [1, 1, 1, 7][rng.usize(..4)];
                let kind = modbus::kind(rng);
                let first = self.place(link, unit, &kind, rng);
                Spot::Modbus { unit, kind, first }
            }
        }
    }

    /// Places of a link are counted, and none comes again.
    fn next_place(&mut self, link: &str) -> u32 {
        let next = self.free.entry((link.to_owned(), 0, 0)).or_insert(0);
        *next += 1;
        *next - 1
    }

    /// Where a Modbus tag lies: mostly behind the last, now and then where another lies.
    fn place(&mut self, link: &str, unit: u8, kind: &Kind, rng: &mut Rng) -> u32 {
        let first_of = |tag: &Tag| match &tag.spot {
            Spot::Modbus { unit: of, kind: Kind { function, .. }, first } => {
                (tag.link == link && *of == unit && *function == kind.function).then_some(*first)
            }
            Spot::Other { .. } => None,
        };
        if rng.u8(..12) == 0
            && let Some(other) = self.tags.iter().rev().find_map(first_of)
        {
            return other;
        }
        let next = self.free.entry((link.to_owned(), unit, kind.function)).or_insert_with(|| rng.u32(..50));
        if *next > 60_000 {
            *next = 0;
        }
        let first = *next;
        *next += kind.count + if rng.u8(..6) == 0 { rng.u32(1..200) } else { 0 };
        first
    }
}

/// Report by exception, of a tag or a group. Values are spread over the whole range of their type, so that what is held
/// back must be far from it.
fn told(spot: Option<&Spot>, rng: &mut Rng) -> String {
    let is = |what: &str| spot.is_some_and(|spot| spot.keys().contains(what));
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
