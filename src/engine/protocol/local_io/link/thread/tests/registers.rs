//! Chips on a bus that is a fake: the accesses in their order, and what goes wrong.

use std::sync::Arc;

use super::super::Reader;
use super::super::device::Fault;
use super::super::registers::Registers;
use super::fake::{Chip, Fake};
use super::{scanned, setup};
use crate::protocol::local_io::plan::LocalIoSetup;
use crate::tag::Status;

const I2C: &str = r#""protocol": "i2c", "bus": "/dev/i2c-1""#;
const SPI: &str = r#""protocol": "spi", "device": "/dev/spidev0.0""#;
const GOOD: Status = Status::GOOD;

fn registers(fake: &Fake, setup: &Arc<LocalIoSetup>) -> Registers {
    Registers::new(fake.bus(), Box::new(fake.clone()), setup.clone())
}

/// The coefficients and the measurement of a chip that another driver was asked about, too (see `bme280`).
fn bme280(fake: Fake) -> Fake {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let dig = hex("fb6ca76432005a8ad7d6a70b1b203c00faff6a26c3d90d10005057010013c0031e");
    let raw = hex("4851809122d082af");
    fake.registers(0x76, &[(0xD0, &[0x60]), (0x88, &dig[..26]), (0xE1, &dig[26..]), (0xF7, &raw)])
}

