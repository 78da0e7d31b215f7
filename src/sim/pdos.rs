//! What a CANopen master may send by PDO: each object in it is what an open order writes, or what the node held before,
//! or what was sent to it before.

use std::collections::BTreeMap;

use super::canopen::{RPDO_BITS, rpdo_span};
use super::device::Told;
use super::writes::{Open, Pdo, Seen};
use crate::tag::LinkId;

/// Between the look at the clock and the frame that is sent by it.
const SENT_LATER_NS: u64 = 500_000;

/// By object of the PDO.
pub type Changes = [u32; RPDO_BITS.len()];

/// Of one executor's links.
#[derive(Default)]
pub struct Pdos {
    /// By link and node: what was sent last, and by object, how often the node had begun anew, or it was written otherwise,
    /// by then.
    last: BTreeMap<(LinkId, u8), (Changes, [u8; 8])>,
}

impl Pdos {
    /// Marks the orders that a frame carries, or that a node has taken.
    ///
    /// # Errors
    /// When nothing allows it.
    pub fn seen(
        &mut self,
        seen: &Seen,
        (node, before, changes, what): (u8, [u8; 8], Changes, Pdo),
        open: &mut [Open],
    ) -> Result<(), String> {
        let frame: [u8; 8] =
            seen.payload.as_slice().try_into().map_err(|_| format!("a PDO of another length: {seen:?}"))?;
        let sent_before = self.last.get(&(seen.link, node)).copied();
        for place in 0..RPDO_BITS.len() {
            let (from, bytes) = rpdo_span(place);
            let last = sent_before.filter(|(of, _)| of[place] == changes[place]).map(|(_, last)| last);
            let part = |of: [u8; 8]| of[from..from + bytes].to_vec();
            let is_of_it = |open: &&mut Open| {
                let same = open.order.payload.bytes() == &frame[from..from + bytes];
                open.taken && open.order.link == seen.link && open.pdo == Some((node, place as u8 + 1)) && same
            };
            let mut those: Vec<&mut Open> = open.iter_mut().filter(is_of_it).collect();
            if what == Pdo::Taken {
                those.iter_mut().for_each(|open| open.confirmed |= open.carried);
                continue;
            }
            those.retain(|open| seen.at <= open.order.deadline.0 + SENT_LATER_NS);
            let is_known = part(before) == part(frame) || last.map(part) == Some(part(frame));
            // What a node takes that is not there or not operational is nobody's.
            if those.is_empty() && !is_known && seen.told == Told::Done {
                return Err(format!(
                    "bits of a PDO that no order allows, or too late: object {} of {seen:?}, sent before {last:02X?}",
                    place + 1
                ));
            }
            let several = those.len() > 1;
            for open in those {
                (open.carried, open.one_of_several) = (true, open.one_of_several | several);
                open.confirmed |= part(before) == part(frame);
                open.frames += u32::from(!is_known);
            }
        }
        if what == Pdo::Sent {
            self.last.insert((seen.link, node), (changes, frame));
        }
        Ok(())
    }
}
