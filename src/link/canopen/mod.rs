//! A CANopen network as a link, with this gateway as its master.

use crate::plan::{CanOpenPlan, Plan};
use crate::rt::{
    CloseReason, Conn, Floor, Link, ScanRelease, World, WriteAnswer, WriteOrder, WriteOutcome, WritePayload, region_of,
};
use crate::tag::{LinkId, Nanos};

/// See the module.
pub struct CanOpenLink {
    id: LinkId,
    plan: Box<CanOpenPlan>,
    connection: Option<Conn>,
}

impl CanOpenLink {
    /// `id` must be the link of `own` in `plan`.
    pub fn new(id: LinkId, own: &CanOpenPlan, _plan: &Plan) -> CanOpenLink {
        CanOpenLink { id, plan: Box::new(own.clone()), connection: None }
    }

    /// As [`CanOpenLink::new`], for a link that goes on with the connection of `_before`.
    pub fn following(id: LinkId, own: &CanOpenPlan, plan: &Plan, _before: &CanOpenPlan) -> CanOpenLink {
        CanOpenLink::new(id, own, plan)
    }

    /// Every stretch of memory that its executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        [region_of(std::slice::from_ref(self)), region_of(std::slice::from_ref(&*self.plan))].into_iter()
    }
}

impl<W: World> Link<W> for CanOpenLink {
    fn id(&self) -> LinkId {
        self.id
    }

    fn release(&mut self, _release: ScanRelease, _floor: &mut Floor<W>) {}

    fn send(&mut self, _now: Nanos, _floor: &mut Floor<W>) {}

    fn receive(&mut self, _floor: &mut Floor<W>) {}

    fn deadline(&self) -> Nanos {
        Nanos::NEVER
    }

    fn expire(&mut self, _now: Nanos, _floor: &mut Floor<W>) {}

    fn adopt(&mut self, conn: Conn, _now: Nanos, _floor: &mut Floor<W>) {
        self.connection = Some(conn);
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut Floor<W>) {
        if let Some(conn) = self.connection.take() {
            floor.give_up(self.id, conn, reason);
        }
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut Floor<W>) {
        let (outcome, back) = (WriteOutcome::NotWritable, WritePayload::default());
        floor.answer(WriteAnswer { id: order.id, outcome, at: now, back });
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn take_over(&mut self, old: &mut CanOpenLink, _now: Nanos, _floor: &mut Floor<W>) {
        self.connection = old.connection.take();
    }
}
