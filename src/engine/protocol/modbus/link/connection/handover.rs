//! A link under a new plan goes on where it stood under the old one: same connection, same units, and requests that
//! both plans know stay queued or in flight.

use std::collections::BTreeMap;

use super::ending::Returning;
use super::request::RequestState;
use super::{Asks, ModbusLink, Sweep};
use crate::lane::region_of;
use crate::plan::{Plan, ScanId};
use crate::protocol::modbus::link::expected::Expected;
use crate::protocol::modbus::model::Table;
use crate::protocol::modbus::plan::{ModbusPlan, ModbusRequest};
use crate::rt::{Report, RequestResult, StepContext, World};
use crate::tag::{LinkId, Nanos, Status, TagId, UnitId};

/// Which parts of two plans of one link are the same; made outside the floor.
pub(super) struct Handover {
    /// New and old place of a unit.
    units: Box<[(u16, u16)]>,
    /// By the old request's place: the new one's, or [`UNWANTED`].
    requests: Box<[u32]>,
    /// Tags that are read elsewhere now: what was known of the old place says nothing of the new one.
    moved: Box<[TagId]>,
}

/// In which of the queues.
enum Queued {
    First,
    Later,
}

/// The new plan has no such request.
const UNWANTED: u32 = u32::MAX;

/// What a request asks for, whatever plan it stands in.
type Asked = (ScanId, UnitId, Table, u16, u16);

fn asked(plan: &ModbusPlan) -> impl Iterator<Item = Asked> {
    plan.requests.iter().map(|r| (r.scan, plan.units[usize::from(r.unit)], r.table, r.first, r.count))
}

/// Where each tag is read.
fn places(plan: &ModbusPlan) -> BTreeMap<TagId, (UnitId, Table, u16, u16)> {
    let of_block = |block: &ModbusRequest| {
        let (unit, table) = (plan.units[usize::from(block.unit)], block.table);
        let decodes = plan.decodes[block.decodes.start as usize..block.decodes.end as usize].iter();
        decodes.map(move |decode| (decode.tag, (unit, table, decode.first, decode.len))).collect::<Box<[_]>>()
    };
    plan.blocks().iter().flat_map(of_block).collect()
}

impl Handover {
    pub fn regions(&self) -> [(*const u8, usize); 3] {
        [region_of(&self.units), region_of(&self.requests), region_of(&self.moved)]
    }

    fn new(old: &ModbusPlan, new: &ModbusPlan) -> Handover {
        // Of equal requests the first: a block of one tag has no half that equals it.
        let mut places: BTreeMap<Asked, u32> = BTreeMap::new();
        for (at, asked) in asked(new).enumerate() {
            places.entry(asked).or_insert(at as u32);
        }
        let unit = |(at, unit): (usize, &UnitId)| {
            old.units.iter().position(|before| before == unit).map(|before| (at as u16, before as u16))
        };
        let before = self::places(old);
        let moved = |(tag, place): (TagId, _)| before.get(&tag).is_some_and(|old| *old != place).then_some(tag);
        Handover {
            moved: self::places(new).into_iter().filter_map(moved).collect(),
            units: new.units.iter().enumerate().filter_map(unit).collect(),
            requests: asked(old).map(|asked| places.get(&asked).copied().unwrap_or(UNWANTED)).collect(),
        }
    }
}

impl ModbusLink {
    /// As [`ModbusLink::new`], for a link that does other work so far, and that will be taken over.
    pub fn following(id: LinkId, modbus: &ModbusPlan, plan: &Plan, before: &ModbusPlan) -> ModbusLink {
        let mut link = ModbusLink::new(id, modbus, plan);
        link.handover = Some(Handover::new(before, &link.plan));
        link
    }

    /// Takes everything that still counts out of `old`.
    pub(super) fn continue_from<W: World>(&mut self, old: &mut ModbusLink, now: Nanos, floor: &mut StepContext<W>) {
        // Orders name places of the old plan.
        let write_reply = old.expected_frame(Asks::Write);
        let written_unit = old.written_unit();
        old.give_up_writes(now, floor);
        let Some(handover) = self.handover.take() else { return };
        self.writes.continue_from(&old.writes, &handover.units);
        self.connection = old.connection.take();
        self.transaction = old.transaction;
        self.sent_on_connection = old.sent_on_connection;
        std::mem::swap(&mut self.receive, &mut old.receive);
        self.received = std::mem::take(&mut old.received);
        (self.excess, self.framed) = (std::mem::take(&mut old.excess), old.framed);
        (self.returning, self.well) = (std::mem::replace(&mut old.returning, Returning::No), old.well);
        (self.closes_after_reply, self.echoes) = (old.closes_after_reply, old.echoes);
        self.pauses.continue_from(&old.pauses, &handover.units);
        self.lost_for_good_at = old.lost_for_good_at;
        self.starting = old.starting;
        if self.scans.iter().any(|scan| scan.is_slow) {
            self.slow_at = Nanos::ZERO;
        }
        if let (Some(line), Some(before)) = (&mut self.line, &old.line) {
            line.continue_from(before, &handover.units);
        }
        self.reasons.continue_from(&old.reasons, &handover.units);
        handover.moved.iter().for_each(|tag| floor.sink.explain(*tag, None));
        for (new, before) in &handover.units {
            let unit = &mut self.units[usize::from(*new)];
            *unit = old.units[usize::from(*before)].replanned(unit);
        }
        for scan in &mut self.scans {
            if let Some(before) = old.scans.iter().find(|before| before.id == scan.id) {
                (scan.nominal, scan.cycle, scan.missed) = (before.nominal, before.cycle, before.missed);
                scan.next = before.next;
            }
        }
        old.forget_refused_parts();
        for (before, place) in old.requests.iter().zip(&handover.requests) {
            if let Some(request) = self.requests.get_mut(*place as usize) {
                request.learn_from(before);
            }
        }
        self.take_flights(old, &handover, (write_reply, written_unit), floor);
        self.take_queue(old, &handover);
        // New tags of a link or a unit that is away know of it at once.
        let for_good = self.lost_for_good_at == crate::tag::Nanos::NEVER;
        let status = if for_good { Status::BAD_NO_COMMUNICATION } else { Status::UNCERTAIN_LAST_USABLE };
        self.sweep = Some(Sweep { status, next: 0 });
        // Freed with the old link, outside.
        old.handover = Some(handover);
    }

