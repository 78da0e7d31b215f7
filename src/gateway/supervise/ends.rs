//! Delivers plans to the thread of each lane.

use rtrb::{Consumer, Producer, RingBuffer};

use crate::door::DoorEnds;
use crate::lane::Image;
use crate::plan::Plan;
use crate::protocol::kinds::FieldLink;
use crate::rt::Adoption;
use crate::tag::Status;

pub type Message = Box<Adoption<FieldLink>>;

/// What brings plans to the thread of one lane.
pub struct Ends {
    pub(super) to: To,
    pub(super) is_waiting: bool,
    /// It has adopted a plan that others may still have to adopt.
    pub(super) has_changed: bool,
}

impl Ends {
    /// Of a source.
    pub fn of_source(door: DoorEnds) -> Ends {
        Ends { to: To::Source(door), is_waiting: false, has_changed: false }
    }

    /// Has a source look whether it is to stop.
    pub fn wake(&self) {
        if let To::Source(door) = &self.to {
            door.wake();
        }
    }

    /// What was handed over is adopted; what that replaced is freed here.
    pub fn has_adopted(&mut self) -> bool {
        match &mut self.to {
            To::Executor { adopted, .. } => adopted.pop().is_ok(),
            To::Source(door) => door.has_adopted(),
        }
    }

    /// Of an executor; and its own ends.
    pub fn new() -> (Ends, Consumer<Message>, Producer<Message>) {
        // One is under way at a time.
        let (adoptions, to_executor) = RingBuffer::new(1);
        let (from_executor, adopted) = RingBuffer::new(1);
        let to = To::Executor { adoptions, adopted };
        (Ends { to, is_waiting: false, has_changed: false }, to_executor, from_executor)
    }
}

pub enum To {
    /// The rings through which plans go to an executor and come back.
    Executor {
        adoptions: Producer<Message>,
        adopted: Consumer<Message>,
    },
    Source(DoorEnds),
}

/// Slots for the tags that `plan` has and `old` had not.
pub fn prepare_image(image: &Image, plan: &Plan, old: &Plan) {
    for (id, tag) in plan.tags.iter().filter(|(id, _)| !old.tags.contains(*id)) {
        image.prepare(id.index(), tag.ty.long_bytes_max(), Status::BAD_WAITING_FOR_INITIAL_DATA.0);
    }
}
