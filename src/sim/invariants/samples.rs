//! What must hold of each sample that is told.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::broken::{Broken, Kind, OfKind};
use super::super::device::Meaning;
use super::super::generations::{Generation, Life, is_no_value};
use super::super::given::{CAUSED, Given};
use super::super::memory::{Expected, Memory};
use super::{Books, EXCHANGE_KEPT_NS, Known};
use crate::config::TagConfig;
use crate::tag::{Batch, BatchSample, Status, TagId, flags};

impl Books<'_> {
    /// A batch of the hub.
    ///
    /// # Errors
    /// What it breaks.
    pub fn batch(&mut self, batch: &Batch) -> Result<(), Broken> {
        let executor = batch.lane.index();
        let part = &mut self.parts[executor];
        let jump = batch.first_sequence.checked_sub(part.next);
        let jump = jump.ok_or_else(|| format!("executor {executor}: sequence {} came twice", batch.first_sequence));
        let jump = jump.of(Kind::Account)?;
        if jump > 0 {
            part.missing += jump;
            self.tags.iter_mut().filter(|known| known.executor == executor).for_each(|known| known.sure = false);
        }
        let generation = self.generations.iter().rposition(|g| Arc::ptr_eq(&g.names, &batch.names));
        let generation = generation.ok_or_else(|| format!("executor {executor}: a batch under unknown names"));
        let generation = generation.of(Kind::SampleMisnamed)?;
        // The executor went on to another plan then.
        let mut later = self.parts[executor].adopted.iter().skip_while(|(of, _)| *of != generation);
        if later.next().is_none() {
            let what = format!("executor {executor}: a batch under the names of a plan that it did not have");
            return Err(Kind::SampleMisnamed.says(what));
        }
        let end = later.next().map_or(u64::MAX, |(_, at)| *at);
        let mut count = 0;
        for sample in batch.iter() {
            if self.is_source(executor) {
                self.of_source(generation, sample.sample)?;
                count += 1;
                continue;
            }
            if sample.sample.t > end {
                let what = format!("a sample under a plan that ended at {end}: {:?}", sample.sample);
                return Err(Kind::SampleMisnamed.says(what));
            }
            self.sample(executor, generation, &sample)?;
            count += 1;
        }
        if count != batch.samples {
            return Err(Kind::Account.says(format!("a batch says {} samples and has {count}", batch.samples)));
        }
        let part = &mut self.parts[executor];
        part.next = batch.first_sequence + u64::from(count);
        part.delivered += u64::from(count);
        Ok(())
    }

    fn sample(&mut self, executor: usize, generation: usize, told: &BatchSample<'_>) -> Result<(), Broken> {
        let sample = told.sample;
        let id = TagId(sample.tag);
        let under = &self.generations[generation];
        let named = under.names.tag(id).map(|tag| tag.name.clone());
        let Some((Life(life), config)) = under.tag(id) else {
            return Err(Kind::SampleMisnamed.says(format!("a sample of no tag: {sample:?}")));
        };
        let known = self.tags[life];
        let plan = &under.plan.tags[id];
        let wrong = |kind: Kind, what: &str| {
            kind.says(format!("tag \"{}\" (plan {generation}): {what}; it was {known:?}, now {sample:?}", config.name))
        };
        if named.as_deref() != Some(&*config.name) || known.executor != executor {
            return Err(wrong(Kind::SampleMisnamed, "reported under another name, or by another executor"));
        }
        if sample.group != plan.group.0 || sample.ty != plan.ty.code() {
            return Err(wrong(Kind::SampleMisnamed, "wrong group or type"));
        }
        let status = sample.status();
        // In doubt, but read.
        let doubtful = status == Status::UNCERTAIN_UNITS_EXCEEDED && under.key(id) != 0;
        if status.is_good() || doubtful {
            if sample.flags & !flags::LONG != 0 {
                return Err(wrong(Kind::HeldWrongly, "a good sample is marked as held"));
            }
            self.bytes.clear();
            let mut bytes = std::mem::take(&mut self.bytes);
            told.payload_into(&mut bytes);
            let verdict = self.has_been_answered(executor, under, id, sample.t, (sample.value, &bytes), Some(status));
            self.bytes = bytes;
            verdict.map_err(|what| wrong(Kind::SampleNeverGiven, &what))?;
            self.good += u64::from(status.is_good());
        } else {
            let unsaid = self.unsaid(executor, id, known.t);
            // What comes by itself is in the image at once, and told on the beat: the image may have had it meanwhile.
            let comes_by_itself = under.plan.links[plan.link].protocol.is_on_can();
            let may_be_new = unsaid.is_some() || comes_by_itself;
            held(sample, &known, may_be_new, comes_by_itself).map_err(|(kind, what)| wrong(kind, what))?;
            let same = known.sure && (sample.t, sample.value) == (known.t, known.value);
            if may_be_new && !sample.has_no_value() && !same {
                // It may never have been told; that the device gave it is then all that is known of it.
                self.bytes.clear();
                let mut bytes = std::mem::take(&mut self.bytes);
                told.payload_into(&mut bytes);
                // A frame from before a change may be taken after it, for a tag that has come, or changed, by it.
                let in_force = self.parts[executor].in_force_since(sample.t);
                let then = in_force.take(if comes_by_itself { usize::MAX } else { 1 });
                let then = then.map(|of| &self.generations[of]).filter(|then| then.tag(id).is_some());
                let answered =
                    |then| self.has_been_answered(executor, then, id, sample.t, (sample.value, &bytes), None);
                let verdicts = then.chain([under]).map(answered);
                let verdict = first_good(verdicts.take(if comes_by_itself { usize::MAX } else { 1 }));
                self.bytes = bytes;
                verdict.map_err(|what| wrong(Kind::SampleNeverGiven, &what))?;
            }
            let link = plan.link;
            let excused = is_no_value(status) || self.parts[executor].is_fresh(generation, link);
            let has_room = |of: usize| {
                let plan = &self.generations[of].plan;
                plan.links.contains(link) && self.has_room(&self.generations[of], link)
            };
            // What comes by itself may be in doubt after a change until it comes again.
            if !excused
                && !comes_by_itself
                && self.scenario.calm
                && self.scenario.hosts.is_steady(under.host(link))
                && has_room(generation)
                && has_room(generation.saturating_sub(1))
            {
                return Err(wrong(Kind::SteadyLinkMissed, "its device always answered in time"));
            }
        }
        let was_read = known.was_read || !sample.has_no_value();
        let t = if sample.has_no_value() { 0 } else { sample.t };
        self.tags[life] = Known { status: sample.status, t, value: sample.value, sure: true, was_read, ..known };
        Ok(())
    }

    /// Whether the device gave this value in an exchange that `t` lies in; `status`: and with which status.
    fn has_been_answered(
        &self,
        executor: usize,
        under: &Generation,
        id: TagId,
        t: u64,
        (value, bytes): (u64, &[u8]),
        status: Option<Status>,
    ) -> Result<(), String> {
        let Some((_, config)) = under.tag(id) else { return Err("no such tag".to_owned()) };
        let link = under.plan.tags[id].link;
        let host = under.host(link);
        if under.key(id) != 0 {
            let none = VecDeque::new();
            let kept = self.parts[executor].given.get(&(link, under.key(id))).unwrap_or(&none);
            return was_given(kept, (host, self.scenario.hosts.of(host)), config, t, (value, bytes), status);
        }
        let memory = Memory { seed: self.scenario.hosts.of(host) };
        let none = VecDeque::new();
        let kept = self.parts[executor].exchanges.get(link.index()).unwrap_or(&none);
        // A value that is held may be older than all that is kept.
        if status.is_none() && kept.back().is_none_or(|last| t + EXCHANGE_KEPT_NS < last.received) {
            return Ok(());
        }
        let from = kept.partition_point(|exchange| exchange.received < t);
        let mut found = None;
        for exchange in kept.range(from..) {
            let Meaning::Values(epoch) = exchange.meaning else { continue };
            let is_its = self.parts[executor].is_of_one(link, exchange.sent, exchange.received);
            if exchange.sent > t || exchange.host != host || !exchange.area.holds(config) || !is_its {
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
}

/// Whether a device that sends datagrams gave this value, with that time and status.
pub(super) fn was_given(
    kept: &VecDeque<Given>,
    (host, seed): (u32, u64),
    config: &TagConfig,
    t: u64,
    (value, bytes): (u64, &[u8]),
    status: Option<Status>,
) -> Result<(), String> {
    if status.is_none() && kept.back().is_none_or(|last| t + EXCHANGE_KEPT_NS < last.received) {
        return Ok(());
    }
    let from = kept.partition_point(|given| given.received < t);
    let mut found = None;
    for given in kept.range(from..).filter(|given| given.host == host && (given.from..=given.to).contains(&t)) {
        let reads = given.reads(seed, config);
        let same = match &reads {
            Some((Expected::Scalar(bits), with)) => *bits == value && status.is_none_or(|status| status == *with),
            Some((Expected::Long(long), with)) => long == bytes && status.is_none_or(|status| status == *with),
            None => false,
        };
        if same {
            return Ok(());
        }
        found = Some(reads);
    }
    Err(match found {
        Some(reads) => format!("the device gave {reads:?} then"),
        None => "the device gave nothing with that time".to_owned(),
    })
}

/// A value that could not be read: the table of statuses.
/// `may_be_new`: what was read last need not have been told; `comes_by_itself`: nor its status.
fn held(
    sample: &crate::tag::Sample,
    known: &Known,
    may_be_new: bool,
    comes_by_itself: bool,
) -> Result<(), (Kind, &'static str)> {
    let status = sample.status();
    let may = match status {
        Status::UNCERTAIN_LAST_USABLE | Status::BAD_NO_COMMUNICATION => true,
        Status::BAD_DEVICE_FAILURE => known.broken,
        Status::BAD_CONFIGURATION_ERROR => known.refused,
        status if is_no_value(status) => known.undecodable,
        _ => false,
    };
    let caused = CAUSED.iter().position(|known| *known == status);
    if !may && caused.is_none_or(|bit| known.caused & 1 << bit == 0) {
        return Err((Kind::StatusWithoutCause, "nothing happened that gives this status"));
    }
    if sample.flags & flags::HELD == 0 {
        return Err((Kind::HeldWrongly, "a value that was not read must be marked as held"));
    }
    if sample.has_no_value() && status.is_uncertain() {
        return Err((Kind::HeldWrongly, "a value that was never read cannot be uncertain"));
    }
    if !known.sure {
        return Ok(());
    }
    let is_newer = comes_by_itself && !sample.has_no_value() && (!known.was_read || sample.t > known.t);
    if sample.has_no_value() == known.was_read && !is_newer {
        return Err((Kind::HeldWrongly, "whether there is a value is reported wrongly"));
    }
    if status.is_uncertain() && Status(known.status).is_bad() && !is_newer {
        return Err((Kind::StatusWithoutCause, "a bad status became uncertain without a read"));
    }
    if sample.status == known.status && !is_newer {
        return Err((Kind::HeldWrongly, "the same status was reported again"));
    }
    if may_be_new && known.was_read && sample.t < known.t {
        return Err((Kind::HeldWrongly, "a held value is older than a reported one"));
    }
    if !may_be_new && known.was_read && (sample.t, sample.value) != (known.t, known.value) {
        return Err((Kind::HeldWrongly, "a held value keeps its value and its time"));
    }
    Ok(())
}

/// The first that is good, or else what is wrong with the first.
fn first_good<E>(verdicts: impl Iterator<Item = Result<(), E>>) -> Result<(), E> {
    let mut wrong = Ok(());
    for verdict in verdicts {
        match verdict {
            Ok(()) => return Ok(()),
            Err(what) => wrong = wrong.and(Err(what)),
        }
    }
    wrong
}
