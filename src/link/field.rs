//! A field link of any kind, as executors hold them.

use super::bus::BusLink;
use super::can::CanLink;
use super::canopen::CanOpenLink;
use super::modbus::ModbusLink;
use crate::plan::{LinkProtocolPlan, Plan};
use crate::rt::{CloseReason, Conn, Link, ScanRelease, StepContext, World, WriteOrder};
use crate::tag::{LinkId, Nanos};

/// One of the kinds; each does all of the work itself. Executors have each in a box of its own.
#[allow(clippy::large_enum_variant, reason = "there are as many as there are links, each in a box")]
pub enum FieldLink {
    Modbus(ModbusLink),
    Can(CanLink),
    CanOpen(CanOpenLink),
    Bus(BusLink),
}

/// The same for whatever kind it is.
macro_rules! of_any_kind {
    ($link:expr, $inner:ident => $do:expr) => {
        match $link {
            FieldLink::Modbus($inner) => $do,
            FieldLink::Can($inner) => $do,
            FieldLink::CanOpen($inner) => $do,
            FieldLink::Bus($inner) => $do,
        }
    };
}

impl FieldLink {
    /// `plan` must have a link `id`; `None`: no executor serves it.
    pub fn new(id: LinkId, plan: &Plan) -> Option<FieldLink> {
        Some(match &plan.links[id].protocol {
            LinkProtocolPlan::Modbus(_) => FieldLink::Modbus(ModbusLink::new(id, plan)),
            LinkProtocolPlan::Can(own) => FieldLink::Can(CanLink::new(id, own, plan)),
            LinkProtocolPlan::CanOpen(own) => FieldLink::CanOpen(CanOpenLink::new(id, own, plan)),
            LinkProtocolPlan::Bus(own) => FieldLink::Bus(BusLink::new(id, own, plan)),
            LinkProtocolPlan::Diagnostics(_) => return None,
        })
    }

    /// A link that will go on with the connection that it has under `old`: see [`Link::take_over`]. Both plans must
    /// have a link `id`, of one kind; `None`: no executor serves it.
    pub fn following(id: LinkId, plan: &Plan, old: &Plan) -> Option<FieldLink> {
        Some(match (&plan.links[id].protocol, &old.links[id].protocol) {
            (LinkProtocolPlan::Modbus(_), LinkProtocolPlan::Modbus(_)) => {
                FieldLink::Modbus(ModbusLink::following(id, plan, old))
            }
            (LinkProtocolPlan::Can(own), LinkProtocolPlan::Can(before)) => {
                FieldLink::Can(CanLink::following(id, own, plan, before))
            }
            (LinkProtocolPlan::CanOpen(own), LinkProtocolPlan::CanOpen(before)) => {
                FieldLink::CanOpen(CanOpenLink::following(id, own, plan, before))
            }
            (LinkProtocolPlan::Bus(own), LinkProtocolPlan::Bus(before)) => {
                FieldLink::Bus(BusLink::following(id, own, plan, before))
            }
            _ => return FieldLink::new(id, plan),
        })
    }

    /// Every stretch of memory that its executor may touch: address and bytes.
    pub fn regions(&self) -> Box<dyn Iterator<Item = (*const u8, usize)> + '_> {
        of_any_kind!(self, link => Box::new(link.regions()))
    }
}

impl<W: World> Link<W> for FieldLink {
    fn id(&self) -> LinkId {
        of_any_kind!(self, link => Link::<W>::id(link))
    }

    fn release(&mut self, release: ScanRelease, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.release(release, floor));
    }

    fn send(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.send(now, floor));
    }

    fn receive(&mut self, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.receive(floor));
    }

    fn deadline(&self) -> Nanos {
        of_any_kind!(self, link => Link::<W>::deadline(link))
    }

    fn is_punctual(&self) -> bool {
        of_any_kind!(self, link => Link::<W>::is_punctual(link))
    }

    fn returns(&self) -> bool {
        of_any_kind!(self, link => Link::<W>::returns(link))
    }

    fn wants_release(&mut self, now: Nanos) -> bool {
        of_any_kind!(self, link => Link::<W>::wants_release(link, now))
    }

    fn expire(&mut self, now: Nanos, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.expire(now, floor));
    }

    fn adopt(&mut self, conn: Conn, now: Nanos, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.adopt(conn, now, floor));
    }

    fn retire(&mut self, reason: CloseReason, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.retire(reason, floor));
    }

    fn write(&mut self, order: &WriteOrder, now: Nanos, floor: &mut StepContext<W>) {
        of_any_kind!(self, link => link.write(order, now, floor));
    }

    fn is_idle(&self) -> bool {
        of_any_kind!(self, link => Link::<W>::is_idle(link))
    }

    fn take_over(&mut self, old: &mut FieldLink, now: Nanos, floor: &mut StepContext<W>) {
        match (self, old) {
            (FieldLink::Modbus(link), FieldLink::Modbus(old)) => link.take_over(old, now, floor),
            (FieldLink::Can(link), FieldLink::Can(old)) => link.take_over(old, now, floor),
            (FieldLink::CanOpen(link), FieldLink::CanOpen(old)) => link.take_over(old, now, floor),
            (FieldLink::Bus(link), FieldLink::Bus(old)) => link.take_over(old, now, floor),
            // Of another kind: it has another target, and is retired instead.
            (_, old) => old.retire(CloseReason::Removed, floor),
        }
    }
}
