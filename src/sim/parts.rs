//! What is run: the real parts, or real parts with a fault planted in them.

use std::sync::Arc;

use super::world::SimWorld;
use crate::lane::{Frame, LaneCounters, SampleWriter};
use crate::plan::{Plan, UsedIds};
use crate::protocol::kinds::FieldLink;
use crate::rt::{Link, World, WriteOutcome};
use crate::store::Position;
use crate::tag::{Batch, Dictionary, LinkId, Status, TagId};

/// What is run: the real parts, or real parts with a fault planted in them.
pub trait Parts {
    type World: World;
    type Link: Link<Self::World>;
    fn world(&self, world: SimWorld) -> Self::World;
    fn link(&self, id: LinkId, plan: &Plan) -> Self::Link;
    /// A link that takes over another.
    fn following(&self, id: LinkId, plan: &Plan, old: &Plan) -> Self::Link;
    /// The plans whose ids are not given to anything else.
    fn resting<'a>(&self, resting: &'a [UsedIds]) -> &'a [UsedIds] {
        resting
    }
    /// What the ids in the next ring mean.
    fn names(&self, new: Arc<Dictionary>) -> Arc<Dictionary> {
        new
    }
    /// How far an output's cursor may move: all up to there is acknowledged, and so much is sent.
    fn cursor(&self, acknowledged: Position, sent: Position) -> Position {
        let _ = sent;
        acknowledged
    }
    /// What is told of a write, by its id.
    fn outcome(&self) -> fn(u64, WriteOutcome) -> WriteOutcome {
        |_, outcome| outcome
    }
    /// A source writes backfill.
    fn backfill(&self, samples: &mut SampleWriter, frame: Frame, tag: TagId, ty: u8, value: u64, status: Status) {
        samples.backfill(frame, tag, ty, value, status);
    }
    /// A source has had its turn; it had dropped so many before.
    fn source_has_written(&self, counts: &LaneCounters, dropped_before: u64) {
        let _ = (counts, dropped_before);
    }
    /// What a broker gets of a message.
    fn payload(&self, payload: Vec<u8>) -> Vec<u8> {
        payload
    }
    /// What the consumer gets of a batch.
    fn consumed(&self, batch: Arc<Batch>) -> Option<Arc<Batch>>;
}

/// The gateway as it is.
pub struct RealParts;

impl Parts for RealParts {
    type World = SimWorld;
    type Link = FieldLink;

    fn world(&self, world: SimWorld) -> SimWorld {
        world
    }

    fn link(&self, id: LinkId, plan: &Plan) -> FieldLink {
        FieldLink::new(id, plan).unwrap_or_else(|| panic!("link {} is not a field link", id.0))
    }

    fn following(&self, id: LinkId, plan: &Plan, old: &Plan) -> FieldLink {
        FieldLink::following(id, plan, old).unwrap_or_else(|| panic!("link {} is not a field link", id.0))
    }

    fn consumed(&self, batch: Arc<Batch>) -> Option<Arc<Batch>> {
        Some(batch)
    }
}
