//! The payload of data messages: JSON, written by hand.
//!
//! ```json
//! {"gateway":"line-4","boot":"019aa4b3c7d10a2f","lane":0,"group":"fast","prev":1187,"frames":[
//!   {"seq":1200,"t":1763693956123456,"cycle":77,"q":0,"values":{"boiler.temperature":81.5,"n":3}}]}
//! ```
//!
//! (without the line breaks)
//!
//! - `gateway`, `boot` (16 hexadecimal digits; a later start of the gateway has a higher one), `lane` and a sample's sequence
//!   number name a sample for ever. A lane is one thread's stream of samples: an executor's, or a source's.
//! - **Repeats.** Delivery is at least once. Within one stream, (gateway, lane, group, and `link`, which is there where the topic
//!   names it), (boot, number) rise from sample to
//!   sample but for repeats after a lost connection: a consumer keeps the highest that it has of each stream, and drops what is
//!   not above it.
//! - **Losses.** `prev` is the number of the sample that came before in the stream, `prev_boot` its boot where that is another;
//!   `null`: nothing is known of one. One that is above the highest that a consumer has is a loss between the gateway and the
//!   consumer. `missing`, only where there are any: so many numbers of the lane, or more, will never come, since the last
//!   message of the stream; they were dropped at a full ring or by the journal's bound, or lost with its file, and nobody
//!   knows whether they were this group's. The stream's first message behind the loss says it, and says it again when it is
//!   repeated: where its first number is a repeat, so is its `missing`. A consumer of any choice of topics sees every loss by
//!   these two.
//! - A *frame* holds consecutive samples of one time, cycle, status and group. `seq` is the number of its first
//!   value; the others follow by one in the order in which `values` is written.
//! - `t`: UTC, microseconds since 1970-01-01T00:00:00Z, of the samples themselves. A value that is held because
//!   its device does not answer keeps the time at which it was read.
//! - `cycle`: the cycle of the scan that read it, from the gateway's start; wraps at 2³².
//! - `q`: OPC UA StatusCode as a number (OPC 10000-4, section 7.39); 0 is good. Always there. `status`: its name, where it is
//!   not 0.
//! - A tag that is told by exception is told at least every `max_silence_ms` of its configuration (60 s unless it says
//!   otherwise) as long as its status is good; any other status is told once, and lasts until the tag is told again. A
//!   tag that is silent for longer, its status being good, has a gateway that does not scan or does not reach the
//!   broker; the latter shows on the status topic, too. Samples that are held back use up no sequence numbers.
//! - `values`: by tag name. Integers with all their digits (64 bits: read them as such), float32 and float64 in
//!   the shortest form that reads back to the same bits; of a tag that allows them, what is not a number and the infinities
//!   as the strings `"NaN"`, `"Infinity"` and `"-Infinity"` (JSON has no such numbers); booleans,
//!   strings (bytes that are no UTF-8 as U+FFFD), arrays of these; `null` while a tag was never read. A tag stands at most once in a frame.
//! - `texts`, only where there are any: what the values are called, by tag name: `"texts":{"pump.state":"off"}`.

use std::sync::Arc;

use crate::engine::Head;
use crate::tag::{BatchSample, ClockPair, Dictionary, Sample, ScalarType, Status, Texts, ValueType};

/// The most bytes of a number: `-1.7976931348623157e308` has 23.
const NUMBER_BYTES_MAX: usize = 24;
/// The most bytes that a frame adds beside its values: six keys, five numbers, the status's name, brackets.
const FRAME_BYTES_MAX: usize = 240;
/// What [`close`] adds, beside the texts of the frame.
const CLOSE_BYTES: usize = 4;
/// `},"texts":{`
const TEXTS_BYTES: usize = 11;

/// The frame that a message is writing.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// Of its values so far, with their names.
    texts: Vec<u8>,
    t: u64,
    cycle: u32,
    status: u32,
    next_sequence: u64,
    id: u64,
}

/// Writes samples with the names of one dictionary.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// `"name":` by tag; nothing for an id that is not in use.
    keys: Arc<[Box<[u8]>]>,
    /// By tag, what its values are called.
    texts: Arc<[Texts]>,
    /// By tag, the last frame that it stands in.
    last_frame: Vec<u64>,
    frames: u64,
    bytes: Vec<u8>,
}

impl Encoder {
    pub(super) fn new(dictionary: &Dictionary) -> Encoder {
        let key = |name: &str| {
            if name.is_empty() {
                return Box::default();
            }
            let mut out = Vec::with_capacity(name.len() + 3);
            text(&mut out, name);
            out.push(b':');
            out.into_boxed_slice()
        };
        let texts = dictionary.tags.iter().map(|tag| tag.texts.clone()).collect();
        Encoder::of(dictionary.tags.iter().map(|tag| key(&tag.name)).collect(), texts)
    }

