//! Releases: what PDOs brought becomes samples, what comes by SDO is asked for; and what answers, or their absence,
//! make of an item.

use super::node::{Job, Phase, Sweep};
use super::sdo::Outcome;
use super::{CanOpenLink, ItemState, values};
use crate::lane::Frame;
use crate::limits::{CANOPEN_ITEMS_PER_STEP, CANOPEN_REFUSED_PAUSE, PDO_FIRST, SILENT_AFTER_TIMEOUTS};
use crate::protocol::canopen::model::{CanOpenSource, NodeWatching};
use crate::rt::{Report, RequestResult, ScanRelease, StepContext, World};
use crate::tag::{AbortCode, Cause, Nanos, NodeFault, ObjectAt, Status};

impl CanOpenLink {
    pub(super) fn release_scan<W: World>(&mut self, release: ScanRelease, floor: &mut StepContext<W>) {
        let Some(at) = self.scan_at(release.scan) else { return };
        let scan = &mut self.scans[at];
        let missed = std::mem::take(&mut scan.missed);
        if scan.open > 0 || missed {
            floor.counters.scans[release.scan.index()].deadline_misses.add(1);
        }
        (scan.nominal, scan.cycle) = (release.nominal, release.cycle);
        for node in &mut self.nodes {
            node.queue.released(at);
        }
        if self.connection.is_none() && self.lost_for_good_at == Nanos::ZERO {
            self.lost_for_good_at = release.nominal + self.plan.config.connect_timeout + self.grace();
        }
        let (mut suppressed, mut missed) = (0, false);
        for item in self.scans[at].items.clone() {
            if !self.release_item(at, item, release, floor) {
                suppressed += 1;
                let node = &self.nodes[usize::from(self.plan.items[item as usize].node)];
                missed |= !(self.starting || node.starting && self.connection.is_some());
            }
        }
        if suppressed > 0 {
            self.scans[at].missed = missed;
            floor.counters.links[self.id.index()].suppressed.add(suppressed);
        }
    }

    /// False: it would be asked for, and its node is not there.
    fn release_item<W: World>(
        &mut self,
        scan: usize,
        at: u32,
        release: ScanRelease,
        floor: &mut StepContext<W>,
    ) -> bool {
        let planned = &self.plan.items[at as usize];
        let node = &mut self.nodes[usize::from(planned.node)];
        let item = &mut self.items[at as usize];
        let frame = Frame { group: planned.group, cycle: release.cycle, t: release.nominal.into() };
        let own = match planned.source {
            CanOpenSource::Object(_) => None,
            CanOpenSource::EmergencyCode => Some(u64::from(node.emergency.code)),
            CanOpenSource::EmergencyRegister => Some(u64::from(node.emergency.register)),
            CanOpenSource::EmergencyCount => Some(u64::from(node.emergencies)),
            CanOpenSource::State => match node.state {
                Some(state) => Some(state as u64),
                None => return true,
            },
        };
        if let Some(raw) = own {
            if !node.is_away() && !node.late {
                for decode in self.plan.decodes_of(planned) {
                    floor.sink.scalar(frame, decode.tag, decode.ty.code(), values::of_number(decode, raw));
                }
            }
            return true;
        }
        if std::mem::take(&mut item.fresh) {
            let frame = Frame { t: item.at.into(), ..frame };
            for decode in self.plan.decodes_of(planned) {
                let (bits, status) = values::judged(&self.plan.checks, decode, item.raw);
                // A bad one was told when it came.
                if !status.is_bad() {
                    floor.sink.sample(frame, decode.tag, decode.ty.code(), bits, status);
                }
            }
        }
        let asked = match item.bound {
            None => true,
            Some(_) => item.wanted && release.nominal.since(node.ready_at) >= PDO_FIRST,
        };
        if !asked || item.state != ItemState::Idle || release.nominal < item.refused_until {
            return true;
        }
        if node.phase != Phase::Running {
            return false;
        }
        item.state = ItemState::Queued;
        self.scans[scan].open += 1;
        node.queue.push(scan, at);
        true
    }

