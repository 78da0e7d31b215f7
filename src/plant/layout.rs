//! The tags of a simulated device, and their addresses.

use super::PlantConfig;
use super::signal::{Signal, hash};
use crate::config::{FieldType, WordOrder};
use crate::limits::{LINKS_MAX, PERIOD_MAX, PERIOD_MIN, PLANT_TAGS_MAX};
use crate::tag::{Encoding, Nanos, ScalarType, Scaling, UnitId, Value};
use fieldbeat_engine::protocol::modbus::model::Table;

/// What the devices offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A filling line: temperatures, pressures, drives, counters, valves, a recipe name, of several types and
    /// orders, in all four tables.
    Line { tags_per_device: usize },
    /// Float32 temperatures in consecutive holding registers.
    Float32 { tags_per_device: usize },
}

impl Profile {
    fn tags_per_device(self) -> usize {
        match self {
            Profile::Line { tags_per_device } | Profile::Float32 { tags_per_device } => tags_per_device,
        }
    }
}

/// How fast the written configuration asks for the tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanRates {
    /// Every tag with this period, in whole milliseconds.
    Uniform(Nanos),
    /// Drives every 10 ms, valves and pressures every 50 ms, temperatures and counters every 100 ms, the
    /// recipe every second. Float32 profiles: every 10 ms.
    Mixed,
}

/// One tag of the plant.
#[derive(Debug, Clone, PartialEq)]
pub struct PlantTag {
    /// Unique in the plant: `dev3.drive2.speed`.
    pub name: String,
    pub device: usize,
    pub unit: UnitId,
    pub table: Table,
    /// Offset from 0.
    pub first: u16,
    /// Registers or bits.
    pub count: u16,
    pub field: FieldType,
    pub order: WordOrder,
    pub scale: f64,
    /// Engineering unit.
    pub unit_text: &'static str,
    pub description: String,
    pub period: Nanos,
    pub(super) signal: Signal,
    pub(super) seed: u64,
}

/// Registers that one tag can fill at most: a string of 16 characters.
pub(super) const TAG_REGISTERS_MAX: usize = 8;

impl PlantTag {
    /// The registers (or the one bit) that hold the value, in wire order; those beyond `count` are 0.
    pub(super) fn registers(&self, tick: u64) -> [u16; TAG_REGISTERS_MAX] {
        let mut out = [0u16; TAG_REGISTERS_MAX];
        let words = self.count as usize;
        if self.field.is_text() {
            let bytes = self.signal.text(self.seed, tick).as_bytes();
            for (word, pair) in out.iter_mut().zip(bytes.chunks(2)) {
                *word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            }
        } else {
            let bits = self.raw_bits(tick);
            for (i, word) in out.iter_mut().take(words).enumerate() {
                *word = (bits >> (16 * (words - 1 - i))) as u16;
            }
            if self.order.swaps_words() {
                out[..words].reverse();
            }
        }
        if self.order.swaps_bytes() {
            out.iter_mut().for_each(|word| *word = word.swap_bytes());
        }
        out
    }

    fn raw_bits(&self, tick: u64) -> u64 {
        let number = self.signal.number(self.seed, tick);
        match self.field {
            FieldType::Float32 => u64::from((number as f32).to_bits()),
            FieldType::Float64 => number.to_bits(),
            _ => (number / self.scale).round() as i64 as u64,
        }
    }

    pub(super) fn value(&self, tick: u64) -> Value {
        let bits = self.raw_bits(tick);
        match self.field {
            FieldType::Text(_) => Value::Text(self.signal.text(self.seed, tick).into()),
            FieldType::RegisterBit(bit) => Value::Bool(bits >> bit & 1 != 0),
            _ if self.scale != 1.0 => Value::Float64(Scaling::new(self.scale, 0.0).apply(bits as i64 as f64)),
            field => {
                let scalar = field.scalar();
                debug_assert!(scalar != ScalarType::Uint64 || field == FieldType::Uint64);
                Value::from_bits(scalar, bits)
            }
        }
    }
}

