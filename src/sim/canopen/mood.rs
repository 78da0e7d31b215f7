//! Temporary faults of a network.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::super::script::{self, Host, Phase};
use super::NODES;

/// What is the matter with a network for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Well,
    /// One node, or all, say nothing.
    Silent(u8),
    AllSilent,
    /// Nodes start anew.
    Restarting,
    /// Answers come late.
    Late,
    /// Nodes refuse what they are asked, or answer what fits no request.
    Refusing,
    Strange,
    /// The controller has left the bus; the interface goes down again and again, or is down.
    Off,
    Falling,
    Down,
    /// The kernel drops frames, or takes none.
    Losing,
    Full,
}

impl script::Mood for Mood {
    const WELL: Mood = Mood::Well;
    const KIND: u64 = 4;
    const TROUBLE_MAX_MS: u64 = 10_000;
    const WELL_MAX_MS: u64 = 8_000;

    fn any(rng: &mut Rng) -> Mood {
        let troubles = [
            Mood::Silent(rng.u8(1..=NODES)),
            Mood::Silent(rng.u8(1..=NODES)),
            Mood::AllSilent,
            Mood::Restarting,
            Mood::Late,
            Mood::Refusing,
            Mood::Strange,
            Mood::Off,
            Mood::Falling,
            Mood::Down,
            Mood::Losing,
            Mood::Full,
        ];
        troubles[rng.usize(..troubles.len())]
    }

    fn listed(host: &Host) -> &[Phase<Mood>] {
        &host.canopen
    }

    fn list(host: &mut Host) -> &mut Vec<Phase<Mood>> {
        &mut host.canopen
    }
}
