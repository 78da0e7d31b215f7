//! Where decoded samples go: the process image and the executor's ring.

use std::sync::Arc;

use rtrb::Producer;

use super::counters::Counters;
use super::image::{Image, Reading};
use crate::tag::{ExecutorId, GroupId, Nanos, Sample, Status, TagId, flags};

/// Samples gathered before they are copied to the ring in one piece.
const STAGE_SLOTS: usize = 128;

/// Writes samples. Owned by one executor; never blocks, never allocates.
pub struct Sink {
    ring: Producer<Sample>,
    image: Arc<Image>,
    counters: Arc<Counters>,
    executor: usize,
    stage: Box<[Sample; STAGE_SLOTS]>,
    staged: usize,
    /// Dropped since the last gap record.
    gap: u64,
    /// For long values on their way from the image to the ring.
    scratch: Box<[u8]>,
}

/// What the samples of one reply share.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub group: GroupId,
    pub cycle: u32,
    /// Middle between request and reply.
    pub t: Nanos,
}

impl Sink {
    /// `long_bytes_max`: the longest of the plan's long values.
    pub fn new(
        ring: Producer<Sample>,
        image: Arc<Image>,
        counters: Arc<Counters>,
        executor: ExecutorId,
        long_bytes_max: usize,
    ) -> Sink {
        Sink {
            ring,
            image,
            counters,
            executor: executor.index(),
            stage: Box::new([Sample::default(); STAGE_SLOTS]),
            staged: 0,
            gap: 0,
            scratch: vec![0; long_bytes_max.next_multiple_of(8)].into_boxed_slice(),
        }
    }

    /// A scalar that was read. Call [`Sink::flush`] after the last one of a reply.
    #[inline]
    pub fn scalar(&mut self, frame: Frame, tag: TagId, ty: u8, value: u64) {
        let Frame { group, cycle, t } = frame;
        self.image.write(tag.index(), Reading { t_mono_ns: t.0, value, status: Status::GOOD.0, cycle });
        self.stage(Sample {
            t_mono_ns: t.0,
            value,
            tag: tag.0,
            status: Status::GOOD.0,
            cycle,
            group: group.0,
            ty,
            flags: 0,
        });
    }

    /// A long value that was read.
    pub fn long(&mut self, frame: Frame, tag: TagId, ty: u8, bytes: &[u8]) {
        let Frame { group, cycle, t } = frame;
        let reading = Reading { t_mono_ns: t.0, value: bytes.len() as u64, status: Status::GOOD.0, cycle };
        self.image.write_long(tag.index(), reading, bytes);
        let header = Sample {
            t_mono_ns: t.0,
            value: bytes.len() as u64,
            tag: tag.0,
            status: Status::GOOD.0,
            cycle,
            group: group.0,
            ty,
            flags: flags::LONG,
        };
        self.flush();
        self.push_long(header, bytes);
    }

    /// A new status for a tag whose value could not be read: the old value is held, with its old time. A tag
    /// that was never read has no value, and `frame.t` is the time of the status. Nothing happens when the
    /// tag has that status already, nor does a bad status become uncertain: what was given up, or never was,
    /// is usable again only once it is read.
    pub fn hold(&mut self, frame: Frame, tag: TagId, ty: u8, is_long: bool, status: Status) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let held = if is_long { self.image.read_long(tag.index(), &mut scratch) } else { self.image.read(tag.index()) };
        let worse = |held: &Reading| !(status.is_uncertain() && Status(held.status).is_bad());
        if let Some(held) = held.filter(|held| held.status != status.0 && worse(held)) {
            self.hold_reading(frame, tag, ty, is_long, status, held, &scratch);
        }
        self.scratch = scratch;
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
        let never_read = held.t_mono_ns == 0;
        let length = (held.value as usize).min(bytes.len());
        let bytes = if is_long && !never_read { &bytes[..length] } else { &[] };
        self.image.write_long(tag.index(), Reading { status: status.0, cycle: frame.cycle, ..held }, bytes);
        let header = Sample {
            t_mono_ns: if never_read { frame.t.0 } else { held.t_mono_ns },
            value: held.value,
            tag: tag.0,
            status: status.0,
            cycle: frame.cycle,
            group: frame.group.0,
            ty,
            flags: flags::HELD | if never_read { flags::NO_VALUE } else { 0 },
        };
        if is_long && !never_read {
            self.flush();
            self.push_long(Sample { flags: header.flags | flags::LONG, ..header }, bytes);
        } else {
            self.stage(header);
        }
    }

    #[inline]
    fn stage(&mut self, sample: Sample) {
        if self.staged == STAGE_SLOTS {
            self.flush();
        }
        self.stage[self.staged] = sample;
        self.staged += 1;
    }

    /// Hands over what was gathered. What does not fit is dropped and counted; the next that fits is
    /// preceded by a gap record.
    pub fn flush(&mut self) {
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
            && let Ok(mut chunk) = self.ring.write_chunk(fits)
        {
            let (first, second) = chunk.as_mut_slices();
            let cut = first.len();
            first.copy_from_slice(&self.stage[..cut]);
            second.copy_from_slice(&self.stage[cut..fits]);
            chunk.commit_all();
        }
        for i in fits..staged {
            self.count_dropped(self.stage[i].group);
        }
    }

    /// A header and its payload go together or not at all.
    fn push_long(&mut self, header: Sample, bytes: &[u8]) {
        self.count_produced((header.group, 1));
        let slots = 1 + header.payload_slots();
        if !self.close_gap() || self.ring.slots() < slots {
            self.count_dropped(header.group);
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
        self.counters.groups[self.executor][usize::from(group)].produced.add(n);
    }

    fn count_dropped(&mut self, group: u16) {
        self.gap += 1;
        self.counters.groups[self.executor][usize::from(group)].dropped.add(1);
    }
}

impl Drop for Sink {
    /// The last gap is told too, so that the account closes.
    fn drop(&mut self) {
        self.flush();
        if self.gap > 0 && self.ring.push(Sample::gap(self.gap)).is_ok() {
            self.gap = 0;
        }
    }
}
