//! Transmitters behind a Modbus module: counts in, values and what they say of the wire.

use super::*;
use crate::protocol::modbus::ModbusAddress;
use crate::protocol::modbus::plan::ModbusPlan;

/// A 4–20 mA input of a PLC at each of `counts`: 0 to 27648 is 0 to 150.
fn module(counts: &[i16]) -> Bench {
    let counts = counts.to_vec();
    let tags = (0..counts.len()).map(|register| {
        let sensor = SensorConfig { signal: Signal::Current4To20, raw: [0.0, 27_648.0], range: [0.0, 150.0] };
        let (scale, offset) = sensor.scale_and_offset();
        let mut tag = TagConfig { sensor: Some(sensor), scale, offset, ..tag(0, register as u16) };
        if let Some(address) = tag.address.get_mut::<ModbusAddress>() {
            address.field = FieldType::Int16;
        }
        tag
    });
    let tags = tags.collect();
    let script: Script = Box::new(move |request| {
        let (first, count) = (usize::from(request[9]), usize::from(request[11]));
        let mut reply = request[..8].to_vec();
        reply[5] = 3 + 2 * count as u8;
        reply.push(2 * count as u8);
        reply.extend(counts[first..first + count].iter().flat_map(|count| count.to_be_bytes()));
        vec![(100_000, reply)]
    });
    bench_of(&tcp_config(), vec![(tags, script)], None)
}

#[test]
fn a_module_s_counts_become_values_and_a_broken_wire_is_told() {
    // 12 mA; 3.8 and 20.5 mA, to the count; 3.7 and 20.8 mA; 3.5 and 21.1 mA; the module's own sign of a broken wire.
    let mut bench = module(&[13_824, -345, 28_512, -518, 29_030, -864, 29_549, i16::MIN]);
    bench.run_ms(45);
    let reading = |at: usize| {
        let reading = bench.image.read(at).unwrap();
        (f64::from_bits(reading.value), Status(reading.status))
    };
    assert_eq!(reading(0), (75.0, Status::GOOD));
    assert!((reading(1).0 + 1.871_744_791).abs() < 1e-6 && reading(1).1 == Status::GOOD, "{:?}", reading(1));
    assert_eq!(reading(2), (154.6875, Status::GOOD));
    for at in [3, 4] {
        assert_eq!(reading(at).1, Status::UNCERTAIN_UNITS_EXCEEDED, "{at}");
    }
    for at in [5, 6, 7] {
        assert_eq!(reading(at).1, Status::BAD_SENSOR_FAILURE, "{at}");
    }
    let told: Vec<Sample> = bench.drain();
    let of =
        |tag: u32| told.iter().filter(move |sample| sample.tag == tag && sample.status() == Status::BAD_SENSOR_FAILURE);
    assert!(told.iter().filter(|sample| sample.tag == 0).count() >= 4, "one a beat");
    assert_eq!((of(0).count(), of(5).count()), (0, 1), "a failure is told once");
}

#[test]
fn a_wire_that_breaks_keeps_the_last_value_with_its_time_and_comes_back() {
    let turns = std::cell::Cell::new(0u64);
    let sensor = SensorConfig { signal: Signal::Current4To20, raw: [4000.0, 20_000.0], range: [0.0, 100.0] };
    let (scale, offset) = sensor.scale_and_offset();
    let tag = TagConfig { sensor: Some(sensor), scale, offset, ..tag(0, 0) };
    let script: Script = Box::new(move |request| {
        turns.set(turns.get() + 1);
        let count: u16 = if (3..6).contains(&turns.get()) { 0 } else { 12_000 };
        let mut reply = request[..8].to_vec();
        reply[5] = 5;
        reply.extend([2, (count >> 8) as u8, count as u8]);
        vec![(100_000, reply)]
    });
    let mut bench = bench_of(&tcp_config(), vec![(vec![tag], script)], None);
    bench.run_ms(100);
    let samples = bench.drain();
    let told: Vec<(f64, Status)> =
        samples.iter().filter(|s| s.ty != 0).map(|s| (f64::from_bits(s.value), s.status())).collect();
    let failed = told.iter().position(|(_, status)| *status == Status::BAD_SENSOR_FAILURE).unwrap();
    assert_eq!(told[failed - 1], (50.0, Status::GOOD));
    assert_eq!(told[failed].0, 50.0, "held");
    assert_eq!(samples[failed].t, samples[failed - 1].t, "with the time at which it was read");
    assert_eq!(told[failed + 1], (50.0, Status::GOOD));
}

#[test]
fn an_output_of_a_standard_signal_is_written_as_its_counts_and_read_back() {
    use crate::protocol::modbus::link::encode;
    use crate::protocol::modbus::link::encode::decode_back;
    for (raw, range) in [([0.0, 27_648.0], [0.0, 100.0]), ([0.0, 27_648.0], [0.0, 27_648.0])] {
        let sensor = SensorConfig { signal: Signal::Current4To20, raw, range };
        let (scale, offset) = sensor.scale_and_offset();
        let write = Some(WriteConfig::default());
        let valve = TagConfig { sensor: Some(sensor), scale, offset, write, ..tag(0, 0) };
        let silent: Script = Box::new(|_| vec![]);
        let bench = bench_of(&tcp_config(), vec![(vec![valve], silent)], None);
        let plan = bench.plan.links[LinkId(0)].protocol.get::<ModbusPlan>().unwrap();
        let (_, payload) = encode(plan, TagId(0), &Value::Float64(range[1] / 4.0)).unwrap();
        assert_eq!(payload.bytes(), 6912u16.to_be_bytes(), "8 mA");
        assert_eq!(decode_back(plan, TagId(0), payload.bytes()), Some(Value::Float64(range[1] / 4.0)));
    }
}
