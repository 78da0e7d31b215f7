//! What is written of samples of every kind.

use super::*;
use crate::config::Precision;
use crate::tag::{Batch, DictionaryTag, Nanos, Sample, Status};

const UTC_NS: i64 = 1_763_693_956_123_456_789;

fn config(api: InfluxApi) -> InfluxConfig {
    InfluxConfig {
        host: "db".into(),
        port: 8086,
        path: String::new(),
        tls: None,
        api,
        precision: Precision::Microseconds,
        gzip: false,
        measurement: "{tag}".into(),
        tag_set: vec![("gateway".into(), "{gateway}".into())],
        field: "value".into(),
        status_field: "status".into(),
        batch: Nanos::ZERO,
        lines_max: 100,
        timeout: Nanos::ZERO,
    }
}

fn v2() -> InfluxApi {
    InfluxApi::V2 { org: "o".into(), bucket: "b".into(), token_file: "t".into() }
}

fn long(tag: u32, ty: u8, bytes: &[u8]) -> Vec<Sample> {
    let header = Sample { flags: flags::LONG, ty, ..sample(tag, ScalarType::Bool, bytes.len() as u64) };
    std::iter::once(header).chain(bytes.chunks(32).map(Sample::from_payload)).collect()
}

fn written(config: &InfluxConfig, names: &[&str], slots: Vec<Sample>) -> (String, u64) {
    let tags = names
        .iter()
        .map(|name| DictionaryTag { name: (*name).into(), link: "plc1".into(), ..Default::default() })
        .collect();
    let names = Arc::new(Dictionary { gateway: "line 4".into(), tags, groups: vec!["fast".into()] });
    let clock = ClockPair { mono: Nanos(5_000), utc_ns: UTC_NS };
    let batch =
        Batch { lane: LaneId(0), first_sequence: 7, samples: 1, slots, clock, drained: Nanos(9_000_000), names };
    let form = InfluxForm::new(config, "g");
    let mut known = form.names(&batch.names);
    let block = Block { index: 0, boot: crate::store::BootId(1), batch };
    form.begin_block(&mut known, &block);
    let head = Head { gateway: "g", boot: block.boot, lane: LaneId(0), before: Default::default(), bytes: 10 };
    let mut draft = form.begin(&head, &known, &block.batch.slots[0]);
    for item in block.batch.iter() {
        let (before, most) = (form.bytes(&draft), form.bytes_of(&known, &item));
        form.push(&mut draft, &mut known, &item, &block.batch.clock);
        assert!(form.bytes(&draft) - before <= most, "the bound holds");
    }
    assert_eq!(draft.ends.last().copied(), Some(draft.body.len() as u32));
    (String::from_utf8(draft.body).unwrap(), draft.untold)
}

fn sample(tag: u32, ty: ScalarType, value: u64) -> Sample {
    Sample { t: 5_000, tag, ty: ty as u8, value, ..Sample::default() }
}

fn float(tag: u32, value: f32) -> Sample {
    sample(tag, ScalarType::Float32, value.to_bits().into())
}

#[test]
fn a_sample_is_a_point_of_its_own_time_with_value_and_status() {
    let (text, _) = written(&config(v2()), &["boiler.t", "n"], vec![float(0, 81.5), sample(1, ScalarType::Int16, 3)]);
    assert_eq!(
        text,
        "boiler.t,gateway=line\\ 4 value=81.5,status=0i 1763693956123456\n\
         n,gateway=line\\ 4 value=3i,status=0i 1763693956123456\n"
    );
}