/// Every tag of a plant, device by device.
///
/// # Errors
/// What is wrong with the configuration.
pub(super) fn tags(config: &PlantConfig) -> Result<Vec<PlantTag>, String> {
    let per_device = config.profile.tags_per_device();
    if config.devices == 0 || per_device == 0 || config.units_per_device == 0 {
        return Err("a plant has at least one device, one unit and one tag".into());
    }
    if config.units_per_device > 247 {
        return Err(format!("{} units a device: Modbus has units 1 to 247", config.units_per_device));
    }
    if let ScanRates::Uniform(period) = config.scan_rates
        && (!(PERIOD_MIN..=PERIOD_MAX).contains(&period) || period.0 % 1_000_000 != 0)
    {
        return Err(format!("a scan period of {} ns: whole milliseconds from 1 to 86400000 are allowed", period.0));
    }
    let whole = config.devices.checked_mul(per_device).filter(|tags| *tags <= PLANT_TAGS_MAX);
    let (Some(whole), true) = (whole, config.devices <= LINKS_MAX) else {
        return Err(format!(
            "{} devices with {per_device} tags each: allowed are {LINKS_MAX} devices, and {PLANT_TAGS_MAX} tags in all",
            config.devices
        ));
    };
    let mut out = Vec::with_capacity(whole);
    for device in 0..config.devices {
        for unit in 1..=config.units_per_device {
            // The first units take one more when it does not come out even.
            let units = usize::from(config.units_per_device);
            let share = per_device / units + usize::from(usize::from(unit) <= per_device % units);
            let mut builder = Builder { config, device, unit: UnitId(unit), next: [0; 4], out: &mut out };
            match config.profile {
                Profile::Line { .. } => builder.line(share)?,
                Profile::Float32 { .. } => builder.float32(share)?,
            }
        }
    }
    Ok(out)
}

struct Builder<'a> {
    config: &'a PlantConfig,
    device: usize,
    unit: UnitId,
    /// The next free offset of each table.
    next: [u32; 4],
    out: &'a mut Vec<PlantTag>,
}

/// What differs from tag to tag.
struct Spec {
    name: String,
    table: Table,
    field: FieldType,
    count: u16,
    order: WordOrder,
    scale: f64,
    unit_text: &'static str,
    description: &'static str,
    period_ms: u64,
    signal: Signal,
    /// Signals with the same group of a device move together.
    group: u64,
}