    /// Another one with the same names.
    pub(super) fn sibling(&self) -> Encoder {
        Encoder::of(self.keys.clone(), self.texts.clone())
    }

    fn of(keys: Arc<[Box<[u8]>]>, texts: Arc<[Texts]>) -> Encoder {
        Encoder { last_frame: vec![0; keys.len()], keys, texts, frames: 0, bytes: Vec::new() }
    }

    fn key(&self, tag: usize) -> Option<&[u8]> {
        self.keys.get(tag).map(AsRef::as_ref).filter(|key| !key.is_empty())
    }

    /// What a sample's value is called.
    pub(super) fn text_of(&self, sample: &Sample) -> Option<&str> {
        let texts = self.texts.get(sample.tag as usize).filter(|texts| !texts.is_empty())?;
        if sample.is_long() || sample.has_no_value() { None } else { texts.of(sample.value) }
    }

    /// The most bytes that [`Encoder::push`] adds for this sample, to the message and to what [`close`] adds.
    pub(super) fn bytes_max(&self, item: &BatchSample<'_>) -> usize {
        let key = self.key(item.sample.tag as usize).map_or(NUMBER_BYTES_MAX, <[u8]>::len);
        // A control character takes six bytes, and eight bytes of an array at most a number and a comma.
        let long = item.payload.len() * crate::tag::Sample::PAYLOAD_BYTES * 6;
        // Quotes and a comma, and its name again.
        let text = self.text_of(item.sample).map_or(0, |text| TEXTS_BYTES + key + text.len() * 6 + 3);
        FRAME_BYTES_MAX + key + NUMBER_BYTES_MAX + long + text
    }

    /// Adds a sample: to `frame` when it belongs there, else to a new one.
    pub(super) fn push(
        &mut self,
        out: &mut Vec<u8>,
        frame: &mut Option<Frame>,
        item: &BatchSample<'_>,
        clock: &ClockPair,
    ) {
        let sample = item.sample;
        let tag = sample.tag as usize;
        // A tag that the dictionary lacks gets a frame of its own, so that its made-up name cannot stand twice.
        let known = self.key(tag).is_some();
        let joins = frame.as_ref().is_some_and(|f| {
            known
                && f.t == sample.t
                && f.cycle == sample.cycle
                && f.status == sample.status
                && f.next_sequence == item.sequence
                && self.last_frame[tag] != f.id
        });
        let mut texts = frame.take().map(|frame| frame.texts);
        if joins {
            out.push(b',');
        } else {
            if let Some(texts) = &texts {
                end_frame(out, texts);
                out.push(b',');
            }
            texts = None;
            out.extend_from_slice(b"{\"seq\":");
            number(out, item.sequence);
            out.extend_from_slice(b",\"t\":");
            number(out, sample.stamp().utc_ns(clock).div_euclid(1000));
            out.extend_from_slice(b",\"cycle\":");
            number(out, sample.cycle);
            out.extend_from_slice(b",\"q\":");
            number(out, sample.status);
            if sample.status != Status::GOOD.0 {
                out.extend_from_slice(b",\"status\":");
                text(out, sample.status().name());
            }
            out.extend_from_slice(b",\"values\":{");
            self.frames += 1;
        }
        let id = self.frames;
        let mut texts = texts.unwrap_or_default();
        if let (Some(key), Some(name)) = (self.key(tag), self.text_of(sample)) {
            if !texts.is_empty() {
                texts.push(b',');
            }
            texts.extend_from_slice(key);
            text(&mut texts, name);
        }
        *frame = Some(Frame {
            texts,
            t: sample.t,
            cycle: sample.cycle,
            status: sample.status,
            next_sequence: item.sequence.wrapping_add(1),
            id,
        });
        match self.key(tag) {
            Some(key) => {
                out.extend_from_slice(key);
                self.last_frame[tag] = id;
            }
            None => {
                out.extend_from_slice(b"\"#");
                number(out, sample.tag);
                out.extend_from_slice(b"\":");
            }
        }
        self.value(out, item);
    }

