//! Stale values: their messages are missing, the controller is bus-off, or the interface is gone.

use super::CanLink;
use super::receive::hold;
use crate::lane::Frame;
use crate::limits::{CAN_VALUES_PER_STEP, SILENT_AFTER_TIMEOUTS};
use crate::protocol::can::link::age::{Age, Case};
use crate::protocol::can::plan::model::CanPlan;
use crate::rt::{StepContext, World};
use crate::tag::{CanFault, Cause, Nanos, Status};

/// A look at every case takes place so many times within the shortest silence that counts.
const LOOKS_PER_SILENCE: u64 = 8;
const LOOK_PAUSE_MIN: Nanos = Nanos::from_millis(1);
const LOOK_PAUSE_MAX: Nanos = Nanos::from_millis(100);

/// The look at the cases, some a step.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    pub next: Nanos,
    at: u32,
    pause: Nanos,
    /// A release has come: the time runs.
    pub started: bool,
}

impl Watch {
    pub fn of(plan: &CanPlan) -> Watch {
        let shortest = plan.cases.iter().map(|case| case.silent_after).min().unwrap_or(Nanos::NEVER);
        let pause = match shortest {
            Nanos::NEVER => Nanos::NEVER,
            silence => Nanos(silence.0 / LOOKS_PER_SILENCE).clamp(LOOK_PAUSE_MIN, LOOK_PAUSE_MAX),
        };
        let next = if pause == Nanos::NEVER { Nanos::NEVER } else { Nanos::ZERO };
        Watch { next, at: 0, pause, started: false }
    }
}

/// A status for every tag of the link that has had nothing since.
#[derive(Debug, Clone, Copy)]
pub struct Sweep {
    pub status: Status,
    /// The case that is next.
    pub next: u32,
    pub since: Nanos,
}

impl CanLink {
    /// One step of a sweep.
    pub(super) fn sweep_some<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        let Some(Sweep { status, mut next, since }) = self.sweep else { return };
        let mut left = CAN_VALUES_PER_STEP;
        while left > 0 && (next as usize) < self.cases.len() {
            let at = next as usize;
            next += 1;
            let cause = if self.bus_off { Cause::Can(CanFault::BusOff) } else { Cause::NotConnected };
            let given = self.hold_case(at, (status, cause), since, now, floor);
            left = left.saturating_sub(given.max(1));
        }
        self.sweep = if (next as usize) < self.cases.len() { Some(Sweep { status, next, since }) } else { None };
    }

    /// Gives a status to a case's tags unless they had a value since; says how many they are.
    fn hold_case<W: World>(
        &mut self,
        at: usize,
        (status, cause): (Status, Cause),
        since: Nanos,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) -> usize {
        let CanLink { plan, cases, latest, scans, .. } = self;
        if cases[at].seen > since {
            return 0;
        }
        let decodes = plan.cases[at].decodes.clone();
        for i in decodes.start as usize..decodes.end as usize {
            let decode = &plan.decodes[i];
            let frame = Frame { group: decode.group, cycle: scans[usize::from(decode.scan_at)].cycle, t: now.into() };
            hold(plan, decode, &mut latest[i], frame, (status, Some(cause)), floor);
        }
        decodes.len()
    }

    /// Looks for messages that come no more: one step.
    pub(super) fn watch_some<W: World>(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        if now < self.watch.next {
            return;
        }
        let mut left = CAN_VALUES_PER_STEP;
        while left > 0 && (self.watch.at as usize) < self.cases.len() {
            let at = self.watch.at as usize;
            self.watch.at += 1;
            left -= 1;
            let silent_after = self.plan.cases[at].silent_after;
            let Case { seen, age } = self.cases[at];
            if silent_after == Nanos::NEVER || matches!(age, Age::Never | Age::Lost) {
                continue;
            }
            let silence = now.since(seen);
            let (grown, status) = if silence.0 > silent_after.0.saturating_mul(u64::from(SILENT_AFTER_TIMEOUTS)) {
                (Age::Lost, Status::BAD_NO_COMMUNICATION)
            } else if silence > silent_after {
                (Age::Old, Status::UNCERTAIN_LAST_USABLE)
            } else {
                continue;
            };
            if grown != age {
                self.cases[at].age = grown;
                left = left.saturating_sub(self.hold_case(
                    at,
                    (status, Cause::Can(CanFault::Silent)),
                    Nanos::NEVER,
                    now,
                    floor,
                ));
            }
        }
        if self.watch.at as usize >= self.cases.len() {
            self.watch.at = 0;
            self.watch.next = now + self.watch.pause;
        }
    }
}
