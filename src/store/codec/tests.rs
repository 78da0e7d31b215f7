//! Round trips, and bytes that are no blocks.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::limits::{BLOCK_SAMPLES_MAX, BLOCK_SLOTS_MAX};
use crate::tag::Batch;
use crate::tag::{ClockPair, LaneId, Nanos, Sample, flags};
use crate::{BootId, NamesId};

fn batch(slots: Vec<Sample>) -> Arc<Batch> {
    let mut batch = Batch {
        lane: LaneId(3),
        first_sequence: 1 << 40,
        samples: 0,
        slots,
        clock: ClockPair { mono: Nanos(5), utc_ns: -7 },
        drained: Nanos(u64::MAX),
        names: Arc::default(),
    };
    batch.samples = batch.iter().count() as u32;
    Arc::new(batch)
}

fn encode_all(encoder: &mut Encoder, batches: &[Arc<Batch>]) -> Vec<Vec<u8>> {
    let mut log_samples = 11;
    let encode = |block: &CutBlock<'_>| {
        let mut out = Vec::new();
        encoder.encode(&mut out, block, BootId(9), NamesId(4), log_samples).unwrap();
        log_samples += block.samples as u64;
        out
    };
    cut(batches).blocks.iter().map(encode).collect()
}

fn assert_round_trip(encoder: &mut Encoder, batch: &Arc<Batch>) {
    let mut slots = Vec::new();
    for bytes in encode_all(encoder, std::slice::from_ref(batch)) {
        let (header, block) = decode(&bytes, batch.names.clone()).unwrap();
        assert_eq!(header, Header::read(&bytes).unwrap());
        assert_eq!((header.boot, header.lane, header.drained), (BootId(9), batch.lane, batch.drained));
        assert_eq!(header.names, NamesId(4));
        assert_eq!((block.clock, block.samples as usize), (batch.clock, block.iter().count()));
        slots.extend(block.slots);
    }
    assert_eq!(slots, batch.slots);
}

/// Any sample at all, with few enough tags and times that frames and series form.
fn any_sample() -> impl Strategy<Value = (Sample, Vec<u8>)> {
    let time = prop_oneof![3 => 0u64..3, 1 => any::<u64>()];
    let value =
        prop_oneof![2 => any::<u64>(), 1 => 0u64..70, 1 => (0u64..1000).prop_map(|v| (v as f64 * 0.1).to_bits())];
    let ty = prop_oneof![4 => 0u8..10, 1 => any::<u8>()];
    let bits = prop_oneof![4 => Just(0u8), 2 => Just(flags::LONG), 1 => any::<u8>()];
    let tag = prop_oneof![4 => 0u32..6, 1 => any::<u32>()];
    let payload = proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..100);
    (time, value, tag, any::<Option<u32>>(), 0u32..3, (0u16..2, ty, bits), payload).prop_map(
        |(t, value, tag, status, cycle, (group, ty, flags), payload)| {
            let status = status.unwrap_or_default();
            (Sample { t, value, tag, status, cycle, group, ty, flags }, payload)
        },
    )
}

