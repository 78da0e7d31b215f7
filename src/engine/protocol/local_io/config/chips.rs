//! Chips that are known by name: their registers, and what makes a value of them, from their data sheets.

use std::ops::RangeInclusive;

use super::super::model::{Bme280Value, Field, FieldKind, Formula, Program, Step};
use crate::tag::{Nanos, ScalarType};

/// A chip and its channels.
pub struct Chip {
    pub name: &'static str,
    /// Where it may sit on I2C; `None`: it is on SPI.
    pub addresses: Option<RangeInclusive<u8>>,
    pub kind: Kind,
    pub channels: &'static [(&'static str, Channel)],
    /// Keys of "chip" that it heeds.
    pub settings: &'static [&'static str],
}

/// What differs from chip to chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TI SBAS444 (ADS1115) and SBAS473 (ADS1015): single-shot conversions.
    Ads1115,
    Ads1015,
    /// TI SBOS448.
    Ina219,
    /// Bosch BST-BME280-DS002 and BST-BMP280-DS001, on I2C and SPI.
    Bme280,
    Bmp280,
    /// TI SNOS808 (LM75), 9 bits, and the 11 bits of its successors; TI SBOS397 (TMP102).
    Lm75,
    Tmp102,
    /// Microchip DS20001952: an expander, as inputs.
    Mcp23017,
    /// Microchip DS21298 (MCP3204, MCP3208) and DS21295 (MCP3008).
    Mcp3208,
    Mcp3008,
    /// Maxim 19-5793.
    Max31855,
}

/// What a channel is told by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A setting of the input multiplexer.
    Input(u8),
    /// Bit `.1` of register `.0`.
    Bit(u8, u8),
    ShuntVoltage,
    BusVoltage,
    Current,
    Power,
    Bosch(Bme280Value),
    Temperature,
}

/// The keys of "chip" in a tag.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Of the converter, V.
    pub full_scale_v: f64,
    /// Conversions a second.
    pub rate_sps: u64,
    pub shunt_ohm: f64,
    pub reference_v: f64,
}

pub const FULL_SCALES_V: [f64; 6] = [6.144, 4.096, 2.048, 1.024, 0.512, 0.256];
const ADS1115_RATES: [u64; 8] = [8, 16, 32, 64, 128, 250, 475, 860];
const ADS1015_RATES: [u64; 7] = [128, 250, 490, 920, 1600, 2400, 3300];

const ADS_CHANNELS: &[(&str, Channel)] = &[
    ("ain0", Channel::Input(4)),
    ("ain1", Channel::Input(5)),
    ("ain2", Channel::Input(6)),
    ("ain3", Channel::Input(7)),
    ("ain0-ain1", Channel::Input(0)),
    ("ain0-ain3", Channel::Input(1)),
    ("ain1-ain3", Channel::Input(2)),
    ("ain2-ain3", Channel::Input(3)),
];
const INA_CHANNELS: &[(&str, Channel)] = &[
    ("bus_voltage", Channel::BusVoltage),
    ("shunt_voltage", Channel::ShuntVoltage),
    ("current", Channel::Current),
    ("power", Channel::Power),
];
const BME_CHANNELS: &[(&str, Channel)] = &[
    ("temperature", Channel::Bosch(Bme280Value::Temperature)),
    ("pressure", Channel::Bosch(Bme280Value::Pressure)),
    ("humidity", Channel::Bosch(Bme280Value::Humidity)),
];
const TEMPERATURE: &[(&str, Channel)] = &[("temperature", Channel::Temperature)];
const EXPANDER: &[(&str, Channel)] = &[
    ("gpa0", Channel::Bit(0x12, 0)),
    ("gpa1", Channel::Bit(0x12, 1)),
    ("gpa2", Channel::Bit(0x12, 2)),
    ("gpa3", Channel::Bit(0x12, 3)),
    ("gpa4", Channel::Bit(0x12, 4)),
    ("gpa5", Channel::Bit(0x12, 5)),
    ("gpa6", Channel::Bit(0x12, 6)),
    ("gpa7", Channel::Bit(0x12, 7)),
    ("gpb0", Channel::Bit(0x13, 0)),
    ("gpb1", Channel::Bit(0x13, 1)),
    ("gpb2", Channel::Bit(0x13, 2)),
    ("gpb3", Channel::Bit(0x13, 3)),
    ("gpb4", Channel::Bit(0x13, 4)),
    ("gpb5", Channel::Bit(0x13, 5)),
    ("gpb6", Channel::Bit(0x13, 6)),
    ("gpb7", Channel::Bit(0x13, 7)),
];
const EIGHT_INPUTS: &[(&str, Channel)] = &[
    ("ch0", Channel::Input(0)),
    ("ch1", Channel::Input(1)),
    ("ch2", Channel::Input(2)),
    ("ch3", Channel::Input(3)),
    ("ch4", Channel::Input(4)),
    ("ch5", Channel::Input(5)),
    ("ch6", Channel::Input(6)),
    ("ch7", Channel::Input(7)),
];

