//! A source: an ordinary thread with a lane of its own, by its real door. It writes what a device with a clock would: by this
//! machine's time or its own, events, bursts that no ring has room for, statuses, and backfill.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fastrand::Rng;
use rtrb::RingBuffer;

use super::broken::{Broken, Kind, OfKind};
use super::cell::Pending;
use super::invariants::Books;
use super::parts::Parts;
use super::scenario::Scenario;
use crate::door::{Door, DoorEnds, NewPlan, Wake};
use crate::lane::{Counters, Frame, SampleWriter};
use crate::plan::Plan;
use crate::rt::{Waker, WriteOutcome, WritePayload};
use crate::tag::{GroupId, LaneId, Nanos, Sample, ScalarType, Stamp, Status, TagId, flags};

const MS: u64 = 1_000_000;
/// Its own clock's time at the start, and how far its backlog goes back.
const UTC_START_NS: i64 = 1_700_000_000_000_000_000;
const BACKLOG_NS: i64 = 10 * 24 * 3_600 * 1_000_000_000;
/// It has a turn at least so often.
const PAUSE_MAX_NS: u64 = 3_000 * MS;

/// See the module.
pub struct SimSource {
    pub lane: LaneId,
    pub plan: Arc<Plan>,
    pub pending: Option<Pending>,
    /// When it goes on.
    pub next: u64,
    door: Door,
    ends: DoorEnds,
    tags: Vec<Own>,
    rng: Rng,
    cycle: u32,
    fast: bool,
    burst_max: usize,
    trouble_ns: u64,
    /// Its clock is wrong by so much.
    clock_offset_ns: i64,
}

/// One of its tags.
#[derive(Debug, Clone, Copy)]
struct Own {
    id: TagId,
    group: GroupId,
    ty: ScalarType,
}

fn own(lane: LaneId, plan: &Plan) -> Vec<Own> {
    let tags = plan.tags.iter().filter(|(_, tag)| plan.links[tag.link].lane == lane);
    let own = |(id, tag): (TagId, &crate::plan::TagPlan)| match tag.ty {
        crate::tag::ValueType::Scalar(ty) => Some(Own { id, group: tag.group, ty }),
        _ => None,
    };
    tags.filter_map(own).collect()
}

impl SimSource {
    /// # Errors
    /// The system gives no descriptor.
    pub fn new(
        lane: LaneId,
        plan: &Arc<Plan>,
        scenario: &Scenario,
        samples: SampleWriter,
        counters: Arc<Counters>,
    ) -> Result<SimSource, Broken> {
        let (_, orders) = RingBuffer::new(1);
        let (answers, _) = RingBuffer::new(1);
        let waker = Waker::new().map_err(|error| error.to_string()).of(Kind::Unrunnable)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (door, ends) = Door::new(lane, samples, counters, orders, answers, stop, waker);
        let mut rng = scenario.rng("source", lane.0);
        Ok(SimSource {
            lane,
            plan: plan.clone(),
            pending: None,
            next: rng.u64(..100 * MS),
            door,
            ends,
            tags: own(lane, plan),
            cycle: 0,
            fast: scenario.fast,
            burst_max: scenario.ring_slots * 2,
            trouble_ns: scenario.trouble_ns,
            clock_offset_ns: rng.i64(-3_600_000_000_000..3_600_000_000_000),
            rng,
        })
    }

    /// A plan on its way; the one before was taken up.
    pub fn adopt(&mut self, new: NewPlan, pending: Pending) {
        self.ends.adopt(new);
        self.pending = Some(pending);
    }

