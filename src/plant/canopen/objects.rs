//! The object dictionary of the plant's CANopen node, a dosing pump: what it holds, and what may be done with it.
//! After CiA 301 V4.2, 7.4 and 7.5.

use crate::signal::{Signal, hash};

/// Abort codes (CiA 301, table 22).
pub(super) mod abort {
    pub const TOGGLE: u32 = 0x0503_0000;
    pub const COMMAND: u32 = 0x0504_0001;
    pub const BLOCK_SIZE: u32 = 0x0504_0002;
    pub const CRC: u32 = 0x0504_0004;
    pub const MEMORY: u32 = 0x0504_0005;
    pub const READ_ONLY: u32 = 0x0601_0002;
    pub const NO_OBJECT: u32 = 0x0602_0000;
    pub const NOT_MAPPABLE: u32 = 0x0604_0041;
    pub const PDO_TOO_LONG: u32 = 0x0604_0042;
    pub const LENGTH: u32 = 0x0607_0010;
    pub const NO_SUB_INDEX: u32 = 0x0609_0011;
    pub const DEVICE_STATE: u32 = 0x0800_0022;
}

/// Types, with the numbers that the dictionary gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Integer16 = 0x03,
    Unsigned8 = 0x05,
    Unsigned16 = 0x06,
    Unsigned32 = 0x07,
    Real32 = 0x08,
    VisibleString = 0x09,
    Domain = 0x0F,
}

impl Kind {
    /// `None`: any number of bytes, up to [`BYTES_MAX`].
    pub(super) fn bytes(self) -> Option<usize> {
        match self {
            Kind::Unsigned8 => Some(1),
            Kind::Integer16 | Kind::Unsigned16 => Some(2),
            Kind::Unsigned32 | Kind::Real32 => Some(4),
            Kind::VisibleString | Kind::Domain => None,
        }
    }
}

