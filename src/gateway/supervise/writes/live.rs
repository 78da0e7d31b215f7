//! The field as it is: the plan that runs, the image, and the executors' orders.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::field::{Field, FieldAnswer, Reading, Target};
use crate::command::{Reason, Refusal};
use crate::config::guess;
use crate::hub;
use crate::lane::Image;
use crate::limits::WRITES_PENDING_MAX;
use crate::plan::Plan;
use crate::protocol::kinds;
use crate::protocol::write::WriteFault;
use crate::rt::{WriteAnswer, WriteOrder, WriteOutcome, monotonic_now};
use crate::serve::Observed;
use crate::supervise::orders::{self, SharedOrders};
use crate::tag::{Nanos, Stamp, Status, TagId, Value, ValueType};

/// See the module.
pub struct Live {
    observed: Arc<Observed>,
    image: Arc<Image>,
    orders: SharedOrders,
    /// From before a change begins until all of it is over.
    changing: Arc<AtomicBool>,
    /// Of the plan that was looked at last.
    names: HashMap<Arc<str>, TagId>,
    plan: Arc<Plan>,
    /// Orders under way: which tag, of which plan.
    given: HashMap<u64, (Arc<Plan>, TagId)>,
}

/// An order, and the plan by which it was made.
pub struct LiveOrder {
    order: WriteOrder,
    plan: Arc<Plan>,
    tag: TagId,
}

impl Live {
    pub fn new(observed: Arc<Observed>, image: Arc<Image>, orders: SharedOrders, changing: Arc<AtomicBool>) -> Live {
        let (names, plan, given) = (HashMap::new(), Arc::default(), HashMap::new());
        Live { observed, image, orders, changing, names, plan, given }
    }

    /// The plan that runs, with its names at hand.
    fn look(&mut self) {
        let plan = self.observed.plan();
        if !Arc::ptr_eq(&plan, &self.plan) {
            self.names = plan.tags.iter().map(|(id, tag)| (tag.name.clone(), id)).collect();
            self.plan = plan;
        }
    }
}

fn reloading() -> Refusal {
    Refusal::new(Reason::Reloading, "a new configuration is being adopted; allowed: retry")
}

fn refusal(fault: &WriteFault) -> Refusal {
    let reason = match fault {
        WriteFault::NotWritable => Reason::ReadOnly,
        WriteFault::WrongType { .. }
        | WriteFault::NotFinite
        | WriteFault::Length { .. }
        | WriteFault::Nul
        | WriteFault::NoSuchCharacter { .. }
        | WriteFault::Unreadable { .. } => Reason::WrongType,
        WriteFault::Range { .. } | WriteFault::TooLong { .. } => Reason::OutOfRange,
    };
    let message = match fault {
        WriteFault::NotWritable => "the tag's link cannot write it".to_owned(),
        fault => fault.to_string(),
    };
    Refusal { reason, message }
}

impl Field for Live {
    type Order = LiveOrder;

    fn now(&self) -> Nanos {
        monotonic_now()
    }

    fn is_changing(&self) -> bool {
        self.changing.load(Ordering::SeqCst)
    }

    fn find(&mut self, tag: &str) -> Option<Target> {
        self.look();
        let id = *self.names.get(tag)?;
        let tag = self.plan.tags.get(id)?;
        Some(Target { id, ty: tag.ty, limits: tag.write.clone() })
    }

    fn guess(&mut self, tag: &str) -> String {
        guess(tag, self.plan.tags.values().map(|tag| &*tag.name))
    }

    fn newest(&self, tag: &Target) -> Reading {
        let mut bytes = vec![0; tag.ty.long_bytes_max()];
        let Some(reading) = self.image.read_long(tag.id.index(), &mut bytes) else {
            return Reading { value: None, status: Status::BAD_WAITING_FOR_INITIAL_DATA, at: Nanos::ZERO };
        };
        let value = match tag.ty {
            _ if reading.t == 0 => None,
            ValueType::Scalar(scalar) => Some(Value::from_bits(scalar, reading.value)),
            ty => Value::from_long(ty.code(), bytes.get(..reading.value as usize).unwrap_or(&bytes)),
        };
        Reading { value, status: Status(reading.status), at: mono(Stamp(reading.t)) }
    }

