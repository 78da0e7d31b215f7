//! The list of protocols: the only file that names all of them.

use super::can::Can;

use super::can::link::CanLink;
use super::can::plan::model::CanPlan;
use super::canopen::CanOpen;

use super::canopen::link::CanOpenLink;
use super::canopen::plan::CanOpenPlan;
use super::local_io::LocalIo;

use super::local_io::link::LocalIoLink;
use super::local_io::plan::LocalIoPlan;
use super::modbus::Modbus;

use super::modbus::link::connection::ModbusLink;
use super::modbus::plan::ModbusPlan;
use super::write::{Encoded, WriteFault};
use super::{can, canopen, local_io, modbus};
use crate::config::{LinkConfig, Protocols, TagConfig};
use crate::plan::{DiagnosticsPlan, LinkWork, Plan, Scanning};
use crate::rt::{CloseReason, Conn, Link, ScanRelease, StepContext, World, WriteOrder, WritePayload};
use crate::tag::{LinkId, Nanos, TagId, Value};

/// The protocols that tag files can name.
pub const PROTOCOLS: Protocols = Protocols(&[&Modbus, &Can, &CanOpen, &LocalIo]);

/// Plans the work of a link.
pub fn plan_link(link: &LinkConfig, tags: &[(TagId, &TagConfig)], scanning: &mut Scanning<'_>) -> Box<dyn LinkWork> {
    let settings = &*link.protocol;
    if let Some(own) = settings.get() {
        Box::new(ModbusPlan::new(own, tags, scanning))
    } else if let Some(own) = settings.get() {
        Box::new(CanPlan::new(own, tags, scanning))
    } else if let Some(own) = settings.get() {
        Box::new(CanOpenPlan::new(own, tags, scanning))
    } else if let Some(own) = settings.get() {
        Box::new(LocalIoPlan::new(own, tags, scanning))
    } else {
        Box::new(DiagnosticsPlan::new(tags, scanning))
    }
}

/// One of the kinds; each does all of the work itself. Executors have each in a box of its own.
#[allow(clippy::large_enum_variant, reason = "there are as many as there are links, each in a box")]
pub enum FieldLink {
    Modbus(ModbusLink),
    Can(CanLink),
    CanOpen(CanOpenLink),
    LocalIo(LocalIoLink),
}

/// The same for whatever kind it is.
macro_rules! of_any_kind {
    ($link:expr, $inner:ident => $do:expr) => {
        match $link {
            FieldLink::Modbus($inner) => $do,
            FieldLink::Can($inner) => $do,
            FieldLink::CanOpen($inner) => $do,
            FieldLink::LocalIo($inner) => $do,
        }
    };
}

