//! What must hold of the image and of the counts.

use std::sync::atomic::Ordering::Relaxed;

use super::super::device::Meaning;
use super::super::generations::{Generation, Life, is_no_value, may_be_no_value};
use super::{Beside, Books, Part, REFUSED_NS, misses};
use crate::hub::RingStats;
use crate::lane::{Counters, Image, Reading};
use crate::plan::TagPlan;
use crate::protocol::kinds::FieldWork;
use crate::protocol::modbus::model::ModbusAddress;
use crate::protocol::modbus::plan::ModbusPlan;
use crate::tag::{LaneId, LinkId, Status, TagId, Value, ValueType};

/// No device has it.
const NO_UNIT: u8 = 0;
/// What a connection takes to be made again, with the connector's looks into its rings and the attempts that it has no
/// room for.
const RECONNECT_NS: u64 = 250_000_000;
/// How long a tag of a link that asks its device may be without any status, beside its timeouts: trouble that ends
/// connections before its request had its turn does not last so long.
const UNSTATED_NS: u64 = 30_000_000_000;
/// Requests of two plans may be under way at once, and be answered the other way round.
const AT_ONCE_NS: u64 = 1_000_000_000;

/// After the timeouts of a unit that died, it counts as silent, and what was late is made up for.
const COUNTS_AS_SILENT_NS: u64 = 2_000_000_000;
/// The longest pause of what is mute, in timeouts; and what asking for it takes, behind all others.
const MUTE_TIMEOUTS: u64 = 120;
const MUTE_ASKED_NS: u64 = 5_000_000_000;
/// How long setting a node up anew may take: some twenty transfers.
const NODE_SETUP_NS: u64 = 60_000_000;
/// Of a value that is read in time: the executor's own work, and the look at it.
const AGE_SLACK_NS: u64 = 150_000_000;

