//! Writes at any moment, and what must hold of them: each order has one answer, in time; a device is only written to by
//! an order that is open and not overdue; and what was told as done or as not sent is just that.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};

use super::broken::{Broken, Kind, OfKind};
use super::device::Told;
use super::frames::{Field, Frames};
use super::given::can_id;
use super::log::Log;
use super::memory::Area;
use super::model::host_of_link;
use super::orders::{self, Manner};
use super::pdos::{Changes, Pdos};
use super::script::{Hosts, Series, Write};
use crate::limits::{EXECUTOR_SLEEP_MAX, WRITES_PENDING_MAX};
use crate::plan::{LinkWork, Plan};
use crate::protocol::can::plan::model::CanPlan;
use crate::protocol::canopen::plan::CanOpenPlan;
use crate::protocol::modbus::model::Table;
use crate::rt::{WriteAnswer, WriteOrder, WriteOutcome};
use crate::tag::{LinkId, Nanos};

const MS: u64 = 1_000_000;
/// What an executor's own work may add to the time of an answer.
const ANSWER_SLACK_NS: u64 = EXECUTOR_SLEEP_MAX.0 + 10 * MS;

/// A write as a device saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: u64,
    pub link: LinkId,
    pub place: Place,
    pub payload: Vec<u8>,
    pub told: Told,
}

/// Where a device was written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Registers {
        function: u8,
        area: Area,
    },
    /// A thread is told which order it is.
    Order {
        id: u64,
        slot: u32,
        deadline: u64,
    },
    /// A frame is sent, with or without an order.
    Frame {
        can_id: u32,
    },
    /// An entry of a CANopen node's object dictionary.
    Object {
        node: u8,
        index: u16,
        sub: u8,
    },
    /// A node's RPDO, what the node held before, and how often it has begun anew or been written to otherwise.
    Pdo {
        node: u8,
        before: [u8; 8],
        changes: Changes,
        what: Pdo,
    },
}

/// What became of a frame of an RPDO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pdo {
    Sent,
    /// The node has its values now.
    Taken,
}

/// A request as it stands on the wire, if it is a write.
pub fn parse(pdu: &[u8], unit: u8) -> Option<(Area, Vec<u8>, Vec<u8>)> {
    let word = |at: usize| Some(u16::from_be_bytes([*pdu.get(at)?, *pdu.get(at + 1)?]));
    let function = *pdu.first()?;
    let table = if matches!(function, 5 | 15) { Table::Coils } else { Table::HoldingRegisters };
    let (first, count, payload, confirmation) = match function {
        5 => (word(1)?, 1, vec![u8::from(word(3)? == 0xFF00)], pdu.to_vec()),
        6 => (word(1)?, 1, pdu.get(3..5)?.to_vec(), pdu.to_vec()),
        15 | 16 => (word(1)?, word(3)?, pdu.get(6..)?.to_vec(), pdu.get(..5)?.to_vec()),
        22 => (word(1)?, 1, pdu.get(3..7)?.to_vec(), pdu.to_vec()),
        23 => {
            let values = pdu.get(10..)?.to_vec();
            (word(5)?, word(7)?, values.clone(), [&[23, values.len() as u8], &values[..]].concat())
        }
        _ => return None,
    };
    Some((Area { unit, table, first, count }, payload, confirmation))
}

pub struct Open {
    pub order: WriteOrder,
    /// Of a write to Modbus: where.
    area: Option<Area>,
    is_bit: bool,
    /// Of a write to CANopen: node, index and sub-index.
    object: Option<(u8, u16, u8)>,
    /// Of one by PDO: node and sub-index.
    pub pdo: Option<(u8, u8)>,
    /// A frame went out with its value in it.
    pub carried: bool,
    /// Of a write to a CAN link: the field.
    field: Option<Field>,
    /// The executor has taken it from the ring, and by the plan that it was made for: only then can a link have it.
    pub taken: bool,
    /// When it was made, and how long the CPU had stalled before.
    stalled: u64,
    pub frames: u32,
    pub confirmed: bool,
    /// Another order writes the same to the same place, and which of them a device saw is not known.
    pub one_of_several: bool,
}

