//! Writes: by SDO, one after the other for each node, answered with what the node says.

use super::CanOpenLink;
use super::node::Job;
use super::sdo::{AbortCode, Outcome};
use crate::config::CanOpenField;
use crate::plan::CanOpenWrite;
use crate::rt::{Floor, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload};
use crate::tag::Nanos;

impl CanOpenLink {
    /// Keeps an order for its turn.
    pub(super) fn take_order(&mut self, order: &WriteOrder, now: Nanos) -> Result<(), WriteOutcome> {
        let Some(write) = self.plan.writes.get(order.slot as usize) else { return Err(WriteOutcome::NotWritable) };
        if order.payload.bytes().is_empty() {
            return Err(WriteOutcome::NotWritable);
        }
        let Some(node) = self.nodes.get_mut(usize::from(write.node)) else { return Err(WriteOutcome::NotWritable) };
        if self.connection.is_none() || !node.is_running() {
            return Err(WriteOutcome::NoConnection);
        }
        if now >= order.deadline {
            return Err(WriteOutcome::NotSent);
        }
        let Some(free) = node.orders.iter_mut().find(|place| place.is_none()) else { return Err(WriteOutcome::Busy) };
        *free = Some(*order);
        Ok(())
    }

    fn write_of(&self, order: &WriteOrder) -> Option<&CanOpenWrite> {
        self.plan.writes.get(order.slot as usize)
    }

    /// Begins the write that came first. False: none waits.
    pub(super) fn next_write(&mut self, at: usize, now: Nanos) -> bool {
        let Some(order) = self.nodes[at].first_order().and_then(|place| self.nodes[at].orders[place]) else {
            return false;
        };
        let Some(write) = self.write_of(&order).copied() else { return false };
        let node = &mut self.nodes[at];
        let timeout = self.plan.config.timeout.min(order.deadline.since(now));
        let block = write.block && !node.no_blocks;
        if !node.client.download(write.object, order.payload.bytes(), block, now, timeout) {
            return false;
        }
        (node.job, node.job_sent) = (Job::Write, now);
        true
    }

    pub(super) fn write_ended<W: World>(
        &mut self,
        at: usize,
        job: Job,
        outcome: Outcome,
        now: Nanos,
        floor: &mut Floor<W>,
    ) {
        let Some(place) = self.nodes[at].first_order() else { return };
        let Some(order) = self.nodes[at].orders[place] else { return };
        let write = self.write_of(&order).copied();
        let node = &mut self.nodes[at];
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
                let timeout = self.plan.config.timeout.min(order.deadline.since(now));
                node.client.upload(write.object, write.block && !node.no_blocks, now, timeout);
                (node.job, node.job_sent) = (Job::ReadBack, now);
                return;
            }
            (Job::Write, Outcome::Done) if order.read_back => WriteOutcome::NotReadBack,
            (Job::Write, Outcome::Done) => WriteOutcome::Done,
            (Job::Write, Outcome::Aborted(code)) => WriteOutcome::Refused(code.0),
            (Job::Write, Outcome::Broken(_)) => WriteOutcome::WrongReply,
            (Job::Write, Outcome::TimedOut) => WriteOutcome::NoReply,
            (_, Outcome::Done) if is_same(node.client.value(), order.payload.bytes(), write) => WriteOutcome::Done,
            (_, Outcome::Done) => WriteOutcome::ReadBackDiffers,
            _ => WriteOutcome::NotReadBack,
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

    /// Orders whose time is over. One that is under way is given up with its transfer.
    pub(super) fn expire_orders<W: World>(&mut self, at: usize, now: Nanos, floor: &mut Floor<W>) {
        let under_way =
            self.nodes[at].first_order().filter(|_| matches!(self.nodes[at].job, Job::Write | Job::ReadBack));
        for place in 0..self.nodes[at].orders.len() {
            let node = &mut self.nodes[at];
            let Some(order) = node.orders[place].filter(|order| now >= order.deadline) else { continue };
            let outcome = match (under_way == Some(place), node.job) {
                (true, Job::ReadBack) => WriteOutcome::NotReadBack,
                (true, _) => WriteOutcome::NoReply,
                (false, _) => WriteOutcome::NotSent,
            };
            node.orders[place] = None;
            if under_way == Some(place) {
                node.client.abandon(now);
                node.job = Job::None;
                self.withdraw(at);
            }
            floor.answer(WriteAnswer { id: order.id, outcome, at: now, back: WritePayload::default() });
        }
    }

    /// Answers all orders of a node that is gone: the one under way with `sent`, the others with `waiting`.
    pub(super) fn end_orders<W: World>(
        &mut self,
        at: usize,
        sent: WriteOutcome,
        waiting: WriteOutcome,
        now: Nanos,
        floor: &mut Floor<W>,
    ) {
        let node = &mut self.nodes[at];
        let under_way = node.first_order().filter(|_| matches!(node.job, Job::Write | Job::ReadBack));
        for (place, order) in node.orders.iter_mut().enumerate() {
            let Some(order) = order.take() else { continue };
            let outcome = match (under_way == Some(place), node.job) {
                (true, Job::ReadBack) => WriteOutcome::NotReadBack,
                (true, _) => sent,
                (false, _) => waiting,
            };
            floor.answer(WriteAnswer { id: order.id, outcome, at: now, back: WritePayload::default() });
        }
        if under_way.is_some() {
            node.job = Job::None;
            self.withdraw(at);
        }
    }
}

/// Whether a node holds what was written: of a text, up to its first NUL.
fn is_same(back: &[u8], written: &[u8], write: Option<CanOpenWrite>) -> bool {
    let text = write.is_some_and(|write| matches!(write.decode.field, CanOpenField::Text(_)));
    let end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == 0).filter(|_| text).unwrap_or(bytes.len());
    back.get(..end(back)) == written.get(..end(written))
}