const fn chip(
    name: &'static str,
    kind: Kind,
    addresses: Option<RangeInclusive<u8>>,
    channels: &'static [(&'static str, Channel)],
    settings: &'static [&'static str],
) -> Chip {
    Chip { name, addresses, kind, channels, settings }
}

pub const CHIPS: &[Chip] = &[
    chip("ads1115", Kind::Ads1115, Some(0x48..=0x4B), ADS_CHANNELS, &["full_scale_v", "rate_sps"]),
    chip("ads1015", Kind::Ads1015, Some(0x48..=0x4B), ADS_CHANNELS, &["full_scale_v", "rate_sps"]),
    chip("ina219", Kind::Ina219, Some(0x40..=0x4F), INA_CHANNELS, &["shunt_ohm"]),
    chip("bme280", Kind::Bme280, Some(0x76..=0x77), BME_CHANNELS, &[]),
    chip("bmp280", Kind::Bmp280, Some(0x76..=0x77), BME_CHANNELS.split_at(2).0, &[]),
    chip("lm75", Kind::Lm75, Some(0x48..=0x4F), TEMPERATURE, &[]),
    chip("tmp102", Kind::Tmp102, Some(0x48..=0x4B), TEMPERATURE, &[]),
    chip("mcp23017", Kind::Mcp23017, Some(0x20..=0x27), EXPANDER, &[]),
    chip("mcp3208", Kind::Mcp3208, None, EIGHT_INPUTS, &["reference_v"]),
    chip("mcp3204", Kind::Mcp3208, None, EIGHT_INPUTS.split_at(4).0, &["reference_v"]),
    chip("mcp3008", Kind::Mcp3008, None, EIGHT_INPUTS, &["reference_v"]),
    chip("max31855", Kind::Max31855, None, TEMPERATURE, &[]),
    chip("bme280", Kind::Bme280, None, BME_CHANNELS, &[]),
];

/// Names of the chips that can be on a bus of this kind.
pub fn names(on_i2c: bool) -> impl Iterator<Item = &'static str> {
    CHIPS.iter().filter(move |chip| chip.addresses.is_some() == on_i2c).map(|chip| chip.name)
}

pub fn find(name: &str, on_i2c: bool) -> Option<&'static Chip> {
    CHIPS.iter().find(|chip| chip.name == name && chip.addresses.is_some() == on_i2c)
}

const fn unsigned(at: u8, width: u8) -> Field {
    Field { at, width, little_endian: false, shift: 0, mask: u64::MAX, kind: FieldKind::Unsigned }
}

const fn signed(at: u8, width: u8, shift: u8, bits: u8) -> Field {
    Field { shift, kind: FieldKind::Signed { bits }, ..unsigned(at, width) }
}

fn read(register: u8, bytes: u8) -> Step {
    Step::Read { command: vec![register], bytes }
}

impl Chip {
    pub fn channel(&self, name: &str) -> Option<Channel> {
        self.channels.iter().find(|(known, _)| *known == name).map(|(_, channel)| *channel)
    }

