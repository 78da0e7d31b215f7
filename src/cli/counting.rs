//! Registers that are written as references, which count from 1, where the device's manual may count from 0.
//!
//! `40070` with function 3 is the reference of offset 69. In a manual that counts from 0, as SunSpec's, it is the offset
//! 40070. The file does not say which is meant; the device can, where it refuses the one and answers the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::read::settled;
use crate::config::{Config, TagConfig};
use crate::plan::Plan;
use crate::protocol;
use crate::protocol::modbus::model::ModbusAddress;
use crate::supervise::floor::{self, Floor, Scheduling};
use crate::tag::{Status, TagId};

/// How long the other meaning is tried.
const TRIED: Duration = Duration::from_secs(3);

/// The tag's address, and the number that was written, if it is such a reference.
fn reference(tag: &TagConfig) -> Option<(&ModbusAddress, u16)> {
    let address = tag.address.get::<ModbusAddress>()?;
    Some((address, address.reference?))
}

/// One line that says how references are read, where there are any.
pub fn note(config: &Config) -> Option<String> {
    let mut of_links: Vec<usize> = Vec::new();
    let mut first = None;
    for tag in &config.tags {
        let Some((address, number)) = reference(tag) else { continue };
        first.get_or_insert((tag.link, number, address.first));
        if !of_links.contains(&tag.link) {
            of_links.push(tag.link);
        }
    }
    let (link, number, offset) = first?;
    let others = match of_links.len() - 1 {
        0 => String::new(),
        others => format!(", and those of {others} more links"),
    };
    Some(format!(
        "note: references of link \"{}\"{others} count from 1: {number} is read at offset {offset}; if the manual counts \
         from 0, as SunSpec does, set \"addressing\": \"raw\" on the link",
        config.links[link].name
    ))
}

/// The tags of `config`, by their place in it, that are written as references and that the device refuses.
pub fn refused(config: &Config, plan: &Plan, floor: &Floor) -> Vec<usize> {
    let status = statuses(plan, floor);
    let is_refused = |tag: &TagConfig| {
        matches!(status.get(&*tag.name), Some(&(Status::BAD_CONFIGURATION_ERROR | Status::BAD_DEVICE_FAILURE)))
    };
    let tags = config.tags.iter().enumerate();
    tags.filter(|(_, tag)| reference(tag).is_some() && is_refused(tag)).map(|(at, _)| at).collect()
}

fn statuses(plan: &Plan, floor: &Floor) -> HashMap<Box<str>, Status> {
    let status =
        |id: TagId| floor.image.read(id.index()).map_or(Status::BAD_WAITING_FOR_INITIAL_DATA, |r| Status(r.status));
    plan.tags.iter().map(|(id, tag)| (Box::from(&*tag.name), status(id))).collect()
}

/// Reads the refused ones at the offset that their number is when it counts from 0, and says what that tells.
pub fn hints(config: &Config, refused: &[usize]) -> Vec<String> {
    let mut other = config.clone();
    other.tags = refused.iter().filter_map(|at| from_zero(config.tags.get(*at)?)).collect();
    if other.tags.is_empty() {
        return Vec::new();
    }
    let answered = answered(&other).unwrap_or_default();
    let mut hints = Vec::new();
    for (at, link) in config.links.iter().enumerate() {
        let tags = || refused.iter().filter_map(|tag| config.tags.get(*tag)).filter(|tag| tag.link == at);
        let right = || tags().filter(|tag| answered.contains(&tag.name));
        let Some((tag, (address, number))) = right().chain(tags()).find_map(|tag| Some((tag, reference(tag)?))) else {
            continue;
        };
        let place = format!("{}:{}: link \"{}\"", link.source.file, link.source.line, link.name);
        let offset = address.first;
        let all = tags().count();
        hints.push(match right().count() {
            0 => format!(
                "{place}: note: the device refuses {all} of the tags with reference addresses, such as {number} of \
                 tag \"{}\", read at offset {offset}; it does not answer at offset {number} either",
                tag.name
            ),
            found => format!(
                "{place}: warning: the device counts from 0: it refuses offset {offset}, the reference {number} of \
                 tag \"{}\", and answers at offset {number} (so {found} of {all} refused tags); write \"addressing\": \
                 \"raw\"",
                tag.name
            ),
        });
    }
    hints
}

/// The tag at the offset that its number is when it counts from 0; no other fits in the table.
fn from_zero(tag: &TagConfig) -> Option<TagConfig> {
    let mut tag = tag.clone();
    let address = tag.address.get_mut::<ModbusAddress>()?;
    address.first = address.reference?;
    (u32::from(address.first) + u32::from(address.count) <= 1 << 16).then_some(tag)
}

/// Names of the tags that are answered. `None`: the machine gives no thread, or the plan cannot be made.
fn answered(config: &Config) -> Option<Vec<String>> {
    let plan = Arc::new(protocol::build(config, &[0]).ok()?.plan);
    let mut floor = floor::prepare(plan.clone(), Scheduling::Ordinary).ok()?.start();
    let end = Instant::now() + TRIED;
    while Instant::now() < end && !settled(&floor, &plan) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = statuses(&plan, &floor);
    floor.stop();
    Some(status.into_iter().filter(|(_, status)| status.is_good()).map(|(name, _)| name.into()).collect())
}
