//! Going on under another plan: the connection, what is known of messages, values that wait for their beat, what is
//! sent.

use super::CanLink;
use super::receive::hold;
use crate::lane::{Frame, region_of};
use crate::protocol::can::plan::model::{CanCase, CanDecode, CanFramePlan, CanPlan, CanTransmitPlan};
use crate::rt::{StepContext, World, WriteOutcome};
use crate::tag::{CanFault, Cause, Nanos, Status};

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
        let (cases_before, cases_after) = (cases_of(before), cases_of(after));
        // What was read by another address or scale is no value of the tag as it is now. A text's value is a place in
        // the plan, which stays only where all texts are the same.
        let is_same = |from: u32, at: usize| {
            let (Some(old), Some(new)) = (before.decodes.get(from as usize), after.decodes.get(at)) else {
                return false;
            };
            cases[cases_after[at] as usize] == cases_before[from as usize]
                && is_read_alike(old, new)
                && (!new.ty.is_long() || before.texts == after.texts)
        };
        let decode = |tag: u32| tags.binary_search_by_key(&tag, |(tag, _)| *tag).map_or(NEW, |at| tags[at].1);
        let decodes = after
            .decodes
            .iter()
            .enumerate()
            .map(|(at, new)| Some(decode(new.tag.0)).filter(|from| is_same(*from, at)).unwrap_or(NEW))
            .collect();
        Handover {
            cases,
            decodes,
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

/// By decode: its case.
fn cases_of(plan: &CanPlan) -> Vec<u32> {
    let mut cases = vec![NEW; plan.decodes.len()];
    for (at, case) in plan.cases.iter().enumerate() {
        cases[case.decodes.start as usize..case.decodes.end as usize].fill(at as u32);
    }
    cases
}

fn is_read_alike(before: &CanDecode, after: &CanDecode) -> bool {
    let how = |decode: &CanDecode| (decode.place, decode.ty, decode.scaled, decode.scaling, decode.special);
    how(before) == how(after)
}

fn frames<'p>(plan: &'p CanPlan, transmit: &CanTransmitPlan) -> &'p [CanFramePlan] {
    plan.frames.get(transmit.frames.start as usize..transmit.frames.end as usize).unwrap_or_default()
}

fn same_conditions((a, a_case): (&CanPlan, &CanCase), (b, b_case): (&CanPlan, &CanCase)) -> bool {
    let of = |plan: &CanPlan, case: &CanCase| {
        let conditions = &plan.conditions[case.conditions.start as usize..case.conditions.end as usize];
        let ranges = |c: &crate::protocol::can::plan::model::Condition| {
            plan.ranges[c.ranges.start as usize..c.ranges.end as usize].to_vec()
        };
        conditions.iter().map(|condition| (condition.place, ranges(condition))).collect::<Box<[_]>>()
    };
    of(a, a_case) == of(b, b_case)
}

impl CanLink {
    pub(super) fn continue_from<W: World>(&mut self, old: &mut CanLink, now: Nanos, floor: &mut StepContext<W>) {
        old.end_writes(now, WriteOutcome::PlanChanged, WriteOutcome::NoReply, floor);
        self.connection = old.connection.take();
        self.clock = old.clock;
        self.dropped = old.dropped;
        self.bus_off = old.bus_off;
        self.watch.started = old.watch.started;
        self.lost_for_good_at = old.lost_for_good_at;
        // A sweep that was under way begins anew: it gives nobody what he has already.
        self.sweep = old.sweep.map(|sweep| super::watch::Sweep { next: 0, ..sweep });
        if self.sweep.is_none() && self.is_out() && self.lost_for_good_at == Nanos::NEVER && self.watch.started {
            self.sweep = Some(super::watch::Sweep { status: Status::BAD_NO_COMMUNICATION, next: 0, since: now });
        }
        let Some(handover) = self.handover.take() else { return };
        for (case, from) in self.cases.iter_mut().zip(&handover.cases) {
            if let Some(from) = old.cases.get(*from as usize) {
                *case = *from;
            }
        }
        for (at, from) in handover.decodes.iter().enumerate() {
            let CanLink { plan, latest, scans, .. } = &mut *self;
            if let Some(before) = old.latest.get(*from as usize) {
                latest[at] = *before;
                continue;
            }
            // What the image has of it is in doubt until its message comes, which may never be.
            let decode = &plan.decodes[at];
            let cycle = scans[usize::from(decode.scan_at)].cycle;
            let frame = Frame { group: decode.group, cycle, t: now.into() };
            floor.sink.explain(decode.tag, None);
            let why = (Status::UNCERTAIN_LAST_USABLE, Some(Cause::Can(CanFault::Never)));
            hold(plan, decode, &mut latest[at], frame, why, floor);
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
        floor.sink.flush();
        self.handover = Some(handover);
    }
}
