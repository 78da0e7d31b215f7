//! A PDO that a node receives: what it carries, what of that is known, when it may be sent.
//!
//! A frame sets all objects of its PDO at once. So that none is set by surprise, the others go along as they were last
//! written, or else last read; while what one of them holds is not known, the PDO is not sent.

use super::message::Message;
use super::pdo::{Mapping, Place};
use crate::protocol::canopen::plan::RpdoPlan;
use crate::tag::{Nanos, Object};

/// Objects below this are dummies: bits that the node leaves out (CiA 301, section 7.4.5).
const FIRST_OBJECT: u16 = 0x20;

pub(super) struct Rpdo {
    pub number: u16,
    pub map: Mapping,
    /// Between two of its frames at least, where they go by event (sub-index 3).
    inhibit: Nanos,
    /// The bits as they were last written or read.
    image: u64,
    /// Which of them a frame carries, dummies left out.
    carried: u64,
    /// Which of them are known.
    known: u64,
    /// Which of them were written: what is read does not change them.
    written: u64,
    /// Not sent before this.
    free_at: Nanos,
    /// When the SYNC is due with which the node takes the last frame; what is written to one of its objects before
    /// that, it would undo.
    taken_at: Nanos,
    /// When it is sent again, since the node watches for its absence; never, where it does not or nothing was sent.
    repeat_at: Nanos,
}

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    /// Of the node's RPDOs.
    pub rpdo: u8,
    pub place: Place,
}

/// A frame that is to be sent, and what it will have written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub node: usize,
    pub rpdo: usize,
    pub message: Message,
    image: u64,
    written: u64,
}

impl Rpdo {
    pub fn new(plan: &RpdoPlan) -> Rpdo {
        let mut rpdo = Rpdo {
            number: plan.number,
            map: Mapping::default(),
            inhibit: Nanos::ZERO,
            image: 0,
            carried: 0,
            known: 0,
            written: 0,
            free_at: Nanos::ZERO,
            taken_at: Nanos::ZERO,
            repeat_at: Nanos::NEVER,
        };
        if let Some(pdo) = plan.planned.as_ref().filter(|_| !plan.is_read) {
            rpdo.map.set(pdo);
            rpdo.set_inhibit(u64::from(pdo.inhibit_100us));
        }
        rpdo
    }

    /// The node starts anew: what it holds is not known.
    pub fn forget(&mut self) {
        (self.image, self.known, self.written) = (0, 0, 0);
        (self.free_at, self.taken_at, self.repeat_at) = (Nanos::ZERO, Nanos::ZERO, Nanos::NEVER);
    }

    /// Nothing is repeated to a node that is not there.
    pub fn stop(&mut self) {
        self.repeat_at = Nanos::NEVER;
    }

    /// The parameter that a part of reading it is about; `None`: there is no such part.
    pub fn parameter(&self, part: u8) -> Option<Object> {
        if part > 0 && !self.map.valid {
            return None;
        }
        let communication = 0x1400 + (self.number - 1);
        let (index, sub) = match part {
            0..=2 => (communication, part + 1),
            3 => (communication, 5),
            _ if part - 4 > self.map.count => return None,
            _ => (communication + 0x200, part - 4),
        };
        Some(Object { index, sub })
    }

    /// What the node has of it. `None`: it has no such parameter.
    pub fn learn(&mut self, part: u8, value: Option<u64>) {
        match (part, value) {
            (0, Some(cob_id)) => {
                self.map = Mapping::default();
                self.map.set_cob_id(cob_id);
            }
            (0, None) => self.map.valid = false,
            (1, kind) => self.map.kind = kind.map_or(255, |kind| kind.min(255) as u8),
            (2, inhibit) => self.set_inhibit(inhibit.unwrap_or(0)),
            (3, timer) => self.map.event_timer_ms = timer.map_or(0, |timer| timer.min(u64::from(u16::MAX)) as u16),
            (4, count) => self.map.begin(count.unwrap_or(0)),
            (_, Some(entry)) => self.map.add(entry),
            (_, None) => self.map.valid = false,
        }
    }

