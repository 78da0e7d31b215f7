//! Where decoded samples go: the process image and the executor's ring.

use std::sync::Arc;

use rtrb::Producer;

use super::counters::Counters;
use super::filter::{ReportFilter, Verdict};
use super::image::{Image, Reading};
use super::rate::EventRates;
use crate::tag::{Cause, GroupId, LaneId, Nanos, Sample, Stamp, Status, TagId, flags};

/// Samples gathered before they are copied to the ring in one piece.
const STAGE_SLOTS: usize = 128;

/// Writes samples. Owned by one lane's thread; never blocks, never allocates.
pub struct SampleWriter {
    ring: Producer<Sample>,
    image: Arc<Image>,
    counters: Arc<Counters>,
    lane: usize,
    stage: Box<[Sample; STAGE_SLOTS]>,
    staged: usize,
    /// Dropped since the last gap record.
    gap: u64,
    /// For long values on their way from the image to the ring.
    scratch: Box<[u8]>,
    exceptions: ReportFilter,
    /// Held back and not yet counted: group and how many.
    suppressed: (u16, u64),
    rates: EventRates,
}

/// What the samples of one reply share.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub group: GroupId,
    pub cycle: u32,
    /// When they were read: the middle between request and reply, or the source's own time.
    pub t: Stamp,
}

impl SampleWriter {
    /// `long_bytes_max`: the longest of the plan's long values.
    pub fn new(
        ring: Producer<Sample>,
        image: Arc<Image>,
        counters: Arc<Counters>,
        lane: LaneId,
        long_bytes_max: usize,
    ) -> SampleWriter {
        SampleWriter {
            ring,
            image,
            counters,
            lane: lane.index(),
            stage: Box::new([Sample::default(); STAGE_SLOTS]),
            staged: 0,
            gap: 0,
            scratch: SampleWriter::scratch(long_bytes_max),
            exceptions: ReportFilter::default(),
            suppressed: (0, 0),
            rates: EventRates::default(),
        }
    }

    /// With tags that are told by exception.
    pub fn with_filter(mut self, exceptions: ReportFilter) -> SampleWriter {
        self.exceptions = exceptions;
        self
    }

    /// With groups by event.
    pub fn with_rates(mut self, rates: EventRates) -> SampleWriter {
        self.rates = rates;
        self
    }

    /// So late it is: samples by event may come at their rate.
    pub fn at(&mut self, now: Nanos) {
        self.rates.at(now);
    }

    /// Goes on with the groups by event of another plan.
    pub fn change_rates(&mut self, mut rates: EventRates) {
        rates.take_over(&self.rates);
        self.rates = rates;
    }

    /// A scalar that was read. Call [`SampleWriter::flush`] after the last one of a reply.
    #[inline]
    pub fn scalar(&mut self, frame: Frame, tag: TagId, ty: u8, value: u64) {
        self.scalar_with_status(frame, tag, ty, value, Status::GOOD);
    }

    /// A scalar that was read, good or uncertain.
    #[inline]
    pub fn scalar_with_status(&mut self, frame: Frame, tag: TagId, ty: u8, value: u64, status: Status) {
        let Frame { group, cycle, t } = frame;
        self.image.write(tag.index(), Reading { t: t.0, value, status: status.0, cycle });
        self.tell(Sample { t: t.0, value, tag: tag.0, status: status.0, cycle, group: group.0, ty, flags: 0 });
    }

    /// A scalar that was read, and what is to be thought of it: one that is bad is none, the last one is held.
    #[inline]
    pub fn judged(&mut self, frame: Frame, tag: TagId, ty: u8, value: u64, status: Status) {
        if status.is_bad() {
            self.hold(frame, tag, ty, false, status);
        } else {
            self.scalar_with_status(frame, tag, ty, value, status);
        }
    }

    /// A scalar that came by itself, good or uncertain, for the image alone: its sample follows with [`SampleWriter::sample`].
    #[inline]
    pub fn show(&mut self, frame: Frame, tag: TagId, value: u64, status: Status) {
        let Frame { cycle, t, .. } = frame;
        self.image.write(tag.index(), Reading { t: t.0, value, status: status.0, cycle });
    }

