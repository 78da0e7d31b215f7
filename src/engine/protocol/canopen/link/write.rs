//! Writes: by SDO one after the other for each node and no closer together than the plan's spacing, answered with what the
//! node says; by PDO, see [`super::outputs`].

use super::node::{By, Job, Order, Stage};
use super::sdo::Outcome;
use super::{CanOpenLink, values};
use crate::limits::{CANOPEN_READ_BACK_PAUSE, CANOPEN_READ_BACKS_MAX};
use crate::protocol::canopen::model::CanOpenField;
use crate::protocol::canopen::plan::CanOpenWrite;
use crate::rt::{StepContext, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::tag::{AbortCode, Nanos};

impl CanOpenLink {
    /// Keeps an order for its turn.
    pub(super) fn take_order(&mut self, order: &WriteOrder, now: Nanos) -> Result<(), WriteOutcome> {
        let Some(write) = self.plan.writes.get(order.slot as usize) else { return Err(WriteOutcome::NotWritable) };
        if order.payload.bytes().is_empty() {
            return Err(WriteOutcome::NotWritable);
        }
        let at = usize::from(write.node);
        let Some(node) = self.nodes.get(at) else { return Err(WriteOutcome::NotWritable) };
        if self.connection.is_none() || !node.is_running() {
            return Err(WriteOutcome::NoConnection);
        }
        if now >= order.deadline {
            return Err(WriteOutcome::NotSent);
        }
        let by = if write.by_pdo { By::Pdo(self.spot_of(at, order.slot)?) } else { By::Sdo };
        let object = write.object;
        let node = &mut self.nodes[at];
        let beside = (0..).zip(&node.rpdos).find(|(_, rpdo)| rpdo.place_of(object).is_some()).map(|(rpdo, _)| rpdo);
        let free = node.orders.iter_mut().find(|place| place.is_none());
        *free.ok_or(WriteOutcome::Busy)? = Some(Order { order: *order, by, stage: Stage::Waiting, beside });
        Ok(())
    }

    fn write_of(&self, order: &WriteOrder) -> Option<&CanOpenWrite> {
        self.plan.writes.get(order.slot as usize)
    }

    /// Begins the write that came first, or its read-back. False: none waits, or it is not yet time for one.
    pub(super) fn next_write(&mut self, at: usize, now: Nanos) -> bool {
        if now < self.write_at {
            return false;
        }
        let Some(place) = self.nodes[at].first_order(now) else { return false };
        let Some(Order { order, stage, .. }) = self.nodes[at].orders[place] else { return false };
        let Some(write) = self.write_of(&order).copied() else { return false };
        let node = &mut self.nodes[at];
        // The node's own time, also where the order's is over sooner: until then its answer may come.
        let timeout = self.plan.config.timeout;
        let block = write.block && !node.no_blocks;
        let job = match stage {
            Stage::Waiting if node.client.download(write.object, order.payload.bytes(), block, now, timeout) => {
                Job::Write
            }
            Stage::Waiting => return false,
            Stage::Sent { .. } => {
                node.client.upload(write.object, false, now, timeout);
                Job::ReadBack
            }
        };
        (node.job, node.job_sent, node.under_way) = (job, now, Some(place));
        self.write_at = now + self.write_spacing;
        true
    }

    pub(super) fn write_ended<W: World>(
        &mut self,
        at: usize,
        job: Job,
        outcome: Outcome,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let Some(place) = self.nodes[at].under_way.take() else { return };
        let Some(Order { order, stage, .. }) = self.nodes[at].orders[place] else { return };
        let write = self.write_of(&order).copied();
        if let (Job::Write, Some(write)) = (job, write) {
            self.image_of_write(at, &write, &order, outcome);
        }
        let node = &mut self.nodes[at];
        let is_same = outcome == Outcome::Done && is_same(node.client.value(), order.payload.bytes(), write);
        let end = match (job, outcome) {
            // It has no blocks, and has taken nothing of the value: once more in segments.
            (Job::Write, Outcome::Aborted(AbortCode::UNKNOWN_COMMAND))
                if !node.no_blocks && write.is_some_and(|write| write.block) =>
            {
                node.no_blocks = true;
                return;
            }
            (Job::Write, Outcome::Done) if order.read_back && now < order.deadline => {
                let Some(write) = write else { return };
                let timeout = self.plan.config.timeout;
                node.client.upload(write.object, write.block && !node.no_blocks, now, timeout);
                (node.job, node.job_sent, node.under_way) = (Job::ReadBack, now, Some(place));
                return;
            }
            (Job::Write, Outcome::Done) if order.read_back => WriteOutcome::NotReadBack,
            (Job::Write, Outcome::Done) => WriteOutcome::Done,
            (Job::Write, Outcome::Aborted(code)) => WriteOutcome::Refused(code.0),
            (Job::Write, Outcome::Broken(_)) => WriteOutcome::WrongReply,
            (Job::Write, Outcome::TimedOut) => WriteOutcome::NoReply,
            (_, Outcome::Done) if is_same => WriteOutcome::Done,
            (_, Outcome::Done) => match stage {
                // A PDO goes another way through the node than an SDO, and may be the slower one.
                Stage::Sent { reads, .. } if reads + 1 < CANOPEN_READ_BACKS_MAX => {
                    if let Some(order) = &mut node.orders[place] {
                        order.stage = Stage::Sent { read_at: now + CANOPEN_READ_BACK_PAUSE, reads: reads + 1 };
                    }
                    return;
                }
                _ => WriteOutcome::ReadBackDiffers,
            },
            _ => stage.not_read(),
        };
        let back = match end {
            WriteOutcome::Done | WriteOutcome::ReadBackDiffers if job == Job::ReadBack => {
                WritePayload::new(node.client.value()).unwrap_or_default()
            }
            _ => WritePayload::default(),
        };
        node.orders[place] = None;
        floor.answer(WriteAnswer { id: order.id, outcome: end, at: now, back });
    }

    /// What was written by SDO goes along in the PDOs that carry it as well.
    fn image_of_write(&mut self, at: usize, write: &CanOpenWrite, order: &WriteOrder, outcome: Outcome) {
        let written = match outcome {
            Outcome::Aborted(_) => return,
            Outcome::Done => values::number(order.payload.bytes()),
            Outcome::Broken(_) | Outcome::TimedOut => None,
        };
        for rpdo in &mut self.nodes[at].rpdos {
            if let Some(place) = rpdo.place_of(write.object) {
                rpdo.overwritten(place, written);
            }
        }
    }

    /// Orders whose time is over. One that is under way is given up with its transfer.
    pub(super) fn expire_orders<W: World>(&mut self, at: usize, now: Nanos, floor: &mut StepContext<W>) {
        for place in 0..self.nodes[at].orders.len() {
            let Some(order) = self.nodes[at].orders[place].filter(|order| now >= order.order.deadline) else {
                continue;
            };
            let under_way = self.nodes[at].under_way == Some(place);
            if under_way
                && self.nodes[at].job == Job::Write
                && let Some(write) = self.write_of(&order.order).copied()
            {
                self.image_of_write(at, &write, &order.order, Outcome::TimedOut);
            }
            let node = &mut self.nodes[at];
            let outcome = match (under_way, node.job) {
                (true, Job::ReadBack) => order.stage.not_read(),
                (true, _) => WriteOutcome::NoReply,
                (false, _) if order.stage == Stage::Waiting => WriteOutcome::NotSent,
                (false, _) => order.stage.not_read(),
            };
            if under_way {
                node.client.abandon(now);
                (node.job, node.under_way) = (Job::None, None);
            }
            node.orders[place] = None;
            if under_way {
                self.withdraw(at);
            }
            floor.answer(WriteAnswer { id: order.order.id, outcome, at: now, back: WritePayload::default() });
        }
    }

    /// Answers all orders of a node that is gone: the one under way with `sent`, the others with `waiting`.
    pub(super) fn end_orders<W: World>(
        &mut self,
        at: usize,
        sent: WriteOutcome,
        waiting: WriteOutcome,
        now: Nanos,
        floor: &mut StepContext<W>,
    ) {
        let busy = self.nodes[at].under_way.filter(|_| self.nodes[at].job == Job::Write);
        if let Some(Order { order, .. }) = busy.and_then(|place| self.nodes[at].orders[place])
            && let Some(write) = self.write_of(&order).copied()
        {
            self.image_of_write(at, &write, &order, Outcome::TimedOut);
        }
        let node = &mut self.nodes[at];
        let under_way = node.under_way.take();
        for (place, order) in node.orders.iter_mut().enumerate() {
            let Some(order) = order.take() else { continue };
            let outcome = match (under_way == Some(place), node.job) {
                (true, Job::ReadBack) => order.stage.not_read(),
                (true, _) => sent,
                (false, _) if order.stage == Stage::Waiting => waiting,
                (false, _) => order.stage.not_read(),
            };
            floor.answer(WriteAnswer { id: order.order.id, outcome, at: now, back: WritePayload::default() });
        }
        if under_way.is_some() {
            node.job = Job::None;
            self.withdraw(at);
        }
    }
}

impl Stage {
    /// It is not known what the node holds: an SDO it has confirmed, a PDO it has not.
    fn not_read(self) -> WriteOutcome {
        if self == Stage::Waiting { WriteOutcome::NotReadBack } else { WriteOutcome::NoReply }
    }
}

/// Whether a node holds what was written: of a text, up to its first NUL; of a bit, that bit.
fn is_same(back: &[u8], written: &[u8], write: Option<CanOpenWrite>) -> bool {
    let field = write.map(|write| write.decode.field);
    if let Some(CanOpenField::Bit(bit)) = field {
        let held = values::number(back).map(|number| number >> u32::from(bit.min(63)) & 1);
        return held == values::number(written);
    }
    let text = matches!(field, Some(CanOpenField::Text(_)));
    let end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).filter(|_| text).unwrap_or(bytes.len());
    back.get(..end(back)) == written.get(..end(written))
}
