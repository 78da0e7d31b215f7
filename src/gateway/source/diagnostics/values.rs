//! Current values of the gateway's own tags, except states.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::clock::ClockWatch;
use crate::config::{
    DiagnosticSignal, GatewaySignal, GroupSignal, JournalSignal, LaneSignal, LinkSignal, OutputSignal, UnitSignal,
};
use crate::hub::clock_pair;
use crate::hub::stats::Intervals;
use crate::lane::Reading;
use crate::limits::FIRST_VALUE_PATIENCE;
use crate::plan::Plan;
use crate::rt::monotonic_now;
use crate::serve::{JournalView, Observed, OutputView, ProcessUsage, TagCounts, Tags, totals_of, units_of};
use crate::store::JournalReader;
use crate::tag::{ById, ClockPair, GroupId, LinkId, Nanos, Stamp, TagId};

/// A tag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    /// As the bits of a sample.
    Value(u64),
    /// There is none now, though there may have been one.
    Nothing,
    /// There has never been one.
    Never,
}

/// Ids by the names that signals have.
#[derive(Default)]
struct Names {
    plan: Arc<Plan>,
    links: HashMap<Arc<str>, LinkId>,
    /// The first of each name, which stands for all of it.
    groups: HashMap<Arc<str>, GroupId>,
    first_of_name: ById<GroupId, GroupId>,
    units: BTreeMap<TagId, u8>,
}

/// What one look has found.
#[derive(Default)]
struct Found {
    tags: TagCounts,
    usage: ProcessUsage,
    cpu_percent: f64,
    journal: JournalView,
    outputs: HashMap<String, (OutputView, Option<f64>)>,
    /// How long ago a value was last read: by link, and by unit.
    good: BTreeMap<LinkId, Nanos>,
    good_of_units: BTreeMap<(LinkId, u8), Nanos>,
    intervals: Intervals,
    /// Missed and skipped cycles by group.
    missed: BTreeMap<GroupId, u64>,
}

/// See the module.
pub struct Values {
    observed: Arc<Observed>,
    reader: JournalReader,
    started: Nanos,
    names: Names,
    clock: ClockWatch,
    looked: Nanos,
    found: Found,
}

impl Values {
    pub fn new(observed: Arc<Observed>, reader: JournalReader) -> Values {
        let started = monotonic_now();
        let found = Found { usage: ProcessUsage::now(), ..Found::default() };
        observed.statistics.keep_intervals();
        let (names, clock) = (Names::default(), ClockWatch::new());
        Values { observed, reader, started, names, clock, looked: started, found }
    }

    pub fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Looks at everything once.
    pub fn look(&mut self, now: Nanos) {
        self.clock.look();
        let current = self.observed.current();
        if !Arc::ptr_eq(&current.plan, &self.names.plan) {
            self.names = Names::new(current.plan.clone());
        }
        let (plan, counters, image) = (&current.plan, &self.observed.counters, &self.observed.image);
        let usage = ProcessUsage::now();
        let interval = (now - self.looked).as_secs_f64();
        let cpu_percent = if interval > 0.0 { (usage.cpu_s - self.found.usage.cpu_s) / interval * 100.0 } else { 0.0 };
        self.looked = now;
        let mut found = Found { usage, cpu_percent, ..Found::default() };
        let clock = clock_pair();
        let (good, good_of_units, units) = (&mut found.good, &mut found.good_of_units, &self.names.units);
        let each = |id: TagId, link: LinkId, reading: &Reading| {
            // A value that is held keeps the time at which it was read, whatever its status.
            if reading.t == 0 {
                return;
            }
            let age = Stamp(reading.t).age(now, &clock);
            let youngest = good.entry(link).or_insert(age);
            *youngest = age.min(*youngest);
            if let Some(unit) = units.get(&id) {
                let youngest = good_of_units.entry((link, *unit)).or_insert(age);
                *youngest = age.min(*youngest);
            }
        };
        found.tags = Tags::look_at_each(plan, image, counters, FIRST_VALUE_PATIENCE, each).counts();
        for (id, scan) in plan.scans.iter() {
            let [_, skipped, missed] = totals_of(counters, id);
            let group = self.names.first_of_name.get(scan.group).copied().unwrap_or(scan.group);
            *found.missed.entry(group).or_default() += skipped + missed;
        }
        for (name, id) in &self.names.groups {
            let [_, skipped, missed] = current.retired(name);
            *found.missed.entry(*id).or_default() += skipped + missed;
        }
        found.intervals = self.observed.statistics.take_intervals();
        found.journal = (self.observed.journal)();
        for (name, view) in &self.observed.outputs {
            found.outputs.insert(name.clone(), (view(), self.lag(name, &clock, now)));
        }
        self.found = found;
    }

    /// Seconds since the oldest sample was read that an output has not delivered.
    fn lag(&self, output: &str, clock: &ClockPair, now: Nanos) -> Option<f64> {
        let position = self.reader.cursor(output).ok()??;
        match self.reader.pending_since(position).ok()? {
            None => Some(0.0),
            Some(utc_ns) => Some((clock.utc_ns_of(now).saturating_sub(utc_ns)).max(0) as f64 / 1e9),
        }
    }