    /// What the image has of a tag.
    #[inline]
    pub fn shown(&self, tag: TagId) -> Option<Reading> {
        self.image.read(tag.index())
    }

    /// The sample of a scalar that the image has already.
    #[inline]
    pub fn sample(&mut self, frame: Frame, tag: TagId, ty: u8, value: u64, status: Status) {
        let Frame { group, cycle, t } = frame;
        self.tell(Sample { t: t.0, value, tag: tag.0, status: status.0, cycle, group: group.0, ty, flags: 0 });
    }

    /// Backfill, such as a device's backlog: for the journal and all that follows it, not for the image. Report by exception
    /// does not apply to it.
    pub fn backfill(&mut self, frame: Frame, tag: TagId, ty: u8, value: u64, status: Status) {
        let Frame { group, cycle, t } = frame;
        let flags = flags::BACKFILL;
        self.stage(Sample { t: t.0, value, tag: tag.0, status: status.0, cycle, group: group.0, ty, flags });
    }

    /// As [`SampleWriter::backfill`], of a long value.
    pub fn backfill_long(&mut self, frame: Frame, tag: TagId, ty: u8, bytes: &[u8], status: Status) {
        let Frame { group, cycle, t } = frame;
        let (value, flags) = (bytes.len() as u64, flags::LONG | flags::BACKFILL);
        self.flush();
        let header = Sample { t: t.0, value, tag: tag.0, status: status.0, cycle, group: group.0, ty, flags };
        self.push_long(header, bytes);
    }

    /// A long value that was read.
    pub fn long(&mut self, frame: Frame, tag: TagId, ty: u8, bytes: &[u8]) {
        self.show_long(frame, tag, bytes);
        self.ring_long(frame, tag, ty, bytes);
    }

    /// As [`SampleWriter::long`], into the image only.
    pub fn show_long(&mut self, frame: Frame, tag: TagId, bytes: &[u8]) {
        let Frame { cycle, t, .. } = frame;
        let reading = Reading { t: t.0, value: bytes.len() as u64, status: Status::GOOD.0, cycle };
        self.image.write_long(tag.index(), reading, bytes);
    }

    /// As [`SampleWriter::long`], into the ring only.
    pub fn ring_long(&mut self, frame: Frame, tag: TagId, ty: u8, bytes: &[u8]) {
        let Frame { group, cycle, t } = frame;
        let header = Sample {
            t: t.0,
            value: bytes.len() as u64,
            tag: tag.0,
            status: Status::GOOD.0,
            cycle,
            group: group.0,
            ty,
            flags: flags::LONG,
        };
        self.tell_long(header, bytes);
    }

    /// A new status for a tag whose value could not be read: the old value is held, with its old time. A tag
    /// that was never read has no value, and `frame.t` is the time of the status. Nothing happens when the
    /// tag has that status already, nor does a bad status become uncertain: what was given up, or never was,
    /// is usable again only once it is read.
    pub fn hold(&mut self, frame: Frame, tag: TagId, ty: u8, is_long: bool, status: Status) {
        self.hold_because(frame, tag, ty, is_long, status, Cause::of_status(status));
    }

    /// As [`SampleWriter::hold`], with the cause. That of a tag which has the status already, or is still waiting for its first
    /// value, is replaced where there is one.
    pub fn hold_because(
        &mut self,
        frame: Frame,
        tag: TagId,
        ty: u8,
        is_long: bool,
        status: Status,
        cause: Option<Cause>,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let held = if is_long { self.image.read_long(tag.index(), &mut scratch) } else { self.image.read(tag.index()) };
        let worse = |held: &Reading| !(status.is_uncertain() && Status(held.status).is_bad());
        let is_known = held.is_some_and(|held| held.status == status.0);
        let waits = held.is_some_and(|held| held.status == Status::BAD_WAITING_FOR_INITIAL_DATA.0);
        if (is_known || waits) && cause.is_some() {
            self.explain(tag, cause);
        }
        if let Some(held) = held.filter(|held| !is_known && worse(held)) {
            self.explain(tag, cause);
            self.hold_reading(frame, tag, ty, is_long, status, held, &scratch);
        }
        self.scratch = scratch;
    }

