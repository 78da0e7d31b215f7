//! Temporary faults of a bus.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::super::script::{self, Host, Phase};
use super::senders::SENDERS;

/// What is the matter with a bus for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    Well,
    /// One of the others, or all, send no more.
    Silent(usize),
    AllSilent,
    /// The controller has left the bus.
    Off,
    /// The interface goes down again and again, or is down.
    Falling,
    Down,
    /// Frames are too short, remote, malformed, or tell of errors.
    Strange,
    /// The kernel drops frames.
    Losing,
    /// The kernel takes no frame.
    Full,
    /// Somebody sets the controller's clock, again and again.
    Setting,
    /// Messages in packets go wrong, and parameters say that they have no value.
    Unready,
}

impl script::Mood for Mood {
    const WELL: Mood = Mood::Well;
    const KIND: u64 = 3;
    const TROUBLE_MAX_MS: u64 = 8_000;
    const WELL_MAX_MS: u64 = 12_000;

    fn any(rng: &mut Rng) -> Mood {
        let one = Mood::Silent(rng.usize(..SENDERS));
        let troubles = [
            one,
            one,
            Mood::AllSilent,
            Mood::Off,
            Mood::Falling,
            Mood::Down,
            Mood::Strange,
            Mood::Losing,
            Mood::Full,
            Mood::Setting,
            Mood::Unready,
        ];
        troubles[rng.usize(..troubles.len())]
    }

    fn listed(host: &Host) -> &[Phase<Mood>] {
        &host.can
    }

    fn list(host: &mut Host) -> &mut Vec<Phase<Mood>> {
        &mut host.can
    }
}
