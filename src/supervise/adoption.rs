//! Bringing a new plan to executors that run.

use rtrb::{Consumer, Producer, RingBuffer};

use super::floor::{Floor, prefaulted_ring, ring_slots};
use super::orders;
use crate::lane::Image;
use crate::link::FieldLink;
use crate::link::connector::{Command, Target};
use crate::plan::{self, Change, Plan};
use crate::rt::{Adoption, LinkChange, thread as rt_thread};
use crate::tag::{LaneId, LinkId, Sample, Status};

type Message = Box<Adoption<FieldLink>>;

/// The ends of the rings through which plans go to one executor and come back.
pub struct Ends {
    adoptions: Producer<Message>,
    adopted: Consumer<Message>,
    is_waiting: bool,
    /// It has adopted a plan that others may still have to adopt.
    has_changed: bool,
}

impl Ends {
    /// And the executor's ends.
    pub fn new() -> (Ends, Consumer<Message>, Producer<Message>) {
        // One is under way at a time.
        let (adoptions, to_executor) = RingBuffer::new(1);
        let (from_executor, adopted) = RingBuffer::new(1);
        (Ends { adoptions, adopted, is_waiting: false, has_changed: false }, to_executor, from_executor)
    }
}

/// Slots for the tags that `plan` has and `old` had not.
pub fn prepare_image(image: &Image, plan: &Plan, old: &Plan) {
    for (id, tag) in plan.tags.iter().filter(|(id, _)| !old.tags.contains(*id)) {
        image.prepare(id.index(), tag.ty.long_bytes_max(), Status::BAD_WAITING_FOR_INITIAL_DATA.0);
    }
}

impl Floor {
    /// Begins to change from `old` to `new`; [`Floor::has_adopted`] tells the end. Executors whose work stays as it is are not touched. Each of the others gets a
    /// new ring; its reader goes to `next_ring` before the first sample can be in it. `target`: see [`LinkChange`].
    /// The change before must have ended.
    pub fn adopt(
        &mut self,
        old: &Plan,
        new: &Plan,
        target: u32,
        mut next_ring: impl FnMut(LaneId, Consumer<Sample>),
    ) -> Vec<(LinkId, Change)> {
        self.counters.prepare(new, old);
        prepare_image(&self.image, new, old);
        if self.memory_is_locked {
            self.image.regions().chain(self.counters.regions()).for_each(rt_thread::lock_region);
        }
        let changes = plan::changes(old, new);
        self.tell_connector(&changes, new, target);
        for (at, executor) in new.lanes.iter().enumerate() {
            let id = LaneId(at as u16);
            let of_executor = |link: &LinkId| {
                new.links.get(*link).or_else(|| old.links.get(*link)).is_some_and(|link| link.lane == id)
            };
            let own: Vec<(LinkId, Change)> = changes.iter().filter(|(link, _)| of_executor(link)).copied().collect();
            if plan::executor_stays(id, &own, old, new) {
                continue;
            }
            let links = own.into_iter().map(|(link, change)| link_change(link, change, target, old, new)).collect();
            let (ring, samples) = prefaulted_ring(ring_slots(executor), self.memory_is_locked);
            let adoption = Box::new(Adoption::new(id, old, new, links, ring));
            if self.memory_is_locked {
                adoption.regions().for_each(rt_thread::lock_region);
                adoption.links().flat_map(FieldLink::regions).for_each(rt_thread::lock_region);
            }
            next_ring(id, samples);
            let pushed = self.ends[at].adoptions.push(adoption);
            debug_assert!(pushed.is_ok(), "the change before has not ended");
            self.ends[at].is_waiting = true;
        }
        orders::lock(&self.orders).will_adopt(new);
        changes
    }

    /// Whether every executor has adopted what it was given; what that replaced is freed here. An executor that
    /// runs adopts within [`crate::limits::ADOPTION_PATIENCE`] and a little. From then on, writes are for the new plan.
    pub fn has_adopted(&mut self) -> bool {
        for end in &mut self.ends {
            if end.is_waiting && end.adopted.pop().is_ok() {
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
    fn tell_connector(&self, changes: &[(LinkId, Change)], new: &Plan, target: u32) {
        let Some(connector) = &self.connector else { return };
        for (link, change) in changes {
            let command = match change {
                Change::Work => Command::Hurry { link: *link },
                Change::New => Command::add(new, *link, target),
                Change::Target => {
                    Command::Retarget { link: *link, target: Target::of(&new.links[*link].protocol, target) }
                }
                Change::Gone => Command::Remove { link: *link },
            };
            // One that has ended shows as links that stay down; it does not end by itself.
            if connector.tell(command).is_err() {
                tracing::error!("the connector has ended: no link is connected any more; start the gateway again");
                return;
            }
        }
    }
}

fn link_change(id: LinkId, change: Change, target: u32, old: &Plan, new: &Plan) -> LinkChange<FieldLink> {
    let link = match change {
        Change::Work => Some(FieldLink::following(id, new, old)),
        Change::Target | Change::New => Some(FieldLink::new(id, new)),
        Change::Gone => None,
    };
    LinkChange { id, link: link.map(Box::new), takes_over: change == Change::Work, target }
}