impl Open {
    pub fn writes_field(&self, link: LinkId, field: Field) -> bool {
        self.taken && self.order.link == link && self.field == Some(field)
    }

    fn is(&self, seen: &Seen) -> bool {
        let same = self.order.payload.bytes() == seen.payload;
        let fits = match &seen.place {
            // A register is read and written back with the bit in it, where a device has no mask write.
            Place::Registers { function, area } => {
                self.area == Some(*area) && (same || self.is_bit && matches!(function, 6 | 16))
            }
            Place::Frame { .. } | Place::Pdo { .. } => false,
            Place::Object { node, index, sub } => self.object == Some((*node, *index, *sub)) && same,
            Place::Order { id, slot, deadline } => {
                (self.order.id, self.order.slot, self.order.deadline.0) == (*id, *slot, *deadline) && same
            }
        };
        fits && self.taken && self.order.link == seen.link && seen.at < self.order.deadline.0
    }
}

/// Whoever writes to the links of one executor.
pub struct Writes {
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    hosts: Hosts,
    /// Steady links are left alone: they must not miss anything, and the reckoning for them knows of no writes.
    spare_steady: bool,
    script: Series<Write>,
    next_id: u64,
    /// Plans that the executor has adopted.
    generation: u32,
    open: Vec<Open>,
    /// The plan that the executor has, and the one before.
    plans: Vec<Arc<Plan>>,
    frames: Frames,
    pdos: Pdos,
    /// What is made of each outcome on its way here.
    told: fn(u64, WriteOutcome) -> WriteOutcome,
    pub done: u64,
    pub failed: u64,
    /// Where a record is wanted: each order by itself.
    pub made: Option<Vec<Write>>,
    log: Rc<RefCell<Log>>,
}

impl Writes {
    /// And the executor's ends.
    pub fn new(
        script: Series<Write>,
        plan: Arc<Plan>,
        hosts: Hosts,
        spare_steady: bool,
        told: fn(u64, WriteOutcome) -> WriteOutcome,
        log: Rc<RefCell<Log>>,
    ) -> (Writes, Consumer<WriteOrder>, Producer<WriteAnswer>) {
        let (orders, to_executor) = RingBuffer::new(WRITES_PENDING_MAX);
        let (from_executor, answers) = RingBuffer::new(WRITES_PENDING_MAX);
        let writes = Writes {
            orders,
            answers,
            hosts,
            spare_steady,
            script,
            next_id: 0,
            generation: 0,
            open: Vec::new(),
            plans: vec![plan],
            frames: Frames::default(),
            pdos: Pdos::default(),
            told,
            done: 0,
            failed: 0,
            made: None,
            log,
        };
        (writes, to_executor, from_executor)
    }

    /// The executor has taken up a plan.
    pub fn adopted(&mut self, plan: Arc<Plan>) {
        self.generation = self.generation.wrapping_add(1);
        self.plans.insert(0, plan);
        self.plans.truncate(2);
        self.frames.adopted();
    }

    /// Orders what is to be ordered by now, by the plan that the executor has: one write, or a storm of them.
    pub fn step(&mut self, now: u64, stalled: u64, plan: &Plan, links: &[LinkId]) {
        while let Some(write) = self.script.due(now) {
            for n in 0..write.orders {
                let draw = write.draw.wrapping_add(u64::from(n));
                let place = match &write.tag {
                    Some(name) => orders::place_of(name, plan, links),
                    None => orders::any_place(draw, plan, links),
                };
                let Some((link, slot)) = place else { continue };
                if self.order((now, stalled), (link, slot), draw, plan)
                    && let Some(made) = &mut self.made
                {
                    let tag = orders::name_of(plan, link, slot).map(str::to_owned);
                    made.push(Write { executor: write.executor, at_ns: write.at_ns, draw, orders: 1, tag });
                }
            }
        }
    }

