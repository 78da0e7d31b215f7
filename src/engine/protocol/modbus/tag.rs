//! What a tag's place in a Modbus device allows: its values, its scale, its writes.

use super::fields::type_name;
use super::model::{ModbusAddress, ModbusConfig, ModbusTransport, Table};
use crate::config::kind::AskedWrite;
use crate::config::model::{FieldType, Raw, TagAddress, WriteConfig};
use crate::config::reader::Obj;
use crate::config::text::Span;
use crate::config::write::READ_WRITE_REGISTERS;
use crate::limits::{MODBUS_READ_WRITE_REGISTERS_MAX, MODBUS_WRITE_BITS_MAX, MODBUS_WRITE_REGISTERS_MAX};
use crate::tag::{ScalarType, ValueType};

impl TagAddress for ModbusAddress {
    fn value_type(&self) -> ValueType {
        ModbusAddress::value_type(self)
    }

    fn unit(&self) -> Option<u8> {
        Some(self.unit.0)
    }

    fn signal_range(&self) -> Option<(String, f64, f64)> {
        if let FieldType::Bcd { registers } = self.field {
            return Some(("the BCD number".into(), 0.0, bcd_max(registers)));
        }
        let (low, high) = range_of_bits(self.field.whole_bits()?);
        Some((format!("the {}", type_name(self.field)), low, high))
    }

    fn raw(&self) -> Option<Raw> {
        match self.field {
            FieldType::Bcd { registers } => Some(Raw::Bcd(4 * u32::from(registers))),
            FieldType::Float16 => Some(Raw::Half),
            FieldType::Float32 => Some(Raw::Single),
            FieldType::Float64 => Some(Raw::Double),
            FieldType::Text(_) => Some(Raw::Text),
            field => field.whole_bits().map(Raw::whole),
        }
    }

    fn takes_scale_from(&self) -> Result<(), (String, &'static str)> {
        if self.field.is_text() || self.field.scalar() == ScalarType::Bool {
            let message = format!("scale_from on a {}", type_name(self.field));
            return Err((message, "remove it: only numbers are scaled"));
        }
        Ok(())
    }

    fn raw_range(&self) -> Option<(f64, f64)> {
        match (self.field, self.field.whole_bits()) {
            (field, _) if field.is_text() => None,
            (FieldType::Bcd { registers }, _) => Some((0.0, bcd_max(registers))),
            (FieldType::Float16, _) => Some((-65_504.0, 65_504.0)),
            (FieldType::Float32, _) => Some((f32::MIN.into(), f32::MAX.into())),
            (_, bits) => bits.map(range_of_bits),
        }
    }
}

fn bcd_max(registers: u8) -> f64 {
    10f64.powi(4 * i32::from(registers)) - 1.0
}

/// The whole numbers of so many bits, with or without a sign.
fn range_of_bits((bits, signed): (u8, bool)) -> (f64, f64) {
    let bits = i32::from(bits);
    if signed { (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0) } else { (0.0, 2f64.powi(bits) - 1.0) }
}

fn check_table(tag: &Obj<'_>, at: Span, address: &ModbusAddress, limits: &WriteConfig) {
    let function = address.table.read_function();
    if matches!(address.table, Table::DiscreteInputs | Table::InputRegisters) {
        let message = format!("write on a tag of function {function}, which is read-only in Modbus");
        tag.error(at, message, "allowed: tags of function 1 (coils) and 3 (holding registers)");
        return;
    }
    let (most, entries) = match address.table.is_bits() {
        true => (MODBUS_WRITE_BITS_MAX, "coils"),
        false if limits.read_write_in_one => (MODBUS_READ_WRITE_REGISTERS_MAX, "registers"),
        false => (MODBUS_WRITE_REGISTERS_MAX, "registers"),
    };
    if address.count > most {
        let message = format!("{} {entries} do not fit one write", address.count);
        tag.error(at, message, format!("allowed: at most {most} {entries}"));
    }
}

/// Which function a tag may be written with depends on what lies there.
fn check_function(write: &Obj<'_>, address: &ModbusAddress, link: &ModbusConfig, limits: &WriteConfig) {
    let at = write.span_of("function");
    let function = if limits.read_write_in_one { READ_WRITE_REGISTERS } else { limits.function.unwrap_or_default() };
    let is_one = address.count == 1;
    let is_part = address.field.is_part_of_register();
    let (allowed, of): (&[u8], &str) = match address.table {
        Table::Coils if is_one => (&[5, 15], "one coil"),
        Table::Coils => (&[15], "several coils"),
        Table::HoldingRegisters if is_part => (&[22, 6, 16], "a part of a register"),
        Table::HoldingRegisters if is_one => (&[6, 16, 23], "one register"),
        Table::HoldingRegisters => (&[16, 23], "several registers"),
        // Said elsewhere: they are only read.
        Table::DiscreteInputs | Table::InputRegisters => return,
    };
    if !allowed.contains(&function) {
        let allowed: Vec<String> = allowed.iter().map(u8::to_string).collect();
        let help = format!(
            "allowed: {} for {of}; without it, the function is chosen automatically",
            allowed.join(
                ", \
            "
            )
        );
        write.error(at, format!("function is {function}"), help);
    } else if is_part && function != 22 && address.unit.0 == 0 && !matches!(link.transport, ModbusTransport::Tcp(_)) {
        let help = "allowed: 22; a broadcast register cannot be read and written back";
        write.error(at, format!("function {function} for a part of a register of unit 0"), help);
    }
}

/// Whether a tag can be written as is asked for; what is wrong is reported.
pub fn check_write(address: &ModbusAddress, asked: &AskedWrite<'_>) {
    let AskedWrite { tag, at, write, limits, link } = asked;
    if let (Some(write), Some(link)) = (write.filter(|write| write.get("function").is_some()), link.get()) {
        check_function(write, address, link, limits);
    }
    check_table(tag, *at, address, limits);
}
