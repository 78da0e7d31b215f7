//! CANopen links and tags as people write them, without data sheets.

use fastrand::Rng;

use super::super::canopen::{FIRST_OBJECT, IN_PDO, NODES, OUT_PDO, RPDO_BITS, kind_of};
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
            format!(r#"{{"id": {id}, {watched}, "reset": {}, "pdos": "node", "tpdos": 1, "rpdos": 1}}"#, self.reset)
        };
        let nodes: Vec<String> = (1..=NODES).map(node).collect();
        let sync = if self.sync { r#""sync_ms": 100, "# } else { "" };
        format!(r#""canopen", "interface": "cano{host}", {sync}"nodes": [{}]"#, nodes.join(", "))
    }

    /// The `n`-th place for a tag, and what else is written of it.
    pub fn spot(self, n: u32, rng: &mut Rng) -> (String, String) {
        let (node, n) = (n % u32::from(NODES) + 1, n / u32::from(NODES));
        // Every fourth one comes by PDO, and one goes by it.
        let (index, sub) = match n % 4 {
            2 => (IN_PDO, (n / 4 % 4 + 1) as u8),
            1 => (OUT_PDO, (n / 4 % RPDO_BITS.len() as u32 + 1) as u8),
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
        let write = match (index, rng.u8(..3)) {
            // Now and then what a PDO carries as well is written by SDO.
            (OUT_PDO, 0) if rng.bool() => r#", "write": true"#,
            (OUT_PDO, _) => r#", "write": {"via": "pdo"}"#,
            (IN_PDO, _) => "",
            (_, 0) if bytes <= 4 => r#", "write": true"#,
            _ => "",
        };
        (format!("{node}:0x{index:04X}:{sub}"), format!(r#""data_type": "{name}"{write}"#))
    }
}
