//! A simulated node's SDO server: what it is asked for, what is written to it, and what its dictionary has.

use super::super::device::Told;
use super::super::given::{PeerTold, What};
use super::super::writes::{Place, Seen};
use super::{ASKED_BEFORE_NS, FIRST_OBJECT, IN_PDO, MS, Mood, Network, OUT_PDO, Segments, Socket, given};
use crate::tag::{LinkId, Status};

impl Socket {
    /// A request to a node's SDO server.
    pub(super) fn asked(&mut self, id: u8, data: [u8; 8], now: u64, told: &mut PeerTold) {
        let shared = self.network.clone();
        let mut network = shared.borrow_mut();
        let mood = network.moods.at(now);
        if !network.speaks(mood, id, now) {
            return;
        }
        let at = match mood {
            Mood::Late => now + network.rng.u64(5 * MS..500 * MS),
            _ => {
                let Network { pace, rng, .. } = &mut *network;
                match pace {
                    Some(pace) => pace.answer(now, rng),
                    None => now + rng.u64(MS / 5..2 * MS),
                }
            }
        };
        let at = at.max(network.node(id).answered_at + 1);
        network.node(id).answered_at = at;
        let [command, low, high, sub, ..] = data;
        let index = u16::from_le_bytes([low, high]);
        let own = index >= FIRST_OBJECT;
        let answer = |first: u8, value: &[u8]| {
            let mut bytes = vec![first, low, high, sub, 0, 0, 0, 0];
            bytes[4..4 + value.len()].copy_from_slice(value);
            bytes
        };
        let abort = |code: u32| answer(0x80, &code.to_le_bytes());
        let from = now.saturating_sub(ASKED_BEFORE_NS);
        let trouble = |status| vec![given(id, (index, sub), from, at, (0, status))];
        if own && command >> 5 == 2 {
            network.node(id).asked = (index, sub);
        }
        let refuses = mood == Mood::Refusing && own && network.rng.u8(..3) == 0;
        // What its RPDO carries is read when it is set up: an answer against the protocol is a node that cannot be.
        let strange = mood == Mood::Strange && own && index != OUT_PDO && network.rng.u8(..3) == 0;
        let (bytes, values) = match command >> 5 {
            // Initiate upload.
            2 if refuses => (abort(0x0800_0000), trouble(Status::BAD_DEVICE_FAILURE)),
            2 if strange => (answer(0xE3, &[1, 2, 3, 4]), trouble(Status::BAD_DECODING_ERROR)),
            2 => match holds(&mut network, id, (index, sub), from) {
                None => (abort(0x0602_0000), Vec::new()),
                Some((bits, value)) => {
                    let mut values =
                        if own { vec![given(id, (index, sub), from, at, (bits, Status::GOOD))] } else { Vec::new() };
                    if index == OUT_PDO {
                        values.iter_mut().for_each(|given| given.what = What::Held { bits });
                    }
                    match value.len() {
                        n @ 1..=4 => (answer(0x43 | ((4 - n) as u8) << 2, &value), values),
                        n => {
                            let given = given(id, (index, sub), from, at, (bits, Status::GOOD));
                            network.node(id).segments = Some(Segments { bytes: value, toggle: false, given });
                            (answer(0x41, &(n as u32).to_le_bytes()), Vec::new())
                        }
                    }
                }
            },
            // Upload segment.
            3 => {
                let toggle = command & 0x10 != 0;
                match network.node(id).segments.take().filter(|under_way| under_way.toggle == toggle) {
                    None => (vec![0x80, 0, 0, 0, 0, 0, 3, 5], Vec::new()),
                    Some(mut under_way) => {
                        let n = under_way.bytes.len().min(7);
                        let rest = under_way.bytes.split_off(n);
                        let is_last = rest.is_empty();
                        let head = u8::from(toggle) << 4 | ((7 - n) as u8) << 1 | u8::from(is_last);
                        let mut bytes = vec![0; 8];
                        bytes[0] = head;
                        bytes[1..=n].copy_from_slice(&under_way.bytes);
                        under_way.given.to = at;
                        let values = if is_last { vec![under_way.given.clone()] } else { Vec::new() };
                        if !is_last {
                            network.node(id).segments = Some(Segments { bytes: rest, toggle: !toggle, ..under_way });
                        }
                        (bytes, values)
                    }
                }
            }
            // Initiate download: nothing that is written needs segments.
            1 if command & 3 == 3 => {
                let n = 4 - usize::from(command >> 2 & 3);
                let payload = data[4..4 + n].to_vec();
                if own {
                    if index == OUT_PDO && !refuses {
                        network.node(id).outputs.put(sub, &payload);
                    }
                    let place = Place::Object { node: id, index, sub };
                    let what = if refuses { Told::Refused } else { Told::Done };
                    told.written.push(Seen { at: now, link: LinkId(0), place, payload, told: what });
                } else if (index, sub) == (0x1017, 0) {
                    let period = u64::from(u16::from_le_bytes([data[4], data[5]])) * MS;
                    let node = network.node(id);
                    (node.heartbeat_ns, node.beat_at) = (period, if period > 0 { at + period } else { u64::MAX });
                }
                (if refuses { abort(0x0800_0000) } else { answer(0x60, &[]) }, Vec::new())
            }
            // It was given up.
            4 => {
                network.node(id).segments = None;
                return;
            }
            _ => (abort(0x0504_0001), Vec::new()),
        };
        drop(network);
        let stray = mood == Mood::Late || command >> 5 == 3;
        self.put_stray(at, 0x580 + u32::from(id), bytes, values, stray);
    }
}

/// What a node's dictionary has: values, and what it says of itself.
fn holds(network: &mut Network, id: u8, object: (u16, u8), at: u64) -> Option<(u64, Vec<u8>)> {
    let number = |value: u64, bytes: usize| Some((value, value.to_le_bytes()[..bytes].to_vec()));
    let sync_at = network.sync_at;
    if let Some((value, bytes)) = network.node(id).outputs.holds(id, object, at, sync_at) {
        return number(value, bytes);
    }
    match object {
        (0x1000, 0) => number(0x191, 4),
        (0x1800, 0) => number(5, 1),
        (0x1800, 1) => number(0x180 + u64::from(id), 4),
        (0x1800, 2) => number(255, 1),
        (0x1800, 5) => number(network.pdo_ns.div_ceil(MS), 2),
        (0x1A00, 0) => number(4, 1),
        (0x1A00, sub @ 1..=4) => number(u64::from(IN_PDO) << 16 | u64::from(sub) << 8 | 16, 4),
        (index, _) if index >= FIRST_OBJECT => Some(network.value(id, object, at)),
        _ => None,
    }
}