/// The work of a link that an executor serves, by its kind.
#[derive(Clone, Copy)]
pub enum FieldWork<'a> {
    Modbus(&'a ModbusPlan),
    Can(&'a CanPlan),
    CanOpen(&'a CanOpenPlan),
    LocalIo(&'a LocalIoPlan),
}

impl FieldWork<'_> {
    /// `None`: no executor serves it.
    pub fn of(work: &dyn LinkWork) -> Option<FieldWork<'_>> {
        let modbus = || work.get().map(FieldWork::Modbus);
        let can = || work.get().map(FieldWork::Can);
        let canopen = || work.get().map(FieldWork::CanOpen);
        let local_io = || work.get().map(FieldWork::LocalIo);
        modbus().or_else(can).or_else(canopen).or_else(local_io)
    }
}

impl FieldLink {
    /// `plan` must have a link `id`; `None`: no executor serves it.
    pub fn new(id: LinkId, plan: &Plan) -> Option<FieldLink> {
        Some(match FieldWork::of(&*plan.links[id].protocol)? {
            FieldWork::Modbus(own) => FieldLink::Modbus(ModbusLink::new(id, own, plan)),
            FieldWork::Can(own) => FieldLink::Can(CanLink::new(id, own, plan)),
            FieldWork::CanOpen(own) => FieldLink::CanOpen(CanOpenLink::new(id, own, plan)),
            FieldWork::LocalIo(own) => FieldLink::LocalIo(LocalIoLink::new(id, own, plan)),
        })
    }

    /// A link that will go on with the connection that it has under `old`: see [`Link::take_over`]. Both plans must
    /// have a link `id`; `None`: no executor serves it.
    pub fn following(id: LinkId, plan: &Plan, old: &Plan) -> Option<FieldLink> {
        let works = (FieldWork::of(&*plan.links[id].protocol)?, FieldWork::of(&*old.links[id].protocol));
        Some(match works {
            (FieldWork::Modbus(own), Some(FieldWork::Modbus(before))) => {
                FieldLink::Modbus(ModbusLink::following(id, own, plan, before))
            }
            (FieldWork::Can(own), Some(FieldWork::Can(before))) => {
                FieldLink::Can(CanLink::following(id, own, plan, before))
            }
            (FieldWork::CanOpen(own), Some(FieldWork::CanOpen(before))) => {
                FieldLink::CanOpen(CanOpenLink::following(id, own, plan, before))
            }
            (FieldWork::LocalIo(own), Some(FieldWork::LocalIo(before))) => {
                FieldLink::LocalIo(LocalIoLink::following(id, own, plan, before))
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
            (FieldLink::LocalIo(link), FieldLink::LocalIo(old)) => link.take_over(old, now, floor),
            // Of another kind: it has another target, and is retired instead.
            (_, old) => old.retire(CloseReason::Removed, floor),
        }
    }
}

/// The order's part of writing `value`, as an engineering value, to `tag`.
///
/// Scale and offset are undone and the raw value is rounded to the nearest one; what does not fit is refused, never
/// wrapped. Ranges and rates that people set are not looked at.
///
/// # Errors
/// What is wrong with the value, or that the tag can't be written.
pub fn encode(plan: &Plan, tag: TagId, value: &Value) -> Result<Encoded, WriteFault> {
    let link = plan.tags.get(tag).ok_or(WriteFault::NotWritable)?.link;
    let work = &*plan.links.get(link).ok_or(WriteFault::NotWritable)?.protocol;
    let (slot, payload) = match FieldWork::of(work).ok_or(WriteFault::NotWritable)? {
        FieldWork::Modbus(own) => modbus::link::encode(own, tag, value)?,
        FieldWork::Can(own) => can::link::encode(own, tag, value)?,
        FieldWork::CanOpen(own) => canopen::link::encode(own, tag, value)?,
        FieldWork::LocalIo(own) => local_io::link::encode(own, tag, value)?,
    };
    Ok(Encoded { link, slot, payload })
}

/// What was read back of `tag`, as an engineering value; `None`: it is no value of the tag's type.
pub fn decode(plan: &Plan, tag: TagId, back: &WritePayload) -> Option<Value> {
    match FieldWork::of(&*plan.links.get(plan.tags.get(tag)?.link)?.protocol)? {
        FieldWork::Modbus(own) => modbus::link::decode_back(own, tag, back.bytes()),
        FieldWork::Can(own) => can::link::decode_back(own, tag, back.bytes()),
        FieldWork::CanOpen(own) => canopen::link::decode_back(own, tag, back.bytes()),
        FieldWork::LocalIo(own) => local_io::link::decode_back(own, tag, back.bytes()),
    }
}

/// What a device means by the code with which it refuses a write.
pub fn refusal_text(work: &dyn LinkWork, code: u32) -> String {
    match FieldWork::of(work) {
        Some(FieldWork::Modbus(_)) => {
            format!("the device refused it with exception {code} ({})", modbus::link::frame::exception_name(code as u8))
        }
        Some(FieldWork::CanOpen(_)) => format!("the device refused it with SDO abort code 0x{code:08X}"),
        Some(FieldWork::Can(_) | FieldWork::LocalIo(_)) | None => {
            format!("the device refused it: {}", std::io::Error::from_raw_os_error(code as i32))
        }
    }
}
