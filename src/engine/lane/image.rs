//! The process image: the latest value of every tag, written by the executor that owns the tag, read by
//! anyone without a lock.
//!
//! One 64-byte slot a tag under a sequence lock; long values lie in a buffer of their own under the same
//! lock. The writer never waits. A reader that meets a write tries again, a bounded number of times.
//!
//! Slots are made as plans need them, and never move: a tag keeps its slot as long as it keeps its id.
//!
//! This file has no dependency but `pages` and `sync`, so that it is model-checked as it is (tests/loom).

use std::sync::OnceLock;

use super::pages::{Pages, region_of};
use super::sync::{AtomicU64, IMAGE_PAGE_SLOTS, IMAGE_TAGS_MAX, Ordering, READ_TRIES_MAX, fence};

/// The latest reading of one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// When the value was read, as in a sample ([`crate::tag::Stamp`]): of an executor's tag, nanoseconds of
    /// CLOCK_MONOTONIC; 0: never.
    pub t: u64,
    /// Raw bits; the length in bytes of a long value.
    pub value: u64,
    /// OPC UA StatusCode.
    pub status: u32,
    pub cycle: u32,
}

/// Sequence (odd while being written), time, value, status and cycle; beside these, what caused the status.
#[repr(align(64))]
#[derive(Default)]
struct Slot {
    sequence: AtomicU64,
    t: AtomicU64,
    value: AtomicU64,
    status_cycle: AtomicU64,
    /// A number of its own, not under the sequence lock: written before the status that it belongs to.
    cause: AtomicU64,
    /// Room for a long value; made once, with the first tag that needs it.
    long: OnceLock<Box<[AtomicU64]>>,
}

/// See the module.
pub struct Image {
    slots: Pages<Slot, IMAGE_PAGE_SLOTS>,
}

impl Default for Image {
    fn default() -> Image {
        Image { slots: Pages::new(IMAGE_TAGS_MAX) }
    }
}

impl Image {
    /// `long_bytes_max` has one entry a tag: the most bytes of its long value, 0 for a scalar. Every slot
    /// starts with `status` and no value.
    pub fn new(long_bytes_max: impl IntoIterator<Item = usize>, status: u32) -> Image {
        let image = Image::default();
        for (tag, bytes) in long_bytes_max.into_iter().enumerate() {
            image.prepare(tag, bytes, status);
        }
        image
    }

