//! A node's way from nothing to values: who it is, what is written to it, what its PDOs carry, start.

use super::node::{Job, NONE, Phase, Sweep};
use super::rpdo::Spot;
use super::sdo::Outcome;
use super::{CanOpenLink, ItemState, Owner, values};
use crate::limits::{CANOPEN_ITEMS_PER_STEP, PDO_FIRST, PDO_LATE_PERIODS, PROBE_PAUSE_MIN, SILENT_AFTER_TIMEOUTS};
use crate::protocol::canopen::model::CanOpenSource;
use crate::protocol::canopen::plan::{BootStep, Way};
use crate::rt::{NodeEvent, Report, StepContext, World};
use crate::tag::{Nanos, NodeFault, ObjectAt, Status};

impl CanOpenLink {
    pub(super) fn tell<W: World>(&self, at: usize, event: NodeEvent, floor: &mut StepContext<W>) {
        floor.report(Report::Node { link: self.id, node: self.nodes[at].id, event });
    }

    /// Sets a node up from the beginning.
    pub(super) fn boot<W: World>(&mut self, at: usize, floor: &mut StepContext<W>) {
        let node = &mut self.nodes[at];
        node.client.reset();
        node.job = Job::None;
        node.heard = true;
        node.begin_boot();
        self.tell_state(floor);
    }

    /// Asks or writes what comes next; without anything left, its items find their places.
    pub(super) fn next_of_boot(&mut self, at: usize, now: Nanos) {
        let (node, plan) = (&mut self.nodes[at], &self.plan.nodes[at]);
        while let Phase::Boot { step, part, timeouts } = node.phase {
            if usize::from(step) >= plan.steps.len() {
                self.begin_binding(at);
                return;
            }
            let Some((object, written)) = node.boot_object(plan, step, part) else {
                node.phase = Phase::Boot { step: step + 1, part: 0, timeouts };
                continue;
            };
            let timeout = self.plan.config.timeout;
            match written {
                Some(value) => {
                    node.client.download(object, value, false, now, timeout);
                }
                None => node.client.upload(object, false, now, timeout),
            }
            (node.job, node.job_sent) = (Job::Boot, now);
            return;
        }
    }

    pub(super) fn boot_answered<W: World>(
        &mut self,
        at: usize,
        outcome: Outcome,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let (node, plan) = (&mut self.nodes[at], &self.plan.nodes[at]);
        let Phase::Boot { step, part, timeouts } = node.phase else { return };
        let Some(planned) = plan.steps.get(usize::from(step)) else { return };
        let object = node.client.object();
        let refused = |code: crate::tag::AbortCode| Some(NodeEvent::Refused { object, code: code.0 });
        let event = match (outcome, planned) {
            (Outcome::TimedOut, _) => {
                node.phase = Phase::Boot { step, part, timeouts: timeouts + 1 };
                if timeouts + 1 >= SILENT_AFTER_TIMEOUTS {
                    self.lost(at, now, floor);
                }
                return;
            }
            (Outcome::Broken(code), _) => refused(code),
            (Outcome::Aborted(code), BootStep::Check { .. } | BootStep::Write { .. }) => refused(code),
            (Outcome::Done, BootStep::Check { expected, .. }) => {
                let found = values::number(node.client.value()).unwrap_or_default() as u32;
                (found != *expected).then_some(NodeEvent::OtherDevice { object, found })
            }
            (Outcome::Done, BootStep::Write { .. }) => None,
            (Outcome::Done, BootStep::ReadTpdo(tpdo)) => {
                let value = values::number(node.client.value());
                node.learn(*tpdo, part, value);
                None
            }
            (Outcome::Aborted(_), BootStep::ReadTpdo(tpdo)) => {
                node.learn(*tpdo, part, None);
                None
            }
            (Outcome::Done | Outcome::Aborted(_), BootStep::ReadRpdo(_) | BootStep::ReadImage(_)) => {
                self.rpdo_answered(at, step, part, outcome == Outcome::Done, floor);
                None
            }
        };
        match event {
            None => self.nodes[at].phase = Phase::Boot { step, part: part.saturating_add(1), timeouts: 0 },
            Some(event) => {
                let node = &mut self.nodes[at];
                node.refuse(now);
                let fault = match event {
                    NodeEvent::Refused { code, .. } => NodeFault::Refused(crate::tag::AbortCode(code)),
                    _ => NodeFault::OtherDevice,
                };
                node.refusal = Some((fault, ObjectAt { index: object.index, sub: object.sub }));
                node.sweep = Some(Sweep::bad(Status::BAD_CONFIGURATION_ERROR, fault));
                self.tell(at, event, floor);
            }
        }
    }