    fn prepare(&mut self, id: u64, tag: &Target, value: &Value, read_back: bool) -> Result<LiveOrder, Refusal> {
        let plan = self.plan.clone();
        let encoded = kinds::encode(&plan, tag.id, value).map_err(|fault| refusal(&fault))?;
        let generation = orders::lock(&self.orders).generation(encoded.link).ok_or_else(reloading)?;
        // In this order: a generation of a plan that came after `plan` is known by one of the two.
        if self.is_changing() || !Arc::ptr_eq(&plan, &self.observed.plan()) {
            return Err(reloading());
        }
        let order = WriteOrder {
            id,
            link: encoded.link,
            slot: encoded.slot,
            generation,
            deadline: Nanos::ZERO,
            read_back,
            payload: encoded.payload,
        };
        Ok(LiveOrder { order, plan, tag: tag.id })
    }

    fn give(&mut self, order: LiveOrder, timeout: Duration) -> Result<(), Refusal> {
        let LiveOrder { order, plan, tag } = order;
        let deadline = monotonic_now() + Nanos(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        let given = orders::lock(&self.orders).write(WriteOrder { deadline, ..order });
        if given.is_err() {
            let message = format!("its executor has {WRITES_PENDING_MAX} pending writes; allowed: retry later");
            return Err(Refusal { reason: Reason::Busy, message });
        }
        self.given.insert(order.id, (plan, tag));
        Ok(())
    }

    fn idle(&mut self) {
        self.look();
    }

    fn answers(&mut self) -> Vec<FieldAnswer> {
        let answers = orders::lock(&self.orders).take_answers();
        let told = |answer: WriteAnswer| {
            let (plan, tag) = self.given.remove(&answer.id)?;
            let back = match answer.outcome {
                WriteOutcome::Done | WriteOutcome::ReadBackDiffers if !answer.back.bytes().is_empty() => {
                    kinds::decode(&plan, tag, &answer.back)
                }
                _ => None,
            };
            let (failure, note) = match failure(answer.outcome, &plan, tag) {
                Some((Some(reason), message)) => (Some((reason, message)), None),
                Some((None, note)) => (None, Some(note)),
                None => (None, None),
            };
            let is_unknown = answer.outcome.is_unknown() || answer.outcome == WriteOutcome::ReadBackDiffers;
            Some(FieldAnswer { id: answer.id, failure, note, is_unknown, back })
        };
        answers.into_iter().filter_map(told).collect()
    }
}

/// On this machine's monotonic clock.
fn mono(stamp: Stamp) -> Nanos {
    if !stamp.is_utc() {
        return Nanos(stamp.0);
    }
    let now = monotonic_now();
    now - stamp.age(now, &hub::clock_pair())
}

/// Why an order is not done, or what is to be said though it is.
fn failure(outcome: WriteOutcome, plan: &Plan, tag: TagId) -> Option<(Option<Reason>, String)> {
    let link = plan.tags.get(tag).and_then(|tag| plan.links.get(tag.link));
    let name = link.map_or("", |link| &link.name);
    let (reason, text) = match outcome {
        WriteOutcome::Done => return None,
        WriteOutcome::Unconfirmed => {
            let text = link.map_or("sent", |link| link.protocol.unconfirmed());
            return Some((None, text.to_owned()));
        }
        WriteOutcome::ReadBackDiffers => {
            (Reason::ReadBackDiffers, "the device confirmed it, but holds another value".to_owned())
        }
        WriteOutcome::NotReadBack => {
            (Reason::NotReadBack, "the device confirmed it, but the read-back failed".to_owned())
        }
        WriteOutcome::Refused(code) => {
            let text = link.map_or_else(String::new, |link| kinds::refusal_text(&*link.protocol, code));
            (Reason::DeviceRefused, text)
        }
        WriteOutcome::WrongReply => {
            (Reason::WrongReply, "sent, but the reply does not match; the device may have executed it".to_owned())
        }
        WriteOutcome::NoReply => {
            (Reason::NoReply, "sent, but not answered in time; the device may have executed it".to_owned())
        }
        WriteOutcome::Lost => {
            let text = format!("sent, but the connection of link \"{name}\" was lost; the device may have executed it");
            (Reason::ConnectionLost, text)
        }
        WriteOutcome::NoConnection => {
            (Reason::NoConnection, format!("not sent: the link \"{name}\" has no connection"))
        }
        WriteOutcome::NotOperational => {
            (Reason::NotSent, format!("not sent: the device on link \"{name}\" is not operational"))
        }
        WriteOutcome::NotSent => (Reason::NotSent, format!("not sent: link \"{name}\" was busy until the deadline")),
        WriteOutcome::Busy => (Reason::Busy, format!("not sent: too many writes are waiting for link \"{name}\"")),
        WriteOutcome::PlanChanged => {
            (Reason::PlanChanged, "not sent: a new configuration was adopted in the meantime; retry".to_owned())
        }
        WriteOutcome::NotWritable => (Reason::NotSent, format!("not sent: the link \"{name}\" cannot write it")),
    };
    Some((Some(reason), text))
}