/// Of an object that may be written.
pub(super) const BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Holds {
    /// A number that is kept.
    Number(u32),
    /// The same, plus the node's id.
    NodeId(u32),
    Text(&'static str),
    /// A physical value of the line, divided by the scale.
    Line(Signal, f64),
    /// The name of what is being made.
    Recipe,
    /// Bytes that tell their own place.
    Log(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Const,
    Read,
    ReadWrite,
}

/// One sub-index.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    pub sub: u8,
    pub name: &'static str,
    pub kind: Kind,
    pub access: Access,
    pub mappable: bool,
    pub holds: Holds,
}

/// How an object is built, with the numbers of CiA 301, table 42.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Variable = 7,
    Array = 8,
    Record = 9,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Object {
    pub index: u16,
    pub name: &'static str,
    pub shape: Shape,
    pub entries: &'static [Entry],
}

const fn entry(sub: u8, name: &'static str, kind: Kind, access: Access, holds: Holds) -> Entry {
    Entry { sub, name, kind, access, mappable: false, holds }
}

const fn mapped(entry: Entry) -> Entry {
    Entry { mappable: true, ..entry }
}

const fn highest(sub: u32) -> Entry {
    entry(0, "Highest sub-index supported", Kind::Unsigned8, Access::Const, Holds::Number(sub))
}

const fn count(held: u32) -> Entry {
    entry(0, "Number of mapped objects", Kind::Unsigned8, Access::ReadWrite, Holds::Number(held))
}

const fn setting(sub: u8, name: &'static str, kind: Kind, held: u32) -> Entry {
    entry(sub, name, kind, Access::ReadWrite, Holds::Number(held))
}

const fn cob_id(sub: u8, name: &'static str, base: u32) -> Entry {
    entry(sub, name, Kind::Unsigned32, Access::ReadWrite, Holds::NodeId(base))
}

const fn map(sub: u8, index: u32, of: u32, bits: u32) -> Entry {
    let names = ["", "Mapped object 1", "Mapped object 2", "Mapped object 3", "Mapped object 4"];
    setting(sub, names[sub as usize], Kind::Unsigned32, index << 16 | of << 8 | bits)
}

const fn line(sub: u8, name: &'static str, kind: Kind, signal: Signal, scale: f64) -> Entry {
    mapped(entry(sub, name, kind, Access::Read, Holds::Line(signal, scale)))
}

const fn variable(index: u16, name: &'static str, entries: &'static [Entry]) -> Object {
    Object { index, name, shape: Shape::Variable, entries }
}

const fn record(index: u16, name: &'static str, entries: &'static [Entry]) -> Object {
    Object { index, name, shape: Shape::Record, entries }
}

const PUMP_MS: u64 = 9_000;

/// By rising index; the sub-indices of each rise too.
pub(super) const OBJECTS: &[Object] = &[
    variable(0x1000, "Device type", &[entry(0, "", Kind::Unsigned32, Access::Const, Holds::Number(0))]),
    variable(0x1001, "Error register", &[mapped(entry(0, "", Kind::Unsigned8, Access::Read, Holds::Number(0)))]),
    Object {
        index: 0x1003,
        name: "Pre-defined error field",
        shape: Shape::Array,
        entries: &[
            setting(0, "Number of errors", Kind::Unsigned8, 0),
            entry(1, "Standard error field 1", Kind::Unsigned32, Access::Read, Holds::Number(0)),
            entry(2, "Standard error field 2", Kind::Unsigned32, Access::Read, Holds::Number(0)),
        ],
    },
    variable(0x1005, "COB-ID SYNC message", &[setting(0, "", Kind::Unsigned32, 0x80)]),
    variable(
        0x1008,
        "Manufacturer device name",
        &[entry(0, "", Kind::VisibleString, Access::Const, Holds::Text("Fieldbeat dosing pump"))],
    ),
    variable(
        0x1009,
        "Manufacturer hardware version",
        &[entry(0, "", Kind::VisibleString, Access::Const, Holds::Text("A1"))],
    ),
    variable(0x100C, "Guard time", &[setting(0, "", Kind::Unsigned16, 0)]),
    variable(0x100D, "Life time factor", &[setting(0, "", Kind::Unsigned8, 0)]),
    variable(0x1014, "COB-ID EMCY", &[cob_id(0, "", 0x80)]),
    variable(0x1017, "Producer heartbeat time", &[setting(0, "", Kind::Unsigned16, 200)]),
    record(
        0x1018,
        "Identity object",
        &[
            highest(4),
            entry(1, "Vendor-ID", Kind::Unsigned32, Access::Const, Holds::Number(0x0000_0FBE)),
            entry(2, "Product code", Kind::Unsigned32, Access::Const, Holds::Number(1)),
            entry(3, "Revision number", Kind::Unsigned32, Access::Const, Holds::Number(0x0001_0000)),
            entry(4, "Serial number", Kind::Unsigned32, Access::Const, Holds::Number(7)),
        ],
    ),
    record(
        0x1200,
        "SDO server parameter",
        &[
            highest(2),
            entry(1, "COB-ID client to server", Kind::Unsigned32, Access::Const, Holds::NodeId(0x600)),
            entry(2, "COB-ID server to client", Kind::Unsigned32, Access::Const, Holds::NodeId(0x580)),
        ],
    ),
    record(
        0x1400,
        "RPDO1 communication parameter",
        &[highest(2), cob_id(1, "COB-ID used by RPDO", 0x200), setting(2, "Transmission type", Kind::Unsigned8, 255)],
    ),
    record(
        0x1600,
        "RPDO1 mapping parameter",
        &[count(2), map(1, 0x2100, 0, 16), map(2, 0x2101, 0, 8), map(3, 0, 0, 0), map(4, 0, 0, 0)],
    ),
    record(
        0x1800,
        "TPDO1 communication parameter",
        &[
            highest(5),
            cob_id(1, "COB-ID used by TPDO", 0x180),
            setting(2, "Transmission type", Kind::Unsigned8, 255),
            setting(3, "Inhibit time", Kind::Unsigned16, 0),
            setting(5, "Event timer", Kind::Unsigned16, 100),
        ],
    ),
    record(
        0x1801,
        "TPDO2 communication parameter",
        &[
            highest(5),
            cob_id(1, "COB-ID used by TPDO", 0x280),
            setting(2, "Transmission type", Kind::Unsigned8, 1),
            setting(3, "Inhibit time", Kind::Unsigned16, 0),
            setting(5, "Event timer", Kind::Unsigned16, 0),
        ],
    ),
    record(
        0x1A00,
        "TPDO1 mapping parameter",
        &[count(3), map(1, 0x2000, 1, 32), map(2, 0x2000, 2, 16), map(3, 0x2000, 3, 16), map(4, 0, 0, 0)],
    ),
    record(
        0x1A01,
        "TPDO2 mapping parameter",
        &[count(2), map(1, 0x2000, 4, 32), map(2, 0x2000, 5, 8), map(3, 0, 0, 0), map(4, 0, 0, 0)],
    ),
    record(
        0x2000,
        "Process",
        &[
            highest(6),
            line(1, "Flow", Kind::Real32, Signal::Pressure { base: 14.0, ripple: 0.2 }, 1.0),
            line(
                2,
                "Temperature",
                Kind::Integer16,
                Signal::Temperature { base: -4.0, swing: 6.0, period_ms: 40_000 },
                0.1,
            ),
            line(3, "Pressure", Kind::Unsigned16, Signal::Pressure { base: 6.0, ripple: 0.03 }, 0.01),
            line(4, "Strokes", Kind::Unsigned32, Signal::Counter { per_hour: 54_000 }, 1.0),
            line(5, "Status", Kind::Unsigned8, Signal::DriveStatus { period_ms: PUMP_MS }, 1.0),
            entry(6, "Recipe", Kind::VisibleString, Access::Read, Holds::Recipe),
        ],
    ),
    variable(0x2100, "Setpoint", &[mapped(setting(0, "", Kind::Integer16, 0))]),
    variable(0x2101, "Enable", &[mapped(setting(0, "", Kind::Unsigned8, 0))]),
    variable(0x2200, "Note", &[entry(0, "", Kind::VisibleString, Access::ReadWrite, Holds::Text(""))]),
    variable(0x2201, "Log", &[entry(0, "", Kind::Domain, Access::Read, Holds::Log(2000))]),
    variable(0x2202, "Recipe data", &[entry(0, "", Kind::Domain, Access::ReadWrite, Holds::Text(""))]),
];

/// The dictionary of a running node.
#[derive(Debug)]
pub(super) struct Objects {
    node: u8,
    /// What was written, by index and sub-index.
    written: Vec<(u16, u8, Vec<u8>)>,
    /// A process that stands still, at this millisecond.
    stuck: Option<u64>,
}

impl Objects {
    pub(super) fn new(node: u8) -> Objects {
        Objects { node, written: Vec::new(), stuck: None }
    }

    /// All is as it was at first.
    pub(super) fn reset(&mut self) {
        self.written.clear();
    }

    pub(super) fn set_stuck(&mut self, at: Option<u64>) {
        self.stuck = match (at, self.stuck) {
            (Some(_), Some(since)) => Some(since),
            (at, _) => at,
        };
    }

    fn entry(index: u16, sub: u8) -> Result<Entry, u32> {
        let object = OBJECTS.iter().find(|object| object.index == index).ok_or(abort::NO_OBJECT)?;
        object.entries.iter().find(|entry| entry.sub == sub).copied().ok_or(abort::NO_SUB_INDEX)
    }

    /// # Errors
    /// The abort code.
    pub(super) fn read(&self, index: u16, sub: u8, tick: u64) -> Result<Vec<u8>, u32> {
        let entry = Objects::entry(index, sub)?;
        if let Some((.., bytes)) = self.written.iter().find(|(i, s, _)| (*i, *s) == (index, sub)) {
            return Ok(bytes.clone());
        }
        let tick = self.stuck.unwrap_or(tick);
        let group = hash(0xC0 << 48 | u64::from(self.node) << 32 | u64::from(index) << 8);
        let number = |raw: u32| raw.to_le_bytes()[..entry.kind.bytes().unwrap_or(4)].to_vec();
        Ok(match entry.holds {
            Holds::Number(held) => number(held),
            Holds::NodeId(base) => number(base + u32::from(self.node)),
            Holds::Text(text) => text.as_bytes().to_vec(),
            Holds::Line(signal, scale) => {
                let physical = signal.number(group | u64::from(sub), tick);
                match entry.kind {
                    Kind::Real32 => (physical as f32).to_le_bytes().to_vec(),
                    _ => number((physical / scale).round() as i64 as u32),
                }
            }
            Holds::Recipe => Signal::Recipe { period_ms: 30_000 }.text(group, tick).as_bytes().to_vec(),
            Holds::Log(bytes) => (0..bytes).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect(),
        })
    }

    /// # Errors
    /// The abort code.
    pub(super) fn may_write(&self, index: u16, sub: u8) -> Result<Entry, u32> {
        let entry = Objects::entry(index, sub)?;
        if entry.access == Access::ReadWrite { Ok(entry) } else { Err(abort::READ_ONLY) }
    }

    /// # Errors
    /// The abort code.
    pub(super) fn write(&mut self, index: u16, sub: u8, bytes: &[u8]) -> Result<(), u32> {
        let entry = self.may_write(index, sub)?;
        match entry.kind.bytes() {
            Some(needed) if needed != bytes.len() => return Err(abort::LENGTH),
            None if bytes.len() > BYTES_MAX => return Err(abort::MEMORY),
            _ => {}
        }
        if matches!(index, 0x1600 | 0x1A00 | 0x1A01) {
            self.check_mapping(index, sub, bytes)?;
        }
        // The history of errors can only be emptied.
        if index == 0x1003 && bytes != [0] {
            return Err(abort::READ_ONLY);
        }
        self.hold(index, sub, bytes);
        Ok(())
    }

    /// Keeps a value, whether others may write it or not.
    pub(super) fn hold(&mut self, index: u16, sub: u8, bytes: &[u8]) {
        self.written.retain(|(i, s, _)| (*i, *s) != (index, sub));
        self.written.push((index, sub, bytes.to_vec()));
    }

    /// A mapping is changed while it is off, and is whole when it is turned on (CiA 301, 7.5.2.36).
    fn check_mapping(&self, index: u16, sub: u8, bytes: &[u8]) -> Result<(), u32> {
        if sub > 0 {
            let word = u32::from_le_bytes(bytes.try_into().map_err(|_| abort::LENGTH)?);
            if self.number(index, 0) != 0 {
                return Err(abort::DEVICE_STATE);
            }
            return if word == 0 { Ok(()) } else { Mapped::of(word).map(drop) };
        }
        let mut bits = 0;
        let entries = OBJECTS.iter().find(|object| object.index == index).map_or(0, |object| object.entries.len());
        if bytes.first().is_some_and(|count| usize::from(*count) >= entries) {
            return Err(abort::NO_SUB_INDEX);
        }
        for sub in 1..=bytes.first().copied().unwrap_or(0) {
            bits += Mapped::of(self.number(index, sub))?.bytes * 8;
        }
        if bits > 64 { Err(abort::PDO_TOO_LONG) } else { Ok(()) }
    }

    /// A number of the dictionary that does not move; 0 for what is not there.
    pub(super) fn number(&self, index: u16, sub: u8) -> u32 {
        let bytes = self.read(index, sub, 0).unwrap_or_default();
        bytes.iter().take(4).rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
    }

    /// What a PDO carries.
    pub(super) fn mapping(&self, index: u16) -> Vec<Mapped> {
        (1..=self.number(index, 0) as u8).filter_map(|sub| Mapped::of(self.number(index, sub)).ok()).collect()
    }
}

/// An object in a PDO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mapped {
    pub index: u16,
    pub sub: u8,
    pub bytes: usize,
}

