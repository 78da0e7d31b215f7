//! Writes at any moment, and what must hold of them: each order has one answer, in time; a device is only written to by
//! an order that is open and not overdue; and what was told as done or as not sent is just that.

use std::sync::Arc;

use fastrand::Rng;
use rtrb::{Consumer, Producer, RingBuffer};

use super::device::Told;
use super::frames::Frames;
use super::memory::Area;
use super::model::host_of_link;
use super::pdos::Pdos;
use super::scenario::Hosts;
use crate::config::{FieldType, Table};
use crate::limits::{EXECUTOR_SLEEP_MAX, WRITES_PENDING_MAX};
use crate::plan::{BusWrite, LinkProtocolPlan, ModbusWrite, Plan};
use crate::rt::{WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
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
        changes: u32,
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
    /// When it was made, and how long the CPU had stalled before.
    stalled: u64,
    pub frames: u32,
    pub confirmed: bool,
    /// Another order writes the same to the same place, and which of them a device saw is not known.
    pub one_of_several: bool,
}

impl Open {
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
        fits && self.order.link == seen.link && seen.at < self.order.deadline.0
    }
}

/// Whoever writes to the links of one executor.
pub struct Writes {
    orders: Producer<WriteOrder>,
    answers: Consumer<WriteAnswer>,
    hosts: Hosts,
    /// Steady links are left alone: they must not miss anything, and the reckoning for them knows of no writes.
    spare_steady: bool,
    /// One order after the other, and many storms.
    eager: bool,
    /// No more orders from then on; 0: there are none.
    until: u64,
    next: u64,
    next_id: u64,
    /// Plans that the executor has adopted.
    generation: u32,
    open: Vec<Open>,
    /// The plan that the executor has, and the one before.
    plans: Vec<Arc<Plan>>,
    frames: Frames,
    pdos: Pdos,
    rng: Rng,
    pub done: u64,
    pub failed: u64,
}

