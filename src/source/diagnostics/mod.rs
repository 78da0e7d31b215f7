//! The gateway's own tags: what it knows of itself, its links, groups, lanes, journal and outputs, as samples like any
//! other, so that one can see far away why data is missing.
//!
//! | file | subject |
//! |---|---|
//! | `values` | what each tag's value is now |
//! | `clock` | the system clock: its steps, and what keeps it |

mod clock;
mod values;

use std::sync::Arc;

use values::{Values, Was};

use super::{Door, Source, Wake};
use crate::lane::{Frame, LinkState};
use crate::plan::{DiagnosticTag, DiagnosticsPlan, Plan, ScanId};
use crate::rt::{WriteOutcome, WritePayload, monotonic_now};
use crate::serve::Observed;
use crate::store::JournalReader;
use crate::tag::{LaneId, LinkId, Nanos, Status};

/// See the module.
pub struct Diagnostics {
    values: Values,
}

/// What the plan asks for.
#[derive(Default)]
struct Work {
    link: Option<LinkId>,
    period: Nanos,
    tags: Vec<DiagnosticTag>,
    scans: Vec<ScanId>,
}

impl Work {
    fn new(plan: &Plan, lane: LaneId) -> Work {
        let mut own = plan.links.iter().filter(|(_, link)| link.lane == lane);
        let Some((id, link)) = own.next() else { return Work::default() };
        let Some(diagnostics) = link.protocol.get::<DiagnosticsPlan>() else { return Work::default() };
        let mut scans: Vec<ScanId> = diagnostics.tags.iter().map(|tag| tag.scan).collect();
        scans.dedup();
        let period = diagnostics.tags.first().map_or(Nanos::ZERO, |tag| plan.groups[tag.group].period);
        Work { link: Some(id), period, tags: diagnostics.tags.clone(), scans }
    }
}

impl Diagnostics {
    pub fn new(observed: Arc<Observed>, journal: JournalReader) -> Diagnostics {
        Diagnostics { values: Values::new(observed, journal) }
    }

    /// Writes every tag once.
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
}

impl Source for Diagnostics {
    fn run(mut self: Box<Self>, mut door: Door) {
        let mut work = Work::new(&self.values.plan(), door.lane);
        let mut cycle = 0u32;
        let mut due = monotonic_now() + work.period;
        loop {
            if let Some(link) = work.link {
                door.counters.link(link).set_state(LinkState::Up);
            }
            match door.wait(if work.tags.is_empty() { Nanos::NEVER } else { due }) {
                Wake::Due => {
                    self.write(&work, &mut door, cycle);
                    cycle = cycle.wrapping_add(1);
                    due += work.period;
                    let now = monotonic_now();
                    if due < now {
                        // No burst after a stall: what was missed is counted.
                        let missed = (now - due).0 / work.period.0.max(1) + 1;
                        due += Nanos(missed * work.period.0);
                        work.scans.iter().for_each(|scan| door.counters.scan(*scan).skipped.add(missed));
                    }
                }
                Wake::Plan(plan) => {
                    work = Work::new(&plan, door.lane);
                    due = due.min(monotonic_now() + work.period);
                }
                Wake::Order(order) => door.answer(order.id, WriteOutcome::NotWritable, WritePayload::default()),
                Wake::Stop => return,
            }
        }
    }
}
