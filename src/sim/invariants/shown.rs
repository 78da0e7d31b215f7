//! What the image must show of what devices gave: at once, and not for longer than it is true.

use std::collections::BTreeMap;

use super::super::broken::{Broken, Kind, OfKind};
use super::super::generations::Generation;
use super::super::given::{CAUSED, Given};
use super::samples::was_given;
use super::{Books, EXCHANGE_KEPT_NS, Part};
use crate::lane::{Counters, Image, Reading};
use crate::plan::TagPlan;
use crate::protocol::kinds::FieldWork;
use crate::protocol::modbus::line_time::SerialLine;
use crate::protocol::modbus::plan::{ModbusPlan, ModbusRequest};
use crate::tag::{LaneId, LinkId, Status, TagId, ValueType};

const SECOND: u64 = 1_000_000_000;
/// How long it may take until it is noticed that a message comes no more.
const LOOKS_NS: u64 = 300_000_000;

impl Books<'_> {
    /// A device gave something to one of this executor's links.
    pub fn given(&mut self, executor: LaneId, given: Given) {
        if given.may_be_trouble() {
            let (current, newest) = (self.parts[executor.index()].generation, self.generations.len() - 1);
            for at in current..=newest {
                let generation = &self.generations[at];
                for (id, life) in generation.at(given.link, given.key) {
                    let status = generation.tag(id).and_then(|(_, tag)| given.trouble(tag));
                    if let Some(bit) = status.and_then(|status| CAUSED.iter().position(|known| *known == status)) {
                        self.tags[life.0].caused |= 1 << bit;
                    }
                }
            }
        }
        let kept = self.parts[executor.index()].given.entry((given.link, given.key)).or_default();
        while kept.front().is_some_and(|old| old.received + EXCHANGE_KEPT_NS < given.received) {
            kept.pop_front();
        }
        kept.push_back(given);
    }

    /// The image has what came last, and nothing in it is said to be good that is older than it may be.
    ///
    /// # Errors
    /// The first tag of which that does not hold.
    pub fn shown(&self, executor: LaneId, image: &Image, now: u64) -> Result<(), Broken> {
        let under = self.generation(executor.index());
        let part = &self.parts[executor.index()];
        let own = |link: LinkId| under.plan.links[link].lane == executor;
        for (id, tag) in under.plan.tags.iter().filter(|(_, tag)| own(tag.link)) {
            let shown = image
                .read(id.index())
                .ok_or(
                    "a slot of the image is locked although no thread \
                    writes",
                )
                .of(Kind::Image)?;
            let Some((_, config)) = under.tag(id) else { continue };
            let is_asked_by_area = under.plan.links[tag.link].protocol.is::<ModbusPlan>();
            if is_asked_by_area || under.key(id) != 0 {
                self.is_young(executor, id, &shown, now)?;
            }
            if is_asked_by_area || under.key(id) == 0 {
                continue;
            }
            let host = under.host(tag.link);
            let seed = self.scenario.hosts.of(host);
            if let Some(last) = last_given(part, tag.link, under.key(id)) {
                let is_there = match (last.reads(seed, config), last.trouble(config)) {
                    (Some(_), _) => shown.t >= last.from,
                    (None, Some(_)) => Status(shown.status).is_bad(),
                    // Too short for the tag.
                    (None, None) => !Status(shown.status).is_good(),
                };
                if !is_there {
                    let what = format!("tag \"{}\": the device gave {last:?}, the image has {shown:?}", tag.name);
                    return Err(Kind::ShownNeverGiven.says(what));
                }
            }
            // What was read before a change may have been read at another place.
            if Status(shown.status).is_good()
                && shown.t > part.adopted.last().map_or(0, |(_, at)| *at)
                && let Some(kept) = part.given.get(&(tag.link, under.key(id)))
                && matches!(tag.ty, ValueType::Scalar(_))
            {
                was_given(kept, (host, seed), config, shown.t, (shown.value, &[]), None)
                    .map_err(|what| format!("tag \"{}\": {what}; the image has {shown:?}", tag.name))
                    .of(Kind::ShownNeverGiven)?;
            }
        }
        Ok(())
    }

    /// A value that is said to be good is no older than its link's ways allow.
    fn is_young(&self, executor: LaneId, id: TagId, shown: &Reading, now: u64) -> Result<(), Broken> {
        let tag = &self.generation(executor.index()).plan.tags[id];
        // By the ways of every plan under which it grew old.
        let adopted = &self.parts[executor.index()].adopted;
        let since = adopted.iter().rposition(|(_, at)| *at <= shown.t).unwrap_or(0);
        let plans = adopted.iter().skip(since).map(|(generation, _)| &self.generations[*generation]);
        let of_them = plans.filter_map(|under| {
            let same = under.plan.tags.get(id).filter(|known| known.name == tag.name)?;
            Some(oldest(under, same))
        });
        let oldest = of_them.max().unwrap_or_else(|| oldest(self.generation(executor.index()), tag));
        if self.scenario.calm && Status(shown.status).is_good() && shown.t + oldest < now {
            return Err(Kind::TooOld.says(format!(
                "tag \"{}\" is said to be good, and is {} ms old, allowed are {}: {shown:?}",
                tag.name,
                (now - shown.t) / 1_000_000,
                oldest / 1_000_000
            )));
        }
        Ok(())
    }

    /// Frames that the kernel dropped are counted. Only where links stay what they are, and their counters with them.
    ///
    /// # Errors
    /// The first link that counts others.
    pub fn dropped(&self, dropped: &BTreeMap<LinkId, u64>, counters: &Counters) -> Result<(), String> {
        let counted = |link: &LinkId| counters.links[link.index()].can.dropped.get();
        match dropped.iter().find(|(link, dropped)| counted(link) != **dropped) {
            Some((link, dropped)) if self.generations.len() == 1 => {
                Err(format!("link {}: {dropped} frames were dropped, {} are counted", link.0, counted(link)))
            }
            _ => Ok(()),
        }
    }
}