impl Mapped {
    fn of(word: u32) -> Result<Mapped, u32> {
        let mapped = Mapped { index: (word >> 16) as u16, sub: (word >> 8) as u8, bytes: (word & 0xFF) as usize / 8 };
        let entry = Objects::entry(mapped.index, mapped.sub)?;
        let is_whole = entry.kind.bytes() == Some(mapped.bytes) && word & 7 == 0;
        if entry.mappable && is_whole { Ok(mapped) } else { Err(abort::NOT_MAPPABLE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_rise_and_what_is_mapped_exists() {
        assert!(OBJECTS.is_sorted_by(|a, b| a.index < b.index));
        for object in OBJECTS {
            assert!(object.entries.is_sorted_by(|a, b| a.sub < b.sub), "{:04X}", object.index);
        }
        let objects = Objects::new(5);
        for (index, bytes) in [(0x1600, 3), (0x1A00, 8), (0x1A01, 5)] {
            assert_eq!(objects.mapping(index).iter().map(|mapped| mapped.bytes).sum::<usize>(), bytes);
        }
    }

    #[test]
    fn what_may_not_be_written_is_refused_with_its_reason() {
        let mut objects = Objects::new(5);
        for (index, sub, bytes, why) in [
            (0x3000, 0, &[0][..], abort::NO_OBJECT),
            (0x2000, 9, &[0], abort::NO_SUB_INDEX),
            (0x2000, 1, &[0, 0, 0, 0], abort::READ_ONLY),
            (0x2100, 0, &[0], abort::LENGTH),
            (0x2200, 0, &[0; BYTES_MAX + 1], abort::MEMORY),
            (0x1A00, 1, &[16, 4, 0, 0x20], abort::DEVICE_STATE),
            (0x1A00, 0, &[4], abort::NO_OBJECT),
            (0x1A00, 0, &[5], abort::NO_SUB_INDEX),
            (0x1003, 0, &[3], abort::READ_ONLY),
        ] {
            assert_eq!(objects.write(index, sub, bytes), Err(why), "{index:04X}:{sub}");
        }
        assert_eq!(objects.write(0x1A00, 0, &[0]), Ok(()));
        assert_eq!(objects.write(0x1A00, 1, &0x2200_0008u32.to_le_bytes()), Err(abort::NOT_MAPPABLE));
        assert_eq!(objects.write(0x1A00, 1, &0x2000_0420u32.to_le_bytes()), Ok(()));
        assert_eq!(objects.write(0x1A00, 2, &0x2000_0120u32.to_le_bytes()), Ok(()));
        assert_eq!(objects.write(0x1A00, 0, &[2]), Ok(()));
        assert_eq!(objects.write(0x1A00, 0, &[3]), Err(abort::PDO_TOO_LONG));
    }

    #[test]
    fn a_stuck_process_shows_one_moment() {
        let mut objects = Objects::new(5);
        let strokes = |objects: &Objects, tick| objects.read(0x2000, 4, tick).unwrap();
        assert_ne!(strokes(&objects, 0), strokes(&objects, 60_000));
        objects.set_stuck(Some(0));
        objects.set_stuck(Some(60_000));
        assert_eq!(strokes(&objects, 60_000), strokes(&objects, 0));
    }
}
