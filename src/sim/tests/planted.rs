//! Faults that are planted beside the real parts.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::super::canopen::IN_PDO;
use super::super::{Parts, Scenario, SimWorld};
use super::bent_link::BentLink;
use super::bent_world::BentWorld;
use crate::lane::{Frame, LaneCounters, SampleWriter};
use crate::plan::{Plan, UsedIds};
use crate::protocol::can::plan::bits::BitPlace;
use crate::protocol::can::plan::model::{CanPlan, GroupKey};
use crate::protocol::canopen::model::CanOpenSource;
use crate::protocol::canopen::plan::CanOpenPlan;
use crate::protocol::kinds::FieldLink;
use crate::protocol::local_io::model::LocalIoDevice;
use crate::protocol::local_io::plan::LocalIoPlan;
use crate::protocol::modbus::line_time::SerialLine;
use crate::protocol::modbus::model::ModbusTransport;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::rt::WriteOutcome;
use crate::store::Position;
use crate::tag::{Batch, Dictionary, LinkId, Nanos, Status, TagId, flags};

/// A fault planted beside the real parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// After a stall the clock seems to have stood still: every missed release comes after all.
    Burst,
    /// Any transaction id is taken for the one that was sent last.
    AnyTransaction,
    /// The executor waits for the wire after each request.
    Blocking,
    /// The first sample that is dropped in a step is not counted.
    Uncounted,
    /// More requests outstanding than the device was said to take.
    Greedy,
    /// Old values get the time at which they were told.
    Restamped,
    /// Every hundredth batch goes astray.
    Astray,
    /// A link that gets other work gives its connection back instead of going on with it.
    Reconnects,
    /// A link that gets other work takes each request in flight for its neighbour.
    Neighbour,
    /// Samples of the next plan are told under the names of the one before.
    OldNames,
    /// Ids are given again as soon as they are free.
    IdsAtOnce,
    /// An output's cursor moves with what is sent.
    CursorAhead,
    /// Some writes are done twice, some never, and some for longer than their time.
    TwiceWritten,
    Unwritten,
    Overdue,
    /// Some that were done are told as not sent.
    Denied,
    /// A slow serial line is taken for a fast one, whose silences are short.
    ShortSilence,
    /// On a line, the reply of any unit is taken.
    AnyUnit,
    /// After a frame that fails its check, a line's bytes are never again read from their beginning.
    OutOfStep,
    /// A line's units are given a quarter of their time.
    Hasty,
    /// After a timeout, a Modbus link asks nobody anything for a while.
    Waiting,
    /// After a device closed a connection behind its reply, or when it was idle, its link wants no other for a while.
    SulksAfterReply,
    SulksWhenIdle,
    /// A frame whose header counts wrongly ends its connection.
    ByLength,
    /// A Modbus link takes the first reply that does not come for one that is still under way.
    Endless,
    /// The last tag of each Modbus block is not read.
    Unread,
    /// After a timeout, a line asks nobody anything for a little longer than another cycle.
    Dawdling,
    /// Of a local device, each item is taken for its neighbour.
    NextItem,
    /// What a local device says is bad is taken for good.
    AllGood,
    /// What a local device says is good is taken for a broken sensor now and then.
    Slander,
    /// A Modbus link forgets its scans after a while, and says nothing of them.
    Forgetful,
    /// A local device that answers nothing is waited for without end.
    Patient,
    /// Of CAN messages, each field is taken for its neighbour.
    NextField,
    /// That CAN messages come no more is not looked for.
    Unwatched,
    /// Frames that the kernel dropped are not told.
    Undropped,
    /// Of CANopen nodes, each object is asked for in place of another of the same type.
    NextObject,
    /// Answers of CANopen nodes are said to have come when they were taken.
    Unstamped,
    /// A controller's times are taken as they are, or not at all.
    AsStamped,
    Unclocked,
    /// Of CAN messages with branches, the switch is not looked at.
    AnyBranch,
    /// A packet that is missing is not missed.
    AnyPacket,
    /// Parameter groups of J1939 are taken from any node.
    AnySource,
    /// What a parameter says of itself is taken for a value.
    NoIndicator,
    /// Of a message with branches, a value goes out in another branch.
    NextBranch,
    /// What goes by PDO beside what is written is zero.
    OtherOutputs,
    /// What is to go by PDO does not.
    Swallowed,
    /// On SPI, each register is written in place of another.
    NextRegister,
    /// The first sample that a source drops in a turn is not counted.
    SourceUncounted,
    /// Backfill is shown as the latest value.
    BackfillShown,
    /// Two samples of a source change places.
    Swapped,
    /// A message names a later sample, or an earlier one, than came before it.
    PrevAhead,
    PrevBehind,
}

impl Fault {
    /// It shows where nothing else keeps a device from being read.
    pub fn needs_quiet(self) -> bool {
        use Fault::{ByLength, Dawdling, Forgetful, SulksAfterReply, SulksWhenIdle, Unread, Waiting};
        matches!(self, Waiting | Dawdling | Forgetful | SulksAfterReply | SulksWhenIdle | ByLength | Unread)
    }

