//! CAN links and tags as people write them, without a DBC file.

use fastrand::Rng;

use super::super::can::{MESSAGES, message_id};
use super::super::memory::mix;

/// Fields of one message.
const FIELDS: u32 = 4;

/// One link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Can {
    pub every: bool,
    pub silent_ms: u32,
    /// Messages that it sends, by turns on a beat and when they change.
    pub sends: u32,
    pub period_ms: u32,
}

/// The identifier of a message that is sent.
pub fn sent_id(message: u32) -> u32 {
    0x600 + message
}

impl Can {
    pub fn any(rng: &mut Rng) -> Can {
        Can {
            every: rng.u8(..3) == 0,
            silent_ms: [700, 1_500, 3_000][rng.usize(..3)],
            sends: rng.u32(..4),
            period_ms: [20, 100, 500][rng.usize(..3)],
        }
    }

    pub fn text(self, host: u32) -> String {
        let Can { every, silent_ms, sends, period_ms } = self;
        let message = |n: u32| {
            let when = match n % 3 {
                0 => format!(r#""period_ms": {period_ms}"#),
                1 => r#""on_change": true, "min_distance_ms": 5"#.to_owned(),
                _ => format!(r#""period_ms": {period_ms}, "on_change": true"#),
            };
            let initial: String = mix(u64::from(n)).to_le_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
            format!(r#"{{"id": "{:#x}", "bytes": 8, "initial_bytes": "{initial}", {when}}}"#, sent_id(n))
        };
        let messages: Vec<String> = (0..sends).map(message).collect();
        let sampling = if every { "every" } else { "latest" };
        format!(
            r#""can", "interface": "can{host}", "silent_after_ms": {silent_ms}, "sampling": "{sampling}",
            "transmit": [{}]"#,
            messages.join(", ")
        )
    }

    /// The `n`-th place for a tag, and what else is written of it.
    pub fn spot(self, n: u32, rng: &mut Rng) -> (String, String) {
        let field = n % FIELDS;
        let (len, data_type) = match rng.u8(..4) {
            0 => (1, r#", "data_type": "bool""#),
            1 => (16, r#", "data_type": "int16""#),
            2 => (rng.u32(2..16), r#", "data_type": "int32""#),
            _ => (rng.u32(2..=16), ""),
        };
        // Of four fields, two count from the other end of their bytes.
        let (start, order) = if field.is_multiple_of(2) { (16 * field, "little") } else { (16 * field + 7, "big") };
        let scaled = if len > 1 && rng.u8(..5) == 0 { r#", "scale": 0.25, "offset": 7"# } else { "" };
        let own = n / FIELDS;
        // First what it sends itself, then what others send, then that once more.
        let (id, write) = if own < self.sends {
            (sent_id(own), r#", "write": true"#)
        } else {
            (message_id((own - self.sends) % MESSAGES), "")
        };
        let id = if id > 0x7FF { format!("{:#x}x", id & 0x1FFF_FFFF) } else { format!("{id:#x}") };
        (format!("{id}:{start}:{len}"), format!(r#""byte_order": "{order}"{data_type}{scaled}{write}"#))
    }
}
