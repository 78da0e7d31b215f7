//! A link under a new plan goes on where it stood under the old one: same socket, and nodes that stay as they are keep
//! running; the others are set up anew.

use std::collections::BTreeMap;

use super::CanOpenLink;
use super::node::{NONE, Phase, Sweep};
use crate::lane::region_of;
use crate::plan::Plan;
use crate::protocol::canopen::model::CanOpenSource;
use crate::protocol::canopen::plan::{CanOpenItem, CanOpenNodePlan, CanOpenPlan};
use crate::rt::{RequestResult, StepContext, World, WriteOutcome};
use crate::tag::{LinkId, Nanos, NodeFault, Status, TagId};

/// Which nodes of two plans are the same; made outside the floor.
pub(super) struct Handover {
    /// New and old place of each.
    nodes: Box<[(u8, u8)]>,
    /// Tags that are read of another object now: what was known of the old one says nothing of it.
    moved: Box<[TagId]>,
}

impl Handover {
    pub fn regions(&self) -> [(*const u8, usize); 2] {
        [region_of(&self.nodes), region_of(&self.moved)]
    }
}

/// Set up and watched in the same way, whatever is read of it.
fn is_same(new: &CanOpenNodePlan, old: &CanOpenNodePlan) -> bool {
    (new.id, new.watching, new.start, &new.steps, &new.tpdos, &new.rpdos)
        == (old.id, old.watching, old.start, &old.steps, &old.tpdos, &old.rpdos)
}

/// What each tag is read of: node and object.
fn sources(plan: &CanOpenPlan) -> BTreeMap<TagId, (u8, CanOpenSource)> {
    let of_item = |item: &CanOpenItem| {
        let node = plan.nodes.get(usize::from(item.node)).map_or(0, |node| node.id);
        let decodes = plan.decodes_of(item).iter();
        decodes.map(move |decode| (decode.tag, (node, item.source))).collect::<Box<[_]>>()
    };
    plan.items.iter().flat_map(of_item).collect()
}

impl CanOpenLink {
    /// As [`CanOpenLink::new`], for a link that goes on with the connection of `before`.
    pub fn following(id: LinkId, own: &CanOpenPlan, plan: &Plan, before: &CanOpenPlan) -> CanOpenLink {
        let mut link = CanOpenLink::new(id, own, plan);
        let place = |(at, node): (usize, &CanOpenNodePlan)| {
            let old = before.nodes.iter().position(|old| is_same(node, old))?;
            Some((at as u8, old as u8))
        };
        let sources = sources(before);
        let moved = |(tag, source): (TagId, (u8, CanOpenSource))| {
            sources.get(&tag).is_some_and(|old| *old != source).then_some(tag)
        };
        link.handover = Some(Handover {
            nodes: own.nodes.iter().enumerate().filter_map(place).collect(),
            moved: self::sources(own).into_iter().filter_map(moved).collect(),
        });
        link
    }

    pub(super) fn continue_from<W: World>(&mut self, old: &mut CanOpenLink, now: Nanos, floor: &mut StepContext<W>) {
        let Some(handover) = self.handover.take() else { return };
        for at in 0..old.nodes.len() {
            old.end_job(at, now, RequestResult::Aborted, floor);
            old.end_orders(at, WriteOutcome::Lost, WriteOutcome::PlanChanged, now, floor);
            old.unqueue(at, floor);
        }
        self.connection = old.connection.take();
        self.dropped = old.dropped;
        self.unsent = old.unsent.take();
        (self.send_again_at, self.write_at) = (old.send_again_at, old.write_at);
        self.lost_for_good_at = old.lost_for_good_at;
        self.starting = old.starting;
        self.behind_at = old.behind_at;
        if self.plan.config.sync == old.plan.config.sync {
            self.sync_at = old.sync_at;
        } else if self.connection.is_some() {
            self.sync_at = self.plan.config.sync.map_or(Nanos::NEVER, |_| now);
        }
        if self.plan.config.heartbeat == old.plan.config.heartbeat {
            self.heartbeat_at = old.heartbeat_at;
        } else if self.connection.is_some() {
            self.heartbeat_at = self.plan.config.heartbeat.map_or(Nanos::NEVER, |_| now);
        }
        for scan in &mut self.scans {
            if let Some(before) = old.scans.iter().find(|before| before.id == scan.id) {
                (scan.nominal, scan.cycle, scan.missed) = (before.nominal, before.cycle, before.missed);
            }
        }
        if self.connection.is_some() {
            for (node, plan) in self.nodes.iter_mut().zip(&self.plan.nodes) {
                node.connected(plan, now);
            }
        }
        handover.moved.iter().for_each(|tag| floor.sink.explain(*tag, None));
        for (new, before) in &handover.nodes {
            self.continue_node(usize::from(*new), &mut old.nodes[usize::from(*before)]);
        }
        // A transfer that was cut short may still be answered.
        for node in &mut self.nodes {
            if old.nodes.iter().any(|before| before.id == node.id && !before.client.is_idle()) {
                node.client.rest(now + self.plan.config.timeout);
            }
        }
        let for_good = self.lost_for_good_at == Nanos::NEVER;
        if self.connection.is_none() {
            self.sweep_all(if for_good { Status::BAD_NO_COMMUNICATION } else { Status::UNCERTAIN_LAST_USABLE });
        }
        self.tell_state(floor);
        old.handover = Some(handover);
    }

    fn continue_node(&mut self, at: usize, old: &mut super::node::Node) {
        let node = &mut self.nodes[at];
        node.command = old.command.take();
        (node.pause, node.failed_boot, node.starting) = (old.pause, old.failed_boot, old.starting);
        (node.heard, node.no_blocks) = (old.heard, old.no_blocks);
        (node.emergency, node.emergencies, node.state) = (old.emergency, old.emergencies, old.state);
        if self.connection.is_none() {
            return;
        }
        match old.phase {
            // Its PDOs stay as they are; what is read of them may be other objects.
            Phase::Running | Phase::Binding { .. } => {
                std::mem::swap(&mut node.tpdos, &mut old.tpdos);
                std::mem::swap(&mut node.rpdos, &mut old.rpdos);
                // Their items were the old plan's: nothing is theirs until the new one's are tied to them.
                for tpdo in &mut node.tpdos {
                    (tpdo.head, tpdo.due) = (NONE, Nanos::NEVER);
                }
                node.phase = Phase::Boot { step: u16::MAX, part: 0, timeouts: 0 };
                node.sweep = None;
            }
            Phase::Away { .. } => {
                node.phase = old.phase;
                node.sweep = Some(Sweep::bad(Status::BAD_NO_COMMUNICATION, NodeFault::Silent));
            }
            Phase::Refused { .. } => {
                node.phase = old.phase;
                node.refusal = old.refusal;
                let fault = node.refusal.map_or(NodeFault::OtherDevice, |(fault, _)| fault);
                node.sweep = Some(Sweep::bad(Status::BAD_CONFIGURATION_ERROR, fault));
            }
            Phase::Boot { .. } => {}
        }
    }
}