    pub fn is_of_writes(self) -> bool {
        matches!(
            self,
            Fault::TwiceWritten
                | Fault::Unwritten
                | Fault::Overdue
                | Fault::Denied
                | Fault::NextRegister
                | Fault::NextBranch
                | Fault::OtherOutputs
                | Fault::Swallowed
        )
    }

    /// Whether a run has from its beginning what the fault is in.
    pub fn concerns(self, scenario: &Scenario) -> bool {
        let links = || scenario.plan.links.values().map(|link| &link.protocol);
        let modbus = |is: fn(&ModbusPlan) -> bool| links().any(|link| link.get().is_some_and(is));
        let local = |is: fn(&LocalIoPlan) -> bool| links().any(|link| link.get().is_some_and(is));
        let can = |is: fn(&CanPlan) -> bool| links().any(|link| link.get().is_some_and(is));
        let canopen = |is: fn(&CanOpenPlan) -> bool| links().any(|link| link.get().is_some_and(is));
        match self {
            Fault::ShortSilence | Fault::AnyUnit | Fault::OutOfStep | Fault::Dawdling => {
                modbus(|modbus| SerialLine::of(&modbus.config).is_some())
            }
            Fault::NextItem | Fault::AllGood | Fault::Slander | Fault::Patient => local(|_| true),
            Fault::NextRegister => local(|bus| matches!(bus.setup.device, LocalIoDevice::Spi { .. })),
            Fault::NextField | Fault::Unwatched | Fault::Undropped => can(|_| true),
            Fault::AsStamped | Fault::Unclocked => can(|can| can.socket().hardware_time),
            Fault::AnyBranch => can(|can| can.cases.iter().any(|case| !case.conditions.is_empty())),
            Fault::AnyPacket | Fault::AnySource => can(|can| !can.transports.is_empty()),
            Fault::NoIndicator => can(|can| can.decodes.iter().any(|decode| decode.special)),
            Fault::NextBranch => can(|can| can.writes.iter().any(|write| write.frame.is_some())),
            Fault::NextObject | Fault::Unstamped => canopen(|_| true),
            Fault::OtherOutputs | Fault::Swallowed => {
                canopen(|canopen| canopen.writes.iter().any(|write| write.by_pdo))
            }
            Fault::CursorAhead | Fault::PrevAhead | Fault::PrevBehind => scenario.commit_ns > 0,
            Fault::SourceUncounted | Fault::BackfillShown | Fault::Swapped => scenario.source,
            _ => true,
        }
    }
}

pub struct Planted {
    fault: Fault,
    batches: Cell<u64>,
    names: RefCell<Option<Arc<Dictionary>>>,
}

impl Planted {
    pub fn new(fault: Fault) -> Planted {
        Planted { fault, batches: Cell::new(0), names: RefCell::default() }
    }
}

impl Planted {
    /// What a link is told wrongly.
    fn bend(&self, plan: &mut Plan, id: LinkId) {
        if let Some(can) = plan.links[id].protocol.get_mut::<CanPlan>() {
            let places: Vec<BitPlace> = can.decodes.iter().map(|decode| decode.place).collect();
            let next = places.iter().cycle().skip(1);
            match self.fault {
                Fault::NextField => can.decodes.iter_mut().zip(next).for_each(|(decode, place)| decode.place = *place),
                Fault::AnyBranch => can.cases.iter_mut().for_each(|case| case.conditions = 0..0),
                Fault::NoIndicator => can.decodes.iter_mut().for_each(|decode| decode.special = false),
                Fault::AnySource => {
                    let any = GroupKey::ANY_SOURCE;
                    can.lookup.groups.iter_mut().for_each(|(key, _)| key.source = any);
                    can.transports.iter_mut().for_each(|slot| slot.key.source = any);
                }
                Fault::NextBranch => {
                    for write in &mut can.writes {
                        let of = can.transmits[usize::from(write.transmit)].frames.clone();
                        let next = |frame: u32| of.start + (frame + 1 - of.start) % (of.end - of.start);
                        write.frame = write.frame.map(next);
                    }
                }
                Fault::Unwatched => can.cases.iter_mut().for_each(|case| case.silent_after = Nanos::NEVER),
                _ => {}
            }
        }
        if let Some(canopen) = plan.links[id].protocol.get_mut::<CanOpenPlan>()
            && self.fault == Fault::NextObject
        {
            for item in &mut canopen.items {
                if let CanOpenSource::Object(object) = &mut item.source {
                    // Types come again each five indices; what comes by PDO stays what it is.
                    object.index += if object.index < IN_PDO { 5 } else { 0 };
                }
            }
        }
        if let Some(bus) = plan.links[id].protocol.get_mut::<LocalIoPlan>() {
            match self.fault {
                Fault::NextItem => bus.tags.rotate_left(1),
                Fault::Patient => bus.config.timeout = Nanos(bus.config.timeout.0 * 200),
                _ => {}
            }
        }
        let Some(modbus) = plan.links[id].protocol.get_mut::<ModbusPlan>() else { return };
        let config = &mut modbus.config;
        match self.fault {
            Fault::Endless => config.timeout = Nanos(u64::MAX / 1_000),
            Fault::Unread => {
                let several = modbus.requests.iter_mut().filter(|request| request.decodes.len() > 1);
                several.for_each(|request| request.decodes.end -= 1);
            }
            _ => {}
        }
        match &mut config.transport {
            ModbusTransport::Serial(serial) if self.fault == Fault::ShortSilence && serial.baud_rate <= 19_200 => {
                serial.baud_rate = 3_000_000;
            }
            ModbusTransport::Serial(_) | ModbusTransport::RtuOverTcp(_) if self.fault == Fault::Hasty => {
                config.timeout = Nanos(config.timeout.0 / 4);
            }
            _ => {}
        }
    }
}

