//! What a simulated node has for others to write by PDO: its first RPDO, what it carries, when the node takes it.

use fastrand::Rng;

use super::super::device::Told;
use super::super::writes::{Pdo, Place, Seen};
use super::OUT_PDO;
use crate::tag::LinkId;

/// Bits of the objects that the RPDO carries, by their sub-indices from 1 on.
pub const BITS: [u8; 3] = [16, 16, 32];
/// So long after a SYNC the master counts as one that sends them.
const SYNC_HEARD_NS: u64 = 1_000_000_000;

/// Of one node.
#[derive(Debug)]
pub struct Outputs {
    held: [u8; 8],
    /// What it takes with the next SYNC, and when it came.
    waits: Option<([u8; 8], u64)>,
    synchronous: bool,
    /// By object, how often it began anew or was written by SDO.
    changes: [u32; BITS.len()],
}

impl Outputs {
    pub fn any(rng: &mut Rng) -> Outputs {
        Outputs { held: rng.u64(..).to_le_bytes(), waits: None, synchronous: false, changes: [0; BITS.len()] }
    }

    /// The node begins anew: what was written is gone.
    pub fn restart(&mut self, rng: &mut Rng) {
        *self = Outputs { changes: self.changes.map(|times| times + 1), ..Outputs::any(rng) };
    }

    /// What the node's dictionary has of it. `sync_at`: when the last SYNC came.
    pub fn holds(&mut self, id: u8, object: (u16, u8), at: u64, sync_at: u64) -> Option<(u64, usize)> {
        let sub = usize::from(object.1);
        Some(match object {
            (0x1400, 0) => (5, 1),
            (0x1400, 1) => (0x200 + u64::from(id), 4),
            (0x1400, 2) => {
                // One of them waits for the SYNC, where there is one.
                self.synchronous = id == 3 && sync_at > 0 && at < sync_at + SYNC_HEARD_NS;
                (if self.synchronous { 1 } else { 255 }, 1)
            }
            (0x1400, 3) => (if id == 1 { 100 } else { 0 }, 2),
            (0x1400, 5) => (if id == 2 { 400 } else { 0 }, 2),
            (0x1600, 0) => (BITS.len() as u64, 1),
            (0x1600, 1..=3) => (u64::from(OUT_PDO) << 16 | u64::from(object.1) << 8 | u64::from(BITS[sub - 1]), 4),
            (OUT_PDO, 1..=3) => {
                let (from, bytes) = span(sub - 1);
                let mut value = [0; 8];
                value[..bytes].copy_from_slice(&self.held[from..from + bytes]);
                let bits = u64::from_le_bytes(value);
                // The first is one with a sign.
                (if sub == 1 { bits as i16 as i64 as u64 } else { bits }, bytes)
            }
            _ => return None,
        })
    }

    /// An object was written by SDO.
    pub fn put(&mut self, sub: u8, payload: &[u8]) {
        let (from, bytes) = span(usize::from(sub) - 1);
        if payload.len() == bytes {
            self.held[from..from + bytes].copy_from_slice(payload);
            self.changes[usize::from(sub) - 1] += 1;
        }
    }

    fn seen(&self, node: u8, at: u64, what: Pdo, frame: [u8; 8], is_taken: bool) -> Seen {
        let place = Place::Pdo { node, before: self.held, changes: self.changes, what };
        let told = if is_taken { Told::Done } else { Told::Nothing };
        Seen { at, link: LinkId(0), place, payload: frame.to_vec(), told }
    }

    /// A frame of the RPDO. `takes`: the node is there, and operational.
    pub fn sent(&mut self, node: u8, frame: [u8; 8], takes: bool, now: u64, written: &mut Vec<Seen>) {
        written.push(self.seen(node, now, Pdo::Sent, frame, takes));
        match takes {
            true if self.synchronous => self.waits = Some((frame, now)),
            true => self.take(node, frame, now, written),
            false => {}
        }
    }

    /// With a SYNC that it misses, or that comes after a long time without one, it drops what waits: that such a frame
    /// undoes what was written otherwise meanwhile, no master can prevent.
    pub fn sync(&mut self, node: u8, takes: bool, now: u64, written: &mut Vec<Seen>) {
        if let Some((frame, came)) = self.waits.take()
            && takes
            && now < came + SYNC_HEARD_NS
        {
            self.take(node, frame, now, written);
        }
    }

    fn take(&mut self, node: u8, frame: [u8; 8], now: u64, written: &mut Vec<Seen>) {
        written.push(self.seen(node, now, Pdo::Taken, frame, true));
        self.held = frame;
    }
}

/// Where an object lies in the frame: from which byte, and how many.
pub fn span(place: usize) -> (usize, usize) {
    let before: u8 = BITS[..place].iter().sum();
    (usize::from(before) / 8, usize::from(BITS[place]) / 8)
}