    /// One turn, at the time that it has. True: it took up a new plan.
    ///
    /// # Errors
    /// What it breaks.
    pub fn step<P: Parts>(&mut self, parts: &P, books: &mut Books<'_>, counters: &Counters) -> Result<bool, Broken> {
        let now = self.next;
        let mut has_adopted = false;
        loop {
            match self.door.look(Nanos(now), Nanos(now)) {
                Some(Wake::Plan(plan)) => {
                    self.take_up(plan, now, books, counters)?;
                    has_adopted = true;
                }
                Some(Wake::Order(order)) => {
                    self.door.answer(order.id, WriteOutcome::NotWritable, WritePayload::default());
                }
                Some(Wake::Due) => break,
                Some(Wake::Stop) | None => return Err(Kind::Reload.says("a source stops without a command")),
            }
        }
        let before = counters.lanes[self.lane.index()].dropped.get();
        if !self.tags.is_empty() {
            self.write(parts, books, now);
        }
        parts.source_has_written(&counters.lanes[self.lane.index()], before);
        self.cycle = self.cycle.wrapping_add(1);
        let usual = if self.fast { 20 * MS } else { 400 * MS };
        let is_stalled = now < self.trouble_ns && self.rng.u8(..50) == 0;
        self.next = now + 1 + self.rng.u64(..if is_stalled { PAUSE_MAX_NS } else { usual });
        Ok(has_adopted)
    }

    fn take_up(&mut self, plan: Arc<Plan>, now: u64, books: &mut Books<'_>, counters: &Counters) -> Result<(), Broken> {
        if !self.ends.has_adopted() {
            return Err(Kind::Reload.says("a source has adopted a plan without reporting it"));
        }
        let Some(pending) = self.pending.take() else {
            return Err(Kind::Reload.says("a source adopts a plan that it was not given"));
        };
        books.adopted(self.lane, &pending.changes, now, counters).of(Kind::SteadyLinkMissed)?;
        books.source_adopted(&plan);
        self.tags = own(self.lane, &plan);
        self.plan = plan;
        Ok(())
    }

    fn write<P: Parts>(&mut self, parts: &P, books: &mut Books<'_>, now: u64) {
        let trouble = now < self.trouble_ns;
        let count = match self.rng.u8(..100) {
            0 if trouble => self.rng.usize(..self.burst_max),
            1..20 => self.tags.len(),
            _ => self.rng.usize(1..6),
        };
        for _ in 0..count {
            let own = self.tags[self.rng.usize(..self.tags.len())];
            self.write_one(parts, books, own, now);
        }
        self.door.samples.flush();
    }

    fn write_one<P: Parts>(&mut self, parts: &P, books: &mut Books<'_>, own: Own, now: u64) {
        let Own { id, group, ty } = own;
        let here = UTC_START_NS + now as i64 + self.clock_offset_ns;
        let (what, at) = (self.rng.u8(..20), self.rng.i64(0..BACKLOG_NS));
        let t = match what {
            0..3 => Stamp::utc(here - at),
            3..7 => Stamp::utc(here),
            _ => Stamp::mono(Nanos(now)),
        };
        let frame = Frame { group, cycle: self.cycle, t };
        let (value, code) = (self.value(ty), ty as u8);
        let sample = |status: Status, flags| Sample {
            t: t.0,
            value,
            tag: id.0,
            status: status.0,
            cycle: frame.cycle,
            group: group.0,
            ty: code,
            flags,
        };
        match what {
            0..3 => {
                books.source_gives(sample(Status::GOOD, flags::BACKFILL));
                parts.backfill(&mut self.door.samples, frame, id, code, value, Status::GOOD);
            }
            // Its device is gone, or gone for longer.
            19 => {
                let status = if self.rng.bool() { Status::UNCERTAIN_LAST_USABLE } else { Status::BAD_NO_COMMUNICATION };
                books.source_holds(sample(status, flags::HELD));
                self.door.samples.hold(frame, id, code, false, status);
            }
            _ => {
                let status = if what == 18 { Status::UNCERTAIN_UNITS_EXCEEDED } else { Status::GOOD };
                books.source_gives(sample(status, 0));
                self.door.samples.scalar_with_status(frame, id, code, value, status);
            }
        }
    }

    /// Raw bits, often near the ones before.
    fn value(&mut self, ty: ScalarType) -> u64 {
        match ty {
            ScalarType::Float64 if self.rng.u8(..50) == 0 => f64::NAN.to_bits(),
            ScalarType::Float64 => (self.rng.f64() * 10.0).to_bits(),
            ScalarType::Float32 => u64::from((self.rng.f32() * 10.0).to_bits()),
            ScalarType::Bool => self.rng.u64(..2),
            _ => self.rng.u64(..8),
        }
    }
}
