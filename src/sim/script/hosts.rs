//! Properties of a simulated host, and its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::super::{can, canopen, device, local, memory::mix};
use super::moods::{self, Mood, Moods, Phase};

/// A host that a case lists: what it is like, and the phases in which its devices misbehave. They are well else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub host: u32,
    /// What it holds and how it answers in detail.
    pub seed: u64,
    /// Never in trouble: its links must not miss anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub steady: bool,
    /// As a Modbus device, it refuses some addresses until then.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refuses_until_ns: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modbus: Vec<Phase<device::Mood>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<Phase<local::Mood>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<Phase<can::Mood>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canopen: Vec<Phase<canopen::Mood>>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// The hosts of a run: those that are listed, and all others by the run's seed.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    seed: u64,
    all_steady: bool,
    listed: Arc<BTreeMap<u32, Host>>,
}

impl Hosts {
    pub fn new(seed: u64, all_steady: bool, listed: &[Host]) -> Hosts {
        let listed = listed.iter().map(|host| (host.host, host.clone())).collect();
        Hosts { seed, all_steady, listed: Arc::new(listed) }
    }

    /// A number that belongs to a host and nothing else.
    pub fn of(&self, host: u32) -> u64 {
        self.listed.get(&host).map_or_else(|| mix(self.seed ^ mix(u64::from(host) + 0x10_0000)), |listed| listed.seed)
    }

    /// Whether the device there is never in trouble.
    pub fn is_steady(&self, host: u32) -> bool {
        self.all_steady
            || self.listed.get(&host).map_or_else(|| self.of(host).is_multiple_of(3), |listed| listed.steady)
    }

    /// Until when a Modbus device refuses some addresses.
    pub fn refuses_until(&self, host: u32, well_from: u64) -> u64 {
        if self.is_steady(host) {
            return 0;
        }
        if let Some(listed) = self.listed.get(&host) {
            return listed.refuses_until_ns;
        }
        let mut rng = Rng::with_seed(mix(self.of(host) ^ 0xef5e));
        // Some refuse for ever, some never; the others get another program in between.
        match rng.u8(..4) {
            0 | 1 => 0,
            2 => u64::MAX,
            _ => rng.u64(..well_from.max(1)),
        }
    }

    pub fn moods<M: Mood>(&self, host: u32, well_from: u64) -> Moods<M> {
        if self.is_steady(host) {
            return Moods::steady();
        }
        match self.listed.get(&host) {
            Some(listed) => Moods::new(moods::until(M::listed(listed).to_vec().into_iter(), well_from)),
            None => Moods::new(self.drawn(host, well_from)),
        }
    }

    fn drawn<M: Mood>(&self, host: u32, well_from: u64) -> impl Iterator<Item = Phase<M>> + use<M> {
        moods::drawn(Rng::with_seed(mix(self.of(host) ^ M::KIND)), well_from)
    }

    /// A host as a case lists it, with its phases up to `end`.
    pub fn list(&self, host: u32, kinds: &[DeviceKind], well_from: u64, end: u64) -> Host {
        let mut list = Host {
            host,
            seed: self.of(host),
            steady: self.is_steady(host),
            refuses_until_ns: self.refuses_until(host, well_from),
            ..Host::default()
        };
        for kind in kinds {
            match kind {
                DeviceKind::Modbus => self.list_phases::<device::Mood>(&mut list, well_from, end),
                DeviceKind::Local => self.list_phases::<local::Mood>(&mut list, well_from, end),
                DeviceKind::Can => self.list_phases::<can::Mood>(&mut list, well_from, end),
                DeviceKind::CanOpen => self.list_phases::<canopen::Mood>(&mut list, well_from, end),
            }
        }
        list
    }

    fn list_phases<M: Mood>(&self, list: &mut Host, well_from: u64, end: u64) {
        *M::list(list) = match self.listed.get(&list.host) {
            _ if list.steady => Vec::new(),
            Some(listed) => {
                let phases = moods::until(M::listed(listed).to_vec().into_iter(), well_from);
                phases.take_while(|phase| phase.from_ns < end).collect()
            }
            None => self.drawn(list.host, well_from).take_while(|phase| phase.from_ns < end).collect(),
        };
    }
}

/// What kind of device a link expects at a host; one host may be of several, as links change places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    Modbus,
    Local,
    Can,
    CanOpen,
}