    /// Makes a slot ready for a tag that is new: it has `status` and no value. Nobody may be writing this slot,
    /// nor anyone be reading it for the tag that had it before.
    pub fn prepare(&self, tag: usize, long_bytes_max: usize, status: u32) {
        self.slots.grow(tag + 1);
        let slot = &self.slots[tag];
        if long_bytes_max > 0 {
            slot.long.get_or_init(|| (0..long_bytes_max.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
        }
        slot.cause.store(0, Ordering::Relaxed);
        self.write(tag, Reading { status, ..Reading::default() });
    }

    /// Whether a long value of so many bytes can live in a slot; always, where none has lived yet.
    pub fn long_fits(&self, tag: usize, bytes: usize) -> bool {
        let room = self.slots.get(tag).and_then(|slot| slot.long.get());
        room.is_none_or(|long| long.len() * 8 >= bytes)
    }

    /// Every stretch of memory that an executor may touch: address and bytes.
    pub fn regions(&self) -> impl Iterator<Item = (*const u8, usize)> {
        let longs = self.slots.regions().flatten().filter_map(|slot| slot.long.get().map(|long| region_of(long)));
        self.slots.regions().map(region_of).chain(longs)
    }

    /// Says what causes the status that is written next, or that stands there; 0: nothing is known. Only the tag's
    /// executor may call it.
    #[inline]
    pub fn set_cause(&self, tag: usize, cause: u64) {
        self.slots[tag].cause.store(cause, Ordering::Relaxed);
    }

    /// What was last said to cause a status; of a tag that has been read well since, it says nothing any more. Whoever has
    /// read the status sees its cause, or a later one (by sync points C and D).
    pub fn cause(&self, tag: usize) -> u64 {
        self.slots.get(tag).map_or(0, |slot| slot.cause.load(Ordering::Relaxed))
    }

    /// Writes a reading. Only the tag's executor may call it.
    #[inline]
    pub fn write(&self, tag: usize, reading: Reading) {
        self.write_with(tag, reading, |_| {});
    }

    /// Writes a reading with the bytes of a long value. Only the tag's executor may call it.
    pub fn write_long(&self, tag: usize, reading: Reading, bytes: &[u8]) {
        self.write_with(tag, reading, |slot| {
            for (word, chunk) in long_of(slot).iter().zip(bytes.chunks(8)) {
                let mut padded = [0u8; 8];
                padded[..chunk.len()].copy_from_slice(chunk);
                word.store(u64::from_le_bytes(padded), Ordering::Relaxed);
            }
        });
    }

    /// Writes a reading, and with `long` what belongs to it, under the slot's lock.
    #[inline(always)]
    fn write_with(&self, tag: usize, reading: Reading, long: impl FnOnce(&Slot)) {
        let slot = &self.slots[tag];
        let sequence = slot.sequence.load(Ordering::Relaxed);
        // Sync point A: a reader that sees any store below also sees this odd number, or the even one
        // that follows (fence, pairs with B).
        slot.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        slot.t.store(reading.t, Ordering::Relaxed);
        slot.value.store(reading.value, Ordering::Relaxed);
        slot.status_cycle.store(u64::from(reading.status) << 32 | u64::from(reading.cycle), Ordering::Relaxed);
        long(slot);
        // Sync point C: everything above is visible to a reader that loads this number (pairs with D).
        slot.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The latest reading; `None` only when every try met a write.
    pub fn read(&self, tag: usize) -> Option<Reading> {
        self.read_long(tag, &mut [])
    }

    /// The latest reading and the bytes of its long value, as many as fit `out`.
    pub fn read_long(&self, tag: usize, out: &mut [u8]) -> Option<Reading> {
        let slot = self.slots.get(tag)?;
        (0..READ_TRIES_MAX).find_map(|_| self.try_read(slot, out))
    }

    /// One try. `None` when it met a write.
    fn try_read(&self, slot: &Slot, out: &mut [u8]) -> Option<Reading> {
        // Sync point D: pairs with C.
        let before = slot.sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let status_cycle = slot.status_cycle.load(Ordering::Relaxed);
        let reading = Reading {
            t: slot.t.load(Ordering::Relaxed),
            value: slot.value.load(Ordering::Relaxed),
            status: (status_cycle >> 32) as u32,
            cycle: status_cycle as u32,
        };
        for (word, chunk) in long_of(slot).iter().zip(out.chunks_mut(8)) {
            let bytes = word.load(Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
        // Sync point B: pairs with the fence at A.
        fence(Ordering::Acquire);
        (slot.sequence.load(Ordering::Relaxed) == before).then_some(reading)
    }
}

fn long_of(slot: &Slot) -> &[AtomicU64] {
    slot.long.get().map_or(&[], |long| &**long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_starts_with_its_first_status_and_no_time() {
        let image = Image::new([0, 10], 0x8032_0000);
        assert_eq!(image.read(1), Some(Reading { status: 0x8032_0000, ..Reading::default() }));
        assert_eq!(image.read(IMAGE_PAGE_SLOTS), None);
    }

    #[test]
    fn a_slot_serves_another_tag_without_a_trace_of_the_first() {
        let image = Image::new([16], 1);
        image.write_long(0, Reading { t: 5, value: 16, status: 0, cycle: 9 }, b"0123456789abcdef");
        assert!(image.long_fits(0, 16) && !image.long_fits(0, 17) && image.long_fits(1, 999));
        image.prepare(0, 8, 2);
        assert_eq!(image.read(0), Some(Reading { status: 2, ..Reading::default() }));
    }

    #[test]
    fn a_long_value_reads_back_beside_its_neighbours() {
        let image = Image::new([9, 5], 0);
        let reading = |value| Reading { t: 1, value, status: 0, cycle: 2 };
        image.write_long(0, reading(9), b"123456789");
        image.write_long(1, reading(5), b"abcde");
        let mut out = [0u8; 9];
        assert_eq!(image.read_long(0, &mut out), Some(reading(9)));
        assert_eq!(&out, b"123456789");
        assert_eq!(image.read_long(1, &mut out[..5]), Some(reading(5)));
        assert_eq!(&out[..5], b"abcde");
    }

    #[test]
    fn readers_never_see_halves_of_two_writes() {
        let image = Image::new([0], 0);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 1..200_000u64 {
                    image.write(0, Reading { t: n, value: n * 3, status: n as u32, cycle: n as u32 });
                }
            });
            while !writer.is_finished() {
                if let Some(r) = image.read(0) {
                    assert_eq!((r.value, r.cycle), (r.t * 3, r.t as u32));
                }
            }
        });
    }
}
