//! How many tags are good, uncertain and bad, and why each that is not good is so: out of the process image, as it stands.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lane::{Counters, Image, LinkState, Reading};
use crate::plan::{Plan, ScanId};
use crate::tag::{CanFault, Cause, GroupId, LinkId, Nanos, Status, TagId, Value, ValueType};

/// Cycles that a tag may wait for its first value in any case.
const FIRST_VALUE_CYCLES: u64 = 3;
/// Looks at a reading that is being written.
const NEWEST_TRIES: usize = 8;

/// Tags by the severity of their statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TagCounts {
    pub total: usize,
    pub good: usize,
    pub uncertain: usize,
    pub bad: usize,
    /// Nothing has been read of them yet, and nothing has failed.
    pub waiting: usize,
}

/// A tag that is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagTrouble {
    pub tag: TagId,
    pub link: LinkId,
    pub status: Status,
    /// `None`: nothing is known of it.
    pub cause: Option<Cause>,
}

/// How a tag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagState {
    Good,
    Uncertain,
    Bad,
    Waiting,
}

/// What one look at the image found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags {
    /// Those that are bad, and those whose last value is held.
    pub troubled: Vec<TagTrouble>,
    pub by_link: BTreeMap<LinkId, TagCounts>,
    /// By link and unit or node.
    pub units: BTreeMap<(LinkId, u8), UnitState>,
}

/// How a unit (a slave, a CANopen node) stands, by its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitState {
    /// Nothing has been read of it yet.
    Waiting,
    /// The link has no connection.
    Down,
    /// It answers nothing that is of use.
    Silent,
    /// It answers, and refuses all that it is asked for.
    Refused,
    /// Something of it is read.
    Up,
}

impl UnitState {
    pub const ALL: [UnitState; 5] =
        [UnitState::Up, UnitState::Refused, UnitState::Silent, UnitState::Down, UnitState::Waiting];

    pub fn name(self) -> &'static str {
        match self {
            UnitState::Waiting => "waiting",
            UnitState::Down => "down",
            UnitState::Silent => "silent",
            UnitState::Refused => "refused",
            UnitState::Up => "up",
        }
    }

    /// What one of its tags says of it.
    fn by(state: TagState, status: Status, cause: Option<Cause>) -> UnitState {
        match (state, cause) {
            (TagState::Good, _) | (_, Some(Cause::Value(_))) => UnitState::Up,
            (TagState::Waiting, _) => UnitState::Waiting,
            (TagState::Uncertain, _) if status != Status::UNCERTAIN_LAST_USABLE => UnitState::Up,
            (_, Some(cause)) if cause.is_refusal() => UnitState::Refused,
            (_, Some(Cause::NotConnected)) => UnitState::Down,
            _ => UnitState::Silent,
        }
    }
}

impl Tags {
    /// Looks at every tag of the plan. One without a first value is bad after three cycles and so long a time; what comes by
    /// event has no cycles, and may never come.
    pub fn look(plan: &Plan, image: &Image, counters: &Counters, patience: Nanos) -> Tags {
        Tags::look_at_each(plan, image, counters, patience, |_, _, _| {})
    }

    /// The same, and shows each reading.
    pub fn look_at_each(
        plan: &Plan,
        image: &Image,
        counters: &Counters,
        patience: Nanos,
        mut each: impl FnMut(TagId, LinkId, &Reading),
    ) -> Tags {
        let scans: BTreeMap<(GroupId, LinkId), ScanId> =
            plan.scans.iter().map(|(id, scan)| ((scan.group, scan.link), id)).collect();
        let waited = |group: GroupId, link: LinkId| {
            let Some(scan) = scans.get(&(group, link)) else { return false };
            let cycles = counters.scan(*scan).cycles.get();
            let Some(period) = plan.groups.get(group).and_then(|group| group.pace.period()) else { return false };
            cycles >= FIRST_VALUE_CYCLES && period.0.saturating_mul(cycles) >= patience.0
        };
        let units = units_of(plan);
        let mut tags = Tags::default();
        for (id, tag) in plan.tags.iter() {
            let Some(reading) = image.read(id.index()) else { continue };
            each(id, tag.link, &reading);
            let status = Status(reading.status);
            let cause = cause_of(plan, image, counters, id, status);
            let state = match status {
                Status::BAD_WAITING_FOR_INITIAL_DATA if !waited(tag.group, tag.link) => TagState::Waiting,
                _ if status.is_good() => TagState::Good,
                _ if status.is_uncertain() => TagState::Uncertain,
                _ => TagState::Bad,
            };
            tags.by_link.entry(tag.link).or_default().count(state);
            if state == TagState::Bad || status == Status::UNCERTAIN_LAST_USABLE {
                tags.troubled.push(TagTrouble { tag: id, link: tag.link, status, cause });
            }
            if let Some(unit) = units.get(&id) {
                let by_this = UnitState::by(state, status, cause);
                let unit = tags.units.entry((tag.link, *unit)).or_insert(by_this);
                *unit = by_this.max(*unit);
            }
        }
        tags
    }

