//! CAN links and tags as people write them: by identifier, by parameter group, by the names of a DBC file.

use fastrand::Rng;

use super::super::can::{MESSAGES, message_id};
use super::super::memory::mix;
use super::dbc;

/// Fields of one message, and of one in packets.
const FIELDS: u32 = 4;
const FIELDS_IN_PACKETS: u32 = 12;

/// One link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Can {
    pub every: bool,
    pub silent_ms: u32,
    /// Messages that it sends, by turns on a beat and when they change.
    pub sends: u32,
    pub period_ms: u32,
    /// The controller's times are asked for.
    pub hardware: bool,
    /// Names of a DBC file, and parameter groups.
    pub names: bool,
}

/// The identifier of a message that is sent.
pub fn sent_id(message: u32) -> u32 {
    0x600 + message
}

impl Can {
    pub fn any(rng: &mut Rng) -> Can {
        let names = rng.bool();
        Can {
            every: rng.u8(..3) == 0,
            // What comes in packets comes more rarely.
            silent_ms: if names { 9_000 } else { [700, 1_500, 3_000][rng.usize(..3)] },
            sends: rng.u32(..4),
            period_ms: [20, 100, 500][rng.usize(..3)],
            hardware: rng.bool(),
            names,
        }
    }

    pub fn text(self, host: u32) -> String {
        let Can { every, silent_ms, sends, period_ms, hardware, names } = self;
        let message = |n: u32| {
            let when = match n % 3 {
                0 => format!(r#""period_ms": {period_ms}"#),
                1 => r#""on_change": true, "min_distance_ms": 5"#.to_owned(),
                _ => format!(r#""period_ms": {period_ms}, "on_change": true"#),
            };
            let initial: String = mix(u64::from(n)).to_le_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
            format!(r#"{{"id": "{:#x}", "bytes": 8, "initial_bytes": "{initial}", {when}}}"#, sent_id(n))
        };
        let mut messages: Vec<String> = (0..sends).map(message).collect();
        let file = if names {
            let initial = dbc::ORDERS_INITIAL;
            messages.push(format!(
                r#"{{"message": "ORDERS", "initial": {initial}, "period_ms": {period_ms}, "on_change": {every}}}"#
            ));
            format!(r#""dbc": "{}", "#, dbc::NAME)
        } else {
            String::new()
        };
        let sampling = if every { "every" } else { "latest" };
        let timestamps = if hardware { "hardware" } else { "software" };
        format!(
            r#""can", "interface": "can{host}", "silent_after_ms": {silent_ms}, "sampling": "{sampling}",
            "timestamps": "{timestamps}", {file}"transmit": [{}]"#,
            messages.join(", ")
        )
    }

    /// The `n`-th place for a tag, and what else is written of it.
    pub fn spot(self, n: u32, rng: &mut Rng) -> (String, String) {
        match n % 3 {
            _ if !self.names => self.by_id(n, rng),
            0 => self.by_id(n / 3, rng),
            1 => {
                let (name, is_written) = dbc::signal(n as usize / 3);
                (name.to_owned(), format!(r#""offset": 0{}"#, if is_written { r#", "write": true"# } else { "" }))
            }
            _ => by_group(n / 3, rng),
        }
    }

    fn by_id(self, n: u32, rng: &mut Rng) -> (String, String) {
        let (bits, keys) = field(n % FIELDS, rng);
        let own = n / FIELDS;
        // First what it sends itself, then what others send, then that once more.
        let (id, write) = if own < self.sends {
            (sent_id(own), r#", "write": true"#)
        } else {
            (message_id((own - self.sends) % MESSAGES), "")
        };
        let id = if id > 0x7FF { format!("{:#x}x", id & 0x1FFF_FFFF) } else { format!("{id:#x}") };
        (format!("{id}:{bits}"), format!("{keys}{write}"))
    }
}

/// A field of a parameter group, from one node or any: the first ones in one frame, the others in packets.
fn by_group(n: u32, rng: &mut Rng) -> (String, String) {
    let groups = ["0xF010:0x11", "0xF020", "0x2200:0x11", "0x11000", "0xF010", "0x2200", "0x11000:0x21", "0xF020:0x21"];
    let group = groups[n as usize % groups.len()];
    let in_packets = group.starts_with("0xF020") || group.starts_with("0x2200");
    let (bits, keys) = field(n / groups.len() as u32 % if in_packets { FIELDS_IN_PACKETS } else { FIELDS }, rng);
    (format!("pgn:{group}:{bits}"), keys)
}

/// One of the fields of 16 bits side by side, or its first bits, and what is written of it.
fn field(field: u32, rng: &mut Rng) -> (String, String) {
    let (len, data_type) = match rng.u8(..4) {
        0 => (1, r#", "data_type": "bool""#),
        1 => (16, r#", "data_type": "int16""#),
        2 => (rng.u32(2..16), r#", "data_type": "int32""#),
        _ => (rng.u32(2..=16), ""),
    };
    // Every other one counts from the other end of its bytes.
    let (start, order) = if field.is_multiple_of(2) { (16 * field, "little") } else { (16 * field + 7, "big") };
    let scaled = if len > 1 && rng.u8(..5) == 0 { r#", "scale": 0.25, "offset": 7"# } else { "" };
    (format!("{start}:{len}"), format!(r#""byte_order": "{order}"{data_type}{scaled}"#))
}
