//! What must hold of samples: nothing lost silently, no value that the device did not have, no status out of turn.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use super::device::Meaning;
use super::memory::{Expected, Memory};
use super::scenario::Scenario;
use super::world::Exchange;
use crate::hub::{Batch, BatchSample, RingStats};
use crate::plan::LinkProtocolPlan;
use crate::rt::{Counters, Image};
use crate::tag::{LinkId, Status, TagId, flags};

/// Exchanges older than this have had their samples told, as no consumer stops that long.
const EXCHANGE_KEPT_NS: u64 = 20_000_000_000;

/// What is known of a tag.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    status: u32,
    t: u64,
    value: u64,
    /// False: samples were dropped since, so that nothing is known.
    sure: bool,
    was_read: bool,
    refused: bool,
    broken: bool,
    /// Where its decoding stands in its link's plan.
    decode: u32,
}

/// The books of a run.
pub struct Books<'s> {
    scenario: &'s Scenario,
    memories: Vec<Memory>,
    exchanges: Vec<VecDeque<Exchange>>,
    tags: Vec<Known>,
    /// By executor: the next sequence number, samples told missing, samples delivered.
    next: Vec<u64>,
    missing: Vec<u64>,
    delivered: Vec<u64>,
    bytes: Vec<u8>,
    pub good: u64,
}

impl<'s> Books<'s> {
    pub fn new(scenario: &'s Scenario, memories: Vec<Memory>) -> Books<'s> {
        let waiting = Known { status: Status::BAD_WAITING_FOR_INITIAL_DATA.0, sure: true, ..Known::default() };
        let mut tags = vec![waiting; scenario.plan.tags.end()];
        for link in scenario.plan.links.values() {
            let LinkProtocolPlan::Modbus(modbus) = &link.protocol;
            for (at, decode) in modbus.decodes.iter().enumerate() {
                tags[decode.tag.index()].decode = at as u32;
            }
        }
        let executors = scenario.plan.executors.len();
        Books {
            scenario,
            memories,
            exchanges: vec![VecDeque::new(); scenario.plan.links.end()],
            tags,
            next: vec![0; executors],
            missing: vec![0; executors],
            delivered: vec![0; executors],
            bytes: Vec::new(),
            good: 0,
        }
    }

    fn decodes(&self, link: usize, request: u32) -> std::ops::Range<u32> {
        let LinkProtocolPlan::Modbus(modbus) = &self.scenario.plan.links[LinkId(link as u16)].protocol;
        modbus.requests[request as usize].decodes.clone()
    }

    /// The device answered.
    pub fn exchange(&mut self, link: usize, exchange: Exchange) {
        if let Meaning::Exception(code) = exchange.meaning {
            let LinkProtocolPlan::Modbus(modbus) = &self.scenario.plan.links[LinkId(link as u16)].protocol;
            for at in self.decodes(link, exchange.request) {
                let known = &mut self.tags[modbus.decodes[at as usize].tag.index()];
                known.refused |= code == 2;
                known.broken |= code != 2;
            }
            return;
        }
        let kept = &mut self.exchanges[link];
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
        let jump = batch.first_sequence.checked_sub(self.next[executor]);
        let jump = jump.ok_or_else(|| format!("executor {executor}: sequence {} came twice", batch.first_sequence))?;
        if jump > 0 {
            self.missing[executor] += jump;
            let plan = &self.scenario.plan;
            for (id, tag) in plan.tags.iter() {
                self.tags[id.index()].sure &= plan.links[tag.link].executor.index() != executor;
            }
        }
        let mut count = 0;
        for sample in batch.iter() {
            self.sample(&sample)?;
            count += 1;
        }
        if count != batch.samples {
            return Err(format!("a batch says {} samples and has {count}", batch.samples));
        }
        self.next[executor] = batch.first_sequence + u64::from(count);
        self.delivered[executor] += u64::from(count);
        Ok(())
    }

    fn sample(&mut self, told: &BatchSample<'_>) -> Result<(), String> {
        let sample = told.sample;
        let tag = sample.tag as usize;
        let Some(known) = self.tags.get(tag).copied() else { return Err(format!("a sample of no tag: {sample:?}")) };
        let plan = &self.scenario.plan.tags[TagId(tag as u32)];
        let wrong = |what: &str| format!("tag \"{}\": {what}; it was {known:?}, now {sample:?}", plan.name);
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
            let verdict = self.has_been_answered(tag, sample.t_mono_ns, sample.value, &bytes);
            self.bytes = bytes;
            verdict.map_err(|what| wrong(&what))?;
            self.good += 1;
        } else {
            held(sample, &known).map_err(wrong)?;
            let link = plan.link.index();
            if self.scenario.is_calm() && self.scenario.steady[link] && self.scenario.has_room(link) {
                return Err(wrong("its device always answered in time"));
            }
        }
        let known = &mut self.tags[tag];
        let was_read = known.was_read || !sample.has_no_value();
        let t = if sample.has_no_value() { 0 } else { sample.t_mono_ns };
        *known = Known { status: sample.status, t, value: sample.value, sure: true, was_read, ..*known };
        Ok(())
    }

