//! Changes of the states of links, outputs and the gateway since the last poll.
//!
//! A state is written when it is another than the one that was written last. A link that was down and is up again between
//! two looks shows by its count of lost connections: it is written as down in the middle between them, and as up. What does
//! not change is written again now and then, for those who begin to listen or have lost samples.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::clock::Discipline;
use crate::config::{DiagnosticSignal, GatewaySignal, LinkSignal, OutputSignal};
use crate::lane::{Counters, LinkState};
use crate::limits::DIAGNOSTIC_LOOK;
use crate::plan::{DiagnosticTag, Plan};
use crate::serve::{Observed, OutputState, View};
use crate::tag::{LinkId, Nanos};

/// The state of an output, by its name.
pub type OutputStateView = (String, View<OutputState>);

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Change<'t> {
    pub tag: &'t DiagnosticTag,
    pub t: Nanos,
    pub value: u64,
    /// Counts what was written of this tag.
    pub number: u32,
}

/// Where a state is read.
enum Place {
    Link(LinkId),
    /// By its number.
    Output(usize),
    Refused,
    Synchronised,
}

struct Entry {
    tag: DiagnosticTag,
    place: Place,
    state: Followed,
}

/// What was written of a state, and when it must be again.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Followed {
    written: Option<u64>,
    /// When it is written though it has not changed.
    refresh_at: Nanos,
    /// Connections that the link had lost.
    lost: u64,
    number: u32,
}

/// See the module.
pub(super) struct States {
    observed: Arc<Observed>,
    outputs: Arc<[OutputStateView]>,
    entries: Vec<Entry>,
    refresh: Nanos,
    /// The last look.
    looked: Nanos,
}

impl States {
    pub fn new(
        observed: Arc<Observed>,
        outputs: Arc<[OutputStateView]>,
        plan: &Plan,
        tags: &[DiagnosticTag],
        refresh: Nanos,
    ) -> States {
        let place = |signal: &DiagnosticSignal| match signal {
            DiagnosticSignal::Link(name, LinkSignal::State) => {
                plan.links.iter().find(|(_, link)| link.name == *name).map(|(id, _)| Place::Link(id))
            }
            DiagnosticSignal::Output(name, OutputSignal::State) => {
                outputs.iter().position(|(output, _)| **output == **name).map(Place::Output)
            }
            DiagnosticSignal::Gateway(GatewaySignal::ConfigurationRefused) => Some(Place::Refused),
            DiagnosticSignal::Gateway(GatewaySignal::ClockSynchronised) => Some(Place::Synchronised),
            _ => None,
        };
        let entry = |tag: &DiagnosticTag| {
            Some(Entry { tag: tag.clone(), place: place(&tag.signal)?, state: Followed::default() })
        };
        let entries = tags.iter().filter_map(entry).collect();
        States { observed, entries, outputs, refresh, looked: Nanos::ZERO }
    }

    /// When to look next.
    pub fn due(&self) -> Nanos {
        if self.entries.is_empty() { Nanos::NEVER } else { self.looked + DIAGNOSTIC_LOOK }
    }

    /// Looks, unless it is too early; what is to be written goes to `write`, in order.
    pub fn look(&mut self, now: Nanos, mut write: impl FnMut(Change<'_>)) {
        if now < self.due() {
            return;
        }
        let between = Nanos(self.looked.0.midpoint(now.0));
        for Entry { tag, place, state } in &mut self.entries {
            let Some((value, lost)) = place.look(&self.observed, &self.outputs) else { continue };
            let seen = Seen { value, lost, between, now };
            state.follow(seen, self.refresh, |t, value, number| write(Change { tag, t, value, number }));
        }
        self.looked = now;
    }
}

impl Place {
    /// The state, and how many connections were lost; `None`: it cannot be told.
    fn look(&self, observed: &Observed, outputs: &[OutputStateView]) -> Option<(u64, u64)> {
        let Observed { counters, reloads, .. } = observed;
        match self {
            Place::Link(link) => Some(of_link(counters, *link)),
            Place::Output(at) => outputs.get(*at).map(|(_, state)| (state() as u64, 0)),
            Place::Refused => Some((reloads.last_refused.load(Relaxed).into(), 0)),
            Place::Synchronised => Discipline::now().map(|clock| (clock.is_synchronised.into(), 0)),
        }
    }
}

fn of_link(counters: &Counters, link: LinkId) -> (u64, u64) {
    let counts = counters.link(link);
    (counts.state() as u64, counts.disconnects.get())
}

/// What one look found of a state.
#[derive(Debug, Clone, Copy)]
struct Seen {
    value: u64,
    lost: u64,
    /// In the middle between the look before and this one.
    between: Nanos,
    now: Nanos,
}

impl Followed {
    fn follow(&mut self, seen: Seen, refresh: Nanos, mut write: impl FnMut(Nanos, u64, u32)) {
        let Seen { value, lost, between, now } = seen;
        let is_first = self.written.is_none();
        // Down at either look is seen as it is.
        let down = LinkState::Down as u64;
        let was_down = !is_first && lost != self.lost && value != down && self.written != Some(down);
        self.lost = lost;
        let mut write = |t, value| {
            write(t, value, self.number);
            self.number = self.number.wrapping_add(1);
        };
        if was_down {
            write(between, down);
        }
        if was_down || self.written != Some(value) || now >= self.refresh_at {
            write(now, value);
            (self.written, self.refresh_at) = (Some(value), now + refresh);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: u64 = DIAGNOSTIC_LOOK.0;
    const REFRESH: Nanos = Nanos(100 * LOOK);

    /// What is written when these states and counts of lost connections are seen, one each look: look, and value.
    fn written(seen: &[(u64, u64)]) -> Vec<(f64, u64)> {
        let mut state = Followed::default();
        let mut written = Vec::new();
        for (at, (value, lost)) in seen.iter().enumerate() {
            let now = Nanos(LOOK * (at as u64 + 1));
            let seen = Seen { value: *value, lost: *lost, between: Nanos(now.0 - LOOK / 2), now };
            state.follow(seen, REFRESH, |t, value, number| {
                assert_eq!(number as usize, written.len());
                written.push((t.0 as f64 / LOOK as f64 - 1.0, value));
            });
        }
        written
    }

    const DOWN: u64 = LinkState::Down as u64;
    const UP: u64 = LinkState::Up as u64;
    const SILENT: u64 = LinkState::Silent as u64;

    #[test]
    fn a_state_is_written_when_it_changes_and_again_after_a_while() {
        let seen = [(DOWN, 0), (DOWN, 0), (UP, 0), (UP, 0), (DOWN, 1), (UP, 1)];
        assert_eq!(written(&seen), [(0.0, DOWN), (2.0, UP), (4.0, DOWN), (5.0, UP)]);
        assert_eq!(written(&[(UP, 0); 250]), [(0.0, UP), (100.0, UP), (200.0, UP)]);
    }

    #[test]
    fn a_link_that_was_down_between_two_looks_is_written_as_down_and_as_up() {
        let seen = [(UP, 3), (UP, 4), (UP, 4), (SILENT, 6), (DOWN, 7), (DOWN, 8)];
        let wanted = [(0.0, UP), (0.5, DOWN), (1.0, UP), (2.5, DOWN), (3.0, SILENT), (4.0, DOWN)];
        assert_eq!(written(&seen), wanted);
    }
}
