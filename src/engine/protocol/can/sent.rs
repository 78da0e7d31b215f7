//! What is written on CAN links lies in messages that are sent, and these get all their values.

use super::model::{CanAddress, CanBits, CanBitsKind, CanConfig, CanFrames, CanSwitch, CanTransmit};
use super::names::LinkDbc;
use crate::config::diagnostic::Report;
use crate::config::kind::Link;
use crate::config::model::{LinkConfig, TagConfig};
use crate::config::names::quoted;
use crate::limits::CAN_UNSET_MAX;

fn overlaps(switch: &CanSwitch, bits: &CanBits) -> bool {
    let CanSwitch { start, len, big_endian } = *switch;
    let (mut one, mut other) = ([0; 64], [0; 64]);
    CanBits { start, len, big_endian, kind: CanBitsKind::Unsigned }.put(&mut one, u64::MAX);
    bits.put(&mut other, u64::MAX);
    one.iter().zip(&other).any(|(one, other)| one & other != 0)
}

/// Once all tags are known: every tag that is written lies in a message that is sent, and every message gets values.
pub fn check(tags: &[TagConfig], links: &mut [Link], report: &Report) {
    for tag in tags.iter().filter(|tag| tag.write.is_some()) {
        let Some(address) = tag.address.get::<CanAddress>() else { continue };
        let Some(link) = links.get_mut(tag.link) else { continue };
        // Its messages may be those of the file that could not be read.
        if is_broken(link) {
            continue;
        }
        let Some(config) = link.config.protocol.get_mut::<CanConfig>() else { continue };
        let subject = format!("tag {}", quoted(&tag.name));
        let sent = config.transmit.iter_mut().find(|transmit| address.frames == CanFrames::Id(transmit.id));
        let Some(transmit) = sent else {
            let help = "add its message to \"transmit\" of the link, or remove \"write\"";
            report.error(tag.source.clone(), &subject, "is writable, but its message is not sent", help);
            continue;
        };
        if transmit.branch_of(&address.conditions).is_none()
            || address.bits.bytes_needed() > usize::from(transmit.bytes)
        {
            let message = format!("its bits are outside the sent frames of {} bytes", transmit.bytes);
            report.error(tag.source.clone(), &subject, message, "");
            continue;
        }
        if transmit.branches.iter().any(|branch| overlaps(&branch.switch, &address.bits)) {
            let help = "write the signals of a branch: the switch is set accordingly";
            report.error(tag.source.clone(), &subject, "its bits select which signals are in the frame", help);
            continue;
        }
        if !transmit.fields_known && !transmit.unset.contains(&address.bits) {
            transmit.unset.push(address.bits);
            if transmit.unset.len() == CAN_UNSET_MAX + 1 {
                let message = format!("more than {CAN_UNSET_MAX} tags without an initial value write its message");
                report.error(tag.source.clone(), &subject, message, "add \"initial_bytes\" to the message");
            }
        }
    }
    for (at, link) in links.iter().enumerate() {
        let Some(config) = link.config.protocol.get::<CanConfig>() else { continue };
        if is_broken(link) {
            continue;
        }
        for transmit in &config.transmit {
            check_values(at, &link.config, transmit, tags, report);
        }
    }
}

/// Without a value for one of its fields, a frame is never sent.
fn check_values(at: usize, link: &LinkConfig, transmit: &CanTransmit, tags: &[TagConfig], report: &Report) {
    let written: Vec<(Option<usize>, CanBits)> = tags
        .iter()
        .filter(|tag| tag.link == at && tag.write.is_some())
        .filter_map(|tag| match tag.address.get::<CanAddress>() {
            Some(address) if address.frames == CanFrames::Id(transmit.id) => {
                Some((transmit.branch_of(&address.conditions)?, address.bits))
            }
            _ => None,
        })
        .collect();
    let missing = |branch: Option<usize>, unset: &[CanBits]| {
        unset.iter().filter(|bits| !written.contains(&(branch, **bits))).count()
    };
    let subject = format!("link {}", quoted(&link.name));
    let id = transmit.id.id;
    let refuse = |message: String| {
        let help = "give them one in \"initial\" (\"initial_bytes\" without a DBC file), or a tag with \"write\"";
        report.error(link.source.clone(), &subject, message, help);
    };
    // A branch without values is left out; but not one that is written, and not all of them.
    let lacks: Vec<usize> =
        transmit.branches.iter().enumerate().map(|(at, branch)| missing(Some(at), &branch.unset)).collect();
    let nobody = missing(None, &transmit.unset) + lacks.iter().copied().min().unwrap_or(0);
    if !transmit.fields_known && transmit.unset.is_empty() {
        refuse(format!("the message {id:#x} would never be sent: it has no values, and no tag writes them"));
        return;
    }
    if nobody > 0 {
        let what = format!("{nobody} of its signals have no value");
        refuse(format!("the message {id:#x} would never be sent: {what}, and no tag writes them"));
        return;
    }
    for (at, (branch, lacks)) in transmit.branches.iter().zip(lacks).enumerate() {
        if lacks > 0 && written.iter().any(|(of, _)| *of == Some(at)) {
            let what = format!("{lacks} of its signals have no value, and no tag writes them");
            refuse(format!("the branch {} of the message {id:#x} would never be sent: {what}", branch.value));
        }
    }
}

/// Its file could not be read: its messages may be those of it.
fn is_broken(link: &Link) -> bool {
    matches!(link.notes(), Some(LinkDbc::Broken))
}