    /// Whether the device gave this value in an exchange that `t` lies in.
    fn has_been_answered(&self, tag: usize, t: u64, value: u64, bytes: &[u8]) -> Result<(), String> {
        let link = self.scenario.plan.tags[TagId(tag as u32)].link.index();
        let decode = self.tags[tag].decode;
        let kept = &self.exchanges[link];
        let from = kept.partition_point(|exchange| exchange.received < t);
        let mut found = None;
        for exchange in kept.range(from..).take_while(|e| e.received < t + EXCHANGE_KEPT_NS) {
            let Meaning::Values(epoch) = exchange.meaning else { continue };
            if exchange.sent > t || !self.decodes(link, exchange.request).contains(&decode) {
                continue;
            }
            let expected = self.memories[link].expected(&self.scenario.config.tags[tag], epoch);
            let same = match &expected {
                Expected::Scalar(bits) => *bits == value,
                Expected::Long(long) => long == bytes,
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

    /// The image shows what was told last; called when every ring is empty.
    ///
    /// # Errors
    /// The first tag that differs.
    pub fn image(&self, image: &Image, counters: &Counters) -> Result<(), String> {
        // Where a drop is not yet told, the image is ahead of what was told.
        let all_told: Vec<bool> =
            counters.executors.iter().zip(&self.missing).map(|(e, missing)| e.dropped.get() == *missing).collect();
        for (at, known) in self.tags.iter().enumerate().filter(|(_, known)| known.sure) {
            let tag = &self.scenario.plan.tags[TagId(at as u32)];
            if !all_told[self.scenario.plan.links[tag.link].executor.index()] {
                continue;
            }
            let shown = image.read(at).ok_or("a slot of the image is locked though nobody writes")?;
            let same = shown.status == known.status
                && (!known.was_read || (shown.t_mono_ns, shown.value) == (known.t, known.value));
            if !same {
                let name = &self.scenario.plan.tags[TagId(at as u32)].name;
                return Err(format!("tag \"{name}\": the image has {shown:?}, told last was {known:?}"));
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
            let (delivered, missing) = (self.delivered[executor], self.missing[executor]);
            let told = stats[executor].delivered.load(Relaxed);
            if produced != delivered + dropped || told != delivered {
                return Err(format!(
                    "executor {executor}: {produced} samples made, {delivered} delivered (the hub says {told}), \
                     {dropped} dropped"
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
    pub fn recovered(&self, image: &Image, since: u64) -> Result<(), String> {
        for (at, known) in self.tags.iter().enumerate().filter(|(_, known)| !known.refused) {
            let shown = image.read(at).ok_or("a slot of the image is locked though nobody writes")?;
            if !Status(shown.status).is_good() || shown.t_mono_ns < since {
                let name = &self.scenario.plan.tags[TagId(at as u32)].name;
                return Err(format!("tag \"{name}\" did not come back after the trouble: {shown:?}, {known:?}"));
            }
        }
        Ok(())
    }

    /// A steady device's link misses nothing, whatever the others do.
    ///
    /// # Errors
    /// The first that missed something.
    pub fn steady(&self, counters: &Counters) -> Result<(), String> {
        let Scenario { plan, steady, .. } = self.scenario;
        if !self.scenario.is_calm() {
            return Ok(());
        }
        for (id, scan) in plan.scans.iter() {
            let link = scan.link.index();
            let (missed, skipped) = (counters.scan(id).deadline_misses.get(), counters.scan(id).skipped.get());
            if steady[link] && self.scenario.has_room(link) && missed + skipped > 0 {
                let name = &plan.links[scan.link].name;
                return Err(format!(
                    "link \"{name}\", whose device always answered in time, missed {missed} deadlines and skipped {skipped}"
                ));
            }
        }
        Ok(())
    }
}

/// A value that could not be read: the table of statuses.
fn held(sample: &crate::tag::Sample, known: &Known) -> Result<(), &'static str> {
    let status = sample.status();
    let may = match status {
        Status::UNCERTAIN_LAST_USABLE | Status::BAD_NO_COMMUNICATION => true,
        Status::BAD_DEVICE_FAILURE => known.broken,
        Status::BAD_CONFIGURATION_ERROR => known.refused,
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
