//! Phases in which a device misbehaves in one way; between them it is well.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::hosts::Host;

const MS: u64 = 1_000_000;
/// A phase, and the time between two, at least.
const SHORTEST_MS: u64 = 200;

/// What can be the matter with a kind of device.
pub trait Mood: Copy + PartialEq + 'static {
    /// Nothing is.
    const WELL: Self;
    /// Tells the generators of one host's kinds of devices from each other.
    const KIND: u64;
    /// A phase of trouble lasts so long at most, and the time between two.
    const TROUBLE_MAX_MS: u64;
    const WELL_MAX_MS: u64;

    /// Any trouble.
    fn any(rng: &mut Rng) -> Self;

    /// The phases of such a device that a case lists.
    fn listed(host: &Host) -> &[Phase<Self>];

    /// For those of a run that becomes a case.
    fn list(host: &mut Host) -> &mut Vec<Phase<Self>>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase<M> {
    pub mood: M,
    pub from_ns: u64,
    pub until_ns: u64,
}

/// The phases of a host that is not listed, up to the end of the trouble.
pub fn drawn<M: Mood>(mut rng: Rng, well_from: u64) -> impl Iterator<Item = Phase<M>> {
    let mut at = 0;
    let phases = std::iter::from_fn(move || {
        let until = at + rng.u64(SHORTEST_MS..M::TROUBLE_MAX_MS) * MS + rng.u64(..MS);
        let phase = Phase { mood: M::any(&mut rng), from_ns: at, until_ns: until };
        at = until + rng.u64(SHORTEST_MS..M::WELL_MAX_MS) * MS + rng.u64(..MS);
        Some(phase)
    });
    self::until(phases, well_from)
}

/// Without what comes later than `end`.
pub fn until<M: Mood>(phases: impl Iterator<Item = Phase<M>>, end: u64) -> impl Iterator<Item = Phase<M>> {
    let phases = phases.take_while(move |phase| phase.from_ns < end);
    phases.map(move |phase| Phase { until_ns: phase.until_ns.min(end), ..phase })
}

/// How a device is, by its phases. Time goes on: it is asked for ever later times, or for some just before.
pub struct Moods<M> {
    /// The one that is, or comes next.
    phase: Option<Phase<M>>,
    rest: Box<dyn Iterator<Item = Phase<M>>>,
}

impl<M: Mood> Moods<M> {
    pub fn new(mut phases: impl Iterator<Item = Phase<M>> + 'static) -> Moods<M> {
        Moods { phase: phases.next(), rest: Box::new(phases) }
    }

    /// Never in trouble.
    pub fn steady() -> Moods<M> {
        Moods::new(std::iter::empty())
    }

    pub fn at(&mut self, now: u64) -> M {
        while self.phase.is_some_and(|phase| phase.until_ns <= now) {
            self.phase = self.rest.next();
        }
        self.known(now).map_or(M::WELL, |phase| phase.mood)
    }

    /// The phase that `now` lies in, as far as the device was asked.
    pub fn known(&self, now: u64) -> Option<Phase<M>> {
        self.phase.filter(|phase| (phase.from_ns..phase.until_ns).contains(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;

    #[test]
    fn phases_follow_each_other_and_end_with_the_trouble() {
        let end = 300_000 * MS;
        let phases: Vec<Phase<device::Mood>> = drawn(Rng::with_seed(7), end).collect();
        assert!(phases.len() > 5);
        assert!(phases.windows(2).all(|two| two[0].until_ns < two[1].from_ns));
        assert!(phases.iter().all(|phase| phase.from_ns < phase.until_ns && phase.until_ns <= end));
        let mut moods = Moods::new(phases.clone().into_iter());
        for phase in &phases {
            assert!(moods.at(phase.from_ns) == phase.mood && moods.at(phase.until_ns - 1) == phase.mood);
            assert!(moods.at(phase.until_ns) == device::Mood::WELL);
        }
    }
}