impl Writes {
    /// And the executor's ends.
    pub fn new(
        until: u64,
        plan: Arc<Plan>,
        hosts: Hosts,
        spare_steady: bool,
        eager: bool,
        mut rng: Rng,
    ) -> (Writes, Consumer<WriteOrder>, Producer<WriteAnswer>) {
        let (orders, to_executor) = RingBuffer::new(WRITES_PENDING_MAX);
        let (from_executor, answers) = RingBuffer::new(WRITES_PENDING_MAX);
        let next = if eager { 0 } else { rng.u64(..3_000 * MS) };
        let writes = Writes {
            orders,
            answers,
            hosts,
            spare_steady,
            eager,
            until,
            next,
            next_id: 0,
            generation: 0,
            open: Vec::new(),
            plans: vec![plan],
            frames: Frames::default(),
            pdos: Pdos::default(),
            rng,
            done: 0,
            failed: 0,
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
        if now < self.next || now >= self.until || links.is_empty() {
            return;
        }
        let storm = self.rng.u8(..20) == 0;
        let pause_max = if self.eager || self.rng.u8(..4) == 0 { 20 * MS } else { 3_000 * MS };
        self.next = now + self.rng.u64(..pause_max);
        for _ in 0..if storm { 40 } else { 1 } {
            let link = links[self.rng.usize(..links.len())];
            let spared = self.spare_steady && self.hosts.is_steady(host_of_link(plan, link));
            if spared || self.open.len() >= WRITES_PENDING_MAX {
                continue;
            }
            let Some((slot, payload, area, is_bit)) = self.any_write(&plan.links[link].protocol) else { continue };
            // Now and then one that was made by an earlier plan.
            let old = self.generation > 0 && self.rng.u8(..12) == 0;
            let within = [20, 100, 500, 3_000][self.rng.usize(..4)] * MS;
            let order = WriteOrder {
                id: self.next_id,
                link,
                slot: slot as u32,
                generation: self.generation - u32::from(old),
                deadline: Nanos(now + self.rng.u64(MS..within)),
                read_back: self.rng.bool(),
                payload,
            };
            self.next_id += 1;
            if self.orders.push(order).is_ok() {
                self.open.push(Open {
                    order,
                    area,
                    is_bit,
                    object: object_of(&plan.links[link].protocol, slot, false),
                    pdo: object_of(&plan.links[link].protocol, slot, true).map(|(node, _, sub)| (node, sub)),
                    carried: false,
                    stalled,
                    frames: 0,
                    confirmed: false,
                    one_of_several: false,
                });
            }
        }
    }

    /// One of a link's writes: its slot and its payload; of Modbus, its area, and whether it is a bit of a register.
    fn any_write(&mut self, protocol: &LinkProtocolPlan) -> Option<(usize, WritePayload, Option<Area>, bool)> {
        match protocol {
            LinkProtocolPlan::Modbus(modbus) if !modbus.writes.is_empty() => {
                let slot = self.rng.usize(..modbus.writes.len());
                let write = &modbus.writes[slot];
                let unit = modbus.units[usize::from(write.unit)].0;
                let area = Area { unit, table: write.table, first: write.place.first, count: write.count };
                let is_bit = matches!(write.place.field, FieldType::RegisterBit(_));
                Some((slot, self.payload(write), Some(area), is_bit))
            }
            LinkProtocolPlan::Bus(bus) if !bus.setup.writes.is_empty() => {
                let slot = self.rng.usize(..bus.setup.writes.len());
                let bytes: Vec<u8> = match &bus.setup.writes[slot] {
                    BusWrite::Line(_) => vec![self.rng.u8(..2)],
                    BusWrite::Register { write, .. } => (0..write.width).map(|_| self.rng.u8(..)).collect(),
                    BusWrite::Channel(_) => self.rng.f64().to_le_bytes().to_vec(),
                };
                Some((slot, WritePayload::new(&bytes)?, None, false))
            }
            LinkProtocolPlan::CanOpen(canopen) if !canopen.writes.is_empty() => {
                let slot = self.rng.usize(..canopen.writes.len());
                let bytes = usize::from(canopen.writes[slot].decode.field.bytes());
                let bytes: Vec<u8> = (0..bytes).map(|_| self.rng.u8(..)).collect();
                Some((slot, WritePayload::new(&bytes)?, None, false))
            }
            LinkProtocolPlan::Can(can) if !can.writes.is_empty() => {
                let slot = self.rng.usize(..can.writes.len());
                let raw = self.rng.u64(..) & ((1 << can.writes[slot].bits.len) - 1);
                Some((slot, WritePayload::new(&raw.to_le_bytes())?, None, false))
            }
            _ => None,
        }
    }

    fn payload(&mut self, write: &ModbusWrite) -> WritePayload {
        let count = usize::from(write.count);
        let mut bytes: Vec<u8> = match write.place.field {
            FieldType::RegisterBit(bit) => {
                let (mask, on) = (1u16 << bit, self.rng.bool());
                [(!mask).to_be_bytes(), if on { mask } else { 0 }.to_be_bytes()].concat()
            }
            _ if write.table.is_bits() => (0..count.div_ceil(8)).map(|_| self.rng.u8(..)).collect(),
            _ => (0..count * 2).map(|_| self.rng.u8(..)).collect(),
        };
        if write.table.is_bits()
            && !count.is_multiple_of(8)
            && let Some(last) = bytes.last_mut()
        {
            *last &= (1 << (count % 8)) - 1;
        }
        WritePayload::new(&bytes).unwrap_or_default()
    }

    /// A device was written to.
    ///
    /// # Errors
    /// When no order allows it.
    pub fn seen(&mut self, seen: &Seen) -> Result<(), String> {
        if let Place::Frame { can_id } = seen.place {
            return self.frames.seen(seen, can_id, &mut self.open, &self.plans);
        }
        if let Place::Pdo { node, before, changes, what } = seen.place {
            return self.pdos.seen(seen, (node, before, changes, what), &mut self.open);
        }
        let mut fitting: Vec<&mut Open> = self.open.iter_mut().filter(|open| open.is(seen)).collect();
        if fitting.is_empty() {
            return Err(format!("a device was written to without an open order, or too late: {seen:?}"));
        }
        let one_of_several = fitting.len() > 1;
        for open in &mut fitting {
            if matches!(seen.place, Place::Order { .. }) && open.frames > 0 {
                return Err(format!("a device was told twice: {seen:?}"));
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
    pub fn settle(&mut self, now: u64, stalled: u64, ended: bool) -> Result<(), String> {
        while let Ok(answer) = self.answers.pop() {
            let at = self.open.iter().position(|open| open.order.id == answer.id);
            let open = match at {
                Some(at) => self.open.remove(at),
                None => return Err(format!("write {} was answered twice: {:?}", answer.id, answer.outcome)),
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
            return Err(format!("write {} of {:?} has no answer at {now}", open.order.id, open.order.deadline));
        }
        Ok(())
    }

    fn check(&self, open: &Open, answer: &WriteAnswer, stalled: u64) -> Result<(), String> {
        let wrong = |what: &str| {
            let (id, outcome, frames) = (answer.id, answer.outcome, open.frames);
            Err(format!(
                "write {id}: {what}; {outcome:?} at {:?}, {frames} frames, due {:?}",
                answer.at, open.order.deadline
            ))
        };
        if answer.at.0 > latest(open, stalled) {
            return wrong("answered too late");
        }
        let reached =
            matches!(answer.outcome, WriteOutcome::Done | WriteOutcome::ReadBackDiffers | WriteOutcome::NotReadBack);
        // Of a PDO nothing is confirmed, but what is read back.
        let differs = open.pdo.is_some() && answer.outcome == WriteOutcome::ReadBackDiffers;
        if reached && !open.confirmed && !(differs && open.carried) {
            return wrong("told as done, and never confirmed");
        }
        if answer.outcome == WriteOutcome::Unconfirmed && !open.carried {
            return wrong("told as sent, and never was");
        }
        // What a node's PDOs carry, it says when it is set up.
        if answer.outcome == WriteOutcome::NotWritable && open.pdo.is_none() {
            return wrong("every order names a write of its plan");
        }
        let outdated = open.order.generation != self.generation;
        if !answer.outcome.was_sent() && open.frames > 0 && !open.one_of_several {
            return wrong("told as not sent, and the device has it");
        }
        if answer.outcome == WriteOutcome::PlanChanged && !outdated {
            return wrong("its plan is still there");
        }
        Ok(())
    }
}

fn latest(open: &Open, stalled: u64) -> u64 {
    open.order.deadline.0 + ANSWER_SLACK_NS + (stalled - open.stalled)
}

/// Where a write to a CANopen node goes, by SDO or by PDO.
fn object_of(protocol: &LinkProtocolPlan, slot: usize, by_pdo: bool) -> Option<(u8, u16, u8)> {
    let LinkProtocolPlan::CanOpen(canopen) = protocol else { return None };
    let write = canopen.writes.get(slot).filter(|write| write.by_pdo == by_pdo)?;
    Some((canopen.nodes.get(usize::from(write.node))?.id, write.object.index, write.object.sub))
}
