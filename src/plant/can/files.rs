//! Files for a gateway that reads the nodes: the DBC file, the EDS, and a tag file for each link.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::messages::{COMMAND, MESSAGES};
use super::{CanSettings, dbc_file};
use crate::canopen::eds;

const DBC: &str = "plant.dbc";
const EDS: &str = "pump.eds";
/// What the gateway bids the mixer, so that there is something to see: 900 rpm.
const SETPOINT: f64 = 900.0;
const COMMAND_MS: u64 = 200;
/// A page of a multiplexed message comes less often than the message.
const SILENT_MS: u64 = 500;
const SYNC_MS: u64 = 100;
const HEARTBEAT_MS: u64 = 200;
/// Name, object, period and scale of what is read of the node; the rest says its EDS. The first five come by PDO.
const PUMP_TAGS: [(&str, &str, u64, f64); 9] = [
    ("flow", "0x2000:1", 100, 1.0),
    ("temperature", "0x2000:2", 100, 0.1),
    ("pressure", "0x2000:3", 100, 0.01),
    ("strokes", "0x2000:4", SYNC_MS, 1.0),
    ("status", "0x2000:5", SYNC_MS, 1.0),
    ("recipe", "0x2000:6:16", 1000, 1.0),
    ("setpoint", "0x2100:0", 1000, 1.0),
    ("state", "state", 1000, 1.0),
    ("emergency", "emcy", 1000, 1.0),
];

impl CanSettings {
    /// Writes the files of the nodes into a gateway's `tags` directory: links `can` and `canopen`.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn write_tags(&self, dir: &Path) -> io::Result<()> {
        if let Some(interface) = &self.senders {
            fs::write(dir.join(DBC), dbc_file())?;
            fs::write(dir.join("can.json"), serde_json::to_vec_pretty(&senders(interface))?)?;
        }
        if let Some(interface) = &self.canopen {
            fs::write(dir.join(EDS), eds::text(EDS))?;
            fs::write(dir.join("canopen.json"), serde_json::to_vec_pretty(&pump(interface, self.node_id))?)?;
        }
        Ok(())
    }
}

/// Every signal that the nodes send, once in its message's cycle.
fn senders(interface: &str) -> Value {
    let command = &MESSAGES[COMMAND];
    let signals = MESSAGES.iter().filter(|message| message.node.is_some()).flat_map(|message| {
        message.signals.iter().map(move |signal| {
            let name = format!("{}.{}", message.name, signal.name);
            let mut tag = json!({ "name": format!("can.{name}"), "protocol": "can", "address": format!("can:{name}"),
                                  "scan_rate_ms": message.cycle_ms, "description": message.comment });
            if !signal.unit.is_empty() {
                tag["unit"] = signal.unit.into();
            }
            tag
        })
    });
    json!({
        "links": [{
            "name": "can", "protocol": "can", "interface": interface, "fd": true, "dbc": DBC,
            "silent_after_ms": SILENT_MS,
            "transmit": [{ "message": command.name, "period_ms": COMMAND_MS,
                           "initial": { "Setpoint": SETPOINT, "Enable": 1 } }],
        }],
        "tags": signals.collect::<Vec<Value>>(),
    })
}

fn pump(interface: &str, id: u8) -> Value {
    let tags = PUMP_TAGS.map(|(name, object, period_ms, scale)| {
        let mut tag = json!({ "name": format!("pump.{name}"), "protocol": "canopen",
                              "address": format!("canopen:{id}:{object}"), "scan_rate_ms": period_ms });
        if scale != 1.0 {
            tag["scale"] = scale.into();
        }
        tag
    });
    json!({
        "links": [{
            "name": "canopen", "protocol": "canopen", "interface": interface, "sync_ms": SYNC_MS,
            "nodes": [{ "id": id, "eds": EDS, "heartbeat_ms": HEARTBEAT_MS }],
        }],
        "tags": tags,
    })
}
