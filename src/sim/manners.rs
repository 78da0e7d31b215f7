//! Manners of Modbus devices that answer most of what they are asked, and something not.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::device::Asked;
use super::memory::mix;

/// Of so many addresses one is mute, or refused.
const MUTE_OF: u64 = 25;

/// How a device does not answer everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