    /// Conversions a second that it can be set to; empty where that is not set.
    pub fn rates(&self) -> &'static [u64] {
        match self.kind {
            Kind::Ads1115 => &ADS1115_RATES,
            Kind::Ads1015 => &ADS1015_RATES,
            _ => &[],
        }
    }

    /// What it does after a reset.
    pub fn defaults(&self) -> Settings {
        let rate_sps = if self.kind == Kind::Ads1015 { 1600 } else { 128 };
        Settings { full_scale_v: 2.048, rate_sps, shunt_ohm: 0.1, reference_v: 3.3 }
    }

    pub fn scalar(&self) -> ScalarType {
        if self.kind == Kind::Mcp23017 { ScalarType::Bool } else { ScalarType::Float64 }
    }

    /// The accesses and the formula of a channel. `address` is 0 on SPI.
    pub fn program(&self, address: u8, channel: Channel, settings: &Settings) -> (Program, Formula) {
        let measure = |measure: Vec<Step>| Program { address, measure, ..Program::default() };
        let linear = |field, factor| Formula::Linear { field, factor, clip: None };
        match (self.kind, channel) {
            (Kind::Ads1115 | Kind::Ads1015, Channel::Input(mux)) => {
                let steps = ads_steps(mux, self.rates(), settings);
                let (field, codes, clip) = if self.kind == Kind::Ads1115 {
                    (signed(0, 2, 0, 16), 32_768.0, (-32_768, 32_767))
                } else {
                    (signed(0, 2, 4, 12), 2_048.0, (-2_048, 2_047))
                };
                let factor = settings.full_scale_v / codes;
                (measure(steps), Formula::Linear { field, factor, clip: Some(clip) })
            }
            (Kind::Ina219, channel) => ina219(address, channel, settings),
            (Kind::Bme280 | Kind::Bmp280, Channel::Bosch(value)) => {
                (bosch(address, self.kind == Kind::Bme280), Formula::Bme280(value))
            }
            // 9 bits of the LM75, 11 of those that follow it: the lower ones are zero where there are none.
            (Kind::Lm75, _) => (measure(vec![read(0, 2)]), linear(signed(0, 2, 5, 11), 0.125)),
            (Kind::Tmp102, _) => (measure(vec![read(0, 2)]), linear(signed(0, 2, 4, 12), 0.0625)),
            (Kind::Mcp23017, Channel::Bit(register, bit)) => {
                let field = Field { mask: 1 << bit, kind: FieldKind::Bool, ..unsigned(0, 1) };
                (measure(vec![read(register, 1)]), Formula::Field(field))
            }
            // Start bit, single-ended, three bits of the channel; 12 bits end with the third byte.
            (Kind::Mcp3208, Channel::Input(input)) => {
                let field = Field { mask: 0xFFF, ..unsigned(1, 2) };
                let bytes = vec![0x06 | input >> 2, (input & 3) << 6, 0];
                (measure(vec![Step::Exchange(bytes)]), linear(field, settings.reference_v / 4_096.0))
            }
            (Kind::Mcp3008, Channel::Input(input)) => {
                let field = Field { mask: 0x3FF, ..unsigned(1, 2) };
                let bytes = vec![0x01, 0x80 | input << 4, 0];
                (measure(vec![Step::Exchange(bytes)]), linear(field, settings.reference_v / 1_024.0))
            }
            (Kind::Max31855, _) => (measure(vec![Step::Exchange(vec![0; 4])]), Formula::Max31855),
            // No channel of the table; a test sees to it.
            _ => (Program::default(), Formula::Field(unsigned(0, 1))),
        }
    }
}

/// Starts one conversion, waits for it, reads it (section 8.1.3: the rate is exact to 10 %).
fn ads_steps(mux: u8, rates: &[u64], settings: &Settings) -> Vec<Step> {
    let gain = FULL_SCALES_V.iter().position(|v| *v == settings.full_scale_v).unwrap_or(2) as u16;
    let rate = rates.iter().position(|rate| *rate == settings.rate_sps).unwrap_or(4) as u16;
    let config = 0x8000 | u16::from(mux) << 12 | gain << 9 | 0x0100 | rate << 5 | 0x0003;
    let [high, low] = config.to_be_bytes();
    let wait = Nanos(1_100_000_000 / settings.rate_sps.max(1) + 50_000);
    vec![Step::Write(vec![0x01, high, low]), Step::Wait(wait), read(0x00, 2)]
}