    /// Its PDOs are known, from itself or from its data sheet alone; nothing is tied to them yet.
    fn begin_binding(&mut self, at: usize) {
        let verified = self.plan.config.nodes.get(at).is_none_or(|node| node.verify);
        let (node, plan) = (&mut self.nodes[at], &self.plan.nodes[at]);
        for (number, (tpdo, planned)) in node.tpdos.iter_mut().zip(&plan.tpdos).enumerate() {
            let own = Owner::Tpdo(at as u8, number as u8);
            self.owners.iter_mut().filter(|owner| **owner == own).for_each(|owner| *owner = Owner::Nobody);
            tpdo.head = NONE;
            if let Some(pdo) = planned.planned.as_ref().filter(|_| !verified) {
                tpdo.map.set(pdo);
            }
            // The kernel lets through what was planned, and nothing else of it.
            let expected = planned.planned.as_ref().map(|pdo| pdo.cob_id);
            let id = usize::from(tpdo.map.cob_id);
            let free = self.owners.get(id).is_some_and(|owner| *owner == Owner::Nobody);
            let heard =
                expected.map_or((0x181..0x580).contains(&tpdo.map.cob_id), |planned| planned == tpdo.map.cob_id);
            if tpdo.map.valid && free && heard {
                self.owners[id] = own;
            } else {
                tpdo.map.valid = false;
            }
            tpdo.period = match (tpdo.map.syncs(), self.plan.config.sync) {
                (Some(syncs), Some(sync)) => Nanos(sync.0 * u64::from(syncs)),
                _ => Nanos::from_millis(u64::from(tpdo.map.event_timer_ms)),
            };
        }
        node.phase = Phase::Binding { next: 0 };
        self.check_rpdos(at);
    }