/// How old a good value may be, at most.
fn oldest(under: &Generation, tag: &TagPlan) -> u64 {
    match FieldWork::of(&*under.plan.links[tag.link].protocol) {
        // Three timeouts until a thread is given up, in which it is asked for nothing else; before that, one write
        // and one request of each scan may have taken as long.
        Some(FieldWork::LocalIo(bus)) => {
            let waits = (bus.requests.len() as u64 + 1) * 6 * bus.config.timeout.0;
            under.plan.groups[tag.group].interval().0 * 2 + waits + SECOND
        }
        None => u64::MAX / 2,
        Some(FieldWork::Can(can)) => {
            let silence = can.cases.iter().map(|case| case.silent_after.0).max().unwrap_or(u64::MAX);
            silence.min(u64::MAX / 2) + LOOKS_NS
        }
        // Its server is asked for one object after the other, each may take its timeout and a rest, and writes lie
        // between; what comes by PDO is doubted after some periods of its own.
        Some(FieldWork::CanOpen(canopen)) => {
            let turns = canopen.items.len() as u64 + 8;
            under.plan.groups[tag.group].interval().0 * 2 + turns * 4 * canopen.config.timeout.0 + 5 * SECOND
        }
        // Each block, and each half of one that was refused, waits for its turn among the others, and each of these may
        // take its timeout and what follows: on a line, its silence. Writes and probes of silent units lie between.
        Some(FieldWork::Modbus(modbus)) => {
            let of_line = |r: &ModbusRequest| Some(SerialLine::of(&modbus.config)?.line_time(r.table, r.count).0);
            let longest = modbus.requests.iter().filter_map(of_line).max().unwrap_or(0);
            let turns = modbus.requests.len() as u64 * 2 + 16;
            under.plan.groups[tag.group].interval().0 * 2 + turns * 2 * (modbus.config.timeout.0 + longest) + SECOND
        }
    }
}

/// What the link took last from a place, under the plan that it has, if it must be shown.
fn last_given(part: &Part, link: LinkId, key: u64) -> Option<&Given> {
    let adopted = part.adopted.last().map_or(0, |(_, at)| *at);
    part.given.get(&(link, key))?.back().filter(|given| given.required && given.began > adopted)
}
