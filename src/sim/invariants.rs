//! What must hold of samples: nothing lost silently, no value that the device did not have, no status out of turn.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::device::Meaning;
use super::generations::{Generation, Life, may_be_no_value};
use super::memory::{Expected, Memory};
use super::scenario::Scenario;
use super::world::Exchange;
use crate::config::TagConfig;
use crate::hub::{Batch, BatchSample, RingStats};
use crate::plan::{Change, ScanId};
use crate::rt::{Counters, Image};
use crate::tag::{Dictionary, ExecutorId, LinkId, Status, TagId, flags};

/// Exchanges older than this have had their samples told, as no consumer stops that long.
const EXCHANGE_KEPT_NS: u64 = 20_000_000_000;
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
    /// Answered by exception 02, and when last; by another exception; by what is no value.
    refused: bool,
    refused_at: u64,
    broken: bool,
    undecodable: bool,
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
    /// Since when each of its links reads the device that it reads; and those that got other work by that plan.
    fresh: BTreeMap<LinkId, u64>,
    changed: Vec<LinkId>,
    /// By scan: what it had missed when that plan was taken up.
    missed: Vec<(ScanId, u64)>,
    /// By link id.
    exchanges: Vec<VecDeque<Exchange>>,
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
}

impl Part {
    fn is_fresh(&self, generation: usize, link: LinkId) -> bool {
        self.fresh_under.contains(&(generation, link))
    }
}

fn misses(counters: &Counters, scan: ScanId) -> u64 {
    counters.scan(scan).deadline_misses.get() + counters.scan(scan).skipped.get()
}