    /// Whether it was given.
    fn order(&mut self, (now, stalled): (u64, u64), (link, slot): (LinkId, usize), draw: u64, plan: &Plan) -> bool {
        let spared = self.spare_steady && self.hosts.is_steady(host_of_link(plan, link));
        if spared || self.open.len() >= WRITES_PENDING_MAX {
            return false;
        }
        let protocol = &*plan.links[link].protocol;
        let Some(payload) = orders::payload(draw, protocol, slot) else { return false };
        let Manner { within, old, read_back } = Manner::of(draw);
        let order = WriteOrder {
            id: self.next_id,
            link,
            slot: slot as u32,
            // Now and then one that was made by an earlier plan.
            generation: self.generation - u32::from(old && self.generation > 0),
            deadline: Nanos(now + within),
            read_back,
            payload,
        };
        self.next_id += 1;
        self.note(
            now,
            "ordered: write {} link {} slot {} due {}",
            [order.id, u64::from(link.0), order.slot.into(), order.deadline.0],
        );
        let is_taken = self.orders.push(order).is_ok();
        if is_taken {
            let (area, is_bit) = orders::area(protocol, slot);
            self.open.push(Open {
                order,
                area,
                is_bit,
                object: object_of(protocol, slot, false),
                pdo: object_of(protocol, slot, true).map(|(node, _, sub)| (node, sub)),
                carried: false,
                field: field_of(protocol, slot),
                taken: false,
                stalled,
                frames: 0,
                confirmed: false,
                one_of_several: false,
            });
        }
        is_taken
    }

    fn note(&self, at: u64, what: &'static str, numbers: [u64; 4]) {
        self.log.borrow_mut().add(at, what, numbers);
    }

    /// Which orders have left the ring since the last look: the first ones, as they were put in. One that names an
    /// earlier plan than the executor had then goes no further.
    fn look_for_taken(&mut self) {
        let waiting = WRITES_PENDING_MAX - self.orders.slots();
        let gone = self.open.len().saturating_sub(waiting);
        for open in self.open[..gone].iter_mut().filter(|open| !open.taken) {
            open.taken = open.order.generation == self.generation;
        }
    }

    /// A device was written to.
    ///
    /// # Errors
    /// When no order allows it.
    pub fn seen(&mut self, seen: &Seen) -> Result<(), Broken> {
        self.look_for_taken();
        if let Place::Frame { can_id } = seen.place {
            return self.frames.seen(seen, can_id, &mut self.open, &self.plans).of(Kind::FrameWithoutOrder);
        }
        if let Place::Pdo { node, before, changes, what } = seen.place {
            return self.pdos.seen(seen, (node, before, changes, what), &mut self.open).of(Kind::FrameWithoutOrder);
        }
        let mut fitting: Vec<&mut Open> = self.open.iter_mut().filter(|open| open.is(seen)).collect();
        if fitting.is_empty() {
            let what = format!("a device was written to without an open order, or too late: {seen:?}");
            return Err(Kind::WriteWithoutOrder.says(what));
        }
        let one_of_several = fitting.len() > 1;
        for open in &mut fitting {
            if matches!(seen.place, Place::Order { .. }) && open.frames > 0 {
                return Err(Kind::WriteWithoutOrder.says(format!("a device got a write twice: {seen:?}")));
            }
            // What was refused has changed nothing.
            open.frames += u32::from(seen.told != Told::Refused);
            open.confirmed |= seen.told == Told::Done;
            open.one_of_several |= one_of_several;
        }
        Ok(())
    }

