//! Going on under another plan: the connection, what is known of messages, values that wait for their beat, what is
//! sent.

use super::{CanLink, region_of};
use crate::plan::can::{CanCase, CanFramePlan, CanPlan, CanTransmitPlan};
use crate::rt::{Floor, World, WriteOutcome};
use crate::tag::{Nanos, Status};

/// No such thing in the plan before.
const NEW: u32 = u32::MAX;

/// Where the things of a plan were in the plan before.
pub struct Handover {
    cases: Box<[u32]>,
    decodes: Box<[u32]>,
    transmits: Box<[u32]>,
}

impl Handover {
    pub fn between(before: &CanPlan, after: &CanPlan) -> Handover {
        let place = |found: Option<usize>| found.map_or(NEW, |at| at as u32);
        let mut cases = vec![NEW; after.cases.len()].into_boxed_slice();
        for message in &after.messages {
            let Some(old) = before.messages.iter().find(|old| old.frames == message.frames) else { continue };
            for at in message.cases.clone() {
                let same = |old_at: &u32| {
                    same_conditions((before, &before.cases[*old_at as usize]), (after, &after.cases[at as usize]))
                };
                cases[at as usize] = old.cases.clone().find(same).unwrap_or(NEW);
            }
        }
        let mut tags: Vec<(u32, u32)> = before.decodes.iter().zip(0..).map(|(decode, at)| (decode.tag.0, at)).collect();
        tags.sort_unstable();
        let decode = |tag: u32| tags.binary_search_by_key(&tag, |(tag, _)| *tag).map_or(NEW, |at| tags[at].1);
        Handover {
            cases,
            decodes: after.decodes.iter().map(|new| decode(new.tag.0)).collect(),
            transmits: after
                .transmits
                .iter()
                .map(|new| {
                    let same = |old: &CanTransmitPlan| {
                        (old.id, old.bytes, frames(before, old)) == (new.id, new.bytes, frames(after, new))
                    };
                    place(before.transmits.iter().position(same))
                })
                .collect(),
        }
    }

    /// Every stretch of memory that the executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        [region_of(&self.cases), region_of(&self.decodes), region_of(&self.transmits)].into_iter()
    }
}

fn frames<'p>(plan: &'p CanPlan, transmit: &CanTransmitPlan) -> &'p [CanFramePlan] {
    plan.frames.get(transmit.frames.start as usize..transmit.frames.end as usize).unwrap_or_default()
}

fn same_conditions((a, a_case): (&CanPlan, &CanCase), (b, b_case): (&CanPlan, &CanCase)) -> bool {
    let of = |plan: &CanPlan, case: &CanCase| {
        let conditions = &plan.conditions[case.conditions.start as usize..case.conditions.end as usize];
        let ranges =
            |c: &crate::plan::can::Condition| plan.ranges[c.ranges.start as usize..c.ranges.end as usize].to_vec();
        conditions.iter().map(|condition| (condition.place, ranges(condition))).collect::<Box<[_]>>()
    };
    of(a, a_case) == of(b, b_case)
}

impl CanLink {
    pub(super) fn continue_from<W: World>(&mut self, old: &mut CanLink, now: Nanos, floor: &mut Floor<W>) {
        old.end_writes(now, WriteOutcome::PlanChanged, WriteOutcome::NoReply, floor);
        self.connection = old.connection.take();
        self.clock = old.clock;
        self.dropped = old.dropped;
        self.bus_off = old.bus_off;
        self.watch.started = old.watch.started;
        self.lost_for_good_at = old.lost_for_good_at;
        // A sweep that was under way begins anew: it gives nobody what he has already.
        self.sweep = old.sweep.map(|sweep| super::Sweep { next: 0, ..sweep });
        if self.sweep.is_none() && self.is_out() && self.lost_for_good_at == Nanos::NEVER && self.watch.started {
            self.sweep = Some(super::Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0, since: now });
        }
        let Some(handover) = self.handover.take() else { return };
        for (case, from) in self.cases.iter_mut().zip(&handover.cases) {
            if let Some(from) = old.cases.get(*from as usize) {
                *case = *from;
            }
        }
        for (at, from) in handover.decodes.iter().enumerate() {
            let (Some(latest), Some(before)) = (old.latest.get(*from as usize), old.plan.decodes.get(*from as usize))
            else {
                continue;
            };
            let after = &self.plan.decodes[at];
            // A text's value is a place in the old plan, unless its texts are the same.
            let same = before.ty == after.ty && (!after.ty.is_long() || self.plan.texts == old.plan.texts);
            if same {
                self.latest[at] = *latest;
            }
        }
        for (at, from) in handover.transmits.iter().enumerate() {
            if let (Some(sent), Some(before)) = (old.sent.get(*from as usize), old.plan.transmits.get(*from as usize)) {
                let after = self.plan.transmits.get(at).map_or(0..0, |plan| plan.frames.clone());
                for (to, from) in after.zip(before.frames.clone()) {
                    if let (Some(to), Some(from)) = (self.frames.get_mut(to as usize), old.frames.get(from as usize)) {
                        *to = *from;
                    }
                }
                self.sent[at] = *sent;
                self.sent[at].change_due = Nanos::NEVER;
            }
        }
        if self.connection.is_some() {
            for (sent, plan) in self.sent.iter_mut().zip(&self.plan.transmits) {
                sent.due = match plan.period {
                    Some(period) if sent.due != Nanos::NEVER => sent.due.min(now + period),
                    Some(_) => now,
                    None => Nanos::NEVER,
                };
            }
        }
        self.handover = Some(handover);
    }
}
