//! Writes by PDO: what a node has for them at its start, when they may go, and what becomes of them.

use super::node::{By, Job, Order, Stage};
use super::rpdo::{Outgoing, Spot};
use super::{CanOpenLink, Owner, values};
use crate::limits::{CANOPEN_READ_BACK_PAUSE, WRITE_HAND_OVER};
use crate::protocol::canopen::model::{CanOpenField, NodeWatching};
use crate::protocol::canopen::plan::{BootStep, CanOpenWrite};
use crate::rt::{NodeEvent, StepContext, World, WriteAnswer, WriteOutcome, WritePayload};
use crate::tag::Nanos;

use super::nmt::NodeState;
use super::pdo::Place;

impl CanOpenLink {
    /// A node has told, or not, what one of its RPDOs carries, or what an object holds that one of them carries.
    pub(super) fn rpdo_answered<W: World>(
        &mut self,
        at: usize,
        step: u16,
        part: u8,
        is_there: bool,
        floor: &mut StepContext<W>,
    ) {
        let node = &mut self.nodes[at];
        let Some(planned) = self.plan.nodes[at].steps.get(usize::from(step)) else { return };
        let (BootStep::ReadRpdo(number) | BootStep::ReadImage(number)) = planned else { return };
        let Some(rpdo) = node.rpdos.get_mut(usize::from(*number)) else { return };
        let value = values::number(node.client.value()).filter(|_| is_there);
        if matches!(planned, BootStep::ReadRpdo(_)) {
            rpdo.learn(part, value);
            return;
        }
        let Some((object, place)) = rpdo.object(part) else { return };
        let is_whole = node.client.value().len() * 8 >= usize::from(place.bits);
        match value.filter(|_| is_whole) {
            Some(raw) => rpdo.follow(place, raw),
            None => self.tell(at, NodeEvent::Untold { object }, floor),
        }
    }

    /// RPDOs whose identifier is somebody else's are not sent.
    pub(super) fn check_rpdos(&mut self, at: usize) {
        for rpdo in &mut self.nodes[at].rpdos {
            let owner = self.owners.get(usize::from(rpdo.map.cob_id)).copied().unwrap_or(Owner::Nobody);
            // What CiA 301 leaves to PDOs (table 41).
            rpdo.settle(owner == Owner::Nobody && (0x181..0x580).contains(&rpdo.map.cob_id));
        }
    }

    /// Finds the place of one of a node's writes by PDO.
    pub(super) fn bind_write<W: World>(&mut self, at: usize, number: usize, floor: &mut StepContext<W>) {
        let write = self.plan.nodes[at].pdo_writes.get(number).and_then(|slot| self.plan.writes.get(*slot as usize));
        let Some(CanOpenWrite { object, decode, .. }) = write.copied() else { return };
        let node = &mut self.nodes[at];
        let found = (0..).zip(&node.rpdos).find_map(|(rpdo, own)| {
            let place = part_of(decode.field, own.place_of(object)?)?;
            Some(Spot { rpdo, place })
        });
        if let Some(spot) = node.spots.get_mut(number) {
            *spot = found;
        }
        if found.is_none() {
            self.tell(at, NodeEvent::NotMapped { object }, floor);
        }
    }

    /// Whether a node takes PDOs: as it says itself, or, if nothing watches it, as it was told.
    fn is_operational(&self, at: usize) -> bool {
        let (node, plan) = (&self.nodes[at], &self.plan.nodes[at]);
        let told = match (plan.watching, node.state) {
            (_, Some(NodeState::Operational)) => true,
            (NodeWatching::Nothing, None | Some(NodeState::BootUp)) => plan.start,
            _ => false,
        };
        told && node.is_running() && !node.late && node.command.is_none()
    }

    /// Where a write by PDO goes, if it can go there now.
    pub(super) fn spot_of(&self, at: usize, slot: u32) -> Result<Spot, WriteOutcome> {
        let (node, plan) = (&self.nodes[at], &self.plan.nodes[at]);
        let number = plan.pdo_writes.binary_search(&slot).map_err(|_| WriteOutcome::NotWritable)?;
        let spot = node.spots.get(number).copied().flatten().ok_or(WriteOutcome::NotWritable)?;
        let rpdo = node.rpdos.get(usize::from(spot.rpdo)).ok_or(WriteOutcome::NotWritable)?;
        if !self.is_operational(at) {
            return Err(WriteOutcome::NotOperational);
        }
        if !rpdo.is_complete(spot.place.in_frame()) {
            return Err(WriteOutcome::NotWritable);
        }
        Ok(spot)
    }

    /// Whether one of a PDO's objects is just being written by SDO: what was there before would undo it.
    fn is_being_written(&self, at: usize, number: usize) -> bool {
        let node = &self.nodes[at];
        let under_way = node.under_way.filter(|_| node.job == Job::Write).and_then(|place| node.orders[place]);
        let written = under_way.and_then(|order| self.plan.writes.get(order.order.slot as usize));
        written.is_some_and(|write| node.rpdos.get(number).is_some_and(|own| own.place_of(write.object).is_some()))
    }