fn any_slots() -> impl Strategy<Value = Vec<Sample>> {
    proptest::collection::vec(any_sample(), 1..200).prop_map(|samples| {
        let mut slots = Vec::new();
        for (mut sample, payload) in samples {
            if sample.is_long() {
                sample.value = payload.len() as u64;
            }
            slots.push(sample);
            if sample.is_long() {
                slots.extend(payload.chunks(Sample::PAYLOAD_BYTES).map(Sample::from_payload));
            }
        }
        slots
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_bit_of_any_samples_comes_back(slots in any_slots()) {
        assert_round_trip(&mut Encoder::default(), &batch(slots));
    }

    #[test]
    fn an_encoder_keeps_nothing_from_one_block_to_the_next(first in any_slots(), second in any_slots()) {
        let mut encoder = Encoder::default();
        for slots in [first, second] {
            for _ in 0..2 {
                assert_round_trip(&mut encoder, &batch(slots.clone()));
            }
        }
    }

    #[test]
    fn a_changed_bit_is_noticed(slots in any_slots(), at: prop::sample::Index, bit in 0u8..8) {
        let mut bytes = encode_all(&mut Encoder::default(), &[batch(slots)]).remove(0);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(decode(&bytes, Arc::default()).is_err());
    }

    /// Behind the checksum: the body's reader stands on its own.
    #[test]
    fn changed_bodies_are_samples_or_an_error(
        slots in any_slots(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        counts in any::<Option<(u16, u16)>>(),
    ) {
        let bytes = encode_all(&mut Encoder::default(), &[batch(slots)]).remove(0);
        let (header, body) = Header::read_with_body(&bytes).unwrap();
        let mut body = body.to_vec();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let (samples, slots) = match counts {
            Some((samples, payload)) => {
                let samples = (samples as usize).min(BLOCK_SAMPLES_MAX);
                (samples, (samples + payload as usize).min(BLOCK_SLOTS_MAX))
            }
            None => (header.samples as usize, header.slots as usize),
        };
        if let Ok(out) = super::decode::decode_body(&body, samples, slots) {
            prop_assert_eq!(out.len(), slots);
        }
    }

    #[test]
    fn any_bytes_are_samples_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..300), samples in 1usize..2000) {
        let _ = super::decode::decode_body(&body, samples, samples + 10);
        let _ = decode(&body, Arc::default());
    }
}

#[test]
fn a_not_a_number_keeps_its_payload_bits() {
    let odd = [f32::NAN.to_bits(), 0x7f80_0001, 0xffc1_2345, 0x8000_0000, 0];
    let slots = odd.iter().map(|bits| Sample { value: *bits as u64, ty: 8, ..Sample::default() }).collect();
    assert_round_trip(&mut Encoder::default(), &batch(slots));
    let odd = [0x7ff0_0000_0000_0001u64, u64::MAX, 1 << 63];
    let slots = odd.iter().map(|bits| Sample { value: *bits, ty: 9, ..Sample::default() }).collect();
    assert_round_trip(&mut Encoder::default(), &batch(slots));
}

#[test]
fn a_text_that_stays_the_same_is_stored_once() {
    let text = [b'x'; 200];
    let mut slots = Vec::new();
    for t in 0..1000 {
        slots.push(Sample { t, value: 200, ty: 0x40, flags: flags::LONG, ..Sample::default() });
        slots.extend(text.chunks(Sample::PAYLOAD_BYTES).map(Sample::from_payload));
    }
    let batch = batch(slots);
    let mut encoder = Encoder::default();
    assert_round_trip(&mut encoder, &batch);
    let bytes = encode_all(&mut encoder, &[batch]).remove(0);
    assert!(bytes.len() < 2_000, "1000 repeats of 200 bytes took {}", bytes.len());
}

#[test]
fn a_full_block_round_trips() {
    let slots = (0..BLOCK_SAMPLES_MAX as u64 + 5)
        .map(|i| Sample { t: i / 100, tag: (i % 100) as u32, value: i, ty: 6, ..Sample::default() })
        .collect();
    assert_round_trip(&mut Encoder::default(), &batch(slots));
}

/// Written by the version before, of the samples of `tests/fuzz.rs`.
const OF_FORMAT_2: &[u8] = include_bytes!("../../../fuzz/corpus/journal_blocks/block_of_format_2");

#[test]
fn a_block_of_the_format_before_is_read_with_its_times_in_utc() {
    let (header, batch) = decode(OF_FORMAT_2, Arc::default()).unwrap();
    let utc = |sample: &Sample| sample.stamp().utc_ns(&header.clock);
    let times: Vec<i64> = batch.iter().map(|item| utc(item.sample)).collect();
    let ends = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
    assert_eq!((header.utc_min_ns, header.utc_max_ns), ends);
    assert_eq!((batch.lane, batch.first_sequence), (LaneId(3), 1 << 40));
    assert_eq!(header.clock, ClockPair { mono: Nanos(5), utc_ns: 7 });
}