    pub(super) fn value(&mut self, out: &mut Vec<u8>, item: &BatchSample<'_>) {
        let sample = item.sample;
        if sample.has_no_value() {
            return out.extend_from_slice(b"null");
        }
        if !sample.is_long() {
            return scalar(out, ScalarType::from_code(sample.ty), sample.value);
        }
        self.bytes.clear();
        item.payload_into(&mut self.bytes);
        if sample.ty == ValueType::TEXT_CODE {
            return text(out, &String::from_utf8_lossy(&self.bytes));
        }
        let of = ScalarType::from_code(sample.ty & !ValueType::ARRAY_CODE);
        out.push(b'[');
        for (i, element) in self.bytes.chunks_exact(8).enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let mut word = [0u8; 8];
            word.copy_from_slice(element);
            scalar(out, of, u64::from_le_bytes(word));
        }
        out.push(b']');
    }
}

/// Begins a message.
///
/// `link`: where the topic names it, so that it is part of what the stream is called.
pub(super) fn open(out: &mut Vec<u8>, head: &Head<'_>, group: &str, link: Option<&str>) {
    out.extend_from_slice(b"{\"gateway\":");
    text(out, head.gateway);
    out.extend_from_slice(b",\"boot\":");
    text(out, &head.boot.to_string());
    out.extend_from_slice(b",\"lane\":");
    number(out, head.lane.0);
    out.extend_from_slice(b",\"group\":");
    text(out, group);
    if let Some(link) = link {
        out.extend_from_slice(b",\"link\":");
        text(out, link);
    }
    write_before(out, head);
    out.extend_from_slice(b",\"frames\":[");
}

/// What came before in the stream.
pub(super) fn write_before(out: &mut Vec<u8>, head: &Head<'_>) {
    out.extend_from_slice(b",\"prev\":");
    match head.before.last {
        Some((_, sequence)) => number(out, sequence),
        None => out.extend_from_slice(b"null"),
    }
    if let Some((boot, _)) = head.before.last.filter(|(boot, _)| *boot != head.boot) {
        out.extend_from_slice(b",\"prev_boot\":");
        text(out, &boot.to_string());
    }
    if head.before.missing > 0 {
        out.extend_from_slice(b",\"missing\":");
        number(out, head.before.missing);
    }
}

/// Ends a message that holds at least one sample, with its last frame.
pub(super) fn close(out: &mut Vec<u8>, frame: Option<&Frame>) {
    end_frame(out, frame.map_or(&[], |frame| &frame.texts));
    out.extend_from_slice(b"]}");
}

/// What [`close`] adds to a message as it is.
pub(super) fn close_bytes(frame: Option<&Frame>) -> usize {
    CLOSE_BYTES + frame.map_or(0, |frame| if frame.texts.is_empty() { 0 } else { TEXTS_BYTES + frame.texts.len() })
}

fn end_frame(out: &mut Vec<u8>, texts: &[u8]) {
    out.push(b'}');
    if !texts.is_empty() {
        out.extend_from_slice(b",\"texts\":{");
        out.extend_from_slice(texts);
        out.push(b'}');
    }
    out.push(b'}');
}

fn scalar(out: &mut Vec<u8>, ty: Option<ScalarType>, bits: u64) {
    match ty {
        Some(ScalarType::Bool) => out.extend_from_slice(if bits != 0 { b"true" } else { b"false" }),
        Some(ScalarType::Int16 | ScalarType::Int32 | ScalarType::Int64) => number(out, bits as i64),
        Some(ScalarType::Uint16 | ScalarType::Uint32 | ScalarType::Uint64) => number(out, bits),
        Some(ScalarType::Float32) => match f32::from_bits(bits as u32) {
            value if value.is_finite() => number(out, value),
            value => out.extend_from_slice(no_number(value.into())),
        },
        Some(ScalarType::Float64) => match f64::from_bits(bits) {
            value if value.is_finite() => number(out, value),
            value => out.extend_from_slice(no_number(value)),
        },
        None => out.extend_from_slice(b"null"),
    }
}

/// What JSON has no number for, as the JSON of Protocol Buffers has it: never `null`, which is no value.
fn no_number(value: f64) -> &'static [u8] {
    match (value.is_nan(), value > 0.0) {
        (true, _) => b"\"NaN\"",
        (_, true) => b"\"Infinity\"",
        _ => b"\"-Infinity\"",
    }
}

/// Numbers as serde_json writes them: all digits, shortest float.
#[inline]
pub(super) fn number<T: serde::Serialize>(out: &mut Vec<u8>, value: T) {
    write(out, &value);
}

pub(super) fn text(out: &mut Vec<u8>, value: &str) {
    write(out, value);
}