/// Bus voltage in the upper 13 bits, 4 mV each; shunt voltage in steps of 10 µV (sections 8.6.3.1 and 8.6.3.2). Its
/// own reckoning of current and power needs a calibration and rounds twice: it is done here.
fn ina219(address: u8, channel: Channel, settings: &Settings) -> (Program, Formula) {
    const SHUNT_V: f64 = 10e-6;
    const BUS_V: f64 = 4e-3;
    let shunt = |at| signed(at, 2, 0, 16);
    let bus = Field { shift: 3, ..unsigned(0, 2) };
    let linear = |field, factor| Formula::Linear { field, factor, clip: None };
    let (measure, formula) = match channel {
        Channel::BusVoltage => (vec![read(2, 2)], linear(bus, BUS_V)),
        Channel::Current => (vec![read(1, 2)], linear(shunt(0), SHUNT_V / settings.shunt_ohm)),
        Channel::Power => {
            let factor = BUS_V * SHUNT_V / settings.shunt_ohm;
            (vec![read(2, 2), read(1, 2)], Formula::Product { one: bus, other: shunt(2), factor })
        }
        _ => (vec![read(1, 2)], linear(shunt(0), SHUNT_V)),
    };
    // As after a reset: 32 V, ±320 mV, 12 bits, all the time.
    let setup = vec![Step::Write(vec![0x00, 0x39, 0x9F]), Step::Wait(Nanos::from_millis(2))];
    (Program { address, setup, measure, ..Program::default() }, formula)
}

/// Each value once in a while by itself (normal mode), without a filter. On SPI the upper bit of a register's number
/// says that it is read (section 6.3), on I2C it is part of the number; all of these registers have it.
fn bosch(address: u8, humid: bool) -> Program {
    let on_spi = address == 0;
    let write = |register: u8, value| Step::Write(vec![if on_spi { register & 0x7F } else { register }, value]);
    let mut setup = vec![Step::Identify { command: 0xD0, expected: if humid { 0x60 } else { 0x58 } }];
    if humid {
        setup.push(write(0xF2, 0x01));
    }
    setup.extend([write(0xF5, 0x00), write(0xF4, 0x27), Step::Wait(Nanos::from_millis(12))]);
    let mut calibration = vec![read(0x88, 26)];
    if humid {
        calibration.push(read(0xE1, 7));
    }
    Program { address, setup, calibration, measure: vec![read(0xF7, if humid { 8 } else { 6 })] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_of_every_chip_reads_what_its_formula_needs() {
        for chip in CHIPS {
            for (name, channel) in chip.channels {
                let address = chip.addresses.as_ref().map_or(0, |range| *range.start());
                let (program, formula) = chip.program(address, *channel, &chip.defaults());
                let bytes = Program::bytes(&program.measure);
                let end = |field: Field| usize::from(field.at + field.width);
                let needs = match formula {
                    Formula::Field(field) | Formula::Linear { field, .. } => end(field),
                    Formula::Product { one, other, .. } => end(one).max(end(other)),
                    Formula::Bme280(Bme280Value::Humidity) => 8,
                    Formula::Bme280(_) => 6,
                    Formula::Max31855 => 4,
                };
                assert!(bytes >= needs && bytes > 0, "{}.{name}: {bytes} bytes, {needs} needed", chip.name);
            }
        }
    }

    /// SBAS444, table 8-3: single-shot, AIN0 against ground, ±4.096 V, 128 a second is 0xC383.
    #[test]
    fn the_configuration_of_an_ads1115_is_that_of_its_data_sheet() {
        let chip = find("ads1115", true).unwrap();
        let settings = Settings { full_scale_v: 4.096, ..chip.defaults() };
        let (program, _) = chip.program(0x48, Channel::Input(4), &settings);
        assert_eq!(program.measure[0], Step::Write(vec![0x01, 0xC3, 0x83]));
        // After a reset it is 0x8583: AIN0 against AIN1, ±2.048 V, 128 a second.
        let (program, _) = chip.program(0x48, Channel::Input(0), &chip.defaults());
        assert_eq!(program.measure[0], Step::Write(vec![0x01, 0x85, 0x83]));
        let Step::Wait(wait) = program.measure[1] else { panic!("no wait") };
        assert!(wait > Nanos(1_100_000_000 / 128), "{wait:?}");
    }

    /// DS21298, figure 6-1: channel 5 single-ended is 00000 1 1 1, 01xxxxxx.
    #[test]
    fn the_bits_that_ask_an_mcp3208_are_those_of_its_data_sheet() {
        let chip = find("mcp3208", false).unwrap();
        let (program, _) = chip.program(0, Channel::Input(5), &chip.defaults());
        assert_eq!(program.measure, [Step::Exchange(vec![0b0000_0111, 0b0100_0000, 0])]);
        assert!(find("mcp3208", true).is_none());
    }
}
