//! What must hold of samples: nothing lost silently, no value that the device did not have, no status out of turn.
//!
//! Here is what the books know; `samples` judges what is told by it, `state` what stands in image and counters, `shown`
//! whether the image has what devices gave that send datagrams, `source` what a source gave.

mod samples;
mod shown;
mod source;
mod state;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::device::Meaning;
use super::generations::{Generation, Life};
use super::given::Given;
use super::memory::Memory;
use super::scenario::Scenario;
use super::stream::Exchange;
use crate::config::TagConfig;
use crate::lane::Counters;
use crate::plan::{Change, LinkPlan, Plan, ScanId};
use crate::protocol::canopen::plan::CanOpenPlan;
use crate::protocol::modbus::model::ModbusAddress;
use crate::tag::{Dictionary, LaneId, LinkId, Nanos, Status, TagId};

/// Exchanges older than this have had their samples told, as no consumer stops that long.
const EXCHANGE_KEPT_NS: u64 = 60_000_000_000;
/// How long a refused address is not asked again, and what the first answer after that takes.
const REFUSED_NS: u64 = 36_000_000_000;
/// A link's first connection to a steady device is there after this.
const SETTLED_NS: u64 = 3_000_000_000;

/// What is known of a tag.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    status: u32,
    t: u64,
    value: u64,
    /// False: samples were dropped since, so that nothing is known.
    sure: bool,
    was_read: bool,
    /// Answered by exceptions 01 to 03, and when last; by another that says that it is broken; by what is no value.
    refused: bool,
    refused_at: u64,
    broken: bool,
    undecodable: bool,
    /// Bad statuses that its device brought about: see [`CAUSED`](super::given::CAUSED).
    caused: u8,
    executor: usize,
}

/// One executor's part of the books.
struct Part {
    /// The next sequence number, samples told missing, samples delivered.
    next: u64,
    missing: u64,
    delivered: u64,
    /// The plan that it has, and when each was taken up: plan and time.
    generation: usize,
    adopted: Vec<(usize, u64)>,
    /// Links that read their device since that plan, or since shortly before it.
    fresh_under: Vec<(usize, LinkId)>,
    /// Since when each of its links reads the device that it reads; and those that got other work by that plan, and when.
    fresh: BTreeMap<LinkId, u64>,
    changed: Vec<(LinkId, u64)>,
    /// By scan: what it had missed when that plan was taken up.
    missed: Vec<(ScanId, u64)>,
    /// Links that came with a plan, and when.
    came: Vec<(LinkId, u64)>,
    /// By link id.
    exchanges: Vec<VecDeque<Exchange>>,
    /// By link and place.
    given: BTreeMap<(LinkId, u64), VecDeque<Given>>,
}

/// The books of a run.
pub struct Books<'s> {
    scenario: &'s Scenario,
    pub generations: Vec<Generation>,
    lives: usize,
    tags: Vec<Known>,
    parts: Vec<Part>,
    bytes: Vec<u8>,
    pub good: u64,
    /// Tags of units that answer beside one that does not.
    beside: Vec<Beside>,
    /// Tags of devices that are odd, and no more.
    odd: Vec<Beside>,
    /// How often such a unit was looked at.
    pub besides: u64,
    source: Option<source::SourceBooks>,
}

/// A connection with trouble, the unit that is at fault where it is one, and what was well on it when that began.
struct Beside {
    executor: usize,
    host: u32,
    unit: u8,
    since: u64,
    well: Vec<TagId>,
}

/// By the rules of report by exception: how far from the last sample told, and for how long.
#[derive(Debug, Clone, Copy)]
struct Unsaid {
    deadband: f64,
    silence: u64,
}

impl Part {
    /// The plan that was in force then, and those after it.
    fn in_force_since(&self, t: u64) -> impl Iterator<Item = usize> {
        let first = self.adopted.partition_point(|(_, at)| *at <= t).saturating_sub(1);
        self.adopted[first..].iter().map(|(generation, _)| *generation)
    }

    /// Whether what a link was asked at one time and answered at the other is of one and the same link, by its id.
    fn is_of_one(&self, link: LinkId, asked: u64, answered: u64) -> bool {
        !self.came.iter().any(|(id, at)| *id == link && (asked..answered).contains(at))
    }

    fn is_fresh(&self, generation: usize, link: LinkId) -> bool {
        self.fresh_under.contains(&(generation, link))
    }
}

fn misses(counters: &Counters, scan: ScanId) -> u64 {
    counters.scan(scan).deadline_misses.get() + counters.scan(scan).skipped.get()
}