    /// Looks at the answers, and for those that are overdue. `ended`: there will be no more.
    ///
    /// # Errors
    /// What does not hold.
    pub fn settle(&mut self, now: u64, stalled: u64, ended: bool) -> Result<(), Broken> {
        self.look_for_taken();
        while let Ok(answer) = self.answers.pop() {
            let answer = WriteAnswer { outcome: (self.told)(answer.id, answer.outcome), ..answer };
            let told = match answer.outcome {
                outcome if outcome.is_done() => "answer: write {} is done",
                outcome if outcome.was_sent() => "answer: write {} was sent, and may not be done",
                _ => "answer: write {} was not sent",
            };
            self.note(now, told, [answer.id, 0, 0, 0]);
            let at = self.open.iter().position(|open| open.order.id == answer.id);
            let open = match at {
                Some(at) => self.open.remove(at),
                None => {
                    let what = format!("write {} was answered twice: {:?}", answer.id, answer.outcome);
                    return Err(Kind::WriteToldWrongly.says(what));
                }
            };
            self.check(&open, &answer, stalled)?;
            if answer.outcome.is_done() {
                self.done += 1;
            } else {
                self.failed += 1;
            }
        }
        let late = |open: &&Open| now > latest(open, stalled);
        if let Some(open) = self.open.iter().find(late).or(self.open.first().filter(|_| ended)) {
            let what = format!("write {} of {:?} has no answer at {now}", open.order.id, open.order.deadline);
            return Err(Kind::WriteWithoutAnswer.says(what));
        }
        Ok(())
    }

    fn check(&self, open: &Open, answer: &WriteAnswer, stalled: u64) -> Result<(), Broken> {
        let wrong = |kind: Kind, what: &str| {
            let (id, outcome, frames) = (answer.id, answer.outcome, open.frames);
            Err(kind.says(format!(
                "write {id}: {what}; {outcome:?} at {:?}, {frames} frames, due {:?}",
                answer.at, open.order.deadline
            )))
        };
        if answer.at.0 > latest(open, stalled) {
            return wrong(Kind::WriteWithoutAnswer, "answered too late");
        }
        let reached =
            matches!(answer.outcome, WriteOutcome::Done | WriteOutcome::ReadBackDiffers | WriteOutcome::NotReadBack);
        // Of a PDO nothing is confirmed, but what is read back.
        let differs = open.pdo.is_some() && answer.outcome == WriteOutcome::ReadBackDiffers;
        if reached && !open.confirmed && !(differs && open.carried) {
            return wrong(Kind::WriteToldAsDone, "reported as done, but never confirmed");
        }
        if answer.outcome == WriteOutcome::Unconfirmed && !open.carried {
            return wrong(Kind::WriteToldAsDone, "reported as sent, but never sent");
        }
        // What a node's PDOs carry, it says when it is set up.
        if answer.outcome == WriteOutcome::NotWritable && open.pdo.is_none() {
            return wrong(Kind::WriteToldWrongly, "every order names a write of its plan");
        }
        let outdated = open.order.generation != self.generation;
        if !answer.outcome.was_sent() && open.frames > 0 && !open.one_of_several {
            return wrong(Kind::WriteToldAsNotSent, "reported as not sent, but the device has it");
        }
        if answer.outcome == WriteOutcome::PlanChanged && !outdated {
            return wrong(Kind::WriteToldWrongly, "its plan is still there");
        }
        Ok(())
    }
}

fn latest(open: &Open, stalled: u64) -> u64 {
    open.order.deadline.0 + ANSWER_SLACK_NS + (stalled - open.stalled)
}

/// Where a write to a CAN link goes.
fn field_of(protocol: &dyn LinkWork, slot: usize) -> Option<Field> {
    let can = protocol.get::<CanPlan>()?;
    let write = can.writes.get(slot)?;
    let transmit = can.transmits.get(usize::from(write.transmit))?;
    let frame = write.frame.map(|frame| (frame - transmit.frames.start) as usize);
    Some((can_id(transmit.id), frame, write.bits))
}

/// Where a write to a CANopen node goes, by SDO or by PDO.
fn object_of(protocol: &dyn LinkWork, slot: usize, by_pdo: bool) -> Option<(u8, u16, u8)> {
    let canopen = protocol.get::<CanOpenPlan>()?;
    let write = canopen.writes.get(slot).filter(|write| write.by_pdo == by_pdo)?;
    Some((canopen.nodes.get(usize::from(write.node))?.id, write.object.index, write.object.sub))
}
