//! The gateway's own tags: what it knows of itself, its links, groups, lanes, journal and outputs, as samples like any
//! other, so that one can see far away why data is missing.
//!
//! States are written when they change, and now and then all the same; everything else once a period.
//!
//! | file | subject |
//! |---|---|
//! | `values` | what each tag's value is now |
//! | `states` | which states have changed |
//! | `clock` | the system clock: its steps, and what keeps it |

mod clock;
mod states;
mod values;

use std::sync::Arc;

use super::Source;
use crate::door::{Door, Wake};
use crate::lane::{Frame, LinkState};
use crate::limits::DIAGNOSTIC_REFRESH;
use crate::plan::{DiagnosticTag, DiagnosticsPlan, Pace, Plan, ScanId};
use crate::rt::{Report, WriteOutcome, WritePayload, monotonic_now};
use crate::serve::Observed;
use crate::store::JournalReader;
use crate::tag::{GroupId, LaneId, LinkId, Nanos, Status};
pub use states::OutputStateView;
use states::{Change, States};
use values::{Values, Was};

/// See the module.
pub struct Diagnostics {
    values: Values,
    outputs: Arc<[OutputStateView]>,
}

/// What the plan asks for.
#[derive(Default)]
struct Work {
    link: Option<LinkId>,
    period: Nanos,
    /// Written each period, and the group and scans that they are of.
    tags: Vec<DiagnosticTag>,
    group: GroupId,
    scans: Vec<ScanId>,
    /// Written when they change.
    states: Vec<DiagnosticTag>,
}

impl Work {
    fn new(plan: &Plan, lane: LaneId) -> Work {
        let mut own = plan.links.iter().filter(|(_, link)| link.lane == lane);
        let Some((id, link)) = own.next() else { return Work::default() };
        let Some(diagnostics) = link.protocol.get::<DiagnosticsPlan>() else { return Work::default() };
        let (tags, states): (Vec<_>, Vec<_>) =
            diagnostics.tags.iter().cloned().partition(|tag| plan.groups[tag.group].pace.period().is_some());
        let mut scans: Vec<ScanId> = tags.iter().map(|tag| tag.scan).collect();
        scans.dedup();
        let group = tags.first().map(|tag| tag.group).unwrap_or_default();
        let period = match plan.groups.get(group).map(|group| group.pace) {
            Some(Pace::Every(period)) => period,
            _ => Nanos::ZERO,
        };
        Work { link: Some(id), period, tags, group, scans, states }
    }

    /// A state that does not change is written again after so long.
    fn refresh(&self) -> Nanos {
        DIAGNOSTIC_REFRESH.max(self.period)
    }
}

impl Diagnostics {
    pub fn new(observed: Arc<Observed>, journal: JournalReader, outputs: Vec<OutputStateView>) -> Diagnostics {
        Diagnostics { values: Values::new(observed, journal), outputs: outputs.into() }
    }

    /// Writes every tag that has a period once.
    fn write(&mut self, work: &Work, door: &mut Door, cycle: u32) {
        let now = monotonic_now();
        self.values.look(now);
        for own in &work.tags {
            let frame = Frame { group: own.group, cycle, t: now.into() };
            let ty = own.signal.ty() as u8;
            match self.values.of(&own.signal) {
                Was::Value(bits) => {
                    door.samples.scalar_with_status(frame, own.tag, ty, bits, Status::GOOD);
                }
                // The last one stands, with its time.
                Was::Nothing => {
                    door.samples.hold(frame, own.tag, ty, false, Status::UNCERTAIN_LAST_USABLE);
                }
                Was::Never => {}
            }
        }
        door.samples.flush();
        for scan in &work.scans {
            door.counters.scan(*scan).cycles.add(1);
        }
    }

    /// Writes the states that have changed.
    fn write_changes(&self, states: &mut States, door: &mut Door) {
        let samples = &mut door.samples;
        states.look(monotonic_now(), |Change { tag, t, value, number }| {
            let frame = Frame { group: tag.group, cycle: number, t: t.into() };
            samples.scalar(frame, tag.tag, tag.signal.ty() as u8, value);
        });
        samples.flush();
    }

    fn states(&self, plan: &Plan, work: &Work) -> States {
        States::new(self.values.observed().clone(), self.outputs.clone(), plan, &work.states, work.refresh())
    }
}

impl Source for Diagnostics {
    fn run(mut self: Box<Self>, mut door: Door) {
        let plan = self.values.observed().plan();
        let mut work = Work::new(&plan, door.lane);
        let mut states = self.states(&plan, &work);
        let mut cycle = 0u32;
        let mut due = monotonic_now() + work.period;
        loop {
            if let Some(link) = work.link {
                door.counters.link(link).set_state(LinkState::Up);
            }
            let written = if work.tags.is_empty() { Nanos::NEVER } else { due };
            match door.wait(written.min(states.due())) {
                Wake::Due => {
                    self.write_changes(&mut states, &mut door);
                    let now = monotonic_now();
                    if now < written {
                        continue;
                    }
                    // After a stall there is no burst: what was missed is counted.
                    let missed = (now - due).0 / work.period.0.max(1);
                    work.scans.iter().for_each(|scan| door.counters.scan(*scan).skipped.add(missed));
                    let nominal = due + Nanos(missed * work.period.0);
                    let released = Report::Released { group: work.group, due, nominal, actual: now };
                    self.values.observed().statistics.record(&released);
                    self.write(&work, &mut door, cycle);
                    cycle = cycle.wrapping_add(1);
                    due = nominal + work.period;
                }
                Wake::Plan(plan) => {
                    work = Work::new(&plan, door.lane);
                    states = self.states(&plan, &work);
                    due = due.min(monotonic_now() + work.period);
                }
                Wake::Order(order) => door.answer(order.id, WriteOutcome::NotWritable, WritePayload::default()),
                Wake::Stop => return,
            }
        }
    }
}
