//! Logs the events of CANopen nodes, off the floor and rate limited.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::emcy::class_name;
use crate::plan::Plan;
use crate::rt::NodeEvent;
use crate::tag::{AbortCode, ById, LinkId};

/// Lines in one [`WINDOW`]; a node that sends emergencies without pause fills no disk.
const LINES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub struct NodeLog {
    names: ById<LinkId, Arc<str>>,
    window: Option<Instant>,
    lines: u32,
}

impl NodeLog {
    pub fn adopt(&mut self, plan: &Plan) {
        self.names = plan.links.iter().map(|(id, link)| (id, link.name.clone())).collect();
    }

    pub fn tell(&mut self, link: LinkId, node: u8, event: NodeEvent) {
        let now = Instant::now();
        if self.window.is_none_or(|start| now.duration_since(start) >= WINDOW) {
            if self.lines > LINES_MAX {
                tracing::warn!("{} more messages about CANopen nodes were suppressed", self.lines - LINES_MAX);
            }
            (self.window, self.lines) = (Some(now), 0);
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > LINES_MAX {
            return;
        }
        let name = self.names.get(link).map_or("", |name| &**name);
        let text = text_of(event);
        match event {
            NodeEvent::Ready | NodeEvent::Emergency { code: 0, .. } => tracing::info!("{name}: node {node} {text}"),
            NodeEvent::BootUp | NodeEvent::Late => tracing::warn!("{name}: node {node} {text}"),
            _ => tracing::error!("{name}: node {node} {text}"),
        }
    }
}

/// Goes on behind `node 5`.
fn text_of(event: NodeEvent) -> String {
    match event {
        NodeEvent::Ready => "is set up".into(),
        NodeEvent::BootUp => "has restarted; it is set up again".into(),
        NodeEvent::Late => "is late: its heartbeat or guarding reply is overdue".into(),
        NodeEvent::Lost => "is gone".into(),
        NodeEvent::Refused { object, code } => {
            format!("cannot be set up: object {object}: {}; retrying later", AbortCode(code))
        }
        NodeEvent::OtherDevice { object, found } => {
            format!("is not the device of its data sheet: object {object} is 0x{found:08X}; it is not read")
        }
        NodeEvent::NotMapped { object } => {
            format!("has object {object} in no PDO with the configured size, although it is configured for PDO")
        }
        NodeEvent::Untold { object } => format!(
            "does not return object {object}, which is part of an RPDO: the other objects of that PDO are not \
             written"
        ),
        NodeEvent::Emergency { code: 0, .. } => "reports that its error is cleared".into(),
        NodeEvent::Emergency { code, register, manufacturer } => format!(
            "reports an emergency: code 0x{code:04X} ({}), error register 0x{register:02X}, manufacturer's \
             {manufacturer:02X?}",
            class_name(code)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Object;

    #[test]
    fn a_refusal_names_the_object_and_the_reason() {
        let event = NodeEvent::Refused { object: Object { index: 0x1017, sub: 0 }, code: 0x0602_0000 };
        let expected = "cannot be set up: object 0x1017:00: 0x06020000 (object does not exist in the object \
                        dictionary); retrying later";
        assert_eq!(text_of(event), expected);
    }

    #[test]
    fn an_emergency_is_told_with_its_class() {
        let event = NodeEvent::Emergency { code: 0x4210, register: 9, manufacturer: [1, 2, 3, 4, 5] };
        let text = text_of(event);
        assert!(text.contains("0x4210 (device temperature)") && text.contains("[01, 02, 03, 04, 05]"), "{text}");
    }
}
