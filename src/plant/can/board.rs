//! What the bus's threads and their owner share: faults that hold now, and counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::fault::{BusFault, PUMP, ScheduledBusFault};
use crate::tag::Nanos;

#[derive(Debug)]
pub(super) struct Board {
    start: Nanos,
    scheduled: Vec<ScheduledBusFault>,
    /// Set by hand, by node; they go before what is scheduled.
    manual: Mutex<[Option<BusFault>; PUMP + 1]>,
    pub stop: AtomicBool,
    pub sent: AtomicU64,
    pub heard: AtomicU64,
    pub spoiled: AtomicU64,
    pub unsent: AtomicU64,
}

impl Board {
    pub(super) fn new(start: Nanos, scheduled: Vec<ScheduledBusFault>) -> Board {
        Board {
            start,
            scheduled,
            manual: Mutex::default(),
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            spoiled: AtomicU64::new(0),
            unsent: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, node: usize, fault: Option<BusFault>) {
        if let Ok(mut manual) = self.manual.lock()
            && let Some(own) = manual.get_mut(node)
        {
            *own = fault;
        }
    }

    pub(super) fn fault(&self, node: usize, now: Nanos) -> Option<BusFault> {
        let by_hand = self.manual.lock().ok().and_then(|manual| manual.get(node).copied().flatten());
        by_hand.or_else(|| {
            let elapsed = now.since(self.start);
            self.scheduled.iter().rev().find_map(|fault| fault.holds(node, elapsed))
        })
    }
}