#[test]
fn on_a_fake_bus_one_access_serves_every_tag_that_is_made_of_it() {
    let fake = bme280(Fake::default());
    let tags = ["temperature", "pressure", "humidity"].map(|c| format!(r#""address": "l:0x76:bme280.{c}""#));
    let setup = setup(I2C, &tags.each_ref().map(String::as_str));
    let mut reader = registers(&fake, &setup);
    let values: Vec<f64> = scanned(&mut reader, &setup).into_iter().map(|value| value.unwrap().0).collect();
    for (value, wanted) in values.iter().zip([45.5017, 113_063.8, 74.3179]) {
        assert!((value / wanted - 1.0).abs() < 1e-4, "{values:?}");
    }
    let first: Vec<u8> = fake.state().accesses.iter().map(|(_, sent)| sent[0]).collect();
    assert_eq!(first, [0xD0, 0xF2, 0xF5, 0xF4, 0x88, 0xE1, 0xF7], "identity, settings, coefficients, one burst");
    fake.state().accesses.clear();
    scanned(&mut reader, &setup);
    assert_eq!(fake.state().accesses, [(0x76, vec![0xF7])], "and from then on the burst alone");
}

#[test]
fn on_a_fake_bus_a_chip_that_is_away_costs_its_own_tags_and_is_set_up_again() {
    let fake = bme280(Fake::default()).registers(0x48, &[(0, &[0x4B, 0])]);
    let setup = setup(I2C, &[r#""address": "l:0x76:bme280.temperature""#, r#""address": "l:0x48:tmp102.temperature""#]);
    let mut reader = registers(&fake, &setup);
    assert!(scanned(&mut reader, &setup).iter().all(Result::is_ok));
    let chip = fake.state().chips.remove(&0x76).unwrap();
    assert_eq!(scanned(&mut reader, &setup), [Err(Status::BAD_DEVICE_FAILURE), Ok((75.0, GOOD))]);
    fake.state().chips.insert(0x76, chip);
    fake.state().accesses.clear();
    assert!(scanned(&mut reader, &setup)[0].is_ok());
    assert_eq!(fake.state().accesses[0], (0x76, vec![0xD0]), "it may be a new one");
}

#[test]
fn on_a_fake_bus_a_chip_that_lost_its_settings_is_set_up_again() {
    let fake = bme280(Fake::default());
    let setup = setup(I2C, &[r#""address": "l:0x76:bme280.temperature""#]);
    let mut reader = registers(&fake, &setup);
    assert!(scanned(&mut reader, &setup)[0].is_ok());
    // Asleep after a dip of its supply: the registers hold what they hold after a reset.
    let Some(Chip::Registers(bytes)) = fake.state().chips.insert(0x76, Chip::Broken(Fault::Silent)) else { panic!() };
    let mut asleep = bytes.clone();
    asleep[0xF7..0xFF].copy_from_slice(&[0x80, 0, 0, 0x80, 0, 0, 0x80, 0]);
    fake.state().chips.insert(0x76, Chip::Registers(asleep));
    assert_eq!(scanned(&mut reader, &setup), [Err(Status::BAD_DEVICE_FAILURE)]);
    fake.state().chips.insert(0x76, Chip::Registers(bytes));
    fake.state().accesses.clear();
    assert!(scanned(&mut reader, &setup)[0].is_ok());
    assert!(fake.state().accesses.iter().any(|(_, sent)| *sent == [0xF4, 0x27]), "told to measure");
}

#[test]
fn on_a_fake_bus_another_chip_than_the_named_one_is_an_error_of_the_configuration() {
    let fake = Fake::default().registers(0x77, &[(0xD0, &[0x58])]);
    let setup = setup(I2C, &[r#""address": "l:0x77:bme280.pressure""#]);
    assert_eq!(scanned(&mut registers(&fake, &setup), &setup), [Err(Status::BAD_CONFIGURATION_ERROR)]);
}

#[test]
fn on_a_fake_bus_that_is_stuck_one_access_of_a_scan_waits_and_no_more() {
    let fake = Fake::default().with(0x20, Chip::Broken(Fault::Stuck)).registers(0x48, &[]);
    let tags: Vec<String> = (0..8).map(|bit| format!(r#""address": "l:0x20:mcp23017.gpa{bit}""#)).collect();
    let mut tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    tags.push(r#""address": "l:0x48:lm75.temperature""#);
    let setup = setup(I2C, &tags);
    let mut reader = registers(&fake, &setup);
    assert!(scanned(&mut reader, &setup).iter().all(|value| *value == Err(Status::BAD_DEVICE_FAILURE)));
    assert_eq!(fake.state().accesses.len(), 1);
    fake.state().chips.remove(&0x20);
    assert_eq!(scanned(&mut reader, &setup)[8], Ok((0.0, GOOD)), "the next scan asks again");
}

#[test]
fn on_a_fake_bus_an_ads1115_is_read_when_its_conversion_is_done() {
    let inputs = [0, 0, 0, 0, 100, 8_000, -16_000, i16::MAX];
    let fake = Fake::default().with(0x48, Chip::Ads1115 { inputs, result: 0, under_way: None });
    let tags: Vec<String> = (0..4).map(|n| format!(r#""address": "l:0x48:ads1115.ain{n}""#)).collect();
    let setup = setup(I2C, &tags.iter().map(String::as_str).collect::<Vec<_>>());
    let values = scanned(&mut registers(&fake, &setup), &setup);
    for (at, raw) in [100.0, 8_000.0, -16_000.0, 32_767.0].into_iter().enumerate() {
        let (value, status) = values[at].unwrap();
        assert!((value - raw * 2.048 / 32_768.0).abs() < 1e-9, "{values:?}");
        assert_eq!(status, if at == 3 { Status::UNCERTAIN_UNITS_EXCEEDED } else { GOOD });
    }
}

#[test]
fn on_a_fake_bus_a_loop_that_is_open_is_a_broken_sensor() {
    let inputs = [0, 0, 0, 0, 4_800, 0, 24_000, 0];
    let fake = Fake::default().with(0x48, Chip::Ads1115 { inputs, result: 0, under_way: None });
    // 4 to 20 mA through 150 Ω are 0.6 to 3 V.
    let tag = |n: u8| {
        let sensor = r#"{"type": "4-20mA", "raw_min": 0.6, "raw_max": 3.0, "range": [0, 100]}"#;
        format!(r#""address": "l:0x48:ads1115.ain{n}", "chip": {{"full_scale_v": 4.096}}, "sensor": {sensor}"#)
    };
    let (full, open) = (tag(2), tag(1));
    let setup = setup(I2C, &[&tag(0), &open, &full]);
    let values = scanned(&mut registers(&fake, &setup), &setup);
    let (empty, status) = values[0].unwrap();
    assert!(empty.abs() < 1e-9 && status == GOOD, "{values:?}");
    assert_eq!(values[1], Err(Status::BAD_SENSOR_FAILURE));
    assert!((values[2].unwrap().0 - 100.0).abs() < 1e-9, "{values:?}");
}

#[test]
fn on_a_fake_spi_an_mcp3208_gives_the_bits_that_follow_its_null_bit() {
    // Answers with 0xA00 + 16 times the channel; the bits before are of no meaning, and set.
    let answer = |sent: &[u8]| {
        let channel = (sent[0] & 1) << 2 | sent[1] >> 6;
        let code = 0xA00 + 16 * u16::from(channel);
        vec![0xFF, 0xE0 | (code >> 8) as u8, code as u8]
    };
    let fake = Fake::default().with(0, Chip::Exchanges(answer));
    let setup = setup(
        SPI,
        &[
            r#""address": "l:mcp3208.ch6", "chip": {"reference_v": 4.096}"#,
            r#""address": "l:0x060000", "at": 1, "width": 2, "mask": "0x0FFF""#,
        ],
    );
    let values = scanned(&mut registers(&fake, &setup), &setup);
    assert!((values[0].unwrap().0 - f64::from(0xA60) / 1000.0).abs() < 1e-9, "{values:?}");
    assert_eq!(values[1], Ok((f64::from(0xA00), GOOD)));
}

#[test]
fn on_a_fake_bus_a_register_is_written_and_read_back() {
    let fake = Fake::default().registers(0x30, &[]);
    let setup = setup(I2C, &[r#""address": "l:0x30:0x10:2", "data_type": "int16""#]);
    let mut reader = registers(&fake, &setup);
    reader.write(0, &[0xFF, 0x9C]).unwrap();
    let mut back = Vec::new();
    reader.read_back(0, &mut back).unwrap();
    assert_eq!(back, [0xFF, 0x9C]);
    assert_eq!(scanned(&mut reader, &setup), [Ok((-100.0, GOOD))]);
    assert_eq!(reader.write(0, &[1, 2, 3]), Err(Fault::Failed(libc::EINVAL)), "not as wide as the register");
    assert_eq!(reader.write(1, &[1, 2]), Err(Fault::Failed(libc::EINVAL)), "no such slot");
}

#[test]
fn on_a_fake_spi_a_register_is_written_by_its_write_command_and_read_back_by_its_read_command() {
    let fake = Fake::default().with(0, Chip::ReadBit(Box::new([0; 128])));
    let setup = setup(SPI, &[r#""address": "l:0x8A:3", "byte_order": "DCBA", "write_command": ["0x0A"]"#]);
    let mut reader = registers(&fake, &setup);
    reader.write(0, &[1, 2, 3]).unwrap();
    let mut back = Vec::new();
    reader.read_back(0, &mut back).unwrap();
    assert_eq!(back, [1, 2, 3]);
    assert_eq!(scanned(&mut reader, &setup), [Ok((f64::from(0x03_0201), GOOD))]);
    let accesses: Vec<Vec<u8>> = fake.state().accesses.iter().map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(accesses, [vec![0x0A, 1, 2, 3], vec![0x8A], vec![0x8A]], "the command and the value in one message");
}

#[test]
fn on_a_fake_bus_that_is_gone_the_scan_is_the_end() {
    let fake = Fake::default();
    fake.state().fault = Some(Fault::Gone);
    let setup = setup(I2C, &[r#""address": "l:0x30:0x10:2""#]);
    let mut answers = Vec::new();
    assert_eq!(registers(&fake, &setup).scan(0, &mut answers).err(), Some(Fault::Gone));
}
