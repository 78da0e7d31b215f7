//! A shared, immutable run of samples of one executor.

use std::sync::Arc;

use super::{ClockPair, Dictionary, LaneId, Nanos, Sample, ScalarType, Value};

/// Samples in the order in which the executor made them, without a gap: sample `i` (payload slots not
/// counted) has the sequence number `first_sequence + i`. Dropped samples use up numbers, so a gap between
/// batches shows.
#[derive(Debug, Clone)]
pub struct Batch {
    pub lane: LaneId,
    pub first_sequence: u64,
    /// Samples, payload slots not counted; at least 1.
    pub samples: u32,
    /// Samples and the payload slots that follow long ones. No gap records.
    pub slots: Vec<Sample>,
    /// To tell the samples' monotonic stamps in UTC.
    pub clock: ClockPair,
    /// When the hub took it from the ring.
    pub drained: Nanos,
    /// What the samples' ids mean.
    pub names: Arc<Dictionary>,
}

/// One sample of a batch with its payload.
#[derive(Debug, Clone, Copy)]
pub struct BatchSample<'a> {
    pub sequence: u64,
    pub sample: &'a Sample,
    /// Payload slots of a long value (the last one zero-padded); empty for a scalar.
    pub payload: &'a [Sample],
}

impl BatchSample<'_> {
    /// Its value, of a tag whose type has this code; `None`: it has none.
    pub fn value(&self, ty: u8) -> Option<Value> {
        if self.sample.has_no_value() {
            return None;
        }
        if !self.sample.is_long() {
            return ScalarType::from_code(ty).map(|ty| Value::from_bits(ty, self.sample.value));
        }
        let mut bytes = Vec::new();
        self.payload_into(&mut bytes);
        Value::from_long(ty, &bytes)
    }

    /// Appends the bytes of a long value to `out`, without the padding.
    pub fn payload_into(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for slot in self.payload {
            out.extend_from_slice(&slot.to_payload());
        }
        out.truncate(start + (self.sample.value as usize).min(self.payload.len() * Sample::PAYLOAD_BYTES));
    }
}

impl Batch {
    /// The samples one by one.
    pub fn iter(&self) -> impl Iterator<Item = BatchSample<'_>> {
        let mut at = 0;
        let mut sequence = self.first_sequence;
        std::iter::from_fn(move || {
            let sample = self.slots.get(at)?;
            let end = (at + 1 + sample.payload_slots()).min(self.slots.len());
            let item = BatchSample { sequence, sample, payload: &self.slots[at + 1..end] };
            at = end;
            sequence += 1;
            Some(item)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::flags;

    #[test]
    fn long_values_keep_their_payload_and_take_one_number() {
        let long = Sample { tag: 1, value: 34, flags: flags::LONG, ..Sample::default() };
        let bytes: Vec<u8> = (0..34).collect();
        let slots = vec![
            Sample { tag: 0, ..Sample::default() },
            long,
            Sample::from_payload(&bytes[..32]),
            Sample::from_payload(&bytes[32..]),
            Sample { tag: 2, ..Sample::default() },
        ];
        let batch = Batch {
            lane: LaneId(0),
            first_sequence: 10,
            samples: 3,
            slots,
            clock: ClockPair::default(),
            drained: Nanos::ZERO,
            names: Arc::default(),
        };
        let seen: Vec<_> = batch.iter().map(|s| (s.sequence, s.sample.tag)).collect();
        assert_eq!(seen, [(10, 0), (11, 1), (12, 2)]);
        let mut out = Vec::new();
        batch.iter().nth(1).unwrap().payload_into(&mut out);
        assert_eq!(out, bytes);
    }
}