#[test]
fn names_follow_the_templates() {
    let config = InfluxConfig {
        measurement: "{gateway} {group}".into(),
        tag_set: vec![("site".into(), "n=1".into())],
        field: "{tag}".into(),
        status_field: "{tag}:status".into(),
        precision: Precision::Milliseconds,
        ..config(v2())
    };
    let (text, _) = written(&config, &["a"], vec![float(0, 1.0)]);
    assert_eq!(text, "line\\ 4\\ fast,site=n\\=1 a=1.0,a:status=0i 1763693956123\n");
    let (text, _) = written(&config, &["a"], vec![float(9, 1.0)]);
    assert!(text.contains(" #9=1.0,#9:status=0i "), "an id without a name: {text}");
}

#[test]
fn a_held_value_is_not_written_again_and_its_status_has_a_time_of_its_own() {
    let held = Sample { status: Status::UNCERTAIN_LAST_USABLE.0, flags: flags::HELD, ..float(0, 1.0) };
    let never = Sample {
        status: Status::BAD_NO_COMMUNICATION.0,
        flags: flags::HELD | flags::NO_VALUE,
        t: 8_000,
        ..float(1, 0.0)
    };
    let (text, _) = written(&config(v2()), &["a", "b"], vec![float(0, 1.0), held, never]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "a,gateway=line\\ 4 value=1.0,status=0i 1763693956123456",
            "a,gateway=line\\ 4 status=1083113472i 1763693956123457",
            "b,gateway=line\\ 4 status=2150694912i 1763693956123459",
        ]
    );
}

#[test]
fn what_is_not_to_be_used_or_has_no_form_is_told_by_its_status_alone() {
    let broken = Sample { status: Status::BAD_SENSOR_FAILURE.0, ..float(0, 3.9) };
    let (text, untold) = written(&config(v2()), &["a"], vec![broken, float(0, f32::NAN)]);
    assert_eq!(untold, 1, "the bad one is left out on purpose");
    assert_eq!(text.matches("value=").count(), 0, "{text}");
    assert!(text.contains(" status=2156658688i ") && text.contains(" status=0i "), "{text}");
    let v1 = InfluxApi::V1 { database: "d".into(), user: None, password: None };
    let huge = sample(0, ScalarType::Uint64, u64::MAX);
    assert_eq!(written(&config(v1), &["a"], vec![huge]).1, 1);
    assert!(written(&config(v2()), &["a"], vec![huge]).0.contains("value=18446744073709551615u,"));
}

#[test]
fn text_is_a_string_and_an_array_has_a_field_for_each_element() {
    let mut slots = long(0, ValueType::TEXT_CODE, "say \"hi\"\n".as_bytes());
    let array: Vec<u8> = [1.5f64, f64::NAN, 2.5].iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
    slots.extend(long(1, ValueType::ARRAY_CODE | ScalarType::Float64 as u8, &array));
    let (text, untold) = written(&config(v2()), &["s", "a"], slots);
    assert_eq!(
        text,
        "s,gateway=line\\ 4 value=\"say \\\"hi\\\"\n\",status=0i 1763693956123456\n\
         a,gateway=line\\ 4 value[0]=1.5,value[2]=2.5,status=0i 1763693956123456\n"
    );
    assert_eq!(untold, 1);
}

#[test]
fn the_longest_texts_arrays_and_names_stay_within_the_bound() {
    let name = "é".repeat(64);
    let numbers = vec![(-f64::MAX).to_bits(); 125];
    let array: Vec<u8> = numbers.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    for slots in [
        long(0, ValueType::TEXT_CODE, &[0xff; 500]),
        long(0, ValueType::TEXT_CODE, &[b'"'; 500]),
        long(0, ValueType::ARRAY_CODE | ScalarType::Float64 as u8, &array),
    ] {
        written(&config(v2()), &[&name], slots);
    }
}

#[test]
fn a_source_s_own_time_is_written_as_it_is() {
    let own = Sample { t: crate::tag::Stamp::utc(1_000_000_000_123_456_000).0, ..sample(0, ScalarType::Uint16, 7) };
    let (text, _) = written(&config(v2()), &["a"], vec![own]);
    assert!(text.ends_with(" 1000000000123456\n"), "{text}");
}
