//! Bringing a new plan to executors that run.

use std::sync::Arc;

use rtrb::Consumer;

use super::floor::{Floor, long_bytes_max, prefaulted_ring, ring_slots};
use super::orders;
use crate::config::Suppress;
use crate::connector::{Command, Target};
use crate::door::NewPlan;
use crate::lane::{EventRates, ReportFilter, SampleWriter};
use crate::plan;
use crate::plan::{Change, Plan};
use crate::protocol::kinds::FieldLink;
use crate::rt::{Adoption, LinkChange, thread as rt_thread};
use crate::supervise::ends::{To, prepare_image};
use crate::tag::{LaneId, LinkId, Sample};

impl Floor {
    /// Begins to change from `old` to `new`; [`Floor::has_adopted`] tells the end. Executors whose work stays as it is are not touched. Each of the others gets a
    /// new ring; its reader goes to `next_ring` before the first sample can be in it. `target`: see [`LinkChange`].
    /// The change before must have ended.
    pub fn adopt(
        &mut self,
        old: &Plan,
        new: &Arc<Plan>,
        target: u32,
        mut next_ring: impl FnMut(LaneId, Consumer<Sample>),
    ) -> Vec<(LinkId, Change)> {
        self.counters.prepare(new, old);
        prepare_image(&self.image, new, old);
        if self.memory_is_locked {
            self.image.regions().chain(self.counters.regions()).for_each(rt_thread::lock_region);
        }
        let changes = plan::changes(old, new);
        let is_field = |plan: &Plan, link| plan.links.get(link).is_some_and(|link| link.protocol.source().is_none());
        let of_field = changes.iter().filter(|(link, _)| is_field(old, *link) || is_field(new, *link));
        self.tell_connector(of_field, new, target);
        for (at, lane) in new.lanes.iter().enumerate() {
            let id = LaneId(at as u16);
            let of_lane = |link: &LinkId| {
                new.links.get(*link).or_else(|| old.links.get(*link)).is_some_and(|link| link.lane == id)
            };
            let own: Vec<(LinkId, Change)> = changes.iter().filter(|(link, _)| of_lane(link)).copied().collect();
            if plan::lane_stays(id, &own, old, new) {
                continue;
            }
            let locked = self.memory_is_locked;
            let (ring, samples) = prefaulted_ring(ring_slots(lane), locked && lane.owner.cpu().is_some());
            next_ring(id, samples);
            let Some(ends) = self.ends.get_mut(at) else { continue };
            match &mut ends.to {
                To::Executor { adoptions, .. } => {
                    let change = |(link, change)| link_change(link, change, target, old, new);
                    let links = own.into_iter().map(change).collect();
                    let adoption = Box::new(Adoption::new(id, old, new, links, ring));
                    if locked {
                        adoption.regions().for_each(rt_thread::lock_region);
                        adoption.links().flat_map(FieldLink::regions).for_each(rt_thread::lock_region);
                    }
                    let pushed = adoptions.push(adoption);
                    debug_assert!(pushed.is_ok(), "the previous change is not complete");
                }
                To::Source(door) => door.adopt(NewPlan {
                    plan: new.clone(),
                    ring,
                    scratch: SampleWriter::scratch(long_bytes_max(new)),
                    filter: ReportFilter::following(id, Suppress::Ring, old, new),
                    rates: EventRates::new(id, new),
                }),
            }
            ends.is_waiting = true;
        }
        orders::lock(&self.orders).will_adopt(new);
        changes
    }

    /// Whether every executor has adopted what it was given; what that replaced is freed here. An executor that
    /// runs adopts within [`crate::limits::ADOPTION_PATIENCE`] and a little. From then on, writes are for the new plan.
    pub fn has_adopted(&mut self) -> bool {
        for end in &mut self.ends {
            if end.is_waiting && end.has_adopted() {
                (end.is_waiting, end.has_changed) = (false, true);
            }
        }
        if self.ends.iter().any(|end| end.is_waiting) {
            return false;
        }
        let changed = self.ends.iter_mut().map(|end| std::mem::take(&mut end.has_changed));
        orders::lock(&self.orders).have_adopted(changed);
        true
    }

    /// Before the executors know: a connection that one of them gives back for it is then understood.
    fn tell_connector<'c>(&self, changes: impl Iterator<Item = &'c (LinkId, Change)>, new: &Plan, target: u32) {
        let Some(connector) = &self.connector else { return };
        for (link, change) in changes {
            let command = match change {
                Change::Work => Some(Command::Hurry { link: *link }),
                Change::New => Command::add(new, *link, target),
                Change::Target => Target::of(&*new.links[*link].protocol, target)
                    .map(|target| Command::Retarget { link: *link, target }),
                Change::Gone => Some(Command::Remove { link: *link }),
            };
            let Some(command) = command else { continue };
            // One that has ended shows as links that stay down; it does not end by itself.
            if connector.tell(command).is_err() {
                tracing::error!("the connector has ended: links no longer connect; restart the gateway");
                return;
            }
        }
    }
}

fn link_change(id: LinkId, change: Change, target: u32, old: &Plan, new: &Plan) -> LinkChange<FieldLink> {
    let link = match change {
        Change::Work => FieldLink::following(id, new, old),
        Change::Target | Change::New => FieldLink::new(id, new),
        Change::Gone => None,
    };
    LinkChange { id, link: link.map(Box::new), takes_over: change == Change::Work, target }
}