    /// As [`SampleWriter::hold`] of a tag whose value is missing for now: it is uncertain; that of a tag which is still waiting for
    /// its first one can't be, so that it has no communication.
    pub fn doubt(&mut self, frame: Frame, tag: TagId, ty: u8, is_long: bool, cause: Cause) {
        let shown = self.image.read(tag.index()).map(|held| Status(held.status));
        let waits = shown == Some(Status::BAD_WAITING_FOR_INITIAL_DATA);
        let status = if waits { Status::BAD_NO_COMMUNICATION } else { Status::UNCERTAIN_LAST_USABLE };
        self.hold_because(frame, tag, ty, is_long, status, Some(cause));
    }

    /// What is known of a tag's cause; `None`: what was known does not hold any more.
    pub fn explain(&mut self, tag: TagId, cause: Option<Cause>) {
        self.image.set_cause(tag.index(), cause.map_or(0, Cause::code));
    }

    #[allow(clippy::too_many_arguments)]
    fn hold_reading(
        &mut self,
        frame: Frame,
        tag: TagId,
        ty: u8,
        is_long: bool,
        status: Status,
        held: Reading,
        bytes: &[u8],
    ) {
        let never_read = held.t == 0;
        let length = (held.value as usize).min(bytes.len());
        let bytes = if is_long && !never_read { &bytes[..length] } else { &[] };
        self.image.write_long(tag.index(), Reading { status: status.0, cycle: frame.cycle, ..held }, bytes);
        let header = Sample {
            t: if never_read { frame.t.0 } else { held.t },
            value: held.value,
            tag: tag.0,
            status: status.0,
            cycle: frame.cycle,
            group: frame.group.0,
            ty,
            flags: flags::HELD | if never_read { flags::NO_VALUE } else { 0 },
        };
        if is_long && !never_read {
            self.tell_long(Sample { flags: header.flags | flags::LONG, ..header }, bytes);
        } else {
            self.tell(header);
        }
    }

    #[inline]
    fn tell(&mut self, sample: Sample) {
        if self.exceptions.is_empty() {
            return self.stage(sample);
        }
        match self.exceptions.judge(&sample) {
            Verdict::Tell => self.stage(sample),
            Verdict::Suppress => self.suppress(sample.group),
            Verdict::Keep => {}
            Verdict::TellAfter(kept) => {
                self.stage(kept);
                self.stage(sample);
            }
            Verdict::TellInstead => {
                self.suppress(sample.group);
                self.stage(sample);
            }
        }
    }

    fn tell_long(&mut self, header: Sample, bytes: &[u8]) {
        if !self.exceptions.is_empty() && self.exceptions.judge_long(&header, bytes) == Verdict::Suppress {
            return self.suppress(header.group);
        }
        self.flush();
        self.push_long(header, bytes);
    }

    /// Counted with the next flush, or with the next group.
    #[inline]
    fn suppress(&mut self, group: u16) {
        if self.suppressed.0 != group {
            self.count_suppressed();
            self.suppressed.0 = group;
        }
        self.suppressed.1 += 1;
    }

    fn count_suppressed(&mut self) {
        let (group, n) = (self.suppressed.0, std::mem::take(&mut self.suppressed.1));
        if n > 0 {
            self.count_produced((group, n));
            self.counters.groups[self.lane][usize::from(group)].suppressed_at_ring.add(n);
            self.counters.lanes[self.lane].suppressed_at_ring.add(n);
        }
    }

    /// Nothing will come of what is kept.
    fn give_up_kept(&mut self) {
        let mut exceptions = std::mem::take(&mut self.exceptions);
        exceptions.give_up(|group| self.suppress(group));
        self.exceptions = exceptions;
        self.count_suppressed();
    }

    #[inline]
    fn stage(&mut self, sample: Sample) {
        if !self.is_within_rate(&sample) {
            return;
        }
        if self.staged == STAGE_SLOTS {
            self.flush();
        }
        self.stage[self.staged] = sample;
        self.staged += 1;
    }

