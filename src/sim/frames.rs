//! What a CAN link may send: a message's bits are those that were sent before, but for fields that an open order writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::given::{bits_of, can_id};
use super::writes::{Open, Seen};
use crate::config::CanBits;
use crate::plan::{LinkProtocolPlan, Plan};
use crate::tag::LinkId;

/// Between the look at the clock and the last of the frames that are sent by it.
const SENT_LATER_NS: u64 = 500_000;

/// A message's identifier, and the bits in it.
pub type Field = (u32, CanBits);

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
    last: BTreeMap<(LinkId, u32), Last>,
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
            let Some(LinkProtocolPlan::Can(can)) = protocol else { continue };
            let Some(at) = can.transmits.iter().position(|t| can_id(t.id) == id) else { continue };
            // Without a DBC file a message has one frame.
            let frame = can.frames.get(can.transmits[at].frames.start as usize);
            let first = frame.and_then(|frame| frame.initial.as_slice().try_into().ok());
            let initial: [u8; 8] = first.unwrap_or_default();
            let last = self.last.get(&(seen.link, id)).copied();
            let fields = can.writes.iter().enumerate().filter(|(_, write)| usize::from(write.transmit) == at);
            let mut rest = data;
            // What a field was written to that has left the plan stays as it is.
            let mut rest_before = last.map_or(initial, |last| last.data);
            let mut carried = Vec::new();
            let mut stranger = None;
            for (slot, write) in fields {
                let raw = bits_of(&write.bits, &data).unwrap_or_default();
                let before = last.map(|last| bits_of(&write.bits, &last.data).unwrap_or_default());
                let first = bits_of(&write.bits, &initial).unwrap_or_default();
                let field = (id, write.bits);
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
                    self.last.insert((seen.link, id), Last { data, may_restart: false });
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
