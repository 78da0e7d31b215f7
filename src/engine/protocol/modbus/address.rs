//! Addresses of tags on Modbus links: `link:unit:function:register:count`, with the keys that say what lies there.

use super::fields;
use super::fields::{Addressing, type_name};
use super::model::{ModbusAddress, ModbusConfig, Table};
use super::registers::{register, table_name};
use crate::config::WordOrder;
use crate::config::fault::Fault;
use crate::config::model::FieldType;
use crate::config::names::quoted;
use crate::config::reader::{Obj, Part, Text, decimal, span};
use crate::config::text::Span;
use crate::tag::{Encoding, UnitId};

const ADDRESS_ALLOWED: &str = "link:unit:function:register:count, such as \"plc1:1:3:40001:2\"";

/// Reads what follows the link's name. `None`: reported.
pub fn read(
    tag: &Obj<'_>,
    text: Text<'_>,
    parts: &[Part<'_>],
    modbus: &ModbusConfig,
    addressing: Addressing,
) -> Option<ModbusAddress> {
    let data_type = tag.required_choice("data_type", fields::DATA_TYPE);
    let order = tag.choice("byte_order", fields::BYTE_ORDER);
    let bit = tag.opt_int(&fields::BIT);
    let array = tag.opt_int(&fields::ARRAY);
    let part = RegisterPart::read(tag);
    let (unit_part, function_part, register_part, count_part) = match parts[..] {
        [unit, function, register] => (unit, function, register, None),
        [unit, function, register, count] => (unit, function, register, Some(count)),
        _ => {
            let message = format!("address {} has {} parts", quoted(text.value), parts.len() + 1);
            tag.error(text.span, message, format!("allowed: {ADDRESS_ALLOWED}"));
            return None;
        }
    };
    let unit = number(tag, text, unit_part, "the unit", 255);
    let function = number(tag, text, function_part, "the function", u32::from(u8::MAX));
    let table = function.and_then(|function| {
        let table = Table::from_read_function(function as u8);
        if table.is_none() {
            let (message, help) = no_table(function);
            tag.error(span(text, function_part), message, help);
        }
        table
    });
    let count = match count_part {
        Some(part) => Some(number(tag, text, part, "the count", 65_536)?),
        None => None,
    };
    let first = read_register(tag, text, register_part, table?, addressing);
    let field = part.of(tag, field_of(tag, data_type?, table?, bit, order)?);
    let place = Place { tag, text, table: table?, field, modbus };
    let count = place.check_count(count, count_part.map_or(text.span, |part| span(text, part)), array)?;
    let (unit, first) = (UnitId(unit? as u8), first?);
    place.check_range(unit, first, count, span(text, register_part))?;
    let address = ModbusAddress {
        unit,
        table: table?,
        first,
        count,
        field,
        array: array.map(|array| array as u16),
        order: order.unwrap_or_default(),
        reference: register_part.text.parse().ok().filter(|number| *number != first),
    };
    warn_of_sunspec(tag, span(text, register_part), &address);
    Some(address)
}

/// SunSpec's numbers count from 0 and look like references: of these, kind and length say that they are no others.
fn warn_of_sunspec(tag: &Obj<'_>, at: Span, address: &ModbusAddress) {
    let Some(number) = address.reference.filter(|_| address.table == Table::HoldingRegisters) else { return };
    let is_known = match address.field {
        // Manufacturer, model and serial number of the common model at 40000; its version.
        FieldType::Text(_) => match address.count {
            16 => matches!(number, 40_004 | 40_020 | 40_052),
            8 => number == 40_044,
            _ => false,
        },
        // Energy of an inverter, whose model follows the common one.
        FieldType::Uint32 => number == 40_093,
        _ => false,
    };
    if is_known {
        let message =
            format!("{number} looks like a SunSpec address, which counts from 0: used as the offset {}", address.first);
        tag.warning(at, message, "set \"addressing\": \"raw\" on the link if the manual counts from 0");
    }
}

/// What to say of a function that reads no table. Those that write are common in manuals.
fn no_table(function: u32) -> (String, &'static str) {
    let message = format!("function {function} writes");
    match function {
        5 | 15 => (message, "use the function that reads the table (1 coils) and allow writing with \"write\": {…}"),
        6 | 16 | 22 | 23 => (
            message,
            "use the function that reads the table (3 holding registers) and allow writing with \"write\": \
                {…}",
        ),
        _ => (
            format!("the function {function} does not read"),
            "allowed: 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers",
        ),
    }
}

/// Which byte of a register it is, and how a text is encoded.
struct RegisterPart {
    high: Option<bool>,
    encoding: Option<Encoding>,
}

impl RegisterPart {
    fn read(tag: &Obj<'_>) -> RegisterPart {
        RegisterPart { high: tag.choice("byte", fields::BYTE), encoding: tag.choice("encoding", fields::ENCODING) }
    }

    fn of(self, tag: &Obj<'_>, field: FieldType) -> FieldType {
        let is_byte = matches!(field, FieldType::Byte { .. });
        let is_text = matches!(field, FieldType::Text(_));
        for (key, fits, what) in [("byte", is_byte, "int8 and uint8"), ("encoding", is_text, "string")] {
            if tag.get(key).is_some() && !fits {
                let message = format!("{key} with data_type {}", type_name(field));
                tag.error(tag.span_of(key), message, format!("remove it, or set data_type to {what}"));
            }
        }
        match field {
            FieldType::Byte { signed, .. } => FieldType::Byte { signed, high: self.high.unwrap_or(false) },
            FieldType::Text(_) => FieldType::Text(self.encoding.unwrap_or_default()),
            field => field,
        }
    }
}

fn number(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>, what: &str, max: u32) -> Option<u32> {
    let number = decimal(part.text).filter(|number| *number <= max);
    if number.is_none() {
        let message = format!("{what} in the address is {}", quoted(part.text));
        tag.error(span(text, part), message, format!("allowed: a number from 0 to {max}; {ADDRESS_ALLOWED}"));
    }
    number
}

fn read_register(tag: &Obj<'_>, text: Text<'_>, part: Part<'_>, table: Table, addressing: Addressing) -> Option<u16> {
    let span = span(text, part);
    match register(part.text, table, addressing) {
        Ok(register) => {
            if let Some(other) = register.reads_like {
                let message = format!(
                    "{} looks like a reference to {}, but the function is {}: used as the offset {}",
                    part.text,
                    table_name(other),
                    table.read_function(),
                    register.offset
                );
                tag.warning(span, message, "set \"addressing\": \"raw\" on the link if it is an offset");
            }
            Some(register.offset)
        }
        Err(Fault { message, help }) => {
            tag.error(span, message, help);
            None
        }
    }
}

/// What the table's entries hold, from the data type, the bit and the order.
fn field_of(
    tag: &Obj<'_>,
    data_type: FieldType,
    table: Table,
    bit: Option<u64>,
    order: Option<WordOrder>,
) -> Option<FieldType> {
    let function = table.read_function();
    let entries = table_name(table);
    if table.is_bits() {
        if data_type != FieldType::Bit {
            let message = format!("data_type {} cannot be read with function {function}", type_name(data_type));
            tag.error(tag.span_of("data_type"), message, format!("allowed: bool, as {entries} are single bits"));
            return None;
        }
        if bit.is_some() {
            let message = format!("bit with function {function}");
            tag.error(tag.span_of("bit"), message, format!("remove it: {entries} are single bits"));
        }
        if order.is_some_and(|order| order != WordOrder::Abcd) {
            let message = format!("byte_order with function {function}");
            tag.error(tag.span_of("byte_order"), message, format!("remove it: {entries} are single bits"));
        }
        return Some(FieldType::Bit);
    }
    if data_type != FieldType::Bit {
        if tag.get("bit").is_some() {
            let message = format!("bit with data_type {}", type_name(data_type));
            tag.error(tag.span_of("bit"), message, "remove it, or set data_type to bool");
        }
        return Some(data_type);
    }
    if tag.get("array").is_some() {
        let message = format!("array of bool with function {function}");
        tag.error(tag.span_of("array"), message, "allowed: arrays of coils, discrete inputs or numbers");
    }
    match bit {
        Some(bit) => Some(FieldType::RegisterBit(bit as u8)),
        None => {
            if tag.get("bit").is_none() {
                let message = format!("bit is missing: function {function} reads registers of 16 bits");
                tag.error(tag.span_of("data_type"), message, "allowed: \"bit\" from 0 (least significant) to 15");
            }
            None
        }
    }
}

/// A tag whose place is being checked.
struct Place<'p, 'c> {
    tag: &'p Obj<'c>,
    text: Text<'p>,
    table: Table,
    field: FieldType,
    modbus: &'p ModbusConfig,
}

impl Place<'_, '_> {
    fn entries(&self) -> &'static str {
        if self.table.is_bits() { "bits" } else { "registers" }
    }

    /// The registers or bits of the whole tag: as the type and the array say, or as written for strings.
    fn check_count(&self, written: Option<u32>, at: Span, array: Option<u64>) -> Option<u16> {
        let tag = self.tag;
        let name = type_name(self.field);
        let entries = self.entries();
        let is_part = matches!(self.field, FieldType::Byte { .. });
        if tag.get("array").is_some() && (self.field.is_text() || is_part) {
            let help = "allowed: arrays of numbers of whole registers, coils or inputs";
            tag.error(tag.span_of("array"), format!("array of {name}"), help);
            return None;
        }
        let count = if matches!(self.field, FieldType::Text(_)) {
            let Some(count) = written else {
                let help = format!("add it to the address: {ADDRESS_ALLOWED}; a register holds two characters");
                tag.error(self.text.span, "the count is missing: the length of a string in registers", help);
                return None;
            };
            count
        } else {
            let elements = array.unwrap_or(1) as u32;
            let needed = elements * u32::from(self.field.registers());
            if let Some(written) = written.filter(|written| *written != needed) {
                let of = match array {
                    Some(elements) => format!("an array of {elements} {name}"),
                    None => name.to_owned(),
                };
                let message = format!("the count is {written}, but {of} has {needed} {entries}");
                tag.error(at, message, format!("allowed: {needed}, or no count"));
                return None;
            }
            needed
        };
        let most = if self.table.is_bits() { self.modbus.bits_max } else { self.modbus.registers_max };
        if count == 0 || count > u32::from(most) {
            let at = if tag.get("array").is_some() { tag.span_of("array") } else { at };
            let message = format!("{count} {entries} do not fit one read");
            tag.error(at, message, format!("allowed: 1 to {most} {entries} on this link"));
            return None;
        }
        Some(count as u16)
    }

    fn check_range(&self, unit: UnitId, first: u16, count: u16, at: Span) -> Option<()> {
        let last = u32::from(first) + u32::from(count) - 1;
        let entries = self.entries();
        if last > u32::from(u16::MAX) {
            let message = format!("{count} {entries} from offset {first} end at {last}, outside 0 to 65535");
            self.tag.error(at, message, format!("allowed: a first offset of at most {}", 65_536 - u32::from(count)));
            return None;
        }
        let refused = self.modbus.unreadable.iter().find(|range| {
            range.table == self.table
                && range.unit.is_none_or(|only| only == unit)
                && range.first as u32 <= last
                && first <= range.last
        });
        if let Some(range) = refused {
            let message = format!(
                "offsets {first} to {last} touch the unreadable range {} to {} of its link",
                range.first, range.last
            );
            self.tag.error(at, message, "move the tag, or narrow the range in \"unreadable\"");
            return None;
        }
        Some(())
    }
}
