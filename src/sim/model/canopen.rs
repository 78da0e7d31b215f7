//! CANopen links and tags as people write them, without data sheets.

use fastrand::Rng;

use super::super::canopen::{FIRST_OBJECT, IN_PDO, NODES, kind_of};
use crate::tag::ScalarType;

/// One link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanOpen {
    pub sync: bool,
    pub reset: bool,
}

impl CanOpen {
    pub fn any(rng: &mut Rng) -> CanOpen {
        CanOpen { sync: rng.bool(), reset: rng.u8(..3) == 0 }
    }

    pub fn text(self, host: u32) -> String {
        let node = |id: u8| {
            let watched = match id % 3 {
                1 => r#""heartbeat_ms": 300"#,
                2 => r#""heartbeat_ms": 0, "guarding": {"time_ms": 400, "life": 3}"#,
                _ => r#""heartbeat_ms": 0"#,
            };
            format!(r#"{{"id": {id}, {watched}, "reset": {}, "pdos": "node", "tpdos": 1}}"#, self.reset)
        };
        let nodes: Vec<String> = (1..=NODES).map(node).collect();
        let sync = if self.sync { r#""sync_ms": 100, "# } else { "" };
        format!(r#""canopen", "interface": "cano{host}", {sync}"nodes": [{}]"#, nodes.join(", "))
    }

    /// The `n`-th place for a tag, and what else is written of it.
    pub fn spot(self, n: u32, rng: &mut Rng) -> (String, String) {
        let (node, n) = (n % u32::from(NODES) + 1, n / u32::from(NODES));
        // Every third one comes by PDO.
        let (index, sub) = match n % 3 {
            2 => (IN_PDO, (n / 3 % 4 + 1) as u8),
            _ => (FIRST_OBJECT + (n % 0x1000) as u16, 0),
        };
        let (ty, bytes) = kind_of(index, sub);
        let name = match ty {
            ScalarType::Int16 => "int16",
            ScalarType::Uint32 => "uint32",
            ScalarType::Float32 => "float32",
            ScalarType::Uint16 => "uint16",
            _ => "float64",
        };
        let write = if index != IN_PDO && bytes <= 4 && rng.u8(..3) == 0 { r#", "write": true"# } else { "" };
        (format!("{node}:0x{index:04X}:{sub}"), format!(r#""data_type": "{name}"{write}"#))
    }
}