    fn set_inhibit(&mut self, units: u64) {
        self.inhibit = Nanos::from_micros(units.min(u64::from(u16::MAX)) * 100);
    }

    /// All is known of it that the node tells. `usable`: its identifier may be sent.
    pub fn settle(&mut self, usable: bool) {
        self.map.valid &= usable;
        self.carried = self.objects().fold(0, |carried, (_, place)| carried | place.in_frame());
    }

    /// The objects that it carries, dummies left out.
    fn objects(&self) -> impl Iterator<Item = (Object, Place)> + '_ {
        let all = if self.map.valid { self.map.objects() } else { &[] };
        all.iter().filter(|(object, place)| object.index >= FIRST_OBJECT && place.bits > 0).copied()
    }

    /// The object that a part of reading its image is about.
    pub fn object(&self, part: u8) -> Option<(Object, Place)> {
        self.objects().nth(usize::from(part))
    }

    pub fn place_of(&self, object: Object) -> Option<Place> {
        self.objects().find(|(mapped, _)| *mapped == object).map(|(_, place)| place)
    }

    /// An object was read; what was written to it stays.
    pub fn follow(&mut self, place: Place, raw: u64) {
        let mask = place.in_frame();
        let free = mask & !self.written;
        self.image = self.image & !free | place.put(raw) & free;
        self.known |= mask;
    }

    /// An object was written by SDO. `None`: it may have been.
    pub fn overwritten(&mut self, place: Place, raw: Option<u64>) {
        let mask = place.in_frame();
        match raw {
            Some(raw) => {
                self.image = self.image & !mask | place.put(raw);
                (self.known, self.written) = (self.known | mask, self.written | mask);
            }
            None => (self.known, self.written) = (self.known & !mask, self.written & !mask),
        }
    }

    /// Whether all that a frame would carry is known, with `more` bits.
    pub fn is_complete(&self, more: u64) -> bool {
        self.carried & !(self.known | more) == 0
    }

    pub fn free_at(&self) -> Nanos {
        self.free_at
    }

    pub fn taken_at(&self) -> Nanos {
        self.taken_at
    }

    pub fn repeat_at(&self) -> Nanos {
        self.repeat_at
    }

    /// The next frame, without anything written to it yet.
    pub fn begin(&self, node: usize, rpdo: usize) -> Outgoing {
        let message = Message::new(self.map.cob_id, &[]);
        Outgoing { node, rpdo, message, image: self.image, written: 0 }
    }

    /// The frame is complete.
    pub fn finish(&self, frame: Outgoing) -> Outgoing {
        let data = frame.image.to_le_bytes();
        let message = Message::new(self.map.cob_id, data.get(..self.map.bytes()).unwrap_or(&data));
        Outgoing { message, ..frame }
    }

    /// The interface has the frame, and the node takes it at `taken_at`. A synchronous one has no inhibit time (CiA 301,
    /// section 7.5.2.35).
    pub fn sent(&mut self, frame: &Outgoing, now: Nanos, taken_at: Nanos) {
        self.taken_at = taken_at;
        self.image = frame.image;
        (self.known, self.written) = (self.known | frame.written, self.written | frame.written);
        self.free_at = if self.is_synchronous() { now } else { now + self.inhibit };
        if self.map.event_timer_ms > 0 {
            let half = Nanos(Nanos::from_millis(u64::from(self.map.event_timer_ms)).0 / 2);
            self.repeat_at = now + half;
        }
    }

    /// The node takes its values with the next SYNC.
    pub fn is_synchronous(&self) -> bool {
        self.map.kind <= 240
    }
}