    /// Those that are bad.
    pub fn bad(&self) -> impl Iterator<Item = &TagTrouble> {
        self.troubled.iter().filter(|tag| tag.status.is_bad())
    }

    /// Of all links.
    pub fn counts(&self) -> TagCounts {
        self.by_link.values().fold(TagCounts::default(), |sum, of| TagCounts {
            total: sum.total + of.total,
            good: sum.good + of.good,
            uncertain: sum.uncertain + of.uncertain,
            bad: sum.bad + of.bad,
            waiting: sum.waiting + of.waiting,
        })
    }
}

impl TagCounts {
    fn count(&mut self, state: TagState) {
        self.total += 1;
        *match state {
            TagState::Good => &mut self.good,
            TagState::Uncertain => &mut self.uncertain,
            TagState::Bad => &mut self.bad,
            TagState::Waiting => &mut self.waiting,
        } += 1;
    }
}

/// The unit or node that each tag is read of, where its link has such.
pub fn units_of(plan: &Plan) -> BTreeMap<TagId, u8> {
    plan.links.values().flat_map(|link| link.protocol.units()).collect()
}

/// The latest reading of a tag, and its value; `None`: it was never read.
pub fn newest(image: &Image, tag: TagId, ty: ValueType) -> (Reading, Option<Value>) {
    let mut bytes = vec![0; ty.long_bytes_max()];
    // A read that met a write each time is tried again: a slot is not written for long.
    let reading = (0..NEWEST_TRIES).find_map(|_| image.read_long(tag.index(), &mut bytes));
    let none = Reading { status: Status::BAD_WAITING_FOR_INITIAL_DATA.0, ..Reading::default() };
    let reading = reading.unwrap_or(none);
    let value = match ty {
        _ if reading.t == 0 => None,
        ValueType::Scalar(scalar) => Some(Value::from_bits(scalar, reading.value)),
        _ => Value::from_long(ty.code(), bytes.get(..reading.value as usize).unwrap_or(&bytes)),
    };
    (reading, value)
}

/// Why a tag has this status; `None`: it is good, or nothing is known.
pub fn cause_of(plan: &Plan, image: &Image, counters: &Counters, tag: TagId, status: Status) -> Option<Cause> {
    match status {
        Status::BAD_WAITING_FOR_INITIAL_DATA => {
            let link = plan.tags.get(tag)?.link;
            match (counters.link(link).state(), &plan.links.get(link)?.protocol) {
                (LinkState::Down, _) => Some(Cause::NotConnected),
                (LinkState::BusOff, _) => Some(Cause::Can(CanFault::BusOff)),
                (_, protocol) => {
                    let stored = Cause::of_code(image.cause(tag.index())).filter(|cause| *cause != Cause::NotConnected);
                    let never = protocol.listens().then_some(Cause::Can(CanFault::Never));
                    stored.or(never)
                }
            }
        }
        // Of all others that are not good, the value was read, and is what it is.
        _ if status.is_bad() || status == Status::UNCERTAIN_LAST_USABLE => {
            let cause = Cause::of_status(status).or_else(|| Cause::of_code(image.cause(tag.index())))?;
            let link = plan.tags.get(tag)?.link;
            let listens = plan.links.get(link)?.protocol.listens();
            // The interface is back, and what is waited for is the message.
            let is_back = cause == Cause::NotConnected && listens && counters.link(link).state() == LinkState::Up;
            Some(if is_back { Cause::Can(CanFault::Never) } else { cause })
        }
        _ => None,
    }
}

/// The reason of a tag that is not good, for people. `trouble`: why its link has no connection.
pub fn reason(status: Status, cause: Option<Cause>, trouble: Option<&str>) -> String {
    match (cause, trouble.filter(|trouble| !trouble.is_empty())) {
        (Some(Cause::NotConnected), Some(trouble)) => trouble.to_owned(),
        (Some(cause), _) => cause.to_string(),
        (None, _) if status == Status::BAD_WAITING_FOR_INITIAL_DATA => "not read yet".to_owned(),
        (None, _) if status == Status::UNCERTAIN_UNITS_EXCEEDED => {
            "the value is outside the range of its sensor".to_owned()
        }
        (None, _) => "the reason is unknown".to_owned(),
    }
}