    pub fn of(&self, signal: &DiagnosticSignal) -> Was {
        match signal {
            DiagnosticSignal::Gateway(what) => self.of_gateway(*what),
            DiagnosticSignal::Journal(what) => {
                let JournalView { bytes, oldest_age, stored, dropped, evicted, lost, .. } = self.found.journal;
                match what {
                    JournalSignal::Bytes => whole(bytes),
                    JournalSignal::Oldest => float(oldest_age.as_secs_f64()),
                    JournalSignal::Stored => whole(stored),
                    JournalSignal::Lost => whole(dropped + evicted + lost),
                }
            }
            DiagnosticSignal::Lane(lane, what) => self.of_lane(usize::from(*lane), *what),
            DiagnosticSignal::Link(link, what) => match self.names.links.get(link) {
                Some(id) => self.of_link(*id, *what),
                None => Was::Nothing,
            },
            DiagnosticSignal::Unit(link, unit, UnitSignal::SinceGood) => {
                let Some(id) = self.names.links.get(link) else { return Was::Nothing };
                since(self.found.good_of_units.get(&(*id, *unit)))
            }
            DiagnosticSignal::Group(group, what) => match self.names.groups.get(group) {
                Some(id) => self.of_group(*id, *what),
                None => Was::Nothing,
            },
            DiagnosticSignal::Output(output, what) => {
                let Some((view, lag)) = self.found.outputs.get(&**output) else { return Was::Nothing };
                match what {
                    OutputSignal::State => Was::Never,
                    OutputSignal::Lag => lag.map_or(Was::Nothing, float),
                    OutputSignal::LagSamples => whole(view.lag),
                    OutputSignal::Acknowledged => whole(view.acknowledged),
                    OutputSignal::Lost => whole(view.lost),
                }
            }
        }
    }

    fn of_gateway(&self, what: GatewaySignal) -> Was {
        let Found { tags, usage, .. } = &self.found;
        let counters = &self.observed.counters;
        match what {
            GatewaySignal::Uptime => float((self.looked - self.started).as_secs_f64()),
            GatewaySignal::CpuPercent => float(self.found.cpu_percent),
            GatewaySignal::Memory => whole(usage.resident_bytes),
            GatewaySignal::TagsGood => whole(tags.good as u64),
            GatewaySignal::TagsUncertain => whole(tags.uncertain as u64),
            GatewaySignal::TagsBad => whole((tags.bad + tags.waiting) as u64),
            GatewaySignal::Produced => whole(counters.produced()),
            GatewaySignal::Dropped => whole(counters.dropped()),
            GatewaySignal::Suppressed => whole(counters.suppressed()),
            GatewaySignal::ClockOffset | GatewaySignal::ClockError | GatewaySignal::ClockStep => {
                self.clock.tells(what).unwrap_or(Was::Never)
            }
            // States are told when they change.
            GatewaySignal::ClockSynchronised | GatewaySignal::ConfigurationRefused => Was::Never,
        }
    }

    fn of_lane(&self, lane: usize, what: LaneSignal) -> Was {
        let (Some(counts), Some(ring)) = (self.observed.counters.lanes.get(lane), self.observed.rings.get(lane)) else {
            return Was::Never;
        };
        match what {
            LaneSignal::Produced => whole(counts.produced.get()),
            LaneSignal::Dropped => whole(counts.dropped.get()),
            LaneSignal::RingPercent => {
                let fill = ring();
                float(fill.used as f64 / fill.capacity.max(1) as f64 * 100.0)
            }
        }
    }

    fn of_link(&self, link: LinkId, what: LinkSignal) -> Was {
        let counts = self.observed.counters.link(link);
        let response = |quantile: fn(&[Nanos; 2]) -> Nanos| match self.found.intervals.response.get(link) {
            Some(times) => float(quantile(times).0 as f64 / 1e6),
            None => Was::Nothing,
        };
        match what {
            LinkSignal::State => Was::Never,
            LinkSignal::SinceGood => since(self.found.good.get(&link)),
            LinkSignal::ResponseP50 => response(|times| times[0]),
            LinkSignal::ResponseP99 => response(|times| times[1]),
            LinkSignal::Requests => whole(counts.requests.get()),
            LinkSignal::Timeouts => whole(counts.timeouts.get()),
            LinkSignal::Disconnects => whole(counts.disconnects.get()),
        }
    }

    fn of_group(&self, group: GroupId, what: GroupSignal) -> Was {
        match what {
            GroupSignal::JitterP99 => match self.found.intervals.release_jitter.get(group) {
                Some(times) => float(times[1].0 as f64 / 1e3),
                None => Was::Nothing,
            },
            GroupSignal::Missed => whole(self.found.missed.get(&group).copied().unwrap_or(0)),
        }
    }
}

fn since(age: Option<&Nanos>) -> Was {
    age.map_or(Was::Never, |age| float(age.as_secs_f64()))
}

impl Names {
    fn new(plan: Arc<Plan>) -> Names {
        Names {
            links: plan.links.iter().map(|(id, link)| (link.name.clone(), id)).collect(),
            groups: plan.named_groups().into_iter().map(|group| (group.name.clone(), group.first)).collect(),
            first_of_name: plan.first_of_name(),
            units: units_of(&plan),
            plan,
        }
    }
}

/// A number of a whole type, as its tag's samples have it.
fn whole(value: u64) -> Was {
    Was::Value(value)
}

pub(super) fn float(value: f64) -> Was {
    Was::Value(value.to_bits())
}