    /// Gives some of its items their places in its PDOs; after the last, it runs.
    pub(super) fn bind_some<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let Phase::Binding { next } = self.nodes[at].phase else { return };
        let first = next as usize;
        for place in first..first + CANOPEN_ITEMS_PER_STEP {
            let plan = &self.plan.nodes[at];
            match plan.items.get(place).copied() {
                Some(item) => self.bind(at, item, now, floor),
                None if place - plan.items.len() < plan.pdo_writes.len() => {
                    self.bind_write(at, place - plan.items.len(), floor);
                }
                None => {
                    self.ready(at, now, floor);
                    return;
                }
            }
        }
        self.nodes[at].phase = Phase::Binding { next: next + CANOPEN_ITEMS_PER_STEP as u32 };
    }

    fn bind<W: World>(&mut self, at: usize, item: u32, now: Nanos, floor: &mut StepContext<W>) {
        let planned = &self.plan.items[item as usize];
        let state = &mut self.items[item as usize];
        (state.bound, state.fresh, state.wanted, state.refused_until) = (None, false, false, Nanos::ZERO);
        state.follower = None;
        let CanOpenSource::Object(object) = planned.source else { return };
        let rpdos = (0..).zip(&self.nodes[at].rpdos);
        state.follower = rpdos.into_iter().find_map(|(rpdo, own)| Some(Spot { rpdo, place: own.place_of(object)? }));
        if !matches!(planned.way, Way::Pdo | Way::AsMapped) {
            return;
        }
        // A boolean may have one bit or eight; a bit of a number, whatever the number has.
        let fits =
            |bits: u8| planned.bytes == 0 || u16::from(bits) == planned.bytes * 8 || planned.bytes == 1 && bits == 1;
        let tpdos = self.nodes[at].tpdos.iter_mut().enumerate();
        let found = tpdos.filter(|(_, tpdo)| tpdo.map.valid).find_map(|(number, tpdo)| {
            let place = tpdo.map.place_of(object).filter(|place| fits(place.bits))?;
            Some((number, tpdo, place))
        });
        match found {
            Some((number, tpdo, place)) => {
                (state.bound, state.wanted) = (Some((number as u8, place)), true);
                state.next = std::mem::replace(&mut tpdo.head, item);
            }
            None if planned.way == Way::Pdo => {
                state.refused_until = Nanos::NEVER;
                self.tell(at, NodeEvent::NotMapped { object }, floor);
                self.hold(item, Status::BAD_CONFIGURATION_ERROR, Some(NodeFault::NotMapped), now, floor);
            }
            None => {}
        }
    }

    fn ready<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let (node, plan) = (&mut self.nodes[at], &self.plan.nodes[at]);
        node.phase = Phase::Running;
        (node.pause, node.failed_boot, node.starting) = (PROBE_PAUSE_MIN, false, false);
        node.ready_at = now;
        node.command = plan.start.then_some(super::nmt::Command::Start);
        node.watch.start(now);
        for tpdo in node.tpdos.iter_mut().filter(|tpdo| tpdo.head != NONE && tpdo.period > Nanos::ZERO) {
            tpdo.due = now + Nanos(tpdo.period.0 * PDO_LATE_PERIODS);
            tpdo.late = false;
        }
        if self.scans.iter().any(|scan| scan.is_slow) {
            self.behind_at = self.behind_at.min(now + PDO_FIRST);
        }
        self.tell(at, NodeEvent::Ready, floor);
        self.tell_state(floor);
    }

    /// A node is gone: its values are bad, and what waits for it is given up.
    pub(super) fn lost<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let was_away = self.nodes[at].is_away();
        self.end_job(at, now, crate::rt::RequestResult::Timeout, floor);
        self.unqueue(at, floor);
        self.end_orders(at, crate::rt::WriteOutcome::NoReply, crate::rt::WriteOutcome::NoConnection, now, floor);
        let node = &mut self.nodes[at];
        node.lose(now);
        node.sweep = Some(Sweep::bad(Status::BAD_NO_COMMUNICATION, NodeFault::Silent));
        if !was_away {
            self.tell(at, NodeEvent::Lost, floor);
        }
        self.tell_state(floor);
    }

    /// A node has started anew by itself: what it said before is in doubt, and it is set up again.
    pub(super) fn rebooted<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        self.end_job(at, now, crate::rt::RequestResult::Aborted, floor);
        self.unqueue(at, floor);
        self.end_orders(at, crate::rt::WriteOutcome::Lost, crate::rt::WriteOutcome::NoConnection, now, floor);
        let node = &mut self.nodes[at];
        node.forget();
        node.sweep = Some(Sweep::doubt(NodeFault::Silent, false));
        self.tell(at, NodeEvent::BootUp, floor);
        self.boot(at, floor);
    }

    /// Nothing of a node waits for the wire any more.
    pub(super) fn unqueue<W: World>(&mut self, at: usize, floor: &mut StepContext<W>) {
        let CanOpenLink { nodes, items, scans, .. } = self;
        let suppressed = &floor.counters.links[self.id.index()].suppressed;
        nodes[at].queue.retain(|scan_at, item| {
            items[item as usize].state = ItemState::Idle;
            scans[scan_at].open -= 1;
            scans[scan_at].missed = true;
            suppressed.add(1);
            false
        });
    }
}