#[inline]
fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        // Numbers and strings into memory do not fail; were it so, the message stays JSON.
        out.truncate(before);
        out.extend_from_slice(b"null");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Before;
    use crate::store::BootId;
    use crate::tag::Batch;
    use crate::tag::{DictionaryTag, Nanos, Status, flags};
    use crate::tag::{LaneId, Stamp};

    fn dictionary(names: &[&str]) -> Dictionary {
        let tags = names.iter().map(|name| DictionaryTag { name: (*name).into(), ..Default::default() }).collect();
        Dictionary { gateway: "line-4".into(), tags, groups: vec!["fast".into()] }
    }

    fn sample(tag: u32, ty: ScalarType, value: u64) -> Sample {
        Sample { t: 5_000, tag, ty: ty as u8, value, cycle: 7, ..Sample::default() }
    }

    fn encode(names: &[&str], slots: Vec<Sample>) -> String {
        let samples = slots.len() as u32;
        let clock = ClockPair { mono: Nanos(5_000), utc_ns: 1_763_693_956_123_456_789 };
        let lane = LaneId(0);
        let mut names = dictionary(names);
        let states = Texts::new(vec![(0, "off".into()), (2, "say \"on\"".into())]);
        names.tags.iter_mut().filter(|tag| tag.name.ends_with("state")).for_each(|tag| tag.texts = states.clone());
        let names = Arc::new(names);
        let mut encoder = Encoder::new(&names);
        let batch = Batch { lane, first_sequence: 1200, samples, slots, clock, drained: Nanos::ZERO, names };
        let (mut out, mut frame) = (Vec::new(), None);
        let before = Before { last: Some((BootId(0xa2f), 1187)), missing: 0 };
        let head = Head { gateway: "line-4", boot: BootId(0xa2f), lane, before, bytes: 0 };
        open(&mut out, &head, "fast", None);
        for item in batch.iter() {
            let whole = |out: &Vec<u8>, frame: &Option<Frame>| out.len() + close_bytes(frame.as_ref());
            let (before, bytes_max) = (whole(&out, &frame), encoder.bytes_max(&item));
            encoder.push(&mut out, &mut frame, &item, &clock);
            assert!(whole(&out, &frame) - before <= bytes_max, "the bound holds");
        }
        let whole = out.len() + close_bytes(frame.as_ref());
        close(&mut out, frame.as_ref());
        assert_eq!(out.len(), whole);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_payload_is_what_the_documentation_shows() {
        let slots = vec![
            sample(0, ScalarType::Float32, u64::from(81.5f32.to_bits())),
            sample(1, ScalarType::Int32, (-3i64) as u64),
        ];
        assert_eq!(
            encode(&["boiler.temperature", "n"], slots),
            "{\"gateway\":\"line-4\",\"boot\":\"0000000000000a2f\",\"lane\":0,\"group\":\"fast\",\"prev\":1187,\"frames\":[\
             {\"seq\":1200,\"t\":1763693956123456,\"cycle\":7,\"q\":0,\"values\":{\"boiler.temperature\":81.5,\"n\":-3}}]}"
        );
    }

    #[test]
    fn a_source_s_own_time_is_written_as_it_is() {
        let own = Sample { t: Stamp::utc(1_000_000_000_123_456_789).0, ..sample(0, ScalarType::Uint16, 7) };
        assert!(encode(&["a"], vec![own]).contains("\"t\":1000000000123456,"));
    }

    #[test]
    fn a_tag_that_was_never_read_is_null() {
        let never = Sample {
            status: Status::BAD_NO_COMMUNICATION.0,
            flags: flags::HELD | flags::NO_VALUE,
            ..sample(0, ScalarType::Uint16, 0)
        };
        assert!(
            encode(&["a"], vec![never])
                .contains("\"q\":2150694912,\"status\":\"BadNoCommunication\",\"values\":{\"a\":null}")
        );
    }

    #[test]
    fn a_value_with_a_name_has_it_beside_the_values_of_its_frame() {
        let state = |tag, value| sample(tag, ScalarType::Uint16, value);
        let never = Sample { flags: flags::HELD | flags::NO_VALUE, cycle: 9, ..state(0, 2) };
        let slots = vec![state(0, 2), state(1, 7), state(2, 0), Sample { cycle: 8, ..state(0, 1) }, never];
        let text = encode(&["a.state", "n", "b.state"], slots);
        let frames = text.split_once("\"frames\":").unwrap().1;
        assert_eq!(
            frames,
            "[{\"seq\":1200,\"t\":1763693956123456,\"cycle\":7,\"q\":0,\"values\":{\"a.state\":2,\"n\":7,\"b.state\":0},\
             \"texts\":{\"a.state\":\"say \\\"on\\\"\",\"b.state\":\"off\"}},\
             {\"seq\":1203,\"t\":1763693956123456,\"cycle\":8,\"q\":0,\"values\":{\"a.state\":1}},\
             {\"seq\":1204,\"t\":1763693956123456,\"cycle\":9,\"q\":0,\"values\":{\"a.state\":null}}]}"
        );
    }

    #[test]
    fn time_cycle_status_and_repetition_each_begin_a_frame() {
        let good = sample(0, ScalarType::Uint16, 1);
        let slots = vec![
            good,
            Sample { t: 6_000, ..good },
            Sample { t: 6_000, tag: 1, ..good },
            Sample { t: 6_000, tag: 1, ..good },
            Sample { t: 6_000, cycle: 8, ..good },
            Sample { t: 6_000, cycle: 8, tag: 1, status: Status::UNCERTAIN_LAST_USABLE.0, ..good },
            Sample { tag: 9, ..good },
            Sample { tag: 9, ..good },
        ];
        let json: serde_json::Value = serde_json::from_str(&encode(&["a", "b"], slots)).unwrap();
        let frames = json["frames"].as_array().unwrap();
        let seen: Vec<_> = frames
            .iter()
            .map(|f| {
                let names: Vec<_> = f["values"].as_object().unwrap().keys().cloned().collect();
                (f["seq"].as_u64().unwrap(), f["q"].as_u64().unwrap(), names.join(","))
            })
            .collect();
        let expected = [
            (1200, 0, "a"),
            (1201, 0, "a,b"),
            (1203, 0, "b"),
            (1204, 0, "a"),
            (1205, 0x408F_0000, "b"),
            (1206, 0, "#9"),
            (1207, 0, "#9"),
        ];
        assert_eq!(seen, expected.map(|(s, q, n)| (s, q, n.to_string())));
    }

    #[test]
    fn a_tag_without_a_name_has_its_id_for_one() {
        let slots = vec![sample(0, ScalarType::Uint16, 1), sample(1, ScalarType::Uint16, 2)];
        let text = encode(&["", "b"], slots);
        assert!(text.contains("\"values\":{\"#0\":1,\"b\":2}"), "{text}");
    }

    #[test]
    fn every_type_keeps_its_digits() {
        let slots = vec![
            sample(0, ScalarType::Uint64, u64::MAX),
            sample(1, ScalarType::Int64, i64::MIN as u64),
            sample(2, ScalarType::Float32, u64::from(0.1f32.to_bits())),
            sample(3, ScalarType::Float64, f64::MAX.to_bits()),
            sample(4, ScalarType::Float32, u64::from(f32::NAN.to_bits())),
            sample(5, ScalarType::Float64, f64::NEG_INFINITY.to_bits()),
            sample(6, ScalarType::Bool, 1),
            Sample { ty: 77, ..sample(7, ScalarType::Bool, 1) },
        ];
        let text = encode(&["u", "i", "f", "d", "n", "x", "b", "?"], slots);
        let values = text.split_once("\"values\":").unwrap().1;
        assert_eq!(
            values,
            "{\"u\":18446744073709551615,\"i\":-9223372036854775808,\"f\":0.1,\"d\":1.7976931348623157e+308,\
             \"n\":\"NaN\",\"x\":\"-Infinity\",\"b\":true,\"?\":null}}]}"
        );
    }

    #[test]
    fn text_and_arrays_are_written_whole_and_escaped() {
        let text = b"say \"hi\"\n\xff";
        let long = |tag, ty, bytes: &[u8]| {
            let header = Sample { flags: flags::LONG, ty, ..sample(tag, ScalarType::Bool, bytes.len() as u64) };
            std::iter::once(header).chain(bytes.chunks(32).map(Sample::from_payload)).collect::<Vec<_>>()
        };
        let mut array = Vec::new();
        for value in [-1i64, 2, 3, 4, 5] {
            array.extend(value.to_le_bytes());
        }
        let mut slots = long(0, ValueType::TEXT_CODE, text);
        slots.extend(long(1, ValueType::ARRAY_CODE | ScalarType::Int16 as u8, &array));
        let json: serde_json::Value = serde_json::from_str(&encode(&["line \"4\"", "a"], slots)).unwrap();
        let values = &json["frames"][0]["values"];
        assert_eq!(values["line \"4\""], "say \"hi\"\n\u{fffd}");
        assert_eq!(values["a"], serde_json::json!([-1, 2, 3, 4, 5]));
    }

    #[test]
    fn control_characters_stay_within_the_bound() {
        let bytes = [1u8; 200];
        let header = Sample { flags: flags::LONG, ty: ValueType::TEXT_CODE, ..sample(0, ScalarType::Bool, 200) };
        let slots = std::iter::once(header).chain(bytes.chunks(32).map(Sample::from_payload)).collect();
        encode(&["t"], slots);
    }
}
