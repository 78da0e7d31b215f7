//! Modbus links and tags as people write them.

use fastrand::Rng;

use super::places::{host_name, port_name};

/// Function, how many registers (bits), and the rest as it is written.
#[derive(Debug, Clone)]
pub struct Kind {
    pub function: u8,
    pub count: u32,
    pub what: String,
}

/// What a link's frames go over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
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
    pub fn any(rng: &mut Rng) -> Frames {
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

    /// Protocol and wire of a link.
    pub fn text(self, host: u32, connect_timeout_ms: u64, pipeline: u8) -> String {
        let connect = format!(r#""host": "{}", "connect_timeout_ms": {connect_timeout_ms}"#, host_name(host));
        match self {
            Frames::Tcp => format!(r#""modbus_tcp", {connect}, "pipeline": {pipeline}"#),
            Frames::RtuOverTcp => format!(r#""modbus_rtu_tcp", {connect}"#),
            Frames::Serial { ascii, baud_rate, parity, stop_bits } => {
                let (port, framing) = (port_name(host), if ascii { "ascii" } else { "rtu" });
                format!(
                    r#""modbus_rtu", "port": "{port}", "baudrate": {baud_rate}, "parity": "{parity}",
                    "stop_bits": {stop_bits}, "framing": "{framing}""#
                )
            }
        }
    }

    /// What is given up where it is too slow.
    pub fn faster(self) -> Frames {
        match self {
            Frames::Serial { ascii, baud_rate, parity, stop_bits } if baud_rate < 1_000_000 => {
                Frames::Serial { ascii, baud_rate: baud_rate * 4, parity, stop_bits }
            }
            Frames::Serial { .. } => Frames::Tcp,
            other => other,
        }
    }
}

pub fn kind(rng: &mut Rng) -> Kind {
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
