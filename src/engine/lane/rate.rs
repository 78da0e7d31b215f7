//! How many samples by event a lane takes. Of a group by event each tag has a highest rate; the group may spend what its tags
//! have together, also in bursts of as much as the ring is sized for. What comes faster is dropped and counted.

use crate::limits::RING_SECONDS;
use crate::plan::Plan;
use crate::tag::{LaneId, NANOS_PER_SEC, Nanos};

/// So much of its rate a group may be ahead of the time.
const BURST: Nanos = Nanos(RING_SECONDS * NANOS_PER_SEC);

/// The rates of a lane's groups by event. Owned by the lane's thread.
#[derive(Default)]
pub struct EventRates {
    now: Nanos,
    /// By group id; empty where no group of the lane is by event.
    groups: Box<[Option<Group>]>,
}

#[derive(Clone, Copy)]
struct Group {
    /// Between two samples at the group's rate.
    spacing: Nanos,
    /// When all samples so far would have come at that rate.
    spent: Nanos,
}

impl EventRates {
    pub fn new(lane: LaneId, plan: &Plan) -> EventRates {
        let mut rates = vec![0u64; plan.groups.end()];
        for tag in plan.tags.values().filter(|tag| plan.links[tag.link].lane == lane) {
            let rate = plan.groups[tag.group].pace.rate_max_hz().unwrap_or(0);
            rates[usize::from(tag.group.0)] += u64::from(rate);
        }
        if rates.iter().all(|rate| *rate == 0) {
            return EventRates::default();
        }
        let group = |rate: u64| Group { spacing: Nanos(NANOS_PER_SEC.div_ceil(rate)), spent: Nanos::ZERO };
        let groups = rates.into_iter().map(|rate| (rate > 0).then(|| group(rate))).collect();
        EventRates { now: Nanos::ZERO, groups }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// So late it is.
    pub fn at(&mut self, now: Nanos) {
        self.now = self.now.max(now);
    }

    /// Goes on where `old` stands; ids are those of groups that stay.
    pub fn take_over(&mut self, old: &EventRates) {
        self.now = old.now;
        for (group, old) in self.groups.iter_mut().zip(&old.groups) {
            if let (Some(group), Some(old)) = (group, old) {
                group.spent = old.spent;
            }
        }
    }

    /// Whether one more of this group may come; that of a polled one always may.
    #[inline]
    pub fn takes(&mut self, group: u16) -> bool {
        let Some(Some(group)) = self.groups.get_mut(usize::from(group)) else { return true };
        let spent = group.spent.max(self.now);
        if spent + group.spacing > self.now + BURST {
            return false;
        }
        group.spent = spent + group.spacing;
        true
    }
}