    /// Begins the next read of a node.
    pub(super) fn next_read<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let node = &mut self.nodes[at];
        let Some((scan, item)) = node.queue.pop() else { return };
        let planned = &self.plan.items[item as usize];
        let CanOpenSource::Object(object) = planned.source else { return };
        self.items[item as usize].state = ItemState::InFlight;
        node.client.upload(object, planned.block && !node.no_blocks, now, self.plan.config.timeout);
        (node.job, node.job_sent) = (Job::Item(item), now);
        floor.counters.links[self.id.index()].requests.add(1);
        let nominal = self.scans[scan].nominal;
        floor.report(Report::Issued { group: planned.group, link: self.id, nominal, sent: now });
    }

    /// What a node's server was asked for has come to its end.
    pub(super) fn job_ended<W: World>(&mut self, at: usize, outcome: Outcome, now: Nanos, floor: &mut StepContext<W>) {
        let job = self.nodes[at].job;
        match job {
            Job::None => {}
            Job::Item(item) => {
                let result = match outcome {
                    Outcome::Done => RequestResult::Good,
                    Outcome::Aborted(code) => RequestResult::Exception((code.0 >> 24) as u8),
                    Outcome::Broken(_) => RequestResult::Broken,
                    Outcome::TimedOut => RequestResult::Timeout,
                };
                self.end_job(at, now, result, floor);
                self.item_answered(at, item, outcome, now, floor);
            }
            Job::Probe => {
                self.nodes[at].job = Job::None;
                match outcome {
                    Outcome::TimedOut => self.lost(at, now, floor),
                    _ => self.boot(at, floor),
                }
            }
            Job::Boot => {
                self.nodes[at].job = Job::None;
                self.boot_answered(at, outcome, now, floor);
            }
            Job::Write | Job::ReadBack => {
                self.nodes[at].job = Job::None;
                self.write_ended(at, job, outcome, now, floor);
            }
        }
    }

    /// Takes a read out of flight and closes its account.
    pub(super) fn end_job<W: World>(
        &mut self,
        at: usize,
        now: Nanos,
        result: RequestResult,
        floor: &mut StepContext<W>,
    ) {
        let node = &mut self.nodes[at];
        let Job::Item(item) = node.job else { return };
        node.job = Job::None;
        let state = &mut self.items[item as usize];
        state.state = ItemState::Idle;
        let scan = &mut self.scans[usize::from(state.rank)];
        scan.open -= 1;
        scan.missed |= !matches!(result, RequestResult::Good | RequestResult::Exception(_));
        let counters = &floor.counters.links[self.id.index()];
        match result {
            RequestResult::Good => counters.replies.add(1),
            RequestResult::Exception(_) => counters.exceptions.add(1),
            RequestResult::Timeout => counters.timeouts.add(1),
            RequestResult::Aborted => counters.aborted.add(1),
            RequestResult::Broken => counters.broken.add(1),
        }
        let (link, nominal, sent) = (self.id, scan.nominal, node.job_sent);
        // A message that ends it may have come before it was begun, and be taken only now.
        let received = now.max(sent);
        floor.report(Report::Finished { scan: scan.id, link, nominal, sent, received, result });
    }

    fn item_answered<W: World>(
        &mut self,
        at: usize,
        item: u32,
        outcome: Outcome,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let node = &mut self.nodes[at];
        let state = &mut self.items[item as usize];
        // One that comes by PDO is asked once; what its PDO brought meanwhile is newer.
        let by_pdo = state.bound.is_some();
        state.wanted = state.wanted && outcome == Outcome::TimedOut;
        if outcome != Outcome::TimedOut {
            node.timeouts = 0;
        }
        match outcome {
            Outcome::Done if by_pdo && state.at > node.job_sent => {}
            Outcome::Done => self.store(at, item, now, floor),
            Outcome::Aborted(AbortCode::UNKNOWN_COMMAND) if self.plan.items[item as usize].block && !node.no_blocks => {
                node.no_blocks = true;
            }
            Outcome::Aborted(_) if by_pdo => {}
            Outcome::Aborted(code) if code.is_missing() => {
                state.refused_until = now + CANOPEN_REFUSED_PAUSE;
                self.hold(item, Status::BAD_CONFIGURATION_ERROR, Some(NodeFault::Aborted(code)), now, floor);
            }
            Outcome::Aborted(code) => {
                self.hold(item, Status::BAD_DEVICE_FAILURE, Some(NodeFault::Aborted(code)), now, floor);
            }
            Outcome::Broken(_) => {
                self.hold(item, Status::BAD_DECODING_ERROR, Some(NodeFault::Broken), now, floor);
            }
            Outcome::TimedOut => {
                node.timeouts = node.timeouts.saturating_add(1);
                let silent = node.timeouts >= SILENT_AFTER_TIMEOUTS;
                if silent && self.plan.nodes[at].watching == NodeWatching::Nothing {
                    self.lost(at, now, floor);
                    return;
                }
                let status = if silent { Status::BAD_NO_COMMUNICATION } else { Status::UNCERTAIN_LAST_USABLE };
                self.hold(item, status, Some(NodeFault::NoReply), now, floor);
            }
        }
        floor.sink.flush();
    }

    /// Puts what an SDO brought into image and ring.
    fn store<W: World>(&mut self, at: usize, item: u32, now: Nanos, floor: &mut StepContext<W>) {
        let node = &mut self.nodes[at];
        if let Some(spot) = self.items[item as usize].follower
            && let Some(rpdo) = node.rpdos.get_mut(usize::from(spot.rpdo))
            && let Some(raw) = values::number(node.client.value())
            && node.client.value().len() * 8 >= usize::from(spot.place.bits)
        {
            rpdo.follow(spot.place, raw);
        }
        let client = &self.nodes[at].client;
        let sent = self.nodes[at].job_sent;
        let planned = &self.plan.items[item as usize];
        let cycle = self.scans[usize::from(self.items[item as usize].rank)].cycle;
        let frame = Frame { group: planned.group, cycle, t: Nanos(sent.0 + now.since(sent).0 / 2).into() };
        for decode in self.plan.decodes_of(planned) {
            let code = decode.ty.code();
            let done = if decode.ty.is_long() {
                let long = values::long(&self.plan.checks, decode, client.value(), &mut self.long);
                long.map(|n| floor.sink.long(frame, decode.tag, code, self.long.get(..n).unwrap_or_default()))
            } else {
                let raw = values::raw(decode, client.value(), client.is_unsized());
                raw.map(|raw| {
                    let (bits, status) = values::judged(&self.plan.checks, decode, raw);
                    floor.sink.judged(frame, decode.tag, code, bits, status);
                })
            };
            if let Err(none) = done {
                floor.sink.hold(frame, decode.tag, code, decode.ty.is_long(), none.status());
            }
        }
    }

    /// Gives an item's tags a new status; they keep their values. `fault`: of its node; `None`: of the link.
    pub(super) fn hold<W: World>(
        &mut self,
        item: u32,
        status: Status,
        fault: Option<NodeFault>,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let planned = &self.plan.items[item as usize];
        let node = &self.nodes[usize::from(planned.node)];
        let object = match (fault, planned.source) {
            (Some(NodeFault::Refused(_) | NodeFault::OtherDevice), _) => {
                node.refusal.map_or_else(Default::default, |(_, at)| at)
            }
            (Some(NodeFault::Silent | NodeFault::Late), _) => ObjectAt::default(),
            (_, CanOpenSource::Object(object)) => ObjectAt { index: object.index, sub: object.sub },
            _ => ObjectAt::default(),
        };
        let node = node.id;
        let cause = fault.map_or(Cause::NotConnected, |fault| Cause::Node { node, object, fault });
        let state = &mut self.items[item as usize];
        state.fresh = false;
        let cycle = self.scans[usize::from(state.rank)].cycle;
        let frame = Frame { group: planned.group, cycle, t: now.into() };
        for decode in self.plan.decodes_of(planned) {
            floor.sink.hold_because(frame, decode.tag, decode.ty.code(), decode.ty.is_long(), status, Some(cause));
        }
    }

    /// Some of a node's items get the status that its sweep brings.
    pub(super) fn sweep_step<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        let Some(Sweep { status, fault, next, bound_only }) = self.nodes[at].sweep else { return };
        for place in next..next + CANOPEN_ITEMS_PER_STEP {
            let Some(item) = self.plan.nodes[at].items.get(place).copied() else {
                self.nodes[at].sweep = None;
                break;
            };
            if self.items[item as usize].bound.is_some() || !bound_only {
                self.hold(item, status, fault, now, floor);
            }
        }
        if let Some(sweep) = &mut self.nodes[at].sweep {
            sweep.next = next + CANOPEN_ITEMS_PER_STEP;
        }
        floor.sink.flush();
    }
}
