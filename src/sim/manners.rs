//! Manners of Modbus devices that answer most of what they are asked, and something not.

use std::collections::BTreeSet;

use fastrand::Rng;

use super::device::Asked;
use super::memory::mix;

const SECOND: u64 = 1_000_000_000;
/// Of so many addresses one is mute, or refused.
const MUTE_OF: u64 = 25;
/// So often a mute address may be asked in vain, until it is known; each comes twice where two groups read it.
const IN_VAIN_EACH: u64 = 16;
/// From then on, what is asked in vain may take one of so many parts of the wire.
const IN_VAIN_OF: u64 = 20;

/// How a device does not answer everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Says nothing about some addresses of this unit.
    Mute(u8),
    /// Refuses blocks with some addresses in them, or above a length, by this exception.
    Refusing { code: u8, longest: u16 },
    /// Now and then it wants to be asked again.
    Busy,
}

/// What a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    Right,
    Exception(u8),
    Nothing,
}

impl Manner {
    pub fn any(units: &[u8], rng: &mut Rng) -> Manner {
        match rng.u8(..3) {
            0 => Manner::Mute(units[rng.usize(..units.len())]),
            1 => Manner::Refusing { code: rng.u8(1..=4), longest: if rng.bool() { rng.u16(2..40) } else { u16::MAX } },
            _ => Manner::Busy,
        }
    }

    /// `of_host` tells one device from another, `since` one time from another.
    pub fn reply(self, of_host: u64, since: u64, asked: &Asked, rng: &mut Rng) -> Reply {
        let area = asked.area;
        let is_hit = |register: &u16| {
            let place = u64::from(area.unit) << 24 | u64::from(area.table.read_function()) << 16 | u64::from(*register);
            mix(of_host ^ since ^ mix(!place)).is_multiple_of(MUTE_OF)
        };
        let hit = (area.first..=area.first + (area.count - 1)).find(is_hit);
        match self {
            Manner::Mute(unit) if unit == area.unit && hit.is_some() => Reply::Nothing,
            Manner::Refusing { code, longest } if hit.is_some() || area.count > longest => Reply::Exception(code),
            Manner::Busy if rng.u8(..3) == 0 => Reply::Exception(if rng.bool() { 5 } else { 6 }),
            _ => Reply::Right,
        }
    }
}

/// What a device with mute addresses was asked in vain, since it is so.
#[derive(Debug, Clone, Default)]
pub struct InVain {
    since: u64,
    times: u64,
    timeout: u64,
    /// Table and address of what was asked, as it became less and less.
    asked: BTreeSet<(u8, u16)>,
}

impl InVain {
    pub fn add(&mut self, since: u64, asked: &Asked) {
        if self.since != since {
            *self = InVain { since, ..InVain::default() };
        }
        self.times += 1;
        self.timeout = asked.timeout;
        let area = asked.area;
        self.asked.extend((area.first..=area.first + (area.count - 1)).map(|at| (area.table.read_function(), at)));
    }

    /// What is wrong: a mute address may not eat the wire of the others.
    pub fn is_too_much(&self, since: u64, now: u64) -> Option<String> {
        let known = self.asked.len() as u64 / MUTE_OF + 1;
        let most = IN_VAIN_EACH * known + (now.saturating_sub(since) + SECOND) / (IN_VAIN_OF * self.timeout.max(1));
        (self.since == since && self.times > most).then(|| {
            format!("{} requests that are never answered since {since}, {most} are enough to know them", self.times)
        })
    }
}
