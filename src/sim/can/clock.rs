//! A CAN controller's own clock, and which time a sample may have by it. Nothing here is shared with the gateway's own
//! reckoning.

use std::collections::VecDeque;

use fastrand::Rng;

const MS: u64 = 1_000_000;
/// What the two quartzes drift apart at most, in parts of a million.
const DRIFT_PPM_MAX: i64 = 50;
/// A frame that waited less than others is remembered so long at least; how far the quartzes drift apart meanwhile.
const REMEMBERED_NS: u64 = 1_000 * MS;
const DRIFT_NS: u64 = 100_000;
/// Where nothing came for long, they have drifted further apart.
const EARLY_NS: u64 = 2 * MS;
/// So far apart are the times of frames at most that would have the same; some come between those that are values.
const APART_NS: u64 = 100;
/// Between the wire and the kernel.
const WAITS_NS: u64 = 200_000;
const WAITS_LONG_NS: u64 = 5 * MS;

/// The clock of a controller.
pub struct Controller {
    /// It has none where it is not asked for, or some frames none.
    stamps: bool,
    offset: u64,
    drift_ppm: i64,
    /// How often it was set.
    set: u32,
}

/// A frame's time by the controller, and by which setting of its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub hardware: u64,
    set: u32,
}

impl Controller {
    pub fn any(rng: &mut Rng) -> Controller {
        let (stamps, drift_ppm) = (rng.u8(..4) > 0, rng.i64(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX));
        Controller { stamps, offset: rng.u64(..1 << 56), drift_ppm, set: 0 }
    }

    /// Someone sets it: from then on it is far from what it was.
    pub fn set(&mut self, rng: &mut Rng) {
        self.offset = rng.u64(..1 << 56);
        self.set += 1;
    }

    /// A frame was on the wire then: when the kernel has it, and its stamp.
    pub fn stamp(&self, wire: u64, rng: &mut Rng) -> (u64, Option<Stamp>) {
        if !self.stamps {
            return (wire, None);
        }
        let waits = if rng.u8(..16) == 0 { WAITS_LONG_NS } else { WAITS_NS };
        let drift = wire as i64 / 1_000_000 * self.drift_ppm;
        let hardware = (self.offset + wire).saturating_add_signed(drift);
        let stamp = Stamp { hardware, set: self.set };
        (wire + rng.u64(5_000..waits), Some(stamp).filter(|_| rng.u8(..16) > 0))
    }
}

/// The frames of one socket that had stamps.
#[derive(Default)]
pub struct Times {
    set: u32,
    /// When the kernel had them, and how long they had waited for it.
    waited: VecDeque<(u64, u64)>,
    /// The latest time that the frame before may have: each has a later one than those before it.
    before: u64,
}

impl Times {
    /// From when to when the time of a sample may be of a frame that was on the wire at `wire` and with the kernel at
    /// `at`: not later than by what the least delayed of the last second waited.
    pub fn span(&mut self, wire: u64, at: u64, stamp: Option<Stamp>) -> (u64, u64) {
        let Some(stamp) = stamp else {
            self.before = at.max(self.before + APART_NS);
            return (at, self.before);
        };
        if self.set != stamp.set {
            self.set = stamp.set;
            self.waited.clear();
        }
        while self.waited.front().is_some_and(|(when, _)| when + REMEMBERED_NS < at) {
            self.waited.pop_front();
        }
        self.waited.push_back((at, at - wire));
        let least = self.waited.iter().map(|(_, waited)| *waited).min().unwrap_or(0);
        self.before = at.min(wire + least + DRIFT_NS).max(self.before + APART_NS);
        (wire.saturating_sub(EARLY_NS), self.before)
    }
}