    /// Of a block that is asked for as a whole, what was refused of its parts, maybe under an earlier plan, counts no
    /// more: one of them may be a block of the next plan. Parts stand behind what they are parts of.
    fn forget_refused_parts(&mut self) {
        for at in 0..self.requests.len() {
            if let Some(halves) = self.plan.requests[at].halves.filter(|_| !self.requests[at].apart) {
                for half in halves {
                    self.requests[half as usize].forget();
                }
            }
        }
    }

    fn take_flights<W: World>(
        &mut self,
        old: &mut ModbusLink,
        handover: &Handover,
        (write_reply, written_unit): (Option<Expected>, Option<usize>),
        floor: &mut StepContext<W>,
    ) {
        let unit_now = |before: usize| {
            let unit = handover.units.iter().find(|(_, old)| usize::from(*old) == before);
            unit.map(|(unit, _)| usize::from(*unit))
        };
        for slot in 0..self.in_flight.len() {
            let Some(mut flight) = old.in_flight[slot].take() else { continue };
            let Asks::Read(at) = flight.asks else {
                if flight.asks == Asks::Write {
                    flight.asks = Asks::Nobody(write_reply);
                    // It may be a read of what is written, whose reply looks like that of another.
                    if let Some(line) = &mut self.line {
                        line.leave_alone(written_unit.and_then(unit_now), flight.deadline);
                    }
                }
                self.in_flight[slot] = Some(flight);
                continue;
            };
            let place = handover.requests.get(at as usize).copied().unwrap_or(UNWANTED);
            if place != UNWANTED {
                self.reopen(place, RequestState::InFlight);
            } else {
                let before = &old.plan.requests[at as usize];
                let link = self.id;
                floor.counters.links[link.index()].aborted.add(1);
                let (nominal, sent, received) = (flight.nominal, flight.sent, floor.world.now());
                let result = RequestResult::Aborted;
                floor.report(Report::Finished { scan: before.scan, link, nominal, sent, received, result });
                self.miss(before.scan);
                // What the socket has not taken yet never goes out.
                let is_last = flight.transaction == self.transaction;
                if let Some(connection) = self.connection.as_mut().filter(|c| is_last && c.out.is_untouched()) {
                    connection.out.clear();
                    continue;
                }
                // A reply that is late is not known from one to the next request of this shape.
                if let Some(line) = &mut self.line {
                    line.leave_alone(unit_now(usize::from(before.unit)), flight.deadline);
                }
            }
            flight.asks = match place {
                UNWANTED => Asks::Nobody(old.expected_frame(flight.asks)),
                place => Asks::Read(place),
            };
            self.in_flight[slot] = Some(flight);
        }
    }

    fn take_queue(&mut self, old: &mut ModbusLink, handover: &Handover) {
        self.later.continue_from(&old.later);
        while let Some((queued, (scan_at, at))) = old.next_queued() {
            let place = handover.requests.get(at as usize).copied().unwrap_or(UNWANTED);
            if place == UNWANTED {
                self.miss(old.scans[scan_at].id);
            } else if let Some(scan_at) = self.reopen(place, RequestState::Queued) {
                match queued {
                    Queued::First => self.queue.push(scan_at, place),
                    Queued::Later => self.later.queue.push(scan_at, place),
                }
            }
        }
    }

    fn next_queued(&mut self) -> Option<(Queued, (usize, u32))> {
        let first = self.queue.pop().map(|next| (Queued::First, next));
        first.or_else(|| self.later.queue.pop().map(|next| (Queued::Later, next)))
    }

    /// A request that was open under the old plan is open under the new one; its scan's place.
    fn reopen(&mut self, place: u32, state: RequestState) -> Option<usize> {
        let scan_at = self.scan_at(self.plan.requests[place as usize].scan)?;
        self.requests[place as usize].state = state;
        self.scans[scan_at].open += 1;
        Some(scan_at)
    }

    /// The cycle under way loses a request.
    fn miss(&mut self, scan: ScanId) {
        if let Some(at) = self.scan_at(scan) {
            self.scans[at].missed = true;
        }
    }
}
