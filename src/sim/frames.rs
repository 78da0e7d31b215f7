//! What a CAN link may send: a message's bits are those that were sent before, but for fields that an open order writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::given::{bits_of, can_id};
use super::model::dbc::sent_branch;
use super::writes::{Open, Seen};
use crate::plan::Plan;
use crate::protocol::can::model::CanBits;
use crate::protocol::can::plan::model::{CanPlan, CanWrite};
use crate::tag::LinkId;

/// Between the look at the clock and the last of the frames that are sent by it.
const SENT_LATER_NS: u64 = 500_000;

/// A message's identifier, which of its frames it is in, or in all of them, and the bits in it.
pub type Field = (u32, Option<usize>, CanBits);

/// A message as it was sent last.
#[derive(Debug, Clone, Copy)]
struct Last {
    data: [u8; 8],
    /// A plan has come since: it may begin anew.
    may_restart: bool,
}

/// Of one executor's links.
#[derive(Default)]
pub struct Frames {
    /// By link, identifier, and which of a message's frames it is.
    last: BTreeMap<(LinkId, u32, usize), Last>,
}

impl Frames {
    /// The executor has another plan.
    pub fn adopted(&mut self) {
        self.last.values_mut().for_each(|last| last.may_restart = true);
    }

    /// Marks the orders that a frame carries. `plans`: what is sent may be by the one before the present one; a link
    /// that a new plan leaves as it is keeps its orders.
    ///
    /// # Errors
    /// When nothing allows it.
    pub fn seen(&mut self, seen: &Seen, id: u32, open: &mut [Open], plans: &[Arc<Plan>]) -> Result<(), String> {
        let data: [u8; 8] =
            seen.payload.as_slice().try_into().map_err(|_| format!("a frame of another length: {seen:?}"))?;
        let mut why = "its message is not sent by this link".to_owned();
        for plan in plans {
            let protocol = plan.links.get(seen.link).map(|link| &link.protocol);
            let Some(can) = protocol.and_then(|work| work.get::<CanPlan>()) else { continue };
            let Some(at) = can.transmits.iter().position(|t| can_id(t.id) == id) else { continue };
            let frames = can.transmits[at].frames.clone();
            let Some(branch) = sent_branch(id, &data).filter(|branch| *branch < frames.len()) else {
                why = "its switch has no such value".to_owned();
                continue;
            };
            let number = frames.start + branch as u32;
            let first = |number: u32| -> [u8; 8] {
                let frame = can.frames.get(number as usize);
                frame.and_then(|frame| frame.initial.as_slice().try_into().ok()).unwrap_or_default()
            };
            let initial = first(number);
            let last = self.last.get(&(seen.link, id, branch)).copied();
            let of_frame =
                |write: &CanWrite| usize::from(write.transmit) == at && write.frame.is_none_or(|own| own == number);
            let fields = can.writes.iter().enumerate().filter(|(_, write)| of_frame(write));
            let mut rest = data;
            // What a field was written to that has left the plan stays as it is.
            let mut rest_before = last.map_or(initial, |last| last.data);
            let mut carried = Vec::new();
            let mut stranger = None;
            for (slot, write) in fields {
                let raw = bits_of(&write.bits, &data).unwrap_or_default();
                let before = last.map(|last| bits_of(&write.bits, &last.data).unwrap_or_default());
                let first = bits_of(&write.bits, &initial).unwrap_or_default();
                let field = (id, write.frame.map(|_| branch), write.bits);
                let of_field = |open: &&Open| {
                    open.writes_field(seen.link, field) && seen.at <= open.order.deadline.0 + SENT_LATER_NS
                };
                let newest = open.iter().filter(of_field).filter(|open| raw_of(open) == raw).map(|open| open.order.id);
                let newest = newest.max();
                let known = before == Some(raw) || last.is_none_or(|last| last.may_restart) && first == raw;
                if newest.is_none() && !known {
                    stranger = Some(format!("slot {slot} is {raw}, and was {before:?}, first {first}"));
                }
                if let Some(newest) = newest {
                    // What the field had anyway, or has at first, says nothing of the order.
                    carried.push((field, newest, !known));
                }
                write.bits.put(&mut rest, first);
                write.bits.put(&mut rest_before, first);
            }
            match stranger {
                Some(stranger) => why = stranger,
                None if rest != initial && rest != rest_before => {
                    why = format!("bits of no field differ from {initial:?}")
                }
                None => {
                    mark(open, seen.link, &carried);
                    // What all frames of the message have is in the others from now on.
                    for (other, frame) in frames.enumerate().filter(|(other, _)| *other != branch) {
                        let begin = Last { data: first(frame), may_restart: true };
                        let other = self.last.entry((seen.link, id, other)).or_insert(begin);
                        let common = can.writes.iter().filter(|write| write.frame.is_none() && of_frame(write));
                        for write in common {
                            write.bits.put(&mut other.data, bits_of(&write.bits, &data).unwrap_or_default());
                        }
                    }
                    self.last.insert((seen.link, id, branch), Last { data, may_restart: false });
                    return Ok(());
                }
            }
        }
        Err(format!("a frame that no order allows, or too late ({why}): {seen:?}"))
    }
}

/// An order is in the frame whose value it is, and those that it overtook on its way are in it, too.
fn mark(open: &mut [Open], link: LinkId, carried: &[(Field, u64, bool)]) {
    for (field, newest, changed) in carried {
        let of_field = |open: &&mut Open| open.writes_field(link, *field) && open.order.id <= *newest;
        let mut those: Vec<&mut Open> = open.iter_mut().filter(of_field).collect();
        let several = those.len() > 1;
        for open in &mut those {
            open.confirmed = true;
            open.frames += u32::from(*changed);
            open.one_of_several |= several;
        }
    }
}

fn raw_of(open: &Open) -> u64 {
    open.order.payload.bytes().try_into().map_or(0, u64::from_le_bytes)
}