    /// Goes on with another ring, with room for the long values of another plan, and with its rules of report by
    /// exception; gives back the old ones. A gap that the old ring had no room to tell is told in the new one.
    pub fn change_ring(&mut self, ring: &mut Producer<Sample>, scratch: &mut Box<[u8]>, exceptions: &mut ReportFilter) {
        self.flush();
        self.close_gap();
        exceptions.take_over(&mut self.exceptions);
        self.give_up_kept();
        std::mem::swap(&mut self.exceptions, exceptions);
        std::mem::swap(&mut self.ring, ring);
        std::mem::swap(&mut self.scratch, scratch);
    }

    /// Room for long values on their way from the image to the ring.
    pub fn scratch(long_bytes_max: usize) -> Box<[u8]> {
        vec![0; long_bytes_max.next_multiple_of(8)].into_boxed_slice()
    }

    /// Hands over what was gathered. What does not fit is dropped and counted; the next that fits is
    /// preceded by a gap record.
    pub fn flush(&mut self) {
        self.count_suppressed();
        let staged = std::mem::take(&mut self.staged);
        if staged == 0 {
            return;
        }
        let mut produced_of = (self.stage[0].group, 0u64);
        for i in 0..staged {
            let group = self.stage[i].group;
            if group != produced_of.0 {
                self.count_produced(produced_of);
                produced_of = (group, 0);
            }
            produced_of.1 += 1;
        }
        self.count_produced(produced_of);

        let room = if self.close_gap() { self.ring.slots() } else { 0 };
        let fits = staged.min(room);
        if fits > 0
            && let Ok(mut chunk) = self.ring.write_chunk_uninit(fits)
        {
            let (first, second) = chunk.as_mut_slices();
            let cut = first.len();
            first.write_copy_of_slice(&self.stage[..cut]);
            second.write_copy_of_slice(&self.stage[cut..fits]);
            // SAFETY: both slices, which are all of the chunk, were written.
            unsafe { chunk.commit_all() };
        }
        for i in fits..staged {
            self.count_dropped(self.stage[i]);
        }
    }

    /// False: it comes faster than its group may, and is dropped. Backfill comes as its source has it, and is no event.
    #[inline]
    fn is_within_rate(&mut self, sample: &Sample) -> bool {
        if self.rates.is_empty() || sample.flags & flags::BACKFILL != 0 || self.rates.takes(sample.group) {
            return true;
        }
        // What came before it must not come after the record of its loss.
        self.flush();
        self.count_produced((sample.group, 1));
        self.count_dropped(*sample);
        false
    }

    /// A header and its payload go together or not at all.
    fn push_long(&mut self, header: Sample, bytes: &[u8]) {
        if !self.is_within_rate(&header) {
            return;
        }
        self.count_produced((header.group, 1));
        let slots = 1 + header.payload_slots();
        if !self.close_gap() || self.ring.slots() < slots {
            self.count_dropped(header);
            return;
        }
        // Room for all of them was seen above, and only this side fills the ring.
        let _ = self.ring.push(header);
        for payload in bytes.chunks(Sample::PAYLOAD_BYTES) {
            let _ = self.ring.push(Sample::from_payload(payload));
        }
    }

    /// Writes the gap record that is due. False: not even that fits.
    #[inline]
    fn close_gap(&mut self) -> bool {
        if self.gap > 0 {
            // A record for every single free slot would fill the ring with records.
            if self.ring.slots() < STAGE_SLOTS || self.ring.push(Sample::gap(self.gap)).is_err() {
                return false;
            }
            self.gap = 0;
        }
        true
    }

    fn count_produced(&self, (group, n): (u16, u64)) {
        self.counters.groups[self.lane][usize::from(group)].produced.add(n);
        self.counters.lanes[self.lane].produced.add(n);
    }

    fn count_dropped(&mut self, sample: Sample) {
        self.gap += 1;
        self.counters.groups[self.lane][usize::from(sample.group)].dropped.add(1);
        self.counters.lanes[self.lane].dropped.add(1);
        self.exceptions.forget(sample.tag);
    }
}

impl Drop for SampleWriter {
    /// The last gap is told too, so that the account closes.
    fn drop(&mut self) {
        self.flush();
        self.give_up_kept();
        if self.gap > 0 && self.ring.push(Sample::gap(self.gap)).is_ok() {
            self.gap = 0;
        }
    }
}

#[cfg(test)]
mod tests;