impl Books<'_> {
    /// The image shows what was told last, and of new tags nothing; called when every ring is empty.
    ///
    /// # Errors
    /// The first tag that differs.
    pub fn image(&self, image: &Image, counters: &Counters) -> Result<(), String> {
        // Where a drop is not yet told, the image is ahead of what was told.
        let all_told: Vec<bool> =
            counters.lanes.iter().zip(&self.parts).map(|(e, part)| e.dropped.get() == part.missing).collect();
        // The newest plan, whether or not its executor has it: what is new in it shows nothing yet.
        let newest = &self.generations[self.generations.len() - 1];
        for (id, tag) in newest.plan.tags.iter() {
            let Some((Life(life), _)) = newest.tag(id) else { continue };
            let known = &self.tags[life];
            if self.is_source(known.executor) || !known.sure || !all_told[known.executor] {
                continue;
            }
            let shown = image.read(id.index()).ok_or("a slot of the image is locked although no thread writes")?;
            // What comes by itself is in the image at once, and told on the beat: what it shows is looked at elsewhere.
            let is_ahead =
                newest.plan.links[tag.link].protocol.is_on_can() && Status(shown.status).is_good() && shown.t > known.t;
            let same = is_ahead
                || shown.status == known.status
                    && match self.unsaid(known.executor, id, known.t) {
                        _ if !known.was_read => shown.t == 0,
                        None => (shown.t, shown.value) == (known.t, known.value),
                        Some(unsaid) => {
                            (known.t.saturating_sub(AT_ONCE_NS)..=known.t + unsaid.silence).contains(&shown.t)
                                && is_near(tag.ty, known.value, shown.value, unsaid.deadband)
                        }
                    };
            if !same {
                return Err(format!("tag \"{}\": the image has {shown:?}, last reported was {known:?}", tag.name));
            }
        }
        self.shown_of_source(image)
    }

    /// The account of samples; called when every ring is empty. `closed`: every gap has been told.
    ///
    /// # Errors
    /// What does not add up.
    pub fn account(&self, counters: &Counters, stats: &[RingStats], closed: bool) -> Result<(), String> {
        for (executor, counts) in counters.lanes.iter().enumerate() {
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
                return Err(format!("executor {executor}: {dropped} dropped, but {missing} reported as missing"));
            }
        }
        self.account_of_source(counters)
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
            if self.is_source(known.executor) {
                continue;
            }
            // What was refused is asked again after a while; and as long as all of a unit is refused, it does not
            // show whether its connection still lives.
            let of_link = newest.of_link(tag.link, Meaning::Exception(2)).map(|(Life(life), _)| &self.tags[life]);
            if of_link.filter(|known| known.refused).any(|known| known.refused_at + REFUSED_NS > now) {
                continue;
            }
            let shown = image.read(id.index()).ok_or("a slot of the image is locked although no thread writes")?;
            let status = Status(shown.status);
            if newest.comes_when_written(tag.link, config) {
                continue;
            }
            if status == Status::BAD_NO_COMMUNICATION && self.may_still_rest(newest, id, image, since, now) {
                continue;
            }
            let no_value = may_be_no_value(config) && is_no_value(status);
            if !no_value && (!status.is_good() || shown.t < since) {
                return Err(format!("tag \"{}\" did not come back after the trouble: {shown:?}, {known:?}", tag.name));
            }
        }
        Ok(())
    }

    /// What was mute while its unit answered others is asked again after pauses of many timeouts, which may be longer
    /// than all else needs to become well.
    fn may_still_rest(&self, newest: &Generation, id: TagId, image: &Image, since: u64, now: u64) -> bool {
        let tag = &newest.plan.tags[id];
        let Some(modbus) = newest.plan.links[tag.link].protocol.get::<ModbusPlan>() else { return false };
        let longest = modbus.config.timeout.0.saturating_mul(MUTE_TIMEOUTS);
        let ended = now.saturating_sub(self.scenario.recovery_ns);
        let unit_of = |id| Some(newest.tag(id)?.1.address.get::<ModbusAddress>()?.unit);
        let is_read =
            |id: TagId| image.read(id.index()).is_some_and(|shown| Status(shown.status).is_good() && shown.t >= since);
        let beside =
            newest.plan.tags.iter().filter(|(other, of)| of.link == tag.link && unit_of(*other) == unit_of(id));
        ended + longest + MUTE_ASKED_NS > now && beside.map(|(other, _)| other).any(is_read)
    }

    /// The units that answer keep being read beside one on their connection that does not.
    ///
    /// # Errors
    /// The first tag that does not.
    pub fn living(
        &mut self,
        executor: LaneId,
        dead: impl Iterator<Item = (u32, u8, u64)>,
        image: &Image,
        now: u64,
    ) -> Result<(), String> {
        let all = std::mem::take(&mut self.beside);
        self.beside = self.watched(all, (executor, dead), image, now, |under, id, beside, shown| {
            let Beside { unit, since, .. } = beside;
            let most = self.longest_age(under, id, now - since);
            (!Status(shown.status).is_good() || shown.t + most < now)
                .then(|| (format!("is not read beside unit {unit}, which is dead since {since}"), most))
        })?;
        let looked_at = self.beside.iter().filter(|beside| beside.executor == executor.index());
        self.besides += looked_at.map(|beside| beside.well.len() as u64).sum::<u64>();
        Ok(())
    }

    /// A device that does nothing worse than to close its connections, or to count its bytes wrongly, goes on being read.
    ///
    /// # Errors
    /// The first tag that is not.
    pub fn odd(
        &mut self,
        executor: LaneId,
        odd: impl Iterator<Item = (u32, u64)>,
        image: &Image,
        now: u64,
    ) -> Result<(), String> {
        let all = std::mem::take(&mut self.odd);
        let odd = odd.map(|(host, since)| (host, NO_UNIT, since));
        self.odd = self.watched(all, (executor, odd), image, now, |under, id, beside, shown| {
            let link = under.plan.tags[id].link;
            let requests = under.plan.links[link].protocol.get::<ModbusPlan>().map_or(0, |modbus| modbus.block_count);
            let most = self.longest_age(under, id, 0) + u64::from(requests) * RECONNECT_NS;
            let what = "is not read though its device only closes connections or counts bytes wrongly since";
            (shown.t + most < now).then(|| (format!("{what} {}", beside.since), most))
        })?;
        Ok(())
    }

    /// Looks at the tags beside each trouble of an executor: those that were well when it began. `late` says what is
    /// wrong with one, and how old it may be. Returns what is still watched.
    fn watched(
        &self,
        mut all: Vec<Beside>,
        (executor, troubles): (LaneId, impl Iterator<Item = (u32, u8, u64)>),
        image: &Image,
        now: u64,
        late: impl Fn(&Generation, TagId, &Beside, &Reading) -> Option<(String, u64)>,
    ) -> Result<Vec<Beside>, String> {
        if !self.scenario.calm {
            return Ok(all);
        }
        let executor = executor.index();
        let adopted = self.parts[executor].adopted.last().map_or(0, |(_, at)| *at);
        let under = self.generation(executor);
        let mut still = Vec::new();
        for (host, unit, since) in troubles.filter(|(_, _, since)| *since >= adopted) {
            let at = all.iter().position(|b| (b.executor, b.host, b.since) == (executor, host, since));
            let beside = match at {
                Some(at) => all.swap_remove(at),
                None => {
                    let well = self.read_well(executor, host, unit, image, now);
                    Beside { executor, host, unit, since, well }
                }
            };
            for id in &beside.well {
                let shown = image.read(id.index()).ok_or("a slot of the image is locked although no thread writes")?;
                if let Some((what, most)) = late(under, *id, &beside, &shown) {
                    return Err(format!(
                        "tag \"{}\" {what}: {shown:?}, {} ms old, {} ms allowed",
                        under.plan.tags[*id].name,
                        now.saturating_sub(shown.t) / 1_000_000,
                        most / 1_000_000
                    ));
                }
            }
            still.push(beside);
        }
        all.retain(|beside| beside.executor != executor);
        all.append(&mut still);
        Ok(all)
    }

    /// No Modbus tag stays without a status, whatever its device does.
    ///
    /// # Errors
    /// The first that does.
    pub fn stated(&self, executor: LaneId, image: &Image, now: u64) -> Result<(), String> {
        let executor = executor.index();
        let adopted = self.parts[executor].adopted.last().map_or(0, |(_, at)| *at);
        let under = self.generation(executor);
        if !self.scenario.calm || adopted + UNSTATED_NS > now {
            return Ok(());
        }
        for (id, tag) in under.plan.tags.iter() {
            let link = &under.plan.links[tag.link];
            let Some(modbus) = link.protocol.get::<ModbusPlan>().filter(|_| link.lane.index() == executor) else {
                continue;
            };
            let waits = modbus.config.connect_timeout.0 + modbus.config.timeout.0 * 8;
            let shown = image.read(id.index()).ok_or("a slot of the image is locked although no thread writes")?;
            let is_unstated = Status(shown.status) == Status::BAD_WAITING_FOR_INITIAL_DATA;
            if is_unstated && adopted + UNSTATED_NS + waits + under.plan.groups[tag.group].interval().0 * 4 < now {
                return Err(format!("tag \"{}\" has no status since {adopted}", tag.name));
            }
        }
        Ok(())
    }

    /// The tags of a host's other units that are read in time, by links that have time to spare.
    fn read_well(&self, executor: usize, host: u32, dead: u8, image: &Image, now: u64) -> Vec<TagId> {
        let under = self.generation(executor);
        let adopted = self.parts[executor].adopted.last().map_or(0, |(_, at)| *at);
        let well = |(id, tag): (TagId, &TagPlan)| {
            let (life, config) = under.tag(id)?;
            let shown = image.read(id.index())?;
            let known = &self.tags[life.0];
            let lives = config.address.get::<ModbusAddress>().is_some_and(|address| address.unit.0 != dead);
            // Where it lies by its newest plan, it has to have been read.
            let is_read = shown.t > adopted && shown.t + self.longest_age(under, id, 0) >= now;
            let is_well = Status(shown.status).is_good() && is_read;
            let fits = under.plan.links[tag.link].lane.index() == executor && under.host(tag.link) == host;
            (fits && lives && is_well && !known.refused && !may_be_no_value(config) && self.has_room(under, tag.link))
                .then_some(id)
        };
        under.plan.tags.iter().filter_map(well).collect()
    }

    /// How old a value may become while another unit takes its timeouts: three until it counts as silent, a probe at a
    /// time from then on, and writes. On a line, silences come on top. `dead_for`: once the unit counts as silent and
    /// nobody writes, the others keep their cycles but for that probe.
    fn longest_age(&self, under: &Generation, id: TagId, dead_for: u64) -> u64 {
        let tag = &under.plan.tags[id];
        let timeout =
            under.plan.links[tag.link].protocol.get::<ModbusPlan>().map_or(0, |modbus| modbus.config.timeout.0);
        let period = under.plan.groups[tag.group].interval().0;
        if !self.scenario.script.has_writes() && dead_for > timeout * 8 + period * 4 + COUNTS_AS_SILENT_NS {
            return period * 5 / 2 + timeout * 2 + AGE_SLACK_NS;
        }
        period * 2 + timeout * 8 + 1_000_000_000
    }

    /// Whether a link may miss nothing as long as its device is steady.
    pub(super) fn has_room(&self, of: &Generation, link: LinkId) -> bool {
        self.scenario.promised || of.has_room(link)
    }

    /// A steady device's link misses nothing, whatever the others do.
    ///
    /// # Errors
    /// The first that missed something.
    pub fn steady(&self, counters: &Counters) -> Result<(), String> {
        (0..self.parts.len()).try_for_each(|executor| self.steady_of(executor, counters))
    }

    pub(super) fn steady_of(&self, executor: usize, counters: &Counters) -> Result<(), String> {
        if !self.scenario.calm {
            return Ok(());
        }
        let under = self.generation(executor);
        let part = &self.parts[executor];
        let before = part.adopted.iter().rev().nth(1).map(|(generation, _)| &self.generations[*generation]);
        for (id, scan) in under.plan.scans.iter() {
            let link = &under.plan.links[scan.link];
            let had_room = before.is_none_or(|b| !b.plan.links.contains(scan.link) || self.has_room(b, scan.link));
            if link.lane.index() != executor
                || !self.scenario.hosts.is_steady(under.host(scan.link))
                || !self.has_room(under, scan.link)
                || !had_room
                || part.is_fresh(part.generation, scan.link)
            {
                continue;
            }
            let base = part.missed.iter().find(|(of, _)| *of == id).map_or(0, |(_, base)| *base);
            let missed = misses(counters, id) - base;
            // A change that could not wait any longer costs a link that is changed the cycle under way. Of a network, a
            // node may be set up anew for it, which costs the cycles that begin meanwhile as well.
            let changes = part.changed.iter().filter(|(link, _)| *link == scan.link).count() as u64;
            let period = under.plan.groups[scan.group].interval();
            let excused = match FieldWork::of(&*link.protocol) {
                Some(FieldWork::CanOpen(_)) => changes * (1 + NODE_SETUP_NS.div_ceil(period.0.max(1))),
                _ => changes.min(1),
            };
            if missed > excused {
                return Err(format!(
                    "link \"{}\", whose device always answered in time, missed or skipped {missed} cycles of scan {}",
                    link.name, id.0
                ));
            }
        }
        Ok(())
    }
}

/// Whether two values of a tag are no further apart than its deadband; of a long value, only the length is known.
fn is_near(ty: ValueType, told: u64, read: u64, deadband: f64) -> bool {
    let ValueType::Scalar(of) = ty else { return told == read };
    let number = |bits: u64| match Value::from_bits(of, bits) {
        Value::Int(number) => number as f64,
        Value::Uint(number) => number as f64,
        Value::Float32(number) => f64::from(number),
        Value::Float64(number) => number,
        _ => bits as f64,
    };
    let (told, read) = (number(told), number(read));
    // A part in a billion for the numbers that float64 cannot tell apart.
    (told - read).abs() <= deadband * (1.0 + 1e-9) || told == read || told.is_nan() && read.is_nan()
}