impl Parts for Planted {
    type World = BentWorld;
    type Link = BentLink;

    fn world(&self, inner: SimWorld) -> BentWorld {
        BentWorld::new(inner, self.fault)
    }

    fn link(&self, id: LinkId, plan: &Plan) -> BentLink {
        let mut plan = plan.clone();
        if self.fault == Fault::Greedy
            && let Some(modbus) = plan.links[id].protocol.get_mut::<ModbusPlan>()
        {
            modbus.config.pipeline += 1;
        }
        self.bend(&mut plan, id);
        BentLink::new(FieldLink::new(id, &plan).unwrap(), self.fault, &*plan.links[id].protocol)
    }

    fn following(&self, id: LinkId, plan: &Plan, old: &Plan) -> BentLink {
        let (mut plan, mut old) = (plan.clone(), old.clone());
        if self.fault == Fault::Neighbour
            && let Some(modbus) = old.links[id].protocol.get_mut::<ModbusPlan>()
        {
            modbus.requests.rotate_left(1);
        }
        self.bend(&mut plan, id);
        BentLink::new(FieldLink::following(id, &plan, &old).unwrap(), self.fault, &*plan.links[id].protocol)
    }

    fn resting<'a>(&self, resting: &'a [UsedIds]) -> &'a [UsedIds] {
        if self.fault == Fault::IdsAtOnce { &[] } else { resting }
    }

    fn names(&self, new: Arc<Dictionary>) -> Arc<Dictionary> {
        let before = self.names.replace(Some(new.clone()));
        if self.fault == Fault::OldNames { before.unwrap_or(new) } else { new }
    }

    fn outcome(&self) -> fn(u64, WriteOutcome) -> WriteOutcome {
        match self.fault {
            Fault::Denied => |id, outcome| match outcome {
                WriteOutcome::Done if id.is_multiple_of(8) => WriteOutcome::NotSent,
                other => other,
            },
            _ => |_, outcome| outcome,
        }
    }

    fn cursor(&self, acknowledged: Position, sent: Position) -> Position {
        if self.fault == Fault::CursorAhead { sent } else { acknowledged }
    }

    fn backfill(&self, samples: &mut SampleWriter, frame: Frame, tag: TagId, ty: u8, value: u64, status: Status) {
        if self.fault == Fault::BackfillShown {
            samples.show(frame, tag, value, status);
        }
        samples.backfill(frame, tag, ty, value, status);
    }

    fn source_has_written(&self, counts: &LaneCounters, dropped_before: u64) {
        if self.fault == Fault::SourceUncounted && counts.dropped.get() > dropped_before {
            counts.dropped.add(u64::MAX);
        }
    }

    fn payload(&self, payload: Vec<u8>) -> Vec<u8> {
        let bend: fn(u64) -> u64 = match self.fault {
            Fault::PrevAhead => |prev| prev + 1,
            Fault::PrevBehind => |prev| prev.saturating_sub(1),
            _ => return payload,
        };
        let mut message: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        if let Some(prev) = message["prev"].as_u64() {
            message["prev"] = bend(prev).into();
        }
        message.to_string().into_bytes()
    }

    fn consumed(&self, batch: Arc<Batch>) -> Option<Arc<Batch>> {
        self.batches.set(self.batches.get() + 1);
        match self.fault {
            Fault::Astray if self.batches.get().is_multiple_of(100) => None,
            Fault::Swapped => {
                let mut batch = Batch::clone(&batch);
                let is_source = |tag: u32| batch.names.tag(TagId(tag)).is_some_and(|tag| tag.name.starts_with('$'));
                if batch.slots.len() > 1 && is_source(batch.slots[0].tag) {
                    batch.slots.swap(0, 1);
                }
                Some(Arc::new(batch))
            }
            Fault::Restamped => {
                let mut batch = Batch::clone(&batch);
                let mut at = 0;
                while let Some(sample) = batch.slots.get_mut(at) {
                    if sample.flags & flags::HELD != 0 {
                        sample.t = batch.drained.0;
                    }
                    at += 1 + sample.payload_slots();
                }
                Some(Arc::new(batch))
            }
            _ => Some(batch),
        }
    }
}