impl Builder<'_> {
    fn add(&mut self, spec: Spec) -> Result<u16, String> {
        let next = &mut self.next[spec.table as usize];
        let first = *next;
        *next += u32::from(spec.count);
        if *next > 65_536 {
            return Err(format!("too many tags for device {}: a table has 65536 addresses", self.device));
        }
        self.push(spec, first as u16);
        Ok(first as u16)
    }

    fn push(&mut self, spec: Spec, first: u16) {
        let station = (self.device as u64) << 40 | u64::from(self.unit.0) << 32;
        let prefix = match self.config.units_per_device {
            1 => format!("dev{}", self.device),
            _ => format!("dev{}.u{}", self.device, self.unit.0),
        };
        self.out.push(PlantTag {
            name: format!("{prefix}.{}", spec.name),
            device: self.device,
            unit: self.unit,
            table: spec.table,
            first,
            count: spec.count,
            field: spec.field,
            order: spec.order,
            scale: spec.scale,
            unit_text: spec.unit_text,
            description: format!("{}, station {}", spec.description, self.device),
            period: match self.config.scan_rates {
                ScanRates::Uniform(period) => period,
                ScanRates::Mixed => Nanos::from_millis(spec.period_ms),
            },
            signal: spec.signal,
            seed: hash(station | spec.group),
        });
    }

    fn float32(&mut self, tags: usize) -> Result<(), String> {
        for i in 0..tags as u64 {
            self.add(Spec {
                name: format!("t{i}"),
                table: Table::HoldingRegisters,
                period_ms: 10,
                ..temperature(i, i)
            })?;
        }
        Ok(())
    }

    /// Takes the parts of a line in turn until the device has its tags; of 100: 30 temperatures, 14 pressures,
    /// 6 drives with 5 tags each, 8 counters, 12 valves, 5 limit switches, 1 recipe.
    fn line(&mut self, tags: usize) -> Result<(), String> {
        let end = self.out.len() + tags;
        for i in 0.. {
            let left = end - self.out.len();
            if left == 0 {
                break;
            }
            let spec = match i % 76 {
                0 => recipe(i),
                1..=6 => {
                    self.drive(i / 76 * 6 + i % 76 - 1, left)?;
                    continue;
                }
                7..=18 => valve(i),
                19..=23 => limit_switch(i),
                24..=53 => temperature(i, i),
                54..=67 => pressure(i),
                _ => counter(i),
            };
            self.add(spec)?;
        }
        Ok(())
    }

    fn drive(&mut self, drive: u64, left: usize) -> Result<(), String> {
        // Apart from the seeds of the other signals, which count from 0.
        let group = 1 << 24 | drive;
        let period_ms = 8_000 + drive % 6 * 1_500;
        let part = |name: &str, field, count, order, scale, unit_text, description, signal| Spec {
            name: format!("drive{drive}.{name}"),
            table: Table::HoldingRegisters,
            field,
            count,
            order,
            scale,
            unit_text,
            description,
            period_ms: 10,
            signal,
            group,
        };
        let (abcd, cdab) = (WordOrder::Abcd, WordOrder::Cdab);
        let status = Signal::DriveStatus { period_ms };
        let parts = [
            part("status", FieldType::Uint16, 1, abcd, 1.0, "", "drive status word", status),
            part("running", FieldType::RegisterBit(1), 1, abcd, 1.0, "", "drive is running", status),
            part("speed", FieldType::Int16, 1, abcd, 1.0, "rpm", "drive speed", {
                Signal::DriveSpeed { rpm: 1480.0, period_ms }
            }),
            part("torque", FieldType::Float32, 2, cdab, 1.0, "%", "drive torque", Signal::DriveTorque { period_ms }),
            part("current", FieldType::Float32, 2, cdab, 1.0, "A", "motor current", {
                Signal::DriveCurrent { rated: 12.5, period_ms }
            }),
        ];
        let mut status_at = 0;
        for spec in parts.into_iter().take(left) {
            match spec.field {
                FieldType::RegisterBit(_) => self.push(spec, status_at),
                FieldType::Uint16 => status_at = self.add(spec)?,
                _ => {
                    self.add(spec)?;
                }
            }
        }
        Ok(())
    }
}

fn temperature(i: u64, group: u64) -> Spec {
    let base = 20.0 + (i * 7 % 75) as f64;
    Spec {
        name: format!("temperature{i}"),
        table: Table::InputRegisters,
        field: FieldType::Float32,
        count: 2,
        order: WordOrder::Abcd,
        scale: 1.0,
        unit_text: "°C",
        description: "temperature",
        period_ms: 100,
        signal: Signal::Temperature { base, swing: 1.0 + (i % 5) as f64, period_ms: 300_000 + i % 7 * 60_000 },
        group,
    }
}

fn pressure(i: u64) -> Spec {
    Spec {
        name: format!("pressure{i}"),
        table: Table::InputRegisters,
        field: FieldType::Uint16,
        count: 1,
        order: WordOrder::Abcd,
        scale: 0.01,
        unit_text: "bar",
        description: "pressure",
        period_ms: 50,
        signal: Signal::Pressure { base: 2.0 + (i % 8) as f64, ripple: 0.03 },
        group: i,
    }
}

fn counter(i: u64) -> Spec {
    Spec {
        name: format!("counter{i}"),
        table: Table::InputRegisters,
        field: FieldType::Uint32,
        count: 2,
        order: WordOrder::Cdab,
        scale: 1.0,
        unit_text: "pcs",
        description: "pieces counted",
        period_ms: 100,
        signal: Signal::Counter { per_hour: 9_000 + i % 8 * 4_500 },
        group: i,
    }
}