impl<'s> Books<'s> {
    pub fn new(scenario: &'s Scenario) -> Books<'s> {
        // The nodes of a network are set up once it is there, and what is due meanwhile is missed.
        let is_network = |link: &LinkPlan| link.protocol.is::<CanOpenPlan>();
        // What was admitted misses nothing from the beginning.
        let networks = scenario.plan.links.iter().filter(|(_, link)| !scenario.promised && is_network(link));
        let networks = networks.map(|(id, _)| id);
        let networks: Vec<LinkId> = networks.collect();
        let part = |_| Part {
            next: 0,
            missing: 0,
            delivered: 0,
            generation: 0,
            adopted: vec![(0, 0)],
            fresh_under: networks.iter().map(|link| (0, *link)).collect(),
            // A change of plan may keep the connector from its first work.
            fresh: scenario.plan.links.ids().filter(|_| !scenario.promised).map(|link| (link, 0)).collect(),
            changed: Vec::new(),
            missed: scenario.plan.scans.ids().map(|id| (id, 0)).collect(),
            came: Vec::new(),
            exchanges: Vec::new(),
            given: BTreeMap::new(),
        };
        let mut books = Books {
            scenario,
            generations: Vec::new(),
            lives: 0,
            tags: Vec::new(),
            parts: (0..scenario.plan.lanes.len()).map(part).collect(),
            bytes: Vec::new(),
            good: 0,
            beside: Vec::new(),
            odd: Vec::new(),
            besides: 0,
            source: source::SourceBooks::of(&scenario.plan),
        };
        books.add(scenario.config.clone(), Arc::new(scenario.plan.clone()));
        books
    }

    fn add(&mut self, config: crate::config::Config, plan: Arc<crate::plan::Plan>) {
        let generation = Generation::new(config, plan, self.generations.last(), &mut self.lives);
        for (id, tag) in generation.plan.tags.iter() {
            let Some((Life(life), _)) = generation.tag(id) else { continue };
            if life >= self.tags.len() {
                let executor = generation.plan.links[tag.link].lane.index();
                let status = Status::BAD_WAITING_FOR_INITIAL_DATA.0;
                let mut known = Known { status, sure: true, executor, ..Known::default() };
                // What is known of its place stays known.
                for (Life(other), place) in generation.of_link(tag.link, Meaning::Exception(2)) {
                    if other < self.tags.len() && self.tags[other].refused && overlap(place, generation.tag(id)) {
                        (known.refused, known.refused_at) = (true, known.refused_at.max(self.tags[other].refused_at));
                    }
                }
                self.tags.resize(life + 1, known);
            }
        }
        self.generations.push(generation);
    }

    /// A plan is on its way to the executors; its names.
    pub fn announce(&mut self, config: crate::config::Config, plan: Arc<crate::plan::Plan>) -> Arc<Dictionary> {
        self.add(config, plan);
        self.generations[self.generations.len() - 1].names.clone()
    }

    /// What a tag may have been read as since its last sample, of this time, without being told again; `None`: nothing.
    fn unsaid(&self, executor: usize, id: TagId, since: u64) -> Option<Unsaid> {
        let rules = self.parts[executor].in_force_since(since);
        let rules = rules.filter_map(|generation| self.generations[generation].plan.tags.get(id)?.reporting);
        rules.fold(None, |most: Option<Unsaid>, rule| {
            let most = most.unwrap_or(Unsaid { deadband: 0.0, silence: 0 });
            Some(Unsaid { deadband: most.deadband.max(rule.deadband), silence: most.silence.max(rule.max_silence.0) })
        })
    }

    fn generation(&self, executor: usize) -> &Generation {
        &self.generations[self.parts[executor].generation]
    }

    /// The links of the first plan have had their time to begin: from now on, they miss nothing.
    pub fn settle(&mut self, executor: LaneId, now: u64, counters: &Counters) {
        let part = &mut self.parts[executor.index()];
        if now < SETTLED_NS || part.generation != 0 || part.fresh_under.is_empty() {
            return;
        }
        let links = std::mem::take(&mut part.fresh_under);
        let plan = &self.generations[0].plan;
        let of_those = |scan: &ScanId| links.contains(&(0, plan.scans[*scan].link));
        part.missed
            .iter_mut()
            .filter(|(scan, _)| of_those(scan))
            .for_each(|(scan, base)| *base = misses(counters, *scan));
    }

    /// An executor has taken up the newest plan.
    ///
    /// # Errors
    /// What was missed under the one before, by a link that had no reason to.
    pub fn adopted(
        &mut self,
        executor: LaneId,
        changes: &[(LinkId, Change)],
        now: u64,
        counters: &Counters,
    ) -> Result<(), String> {
        self.steady_of(executor.index(), counters)?;
        let newest = self.generations.len() - 1;
        let plan = &self.generations[newest].plan;
        let before = &self.generations[self.parts[executor.index()].generation].plan;
        let part = &mut self.parts[executor.index()];
        part.generation = newest;
        part.adopted.push((newest, now));
        let those = |wanted: &dyn Fn(Change) -> bool| -> Vec<LinkId> {
            changes.iter().filter(|(_, change)| wanted(*change)).map(|(id, _)| *id).collect()
        };
        part.fresh
            .extend(those(&|change| matches!(change, Change::New | Change::Target)).into_iter().map(|id| (id, now)));
        let fresh = part.fresh.iter().filter(|(_, at)| **at + SETTLED_NS > now).map(|(link, _)| (newest, *link));
        part.fresh_under.extend(fresh);
        // The cycle that a change costs is counted at the next release, and another plan may come before that.
        part.changed.retain(|(link, at)| {
            let is_network = |link: &LinkPlan| link.protocol.is::<CanOpenPlan>();
            let cycles = if plan.links.get(*link).is_some_and(is_network) { 2 } else { 1 };
            let mut own = plan.scans.values().filter(|scan| scan.link == *link);
            own.any(|scan| at + cycles * plan.groups[scan.group].interval().0 > now)
        });
        let mut changed = those(&|change| change == Change::Work);
        // Released at another time than before: its last cycle may have had less than a period.
        let is_moved = |id| release_of(before, id).is_some_and(|old| Some(old) != release_of(plan, id));
        changed.extend(plan.scans.iter().filter(|(id, _)| is_moved(*id)).map(|(_, scan)| scan.link));
        changed.sort_unstable();
        changed.dedup();
        part.changed.extend(changed.into_iter().map(|id| (id, now)));
        part.missed = plan.scans.ids().map(|id| (id, misses(counters, id))).collect();
        // An id that was another link's has nothing of that one.
        let new = changes.iter().filter(|(_, change)| *change == Change::New);
        part.came.extend(new.map(|(id, _)| (*id, now)));
        Ok(())
    }

    /// The device answered one of this executor's links.
    pub fn exchange(&mut self, executor: LaneId, exchange: Exchange) {
        let (current, newest) = (self.parts[executor.index()].generation, self.generations.len() - 1);
        let both = if current == newest { vec![current] } else { vec![current, newest] };
        for at in both {
            let generation = &self.generations[at];
            let memory = Memory { seed: self.scenario.hosts.of(exchange.host) };
            for (Life(life), config) in generation.of_link(exchange.link, exchange.meaning) {
                if !exchange.area.holds(config) {
                    continue;
                }
                let known = &mut self.tags[life];
                match exchange.meaning {
                    Meaning::Exception(1..=3) => (known.refused, known.refused_at) = (true, exchange.received),
                    // "Ask again", or a unit that does not answer: nothing that makes a value bad at once.
                    Meaning::Exception(5 | 6 | 0x0A | 0x0B) => {}
                    Meaning::Exception(_) => known.broken = true,
                    Meaning::Values(epoch) => known.undecodable |= memory.expected(config, epoch).is_none(),
                    Meaning::Poison | Meaning::OfWrite => {}
                }
            }
        }
        if !matches!(exchange.meaning, Meaning::Values(_)) {
            return;
        }
        let exchanges = &mut self.parts[executor.index()].exchanges;
        let link = exchange.link.index();
        if exchanges.len() <= link {
            exchanges.resize(link + 1, VecDeque::new());
        }
        let kept = &mut exchanges[link];
        kept.push_back(exchange);
        while kept.front().is_some_and(|old| old.received + EXCHANGE_KEPT_NS < exchange.received) {
            kept.pop_front();
        }
    }
}

/// Phase and period of a scan's releases.
fn release_of(plan: &Plan, scan: ScanId) -> Option<(Nanos, Nanos)> {
    let mut releases = plan.lanes.iter().flat_map(|executor| &executor.releases);
    releases.find(|release| release.scans.contains(&scan)).map(|release| (release.phase, release.period))
}

fn overlap(one: &TagConfig, other: Option<(Life, &TagConfig)>) -> bool {
    let Some((_, other)) = other else { return false };
    let (Some(a), Some(b)) = (one.address.get::<ModbusAddress>(), other.address.get::<ModbusAddress>()) else {
        return false;
    };
    let end =
        |address: &crate::protocol::modbus::model::ModbusAddress| u32::from(address.first) + u32::from(address.count);
    (a.unit, a.table) == (b.unit, b.table) && u32::from(a.first) < end(b) && u32::from(b.first) < end(a)
}