impl<'s> Books<'s> {
    pub fn new(scenario: &'s Scenario) -> Books<'s> {
        let part = |_| Part {
            next: 0,
            missing: 0,
            delivered: 0,
            generation: 0,
            adopted: vec![(0, 0)],
            fresh_under: Vec::new(),
            fresh: BTreeMap::new(),
            changed: Vec::new(),
            missed: scenario.plan.scans.ids().map(|id| (id, 0)).collect(),
            exchanges: Vec::new(),
        };
        let mut books = Books {
            scenario,
            generations: Vec::new(),
            lives: 0,
            tags: Vec::new(),
            parts: (0..scenario.plan.executors.len()).map(part).collect(),
            bytes: Vec::new(),
            good: 0,
        };
        books.add(scenario.config.clone(), Arc::new(scenario.plan.clone()));
        books
    }

    fn add(&mut self, config: crate::config::Config, plan: Arc<crate::plan::Plan>) {
        let generation = Generation::new(config, plan, self.generations.last(), &mut self.lives);
        for (id, tag) in generation.plan.tags.iter() {
            let Some((Life(life), _)) = generation.tag(id) else { continue };
            if life >= self.tags.len() {
                let executor = generation.plan.links[tag.link].executor.index();
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

    fn generation(&self, executor: usize) -> &Generation {
        &self.generations[self.parts[executor].generation]
    }

    /// An executor has taken up the newest plan.
    ///
    /// # Errors
    /// What was missed under the one before, by a link that had no reason to.
    pub fn adopted(
        &mut self,
        executor: ExecutorId,
        changes: &[(LinkId, Change)],
        now: u64,
        counters: &Counters,
    ) -> Result<(), String> {
        self.steady_of(executor.index(), counters)?;
        let newest = self.generations.len() - 1;
        let plan = &self.generations[newest].plan;
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
        part.changed = those(&|change| change == Change::Work);
        part.missed = plan.scans.ids().map(|id| (id, misses(counters, id))).collect();
        // What comes in now is under the new plan; an id that was another link's has nothing of it.
        for (id, _) in changes.iter().filter(|(_, change)| *change == Change::New) {
            if let Some(kept) = part.exchanges.get_mut(id.index()) {
                kept.retain(|exchange| exchange.received > now);
            }
        }
        Ok(())
    }

    /// The device answered one of this executor's links.
    pub fn exchange(&mut self, executor: ExecutorId, exchange: Exchange) {
        let (current, newest) = (self.parts[executor.index()].generation, self.generations.len() - 1);
        let both = if current == newest { vec![current] } else { vec![current, newest] };
        for at in both {
            let generation = &self.generations[at];
            let memory = Memory { seed: self.scenario.hosts().of(exchange.host) };
            for (Life(life), config) in generation.of_link(exchange.link, exchange.meaning) {
                if !exchange.area.holds(config) {
                    continue;
                }
                let known = &mut self.tags[life];
                match exchange.meaning {
                    Meaning::Exception(2) => (known.refused, known.refused_at) = (true, exchange.received),
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

    /// A batch of the hub.
    ///
    /// # Errors
    /// What it breaks.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), String> {
        let executor = batch.executor.index();
        let part = &mut self.parts[executor];
        let jump = batch.first_sequence.checked_sub(part.next);
        let jump = jump.ok_or_else(|| format!("executor {executor}: sequence {} came twice", batch.first_sequence))?;
        if jump > 0 {
            part.missing += jump;
            self.tags.iter_mut().filter(|known| known.executor == executor).for_each(|known| known.sure = false);
        }
        let generation = self.generations.iter().rposition(|g| Arc::ptr_eq(&g.names, &batch.names));
        let generation = generation.ok_or_else(|| format!("executor {executor}: a batch under unknown names"))?;
        // The executor went on to another plan then.
        let mut later = self.parts[executor].adopted.iter().skip_while(|(of, _)| *of != generation);
        if later.next().is_none() {
            return Err(format!("executor {executor}: a batch under the names of a plan that it did not have"));
        }
        let end = later.next().map_or(u64::MAX, |(_, at)| *at);
        let mut count = 0;
        for sample in batch.iter() {
            if sample.sample.t_mono_ns > end {
                return Err(format!("a sample under a plan that ended at {end}: {:?}", sample.sample));
            }
            self.sample(executor, generation, &sample)?;
            count += 1;
        }
        if count != batch.samples {
            return Err(format!("a batch says {} samples and has {count}", batch.samples));
        }
        let part = &mut self.parts[executor];
        part.next = batch.first_sequence + u64::from(count);
        part.delivered += u64::from(count);
        Ok(())
    }

    fn sample(&mut self, executor: usize, generation: usize, told: &BatchSample<'_>) -> Result<(), String> {
        let sample = told.sample;
        let id = TagId(sample.tag);
        let under = &self.generations[generation];
        let named = under.names.tag(id).map(|tag| tag.name.clone());
        let Some((Life(life), config)) = under.tag(id) else { return Err(format!("a sample of no tag: {sample:?}")) };
        let known = self.tags[life];
        let plan = &under.plan.tags[id];
        let wrong = |what: &str| {
            format!("tag \"{}\" (plan {generation}): {what}; it was {known:?}, now {sample:?}", config.name)
        };
        if named.as_deref() != Some(&*config.name) || known.executor != executor {
            return Err(wrong("told under another name, or by another executor"));
        }
        if sample.group != plan.group.0 || sample.ty != plan.ty.code() {
            return Err(wrong("wrong group or type"));
        }
        let status = sample.status();
        if status.is_good() {
            if sample.flags & !flags::LONG != 0 {
                return Err(wrong("a good sample is no held one"));
            }
            self.bytes.clear();
            let mut bytes = std::mem::take(&mut self.bytes);
            told.payload_into(&mut bytes);
            let verdict = self.has_been_answered(executor, under, id, sample.t_mono_ns, (sample.value, &bytes));
            self.bytes = bytes;
            verdict.map_err(|what| wrong(&what))?;
            self.good += 1;
        } else {
            held(sample, &known).map_err(wrong)?;
            let link = plan.link;
            let excused = status == Status::BAD_DECODING_ERROR || self.parts[executor].is_fresh(generation, link);
            let has_room = |of: usize| {
                let plan = &self.generations[of].plan;
                plan.links.contains(link) && self.has_room(&self.generations[of], link)
            };
            if !excused
                && self.scenario.is_calm()
                && self.scenario.hosts().is_steady(under.host(link))
                && has_room(generation)
                && has_room(generation.saturating_sub(1))
            {
                return Err(wrong("its device always answered in time"));
            }
        }
        let was_read = known.was_read || !sample.has_no_value();
        let t = if sample.has_no_value() { 0 } else { sample.t_mono_ns };
        self.tags[life] = Known { status: sample.status, t, value: sample.value, sure: true, was_read, ..known };
        Ok(())
    }

    /// Whether the device gave this value in an exchange that `t` lies in.
    fn has_been_answered(
        &self,
        executor: usize,
        under: &Generation,
        id: TagId,
        t: u64,
        (value, bytes): (u64, &[u8]),
    ) -> Result<(), String> {
        let Some((_, config)) = under.tag(id) else { return Err("no such tag".to_owned()) };
        let link = under.plan.tags[id].link;
        let host = under.host(link);
        let memory = Memory { seed: self.scenario.hosts().of(host) };
        let none = VecDeque::new();
        let kept = self.parts[executor].exchanges.get(link.index()).unwrap_or(&none);
        let from = kept.partition_point(|exchange| exchange.received < t);
        let mut found = None;
        for exchange in kept.range(from..) {
            let Meaning::Values(epoch) = exchange.meaning else { continue };
            if exchange.sent > t || exchange.host != host || !exchange.area.holds(config) {
                continue;
            }
            let expected = memory.expected(config, epoch);
            let same = match &expected {
                Some(Expected::Scalar(bits)) => *bits == value,
                Some(Expected::Long(long)) => long == bytes,
                None => false,
            };
            if same {
                return Ok(());
            }
            found = Some(expected);
        }
        Err(match found {
            Some(expected) => format!("the device answered {expected:?} then"),
            None => "the device answered nothing at that time".to_owned(),
        })
    }

    /// The image shows what was told last, and of new tags nothing; called when every ring is empty.
    ///
    /// # Errors
    /// The first tag that differs.
    pub fn image(&self, image: &Image, counters: &Counters) -> Result<(), String> {
        // Where a drop is not yet told, the image is ahead of what was told.
        let all_told: Vec<bool> =
            counters.executors.iter().zip(&self.parts).map(|(e, part)| e.dropped.get() == part.missing).collect();
        // The newest plan, whether or not its executor has it: what is new in it shows nothing yet.
        let newest = &self.generations[self.generations.len() - 1];
        for (id, tag) in newest.plan.tags.iter() {
            let Some((Life(life), _)) = newest.tag(id) else { continue };
            let known = &self.tags[life];
            if !known.sure || !all_told[known.executor] {
                continue;
            }
            let shown = image.read(id.index()).ok_or("a slot of the image is locked though nobody writes")?;
            let same = shown.status == known.status
                && if known.was_read {
                    (shown.t_mono_ns, shown.value) == (known.t, known.value)
                } else {
                    shown.t_mono_ns == 0
                };
            if !same {
                return Err(format!("tag \"{}\": the image has {shown:?}, told last was {known:?}", tag.name));
            }
        }
        Ok(())
    }

    /// The account of samples; called when every ring is empty. `closed`: every gap has been told.
    ///
    /// # Errors
    /// What does not add up.
    pub fn account(&self, counters: &Counters, stats: &[RingStats], closed: bool) -> Result<(), String> {
        for (executor, counts) in counters.executors.iter().enumerate() {
            let (produced, dropped) = (counts.produced.get(), counts.dropped.get());
            let Part { delivered, missing, .. } = self.parts[executor];
            let told = stats[executor].delivered.load(Relaxed);
            let suppressed = counts.suppressed_at_ring.get() + counts.suppressed_at_journal.get();
            let kept = stats[executor].kept.load(Relaxed);
            if produced != delivered + dropped + suppressed + kept || told != delivered || closed && kept > 0 {
                return Err(format!(
                    "executor {executor}: {produced} samples made, {delivered} delivered (the hub says {told}), \
                     {dropped} dropped, {suppressed} suppressed, {kept} kept"
                ));
            }
            if missing > dropped || closed && stats[executor].missing.load(Relaxed) != dropped {
                return Err(format!("executor {executor}: {dropped} dropped, but {missing} told as missing"));
            }
        }
        Ok(())
    }

    /// After the trouble, every tag that its device does not refuse is good again.
    ///
    /// # Errors
    /// The first that is not.
    pub fn recovered(&self, image: &Image, since: u64, now: u64) -> Result<(), String> {
        let newest = &self.generations[self.generations.len() - 1];
        for (id, tag) in newest.plan.tags.iter() {
            let Some((Life(life), config)) = newest.tag(id) else { continue };
            let known = &self.tags[life];
            // What was refused is asked again after a while; and as long as all of a unit is refused, it does not
            // show whether its connection still lives.
            let of_link = newest.of_link(tag.link, Meaning::Exception(2)).map(|(Life(life), _)| &self.tags[life]);
            if of_link.filter(|known| known.refused).any(|known| known.refused_at + REFUSED_NS > now) {
                continue;
            }
            let shown = image.read(id.index()).ok_or("a slot of the image is locked though nobody writes")?;
            let status = Status(shown.status);
            let no_value = may_be_no_value(config) && status == Status::BAD_DECODING_ERROR;
            if !no_value && (!status.is_good() || shown.t_mono_ns < since) {
                return Err(format!("tag \"{}\" did not come back after the trouble: {shown:?}, {known:?}", tag.name));
            }
        }
        Ok(())
    }

    /// Whether a link may miss nothing as long as its device is steady.
    fn has_room(&self, of: &Generation, link: LinkId) -> bool {
        self.scenario.promised || of.has_room(link)
    }

    /// A steady device's link misses nothing, whatever the others do.
    ///
    /// # Errors
    /// The first that missed something.
    pub fn steady(&self, counters: &Counters) -> Result<(), String> {
        (0..self.parts.len()).try_for_each(|executor| self.steady_of(executor, counters))
    }

    fn steady_of(&self, executor: usize, counters: &Counters) -> Result<(), String> {
        if !self.scenario.is_calm() {
            return Ok(());
        }
        let under = self.generation(executor);
        let part = &self.parts[executor];
        let before = part.adopted.iter().rev().nth(1).map(|(generation, _)| &self.generations[*generation]);
        for (id, scan) in under.plan.scans.iter() {
            let link = &under.plan.links[scan.link];
            let had_room = before.is_none_or(|b| !b.plan.links.contains(scan.link) || self.has_room(b, scan.link));
            if link.executor.index() != executor
                || !self.scenario.hosts().is_steady(under.host(scan.link))
                || !self.has_room(under, scan.link)
                || !had_room
                || part.is_fresh(part.generation, scan.link)
            {
                continue;
            }
            let base = part.missed.iter().find(|(of, _)| *of == id).map_or(0, |(_, base)| *base);
            let missed = misses(counters, id) - base;
            // A change that could not wait any longer costs a link that is changed the cycle under way.
            if missed > u64::from(part.changed.contains(&scan.link)) {
                return Err(format!(
                    "link \"{}\", whose device always answered in time, missed or skipped {missed} cycles of scan {}",
                    link.name, id.0
                ));
            }
        }
        Ok(())
    }
}

fn overlap(one: &TagConfig, other: Option<(Life, &TagConfig)>) -> bool {
    let Some((_, other)) = other else { return false };
    let (Some(a), Some(b)) = (one.address.modbus(), other.address.modbus()) else { return false };
    let end = |address: &crate::config::ModbusAddress| u32::from(address.first) + u32::from(address.count);
    (a.unit, a.table) == (b.unit, b.table) && u32::from(a.first) < end(b) && u32::from(b.first) < end(a)
}

/// A value that could not be read: the table of statuses.
fn held(sample: &crate::tag::Sample, known: &Known) -> Result<(), &'static str> {
    let status = sample.status();
    let may = match status {
        Status::UNCERTAIN_LAST_USABLE | Status::BAD_NO_COMMUNICATION => true,
        Status::BAD_DEVICE_FAILURE => known.broken,
        Status::BAD_CONFIGURATION_ERROR => known.refused,
        Status::BAD_DECODING_ERROR => known.undecodable,
        _ => false,
    };
    if !may {
        return Err("nothing happened that gives this status");
    }
    if sample.flags & flags::HELD == 0 {
        return Err("a value that was not read must be marked as held");
    }
    if sample.has_no_value() && status.is_uncertain() {
        return Err("a value that never was cannot be uncertain");
    }
    if !known.sure {
        return Ok(());
    }
    if sample.has_no_value() == known.was_read {
        return Err("whether there is a value is told wrongly");
    }
    if status.is_uncertain() && Status(known.status).is_bad() {
        return Err("a bad status became uncertain without a read");
    }
    if sample.status == known.status {
        return Err("the same status was told again");
    }
    if known.was_read && (sample.t_mono_ns, sample.value) != (known.t, known.value) {
        return Err("a held value keeps its value and its time");
    }
    Ok(())
}