impl Outgoing {
    /// The bits that are written with it.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Puts a value in its place, unless another write of the same frame has done so.
    pub fn add(&mut self, place: Place, raw: u64) -> bool {
        let mask = place.in_frame();
        if self.written & mask != 0 {
            return false;
        }
        self.image = self.image & !mask | place.put(raw);
        self.written |= mask;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RPDO of 16, 8 and 8 bits, the second a dummy.
    fn rpdo() -> Rpdo {
        let mut rpdo = Rpdo::new(&RpdoPlan { number: 1, planned: None, is_read: true });
        for (part, value) in [0x205, 255, 50, 0, 3, 0x6040_0010, 0x0005_0008, 0x6060_0008].into_iter().enumerate() {
            rpdo.learn(part as u8, Some(value));
        }
        rpdo.settle(true);
        rpdo
    }

    const CONTROL: Object = Object { index: 0x6040, sub: 0 };
    const MODE: Object = Object { index: 0x6060, sub: 0 };

    fn frame(rpdo: &Rpdo, place: Place, raw: u64) -> Outgoing {
        let mut frame = rpdo.begin(0, 0);
        assert!(frame.add(place, raw));
        rpdo.finish(frame)
    }

    #[test]
    fn its_parameters_are_asked_for_one_by_one() {
        let rpdo = rpdo();
        let asked: Vec<(u16, u8)> = (0..9).filter_map(|part| rpdo.parameter(part)).map(|o| (o.index, o.sub)).collect();
        let communication = [1, 2, 3, 5].map(|sub| (0x1400, sub));
        assert_eq!(asked, [&communication[..], &[0, 1, 2, 3].map(|sub| (0x1600, sub))].concat());
        let objects: Vec<Object> = (0..3).filter_map(|part| rpdo.object(part)).map(|(object, _)| object).collect();
        assert_eq!(objects, [CONTROL, MODE], "a dummy is not asked for");
    }

    #[test]
    fn the_others_go_along_as_they_were_read_and_then_as_they_were_written() {
        let mut rpdo = rpdo();
        let (control, mode) = (rpdo.place_of(CONTROL).unwrap(), rpdo.place_of(MODE).unwrap());
        assert!(!rpdo.is_complete(control.in_frame()), "the mode is not known");
        rpdo.follow(mode, 3);
        assert!(rpdo.is_complete(control.in_frame()));
        let first = frame(&rpdo, control, 0x010F);
        assert_eq!(first.message, Message::new(0x205, &[0x0F, 1, 0, 3]));
        rpdo.sent(&first, Nanos::from_millis(10), Nanos::from_millis(10));
        assert_eq!(rpdo.free_at(), Nanos::from_millis(15), "50 × 100 µs");
        // What is read of a written object does not count, it may be older; of another it does.
        rpdo.follow(control, 0x0006);
        rpdo.follow(mode, 8);
        assert_eq!(frame(&rpdo, mode, 1).message.bytes(), [0x0F, 1, 0, 1]);
        assert_eq!(rpdo.finish(rpdo.begin(0, 0)).message.bytes(), [0x0F, 1, 0, 8]);
        rpdo.overwritten(mode, Some(6));
        rpdo.follow(mode, 8);
        assert_eq!(rpdo.finish(rpdo.begin(0, 0)).message.bytes(), [0x0F, 1, 0, 6]);
        rpdo.overwritten(mode, None);
        assert!(!rpdo.is_complete(0), "nobody knows whether the SDO was taken");
        rpdo.follow(mode, 8);
        assert!(rpdo.is_complete(0));
        rpdo.forget();
        assert!(!rpdo.is_complete(control.in_frame()));
    }

    #[test]
    fn two_writes_to_the_same_bits_take_two_frames() {
        let rpdo = rpdo();
        let mut frame = rpdo.begin(0, 0);
        let bit = |first_bit| Place { first_bit, bits: 1 };
        assert!(frame.add(bit(0), 1) && frame.add(bit(3), 1) && !frame.add(bit(3), 0));
        assert_eq!(rpdo.finish(frame).message.bytes(), [9, 0, 0, 0]);
    }
}
