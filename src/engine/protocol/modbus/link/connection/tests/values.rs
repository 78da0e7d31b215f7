//! Values that are none, and values whose scale another register holds.

use super::*;
use crate::config::DecodingConfig;
use crate::protocol::modbus::ModbusAddress;

/// A device with these registers, which may be changed.
type Registers = std::rc::Rc<std::cell::RefCell<Vec<u16>>>;

fn device(registers: &Registers, refuses: Option<u16>) -> Script {
    let registers = registers.clone();
    Box::new(move |request| {
        let (first, count) = (usize::from(request[9]), usize::from(request[11]));
        let mut reply = request[..8].to_vec();
        if refuses.is_some_and(|refused| (first..first + count).contains(&usize::from(refused))) {
            reply[5] = 3;
            reply[7] |= 0x80;
            reply.push(2);
            return vec![(100_000, reply)];
        }
        reply[5] = 3 + 2 * count as u8;
        reply.push(2 * count as u8);
        reply.extend(registers.borrow()[first..first + count].iter().flat_map(|register| register.to_be_bytes()));
        vec![(100_000, reply)]
    })
}

fn registers(values: &[u16]) -> Registers {
    std::rc::Rc::new(std::cell::RefCell::new(values.to_vec()))
}

fn of(field: FieldType, register: u16, decoding: DecodingConfig) -> TagConfig {
    let mut tag = TagConfig { decoding, ..tag(0, register) };
    if let Some(address) = tag.address.get_mut::<ModbusAddress>() {
        (address.field, address.count) = (field, field.registers());
    }
    tag
}

fn scaled_by(register: u16, scale: &TagConfig) -> TagConfig {
    let decoding = DecodingConfig {
        scale_from: Some(scale.name.as_str().into()),
        not_available: [0xFFFF].into(),
        ..DecodingConfig::default()
    };
    of(FieldType::Uint16, register, decoding)
}

fn scale(register: u16) -> TagConfig {
    of(FieldType::Int16, register, DecodingConfig::default())
}

fn shown(bench: &Bench, tag: usize) -> (f64, Status) {
    let reading = bench.image.read(tag).unwrap();
    (f64::from_bits(reading.value), Status(reading.status))
}

#[test]
fn a_scale_of_the_same_block_is_applied_to_the_values_that_were_read_with_it() {
    let memory = registers(&[2301, 2302, (-1i16) as u16]);
    let sf = scale(2);
    let tags = vec![scaled_by(0, &sf), scaled_by(1, &sf), sf];
    let mut bench = bench_of(&tcp_config(), vec![(tags, device(&memory, None))], None);
    bench.run_ms(15);
    // With the very first reply, though the scale lies behind the values.
    assert_eq!((shown(&bench, 0), shown(&bench, 1)), ((230.1, Status::GOOD), (230.2, Status::GOOD)));
    *memory.borrow_mut() = vec![2304, 2305, (-2i16) as u16];
    bench.run_ms(15);
    assert_eq!((shown(&bench, 0), shown(&bench, 1)), ((23.04, Status::GOOD), (23.05, Status::GOOD)));
    let told: Vec<f64> = bench.drain().iter().filter(|s| s.tag == 0).map(|s| f64::from_bits(s.value)).collect();
    assert!(told.iter().all(|value| [230.1, 23.04].contains(value)), "never one with the other's scale: {told:?}");
}

#[test]
fn a_scale_that_is_not_implemented_and_a_value_that_is_not_are_no_values() {
    let memory = registers(&[0xFFFF, 2302, 0]);
    let sf = scale(2);
    let tags = vec![scaled_by(0, &sf), scaled_by(1, &sf), sf];
    let mut bench = bench_of(&tcp_config(), vec![(tags, device(&memory, None))], None);
    bench.run_ms(15);
    assert_eq!(shown(&bench, 0).1, Status::BAD_DATA_UNAVAILABLE);
    assert_eq!(shown(&bench, 1), (2302.0, Status::GOOD));
    memory.borrow_mut()[2] = 0x8000;
    bench.run_ms(15);
    assert_eq!(shown(&bench, 1), (2302.0, Status::BAD_DATA_UNAVAILABLE), "the last one is held");
    memory.borrow_mut()[2] = 77;
    bench.run_ms(15);
    assert_eq!(shown(&bench, 1).1, Status::BAD_DECODING_ERROR);
    memory.borrow_mut()[2] = 1;
    bench.run_ms(15);
    assert_eq!(shown(&bench, 1), (23_020.0, Status::GOOD));
}

#[test]
fn a_scale_of_another_block_is_the_one_that_was_read_last() {
    let mut values = vec![0u16; 200];
    (values[0], values[199]) = (57, (-1i16) as u16);
    let memory = registers(&values);
    let sf = scale(199);
    let tags = vec![scaled_by(0, &sf), sf];
    let mut bench = bench_of(&tcp_config(), vec![(tags, device(&memory, None))], None);
    bench.run_ms(30);
    assert_eq!(shown(&bench, 0), (5.7, Status::GOOD));
}

#[test]
fn a_value_whose_scale_is_refused_has_the_status_of_its_scale_and_never_a_number() {
    let mut values = vec![0u16; 200];
    values[0] = 57;
    let memory = registers(&values);
    let sf = scale(199);
    let tags = vec![scaled_by(0, &sf), sf];
    let mut bench = bench_of(&tcp_config(), vec![(tags, device(&memory, Some(199)))], None);
    bench.run_ms(40);
    assert_eq!(shown(&bench, 1).1, Status::BAD_CONFIGURATION_ERROR);
    assert_eq!(shown(&bench, 0).1, Status::BAD_CONFIGURATION_ERROR);
    assert!(bench.drain().iter().filter(|s| s.tag == 0).all(|sample| sample.status().is_bad()));
}

#[test]
fn a_float_that_is_not_a_number_is_bad_and_the_last_value_is_held() {
    let float = |value: f32| {
        let bits = value.to_bits();
        [(bits >> 16) as u16, bits as u16]
    };
    let memory = registers(&[float(1.5), float(2.5)].concat());
    let allowed = DecodingConfig { allow_nan: true, ..DecodingConfig::default() };
    let tags = vec![of(FieldType::Float32, 0, DecodingConfig::default()), of(FieldType::Float32, 2, allowed)];
    let mut bench = bench_of(&tcp_config(), vec![(tags, device(&memory, None))], None);
    bench.run_ms(15);
    *memory.borrow_mut() = [float(f32::NAN), float(f32::NAN)].concat();
    bench.run_ms(15);
    let shown = |tag: usize| {
        let reading = bench.image.read(tag).unwrap();
        (f32::from_bits(reading.value as u32), Status(reading.status))
    };
    assert_eq!(shown(0), (1.5, Status::BAD_DATA_UNAVAILABLE));
    assert!(shown(1).0.is_nan() && shown(1).1 == Status::GOOD);
}