fn valve(i: u64) -> Spec {
    Spec {
        name: format!("valve{i}.open"),
        table: Table::Coils,
        field: FieldType::Bit,
        count: 1,
        order: WordOrder::Abcd,
        scale: 1.0,
        unit_text: "",
        description: "valve commanded open",
        period_ms: 50,
        signal: Signal::Valve { period_ms: 4_000 + i % 12 * 1_000, open_ms: 1_500 + i % 5 * 400 },
        group: i,
    }
}

fn limit_switch(i: u64) -> Spec {
    let (period_ms, open_ms) = (4_000 + i % 12 * 1_000, 1_500 + i % 5 * 300);
    Spec {
        name: format!("limit{i}.reached"),
        table: Table::DiscreteInputs,
        description: "valve has reached its end",
        signal: Signal::LimitSwitch { period_ms, open_ms, travel_ms: 800 },
        ..valve(i)
    }
}

fn recipe(i: u64) -> Spec {
    Spec {
        name: format!("recipe{i}.name"),
        table: Table::HoldingRegisters,
        field: FieldType::Text(Encoding::Unstated),
        count: TAG_REGISTERS_MAX as u16,
        order: WordOrder::Abcd,
        scale: 1.0,
        unit_text: "",
        description: "what is being made",
        period_ms: 1000,
        signal: Signal::Recipe { period_ms: 30_000 },
        group: i,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_line_has_exactly_its_tags_with_names_of_their_own() {
        for (devices, units, per_device) in [(10, 1, 100), (1, 3, 7), (3, 2, 250), (1, 1, 1), (5, 1, 1000)] {
            let config = PlantConfig {
                devices,
                units_per_device: units,
                profile: Profile::Line { tags_per_device: per_device },
                ..PlantConfig::default()
            };
            let tags = tags(&config).unwrap();
            assert_eq!(tags.len(), devices * per_device);
            let names: HashSet<&str> = tags.iter().map(|t| t.name.as_str()).collect();
            assert_eq!(names.len(), tags.len());
        }
    }

    #[test]
    fn the_default_is_1000_tags_in_all_tables() {
        let tags = tags(&PlantConfig::default()).unwrap();
        assert_eq!(tags.len(), 1000);
        for table in [Table::Coils, Table::DiscreteInputs, Table::HoldingRegisters, Table::InputRegisters] {
            assert!(tags.iter().any(|t| t.table == table));
        }
        assert_eq!(tags.iter().filter(|t| t.field == FieldType::RegisterBit(1)).count(), 60);
        assert_eq!(tags.iter().filter(|t| t.field.is_text()).count(), 10);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let with = |change: fn(&mut PlantConfig)| {
            let mut config = PlantConfig::default();
            change(&mut config);
            tags(&config).unwrap_err()
        };
        assert!(with(|c| c.profile = Profile::Float32 { tags_per_device: 32_769 }).contains("65536"));
        assert!(with(|c| c.scan_rates = ScanRates::Uniform(Nanos(1_500_000))).contains("milliseconds"));
        assert!(with(|c| c.units_per_device = 248).contains("247"));
        assert!(with(|c| c.devices = 0).contains("at least one"));
    }

    #[test]
    fn a_value_lies_in_the_registers_in_its_order() {
        let mut tag = tags(&PlantConfig::default()).unwrap().into_iter().find(|t| t.name.contains("counter")).unwrap();
        tag.signal = Signal::Counter { per_hour: 0 };
        tag.seed = 0x0001_0203;
        let Value::Uint(value) = tag.value(0) else { panic!() };
        let (high, low) = ((value >> 16) as u16, value as u16);
        for (order, words) in [
            (WordOrder::Abcd, [high, low]),
            (WordOrder::Dcba, [low.swap_bytes(), high.swap_bytes()]),
            (WordOrder::Badc, [high.swap_bytes(), low.swap_bytes()]),
            (WordOrder::Cdab, [low, high]),
        ] {
            tag.order = order;
            assert_eq!(tag.registers(0)[..2], words);
        }
    }
}