    /// When a PDO is to be sent; never, if nothing is to go with it or it may not go.
    fn pdo_due(&self, at: usize, number: usize) -> Nanos {
        let node = &self.nodes[at];
        let may_go = self.is_operational(at) && !self.is_being_written(at, number);
        let Some(rpdo) = node.rpdos.get(number).filter(|_| may_go) else { return Nanos::NEVER };
        let waits = |order: &Order| match (order.by, order.stage) {
            (By::Pdo(spot), Stage::Waiting) => {
                usize::from(spot.rpdo) == number && rpdo.is_complete(spot.place.in_frame())
            }
            _ => false,
        };
        let repeat = if rpdo.is_complete(0) { rpdo.repeat_at().max(rpdo.free_at()) } else { Nanos::NEVER };
        if node.orders.iter().flatten().any(waits) { rpdo.free_at().min(repeat) } else { repeat }
    }

    /// When one of a node's PDOs is to be sent.
    pub(super) fn pdos_due(&self, at: usize) -> Nanos {
        (0..self.nodes[at].rpdos.len()).map(|number| self.pdo_due(at, number)).min().unwrap_or(Nanos::NEVER)
    }

    /// The next frame of a PDO that is due, with all that waits for it.
    pub(super) fn next_pdo(&self, now: Nanos) -> Option<Outgoing> {
        for (at, node) in self.nodes.iter().enumerate() {
            for (number, rpdo) in node.rpdos.iter().enumerate() {
                if now < self.pdo_due(at, number) {
                    continue;
                }
                let mut frame = rpdo.begin(at, number);
                for place in node.in_order() {
                    if let Some(Order { order, by: By::Pdo(spot), stage: Stage::Waiting, .. }) = &node.orders[place]
                        && usize::from(spot.rpdo) == number
                        && now + WRITE_HAND_OVER < order.deadline
                    {
                        frame.add(spot.place, values::number(order.payload.bytes()).unwrap_or(0));
                    }
                }
                let frame = rpdo.finish(frame);
                if rpdo.is_complete(frame.written()) && (frame.written() != 0 || now >= rpdo.repeat_at()) {
                    return Some(frame);
                }
            }
        }
        None
    }

    /// A frame is out: what went with it is confirmed by nothing, or by what the node holds.
    pub(super) fn pdo_sent<W: World>(&mut self, frame: &Outgoing, now: Nanos, floor: &mut StepContext<W>) {
        let node = &mut self.nodes[frame.node];
        let Some(rpdo) = node.rpdos.get_mut(frame.rpdo) else { return };
        // The node takes it with the next SYNC, or at once; and has something else to do as well.
        let taken_at = if rpdo.is_synchronous() && self.sync_at != Nanos::NEVER { self.sync_at.max(now) } else { now };
        rpdo.sent(frame, now, taken_at);
        let mut left = frame.written();
        for place in node.in_order() {
            let Some(Order { order, by: By::Pdo(spot), stage: stage @ Stage::Waiting, .. }) = &mut node.orders[place]
            else {
                continue;
            };
            let mask = spot.place.in_frame();
            // Of two for the same bits, the first is in the frame.
            if usize::from(spot.rpdo) != frame.rpdo || left & mask != mask || now + WRITE_HAND_OVER >= order.deadline {
                continue;
            }
            left &= !mask;
            if order.read_back {
                *stage = Stage::Sent { read_at: taken_at + CANOPEN_READ_BACK_PAUSE, reads: 0 };
                continue;
            }
            let outcome = WriteOutcome::Unconfirmed;
            floor.answer(WriteAnswer { id: order.id, outcome, at: now, back: WritePayload::default() });
            node.orders[place] = None;
        }
    }

    /// A node takes no PDOs any more: what waits for one is not sent.
    pub(super) fn refuse_pdos<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        if self.is_operational(at) {
            return;
        }
        for place in &mut self.nodes[at].orders {
            if let Some(Order { order, by: By::Pdo(_), stage: Stage::Waiting, .. }) = place {
                let outcome = WriteOutcome::NotOperational;
                floor.answer(WriteAnswer { id: order.id, outcome, at: now, back: WritePayload::default() });
                *place = None;
            }
        }
    }
}

/// The bits of an object's place that a field has.
fn part_of(field: CanOpenField, place: Place) -> Option<Place> {
    match field {
        CanOpenField::Bit(bit) => {
            (bit < place.bits).then(|| Place { first_bit: place.first_bit.saturating_add(bit), bits: 1 })
        }
        CanOpenField::Bool => matches!(place.bits, 1 | 8).then_some(place),
        field => (u16::from(place.bits) == field.bytes() * 8).then_some(place),
    }
}
